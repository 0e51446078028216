//! The body of an image call, read as Together reads it: the first mistake is told.

use super::error::Refusal;
use crate::catalog::{Route, SizeRule};
use crate::media::{Format, Limits, Size, inspect_base64};
use serde_json::{Map, Value};
use std::sync::Arc;

/// The largest seed.
const MOST_SEED: u64 = 2_147_483_647;

/// A legal call.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) prompt: Arc<str>,
    pub(super) n: u32,
    pub(super) size: Size,
    pub(super) format: Format,
    /// Base64 in the answer instead of links.
    pub(super) inline: bool,
    /// Whether Together's checker is switched off.
    pub(super) unchecked: bool,
    /// The body as it was sent, for prices.
    pub(super) input: Map<String, Value>,
}

impl Order {
    pub(super) fn read(input: Map<String, Value>, route: &Route) -> Result<Self, Refusal> {
        let reader = Reader { input: &input, route };
        let prompt: Arc<str> =
            reader.text("prompt")?.filter(|text| !text.is_empty()).map(Arc::from).ok_or_else(|| {
                Refusal::bad(Some("prompt"), "Missing required parameter 'prompt'. The prompt must not be empty.")
            })?;
        reader.check_knobs()?;
        let pictures = reader.pictures()?;
        let size = reader.size(&pictures)?;
        let n = reader.whole("n", 1, 4)?.unwrap_or(1);
        let inline = reader.one_of("response_format", &["url", "base64"])? == Some("base64");
        let format = reader.one_of("output_format", &["jpeg", "png"])?.and_then(Format::parse);
        let unchecked = reader.flag("disable_safety_checker")?;
        let (n, format) = (u32::try_from(n).unwrap_or(1), format.unwrap_or(Format::Jpeg));
        Ok(Self { prompt, n, size, format, inline, unchecked, input })
    }
}

struct Reader<'a> {
    input: &'a Map<String, Value>,
    route: &'a Route,
}

