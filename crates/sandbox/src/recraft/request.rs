//! What Recraft's endpoints take, and the checks that they make. A form's values arrive as text, a body's as JSON.

use super::super::form::Form;
use super::error::Refusal;
use crate::catalog::{Route, SizeRule};
use crate::media::{Facts, Format, Ratio, Size};
use serde_json::{Map, Value};
use std::sync::Arc;

/// The base styles of V2 and V3.
const STYLES: [&str; 6] =
    ["any", "realistic_image", "digital_illustration", "vector_illustration", "icon", "logo_raster"];

/// A legal request.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) prompt: Arc<str>,
    pub(super) n: u32,
    pub(super) size: Size,
    pub(super) format: Format,
    /// Base64 instead of links.
    pub(super) inline: bool,
    /// One `image` instead of a list.
    pub(super) single: bool,
}

/// The model that the request names; every raster model also answers to `<name>_raster`.
pub(super) fn model(body: &Map<String, Value>, usual: &str) -> Result<String, Refusal> {
    let said = text(body, "model")?.unwrap_or(usual);
    Ok(said.strip_suffix("_raster").unwrap_or(said).to_owned())
}

/// V2 and V3 draw vectors when the style is one of vectors.
pub(super) fn drawn_by(body: &Map<String, Value>, model: &str) -> String {
    let vector = matches!(body.get("style").and_then(Value::as_str), Some("vector_illustration" | "icon"));
    if vector && matches!(model, "recraftv2" | "recraftv3") { format!("{model}_vector") } else { model.to_owned() }
}

impl Order {
    /// `POST /images/generations`
    pub(super) fn generation(body: &Map<String, Value>, route: &Route) -> Result<Self, Refusal> {
        check_styles(body, &route.upstream)?;
        if !matches!(body.get("random_seed"), None | Some(Value::Null | Value::Number(_))) {
            return Err(Refusal::bad("random_seed: must be an integer"));
        }
        let said = one_of(body, "image_format", &["webp", "png"])?.and_then(Format::parse);
        Ok(Self { size: size(body, route)?, format: format(said, &route.upstream), ..Self::common(body, route)? })
    }

    /// `POST /images/imageToImage` and `POST /images/inpaint`
    pub(super) fn edit(form: &Form, route: &Route, masked: bool) -> Result<Self, Refusal> {
        let body = form.texts();
        let image = picture(form, "image")?;
        if masked {
            if !route.upstream.starts_with("recraftv3") {
                return Err(Refusal::bad("model: inpainting is done by recraftv3"));
            }
            let mask = form.picture("mask").map_err(Refusal::bad)?.ok_or_else(|| Refusal::bad("mask: is required"))?;
            if mask.size != image.size {
                return Err(Refusal::bad("mask: must have the size of the image"));
            }
        } else {
            let strength = form.number("strength", 0.0, 1.0).map_err(Refusal::bad)?;
            strength.ok_or_else(|| Refusal::bad("strength: is required"))?;
        }
        Ok(Self { size: image.size, format: format(None, &route.upstream), ..Self::common(&body, route)? })
    }

    /// `POST /images/vectorize` and its like: a file, no prompt.
    pub(super) fn tool(form: &Form, route: &Route) -> Result<Self, Refusal> {
        let facts = picture(form, "file")?;
        let Size { width, height } = facts.size;
        let (size, format) = match route.upstream.as_str() {
            "vectorize" => (facts.size, Format::Svg),
            "removeBackground" => (facts.size, Format::Png),
            _ => (Size::new(2 * width, 2 * height), facts.format),
        };
        let inline = one_of(&form.texts(), "response_format", &["url", "b64_json"])? == Some("b64_json");
        Ok(Self { prompt: route.upstream.as_str().into(), n: 1, size, format, inline, single: true })
    }

    /// What generation and editing share.
    fn common(body: &Map<String, Value>, route: &Route) -> Result<Self, Refusal> {
        let prompt = text(body, "prompt")?.filter(|prompt| !prompt.is_empty());
        let prompt = prompt.ok_or_else(|| Refusal::bad("prompt: is required"))?;
        if route.max_prompt.is_some_and(|most| prompt.chars().count() > most) {
            return Err(Refusal::bad("prompt: is too long"));
        }
        let inline = one_of(body, "response_format", &["url", "b64_json"])? == Some("b64_json");
        let (size, format) = (Size::new(1024, 1024), Format::Webp);
        Ok(Self { prompt: prompt.into(), n: count(body)?, size, format, inline, single: false })
    }
}

