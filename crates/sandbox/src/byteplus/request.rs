//! What `POST /images/generations` takes, and the small readers that the video tasks share.

use super::error::Refusal;
use crate::catalog::{Route, SizeRule};
use crate::media::{Format, Size};
use serde_json::{Map, Value};
use std::sync::Arc;

/// A legal request for a picture.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) prompt: Arc<str>,
    pub(super) size: Size,
    pub(super) format: Format,
    /// Whether the picture comes as base64 in the answer.
    pub(super) inline: bool,
}

impl Order {
    /// Reads the body as that model's request.
    pub(super) fn read(body: &Map<String, Value>, route: &Route) -> Result<Self, Refusal> {
        let prompt = text(body, "prompt")?.filter(|prompt| !prompt.is_empty());
        let prompt = prompt.ok_or_else(|| Refusal::missing("prompt"))?;
        pictures(body, route)?;
        let size = size(body, route)?;
        flag(body, "watermark")?;
        if flag(body, "stream")? == Some(true) {
            return Err(Refusal::bad("stream", "streaming is not simulated"));
        }
        one_of(body, "sequential_image_generation", &["auto", "disabled"])?;
        whole(body, "seed", -1, 2_147_483_647)?;
        let inline = one_of(body, "response_format", &["url", "b64_json"])? == Some("b64_json");
        let said = if route.formats.is_empty() { None } else { one_of(body, "output_format", &["png", "jpeg"])? };
        let format = said.and_then(Format::parse).unwrap_or(Format::Jpeg);
        Ok(Self { prompt: prompt.into(), size, format, inline })
    }
}

/// `image`: one address or several.
fn pictures(body: &Map<String, Value>, route: &Route) -> Result<(), Refusal> {
    let given = match body.get("image") {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Array(list)) => list.iter().collect(),
        Some(one) => vec![one],
    };
    let most = route.inputs.as_ref().map_or(0, |inputs| inputs.max);
    if given.len() > most {
        return Err(Refusal::bad("image", &format!("at most {most} input images are supported")));
    }
    given.into_iter().try_for_each(|image| address(image, "image"))
}

/// A public address, or a data address whose media type is in lower case.
pub(super) fn address(image: &Value, param: &str) -> Result<(), Refusal> {
    let text = image.as_str().unwrap_or_default();
    let media = text.strip_prefix("data:image/").and_then(|rest| rest.split_once(";base64,"));
    let sound = media.is_some_and(|(kind, data)| {
        !kind.chars().any(char::is_uppercase) && base64_simd::STANDARD.check(data.as_bytes()).is_ok()
    });
    if sound || text.starts_with("https://") || text.starts_with("http://") {
        return Ok(());
    }
    Err(Refusal::bad(param, "invalid url specified or base64 format"))
}

/// `size`: a tier, which stands for a square here, or `WxH` within the model's window.
fn size(body: &Map<String, Value>, route: &Route) -> Result<Size, Refusal> {
    let usual = route.default_size.unwrap_or(Size::new(2048, 2048));
    let Some(said) = text(body, "size")? else { return Ok(usual) };
    let tiers: &[(&str, u32)] = match route.upstream.as_str() {
        id if id.contains("seedream-4-0") => &[("1K", 1024), ("2K", 2048), ("4K", 4096)],
        id if id.contains("seedream-4-5") => &[("2K", 2048), ("4K", 4096)],
        id if id.contains("5-0-pro") => &[("1K", 1024), ("1.5K", 1536), ("2K", 2048)],
        id if id.contains("seedream-5-0") => &[("2K", 2048), ("3K", 3072), ("4K", 4096)],
        _ => &[],
    };
    if let Some((_, side)) = tiers.iter().find(|(name, _)| *name == said) {
        return Ok(Size::new(*side, *side));
    }
    let plain = said.chars().all(|letter| letter.is_ascii_digit() || letter == 'x');
    let size = Size::parse(said).filter(|_| plain);
    let size = size.ok_or_else(|| Refusal::bad("size", "expected a resolution or WIDTHxHEIGHT"))?;
    let SizeRule::Pixels(window) = &route.size else { return Ok(size) };
    let pixels = u64::from(size.width) * u64::from(size.height);
    let (long, short) = (size.width.max(size.height), size.width.min(size.height));
    if pixels < window.min_area {
        return Err(Refusal::bad("size", &format!("image size must be at least {} pixels", window.min_area)));
    }
    if pixels > window.max_area {
        return Err(Refusal::bad("size", &format!("image size must be at most {} pixels", window.max_area)));
    }
    if window.max_ratio.is_some_and(|most| f64::from(long) > most * f64::from(short)) {
        return Err(Refusal::bad("size", "the aspect ratio must be between 1/16 and 16"));
    }
    if short < window.min_side || long > window.max_side {
        let why = format!("width and height must be between {} and {}", window.min_side, window.max_side);
        return Err(Refusal::bad("size", &why));
    }
    Ok(size)
}

pub(super) fn text<'a>(body: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Refusal> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Refusal::bad(name, "expected a string")),
    }
}

pub(super) fn one_of<'a>(
    body: &'a Map<String, Value>,
    name: &str,
    allowed: &[&str],
) -> Result<Option<&'a str>, Refusal> {
    match text(body, name)? {
        Some(value) if !allowed.contains(&value) => {
            Err(Refusal::bad(name, &format!("expected one of {}", allowed.join(", "))))
        }
        value => Ok(value),
    }
}

pub(super) fn flag(body: &Map<String, Value>, name: &str) -> Result<Option<bool>, Refusal> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(_) => Err(Refusal::bad(name, "expected a boolean")),
    }
}

pub(super) fn whole(body: &Map<String, Value>, name: &str, least: i64, most: i64) -> Result<Option<i64>, Refusal> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_i64().filter(|number| (least..=most).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(Refusal::bad(name, &format!("expected an integer from {least} to {most}"))),
        },
    }
}