impl<'a> Reader<'a> {
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.input.get(name).filter(|value| !value.is_null())
    }

    fn is(&self, part: &str) -> bool {
        self.route.upstream.contains(part)
    }

    /// What the closed FLUX.2 models do not have, and the ranges of what is left.
    fn check_knobs(&self) -> Result<(), Refusal> {
        let flux_2 = self.is("FLUX.2-");
        let closed = self.is("FLUX.2-pro") || self.is("FLUX.2-max");
        let missing = [("negative_prompt", flux_2), ("steps", closed), ("guidance", closed)];
        if let Some((name, _)) = missing.iter().find(|(name, lacks)| *lacks && self.get(name).is_some()) {
            return Err(Refusal::unknown(name));
        }
        if self.get("seed").is_some_and(|seed| seed.as_u64().is_none_or(|seed| seed > MOST_SEED)) {
            let text = "Invalid value for 'seed' parameter. Seed must be an integer value between 0 and 2147483647. \
                        Default: Random.";
            return Err(Refusal::bad(None, text));
        }
        self.whole("steps", 1, 50).map(|_| ())
    }

    /// Pictures to work from: one for Kontext and its like, a list for the others; two of FLUX.2 also take one alone.
    fn pictures(&self) -> Result<Vec<Size>, Refusal> {
        let field = self.route.inputs.as_ref().map_or("", |inputs| inputs.field.as_str());
        let single = field == "image_url";
        let takes_one = single || self.is("FLUX.2-pro") || self.is("FLUX.2-flex");
        if self.get("image_url").is_some() && !takes_one {
            return Err(Refusal::unsupported("image_url"));
        }
        if self.get("reference_images").is_some() && field != "reference_images" {
            return Err(Refusal::unsupported("reference_images"));
        }
        let alone = self.text("image_url")?.map(|text| measure("image_url", text)).transpose()?;
        if single && alone.is_none() {
            return Err(Refusal::bad(Some("image_url"), "Missing required parameter 'image_url'."));
        }
        let listed = match self.get("reference_images") {
            None => &[],
            Some(Value::Array(items)) => items.as_slice(),
            Some(_) => return Err(Refusal::bad(Some("reference_images"), "'reference_images' must be an array.")),
        };
        let most = self.route.inputs.as_ref().map_or(0, |inputs| inputs.max);
        if listed.len() > most {
            return Err(Refusal::bad(
                Some("reference_images"),
                format!("At most {most} reference images are allowed."),
            ));
        }
        let sizes = listed.iter().map(|item| measure("reference_images", item.as_str().unwrap_or_default()));
        alone.into_iter().map(Ok).chain(sizes).collect()
    }

    /// The pixels that will be made.
    fn size(&self, pictures: &[Size]) -> Result<Size, Refusal> {
        let usual = self.route.default_size.unwrap_or(Size::new(1024, 1024));
        let side = |name: &str, usual: u32| {
            let said = self.whole(name, 64, 4096)?;
            Ok(said.and_then(|side| u32::try_from(side).ok()).unwrap_or(usual))
        };
        let size = Size::new(side("width", usual.width)?, side("height", usual.height)?);
        match &self.route.size {
            SizeRule::Pixels(window) if window.allows(size) => Ok(size),
            SizeRule::Pixels(window) => {
                let (least, most) = (window.min_side, window.max_side);
                let text = format!("Invalid dimensions. Width and height must be between {least} and {most}.");
                Err(Refusal::bad(None, text))
            }
            SizeRule::List { sizes, .. } if !sizes.contains(&size) => {
                let names: Vec<String> = sizes.iter().map(ToString::to_string).collect();
                Err(Refusal::bad(None, format!("Invalid dimensions. Supported are: {}.", names.join(", "))))
            }
            SizeRule::List { .. } => Ok(size),
            _ => Ok(pictures.first().map_or(usual, |picture| at_a_megapixel(*picture))),
        }
    }

    fn text(&self, name: &str) -> Result<Option<&'a str>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Refusal::bad(Some(name), format!("'{name}' must be a string."))),
        }
    }

    fn flag(&self, name: &str) -> Result<bool, Refusal> {
        match self.get(name) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(*value),
            Some(_) => Err(Refusal::bad(Some(name), format!("'{name}' must be a boolean."))),
        }
    }

    fn whole(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_u64().filter(|number| (least..=most).contains(number));
        let text = || format!("{name} must be between {least} and {most}");
        number.map(Some).ok_or_else(|| Refusal::bad(Some(name), text()))
    }

    fn one_of(&self, name: &str, allowed: &[&str]) -> Result<Option<&'a str>, Refusal> {
        match self.text(name)? {
            Some(value) if !allowed.contains(&value) => {
                Err(Refusal::bad(Some(name), format!("{name} must be one of: {}", allowed.join(", "))))
            }
            value => Ok(value),
        }
    }
}

/// The size of a picture: a link counts as 1024x1024, a data address is looked at.
fn measure(name: &str, text: &str) -> Result<Size, Refusal> {
    if text.starts_with("http://") || text.starts_with("https://") {
        return Ok(Size::new(1024, 1024));
    }
    let inline = text.split_once(";base64,").filter(|(head, _)| head.starts_with("data:image/"));
    let facts = inline.and_then(|(_, data)| inspect_base64(data.as_bytes(), &Limits::default()).ok());
    let text = || format!("Invalid value for '{name}' parameter. It is neither a URL nor an image.");
    facts.map(|facts| facts.size).ok_or_else(|| Refusal::bad(Some(name), text()))
}

/// That shape with a megapixel, sides in steps of 16.
fn at_a_megapixel(shape: Size) -> Size {
    let (width, height) = (u64::from(shape.width), u64::from(shape.height));
    let side = |long: u64, short: u64| {
        let side = (1024 * 1024 * long / short.max(1)).isqrt();
        u32::try_from((side + 8) / 16 * 16).unwrap_or(1024).max(16)
    };
    Size::new(side(width, height), side(height, width))
}