/// The newer families ignore styles, except the one that is made of them.
fn check_styles(body: &Map<String, Value>, model: &str) -> Result<(), Refusal> {
    let (style, id) = (text(body, "style")?, text(body, "style_id")?);
    if model.starts_with("recraftv4_styles") && id.is_none() {
        return Err(Refusal::bad("style_id: is required by this model"));
    }
    if model.starts_with("recraftv4") {
        return Ok(());
    }
    match (style, text(body, "substyle")?) {
        (Some(_), _) if id.is_some() => Err(Refusal::bad("style and style_id are mutually exclusive")),
        (Some(style), _) if !STYLES.contains(&style) => Err(Refusal::bad(format!("style: unknown style '{style}'"))),
        (None, Some(_)) => Err(Refusal::bad("substyle: needs a style")),
        _ => Ok(()),
    }
}

/// Vector models answer with SVG, the others with WebP unless told otherwise.
fn format(said: Option<Format>, model: &str) -> Format {
    if model.ends_with("_vector") { Format::Svg } else { said.unwrap_or(Format::Webp) }
}

/// `WxH` from the model's table, or `w:h`.
fn size(body: &Map<String, Value>, route: &Route) -> Result<Size, Refusal> {
    let SizeRule::List { sizes, .. } = &route.size else { return Ok(Size::new(1024, 1024)) };
    let usual = sizes.iter().copied().find(|size| size.width == size.height);
    let Some(said) = text(body, "size")? else { return Ok(usual.unwrap_or(Size::new(1024, 1024))) };
    let found = match (Size::parse(said), Ratio::parse(said)) {
        (Some(size), _) => sizes.iter().copied().find(|listed| *listed == size),
        (None, Some(ratio)) => {
            let near = |size: &&Size| (size.ratio() / ratio.value()).ln().abs() < 0.05;
            sizes.iter().find(near).copied()
        }
        (None, None) => None,
    };
    found.ok_or_else(|| Refusal::bad(format!("size: '{said}' is not supported by this model")))
}

fn count(body: &Map<String, Value>) -> Result<u32, Refusal> {
    let n = match body.get("n") {
        None | Some(Value::Null) => Some(1),
        Some(Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_u64(),
    };
    let n = n.filter(|n| (1..=6).contains(n)).and_then(|n| u32::try_from(n).ok());
    n.ok_or_else(|| Refusal::bad("n: must be between 1 and 6"))
}

/// PNG, JPEG or WebP, up to 16 megapixels, 256 to 4096 pixels a side.
fn picture(form: &Form, name: &str) -> Result<Facts, Refusal> {
    let facts = form.picture(name).map_err(Refusal::bad)?;
    let facts = facts.ok_or_else(|| Refusal::bad(format!("{name}: is required")))?;
    let Size { width, height } = facts.size;
    let sides = 256..=4096;
    if !sides.contains(&width) || !sides.contains(&height) || facts.size.area() > 16_000_000 {
        return Err(Refusal::bad(format!("{name}: sides must be between 256 and 4096 pixels, the area up to 16 MP")));
    }
    let taken = matches!(facts.format, Format::Png | Format::Jpeg | Format::Webp | Format::Svg);
    if taken { Ok(facts) } else { Err(Refusal::bad(format!("{name}: must be PNG, JPG, WEBP or SVG"))) }
}

fn text<'a>(body: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Refusal> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Refusal::bad(format!("{name}: must be a string"))),
    }
}

fn one_of<'a>(body: &'a Map<String, Value>, name: &str, allowed: &[&str]) -> Result<Option<&'a str>, Refusal> {
    match text(body, name)? {
        Some(value) if !allowed.contains(&value) => {
            Err(Refusal::bad(format!("{name}: must be one of {}", allowed.join(", "))))
        }
        value => Ok(value),
    }
}
