//! What `POST /images` and `POST /videos` take. Shapes that a model does not make are clamped, as the documentation
//! says; what the endpoint does not know at all is refused.

use super::error::Refusal;
use crate::catalog::{Route, SizeRule};
use crate::media::size::to_side;
use crate::media::{Format, Limits, Ratio, Size, Tier, inspect};
use serde_json::{Map, Value};
use std::sync::Arc;

const RATIOS: [&str; 22] = [
    "1:1", "1:2", "1:4", "1:8", "2:1", "2:3", "3:2", "3:4", "4:1", "4:3", "4:5", "5:4", "8:1", "9:16", "16:9",
    "9:19.5", "19.5:9", "9:20", "20:9", "9:21", "21:9", "auto",
];
const SCALES: [&str; 4] = ["512", "1K", "2K", "4K"];
const FILM_RATIOS: [&str; 9] = ["16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9", "9:21"];
const FILM_SCALES: [&str; 7] = ["480p", "720p", "768p", "1080p", "1K", "2K", "4K"];

/// The most pictures to work from.
const MOST_REFERENCES: usize = 16;

/// A legal request for pictures.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) prompt: Arc<str>,
    pub(super) n: u32,
    pub(super) size: Size,
    pub(super) format: Format,
    /// Whether to answer as events.
    pub(super) stream: bool,
}

/// A legal request for a video.
#[derive(Debug, Clone)]
pub(super) struct Film {
    pub(super) prompt: Arc<str>,
    pub(super) seconds: u32,
}

impl Order {
    /// Reads a body as that route's.
    pub(super) fn read(body: &Map<String, Value>, route: &Route) -> Result<Self, Refusal> {
        let prompt = text(body, "prompt")?.filter(|prompt| !prompt.is_empty());
        let prompt = prompt.ok_or_else(|| Refusal::bad("prompt: Required"))?.into();
        let n = whole(body, "n", 1, 10)?.unwrap_or(1);
        if n > 1 && n > route.max_n {
            return Err(Refusal::bad(format!("{} makes at most {} images in a request", route.upstream, route.max_n)));
        }
        let format = one_of(body, "output_format", &["png", "jpeg", "webp", "svg"])?.and_then(Format::parse);
        one_of(body, "quality", &["auto", "low", "medium", "high"])?;
        one_of(body, "background", &["auto", "transparent", "opaque"])?;
        whole(body, "output_compression", 0, 100)?;
        references(body)?;
        let usual = route.default_format.unwrap_or(Format::Png);
        // Only a model with a choice honours the wish.
        let format = format.filter(|format| route.formats.contains(format)).unwrap_or(usual);
        let stream = match body.get("stream") {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::Bool(true)) => true,
            Some(_) => return Err(Refusal::bad("stream: expected a boolean")),
        };
        Ok(Self { prompt, n, size: size(body, route)?, format, stream })
    }
}

impl Film {
    /// Reads a body as a video's.
    pub(super) fn read(body: &Map<String, Value>, _route: &Route) -> Result<Self, Refusal> {
        let prompt = text(body, "prompt")?.unwrap_or_default().into();
        one_of(body, "aspect_ratio", &FILM_RATIOS)?;
        one_of(body, "resolution", &FILM_SCALES)?;
        for frame in body.get("frame_images").and_then(Value::as_array).into_iter().flatten() {
            if !matches!(frame["frame_type"].as_str(), Some("first_frame" | "last_frame")) {
                return Err(Refusal::bad("frame_images: frame_type must be first_frame or last_frame"));
            }
            picture(frame)?;
        }
        let callback = text(body, "callback_url")?.filter(|url| !url.starts_with("https://"));
        match callback {
            Some(_) => Err(Refusal::bad("callback_url: must be https")),
            None => Ok(Self { prompt, seconds: whole(body, "duration", 1, 60)?.unwrap_or(8) }),
        }
    }
}

/// `size` says all, or `aspect_ratio` and `resolution` do; not both.
fn size(body: &Map<String, Value>, route: &Route) -> Result<Size, Refusal> {
    let ratio = one_of(body, "aspect_ratio", &RATIOS)?;
    let scale = one_of(body, "resolution", &SCALES)?;
    let (edge, ratio) = match text(body, "size")? {
        Some(_) if ratio.is_some() || scale.is_some() => {
            return Err(Refusal::bad("size conflicts with aspect_ratio and resolution"));
        }
        Some(said) => match (Size::parse(said), Tier::parse(said)) {
            (Some(size), _) => return Ok(size),
            (None, Some(tier)) => (tier.edge(), 1.0),
            (None, None) => return Err(Refusal::bad(format!("size: '{said}' is neither a tier nor WIDTHxHEIGHT"))),
        },
        None => {
            let edge = scale.and_then(Tier::parse).map_or(1024.0, |tier| tier.edge());
            (edge, ratio.and_then(Ratio::parse).map_or(1.0, |ratio| clamp(ratio.value(), route)))
        }
    };
    let side = |length: f64| to_side((length / 16.0).round().max(1.0)) * 16;
    Ok(Size::new(side(edge * ratio.sqrt()), side(edge / ratio.sqrt())))
}

/// The model's shape nearest to the wish.
fn clamp(wish: f64, route: &Route) -> f64 {
    let SizeRule::Ratios { ratios, .. } = &route.size else { return wish };
    let far = |ratio: &f64| (ratio / wish).ln().abs();
    ratios.iter().map(Ratio::value).min_by(|a, b| far(a).total_cmp(&far(b))).unwrap_or(wish)
}

fn references(body: &Map<String, Value>) -> Result<(), Refusal> {
    match body.get("input_references") {
        None => Ok(()),
        Some(Value::Array(list)) if list.len() <= MOST_REFERENCES => list.iter().try_for_each(picture),
        Some(_) => Err(Refusal::bad(format!("input_references: an array of at most {MOST_REFERENCES}"))),
    }
}

/// `{"type": "image_url", "image_url": {"url": …}}`. A link is believed; nobody fetches it here.
fn picture(part: &Value) -> Result<(), Refusal> {
    let url = part["image_url"]["url"].as_str().filter(|_| part["type"] == "image_url").unwrap_or_default();
    let data = url.strip_prefix("data:image/").and_then(|rest| rest.split_once(";base64,"));
    let sound = match data {
        Some((_, text)) => {
            base64_simd::STANDARD.decode_to_vec(text).is_ok_and(|bytes| inspect(&bytes, &Limits::default()).is_ok())
        }
        None => url.starts_with("https://") || url.starts_with("http://"),
    };
    if sound { Ok(()) } else { Err(Refusal::bad("image_url: must be a URL or a base64 data URL of an image")) }
}

/// A text of the body.
pub(super) fn text<'a>(body: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Refusal> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Refusal::bad(format!("{name}: expected a string"))),
    }
}

fn one_of<'a>(body: &'a Map<String, Value>, name: &str, allowed: &[&str]) -> Result<Option<&'a str>, Refusal> {
    match text(body, name)? {
        Some(value) if !allowed.contains(&value) => {
            Err(Refusal::bad(format!("{name}: expected one of {}", allowed.join(", "))))
        }
        value => Ok(value),
    }
}

fn whole(body: &Map<String, Value>, name: &str, least: u64, most: u64) -> Result<Option<u32>, Refusal> {
    let value = match body.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value.as_u64().filter(|number| (least..=most).contains(number)),
    };
    let number = value.and_then(|number| u32::try_from(number).ok());
    number.map(Some).ok_or_else(|| Refusal::bad(format!("{name}: expected a whole number of {least} to {most}")))
}
