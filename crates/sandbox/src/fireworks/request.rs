//! The body of an image call, read as Fireworks reads it: the first mistake is told.

use super::error::Refusal;
use crate::catalog::{Route, SizeRule};
use crate::media::size::to_side;
use crate::media::{Format, Limits, Ratio, Size, inspect_base64};
use axum::http::{HeaderMap, header};
use rand::RngExt;
use serde_json::{Map, Value};
use std::sync::Arc;

/// How the picture is handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Base64 of a PNG.
    Json,
    /// The file alone.
    File(Format),
}

impl Answer {
    /// As `Accept` says; a PNG when it says nothing.
    fn read(headers: &HeaderMap) -> Self {
        let said = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if said.contains("application/json") {
            Self::Json
        } else if said.contains("image/jpeg") {
            Self::File(Format::Jpeg)
        } else {
            Self::File(Format::Png)
        }
    }

    pub(super) const fn format(self) -> Format {
        match self {
            Self::Json => Format::Png,
            Self::File(format) => format,
        }
    }
}

/// A legal call.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) prompt: Arc<str>,
    pub(super) size: Size,
    pub(super) seed: u64,
    pub(super) answer: Answer,
    /// The format of a job's file.
    pub(super) format: Format,
    /// The body as it was sent, for prices.
    pub(super) input: Map<String, Value>,
}

impl Order {
    pub(super) fn read(input: Map<String, Value>, route: &Route, headers: &HeaderMap) -> Result<Self, Refusal> {
        let prompt = text(&input, "prompt")?.filter(|text| !text.is_empty());
        let prompt: Arc<str> = prompt.ok_or_else(|| Refusal::bad("prompt: field required"))?.into();
        let picture = picture(&input)?;
        let size = match (sides(&input, route)?, ratio(&input, route)?) {
            (Some(size), _) => size,
            (None, Some(ratio)) => at_a_megapixel(ratio),
            (None, None) => picture.map_or(Size::new(1024, 1024), |picture| at_a_megapixel(picture.ratio())),
        };
        let format = match text(&input, "output_format")? {
            None | Some("jpeg") => Format::Jpeg,
            Some("png") => Format::Png,
            Some(_) => return Err(Refusal::bad("output_format: must be jpeg or png")),
        };
        whole(&input, "num_inference_steps", 1, 50)?;
        whole(&input, "steps", 1, 50)?;
        whole(&input, "safety_tolerance", 0, if picture.is_some() { 2 } else { 6 })?;
        let seed = whole(&input, "seed", 0, u64::MAX)?.filter(|seed| *seed > 0);
        let seed = seed.unwrap_or_else(|| rand::rng().random::<u32>().into());
        Ok(Self { prompt, size, seed, answer: Answer::read(headers), format, input })
    }
}

/// The older models have listed sides.
fn sides(input: &Map<String, Value>, route: &Route) -> Result<Option<Size>, Refusal> {
    let SizeRule::List { sizes, .. } = &route.size else { return Ok(None) };
    let side = |name: &str| Ok(whole(input, name, 64, 2048)?.and_then(|side| u32::try_from(side).ok()).unwrap_or(1024));
    let size = Size::new(side("width")?, side("height")?);
    let text = || Refusal::bad(format!("width, height: {size} is not supported"));
    Some(size).filter(|size| sizes.contains(size)).map(Some).ok_or_else(text)
}

/// A listed shape for FLUX.1, any between 21:9 and 9:21 for Kontext.
fn ratio(input: &Map<String, Value>, route: &Route) -> Result<Option<f64>, Refusal> {
    let Some(said) = text(input, "aspect_ratio")? else { return Ok(None) };
    let ratio = Ratio::parse(said).map(|ratio| ratio.value());
    let listed = match &route.size {
        SizeRule::Ratios { ratios, .. } => ratios.iter().any(|known| known.to_string() == said),
        _ => false,
    };
    let widest = 21.0 / 9.0 + 1e-9;
    let free = route.upstream.contains("/flux-kontext-");
    let fits = |ratio: &f64| listed || (free && (1.0 / widest..=widest).contains(ratio));
    let text = || Refusal::bad(format!("aspect_ratio: '{said}' is not supported"));
    ratio.filter(fits).map(Some).ok_or_else(text)
}

/// The size of the picture to edit: a link counts as 1024x1024, base64 is looked at.
fn picture(input: &Map<String, Value>) -> Result<Option<Size>, Refusal> {
    let Some(said) = text(input, "input_image")? else { return Ok(None) };
    if said.starts_with("http://") || said.starts_with("https://") {
        return Ok(Some(Size::new(1024, 1024)));
    }
    let bare = said.split_once(";base64,").map_or(said, |(_, data)| data);
    let facts = inspect_base64(bare.as_bytes(), &Limits::default());
    facts.map(|facts| Some(facts.size)).map_err(|_| Refusal::bad("input_image: neither an address nor an image"))
}

/// That shape with a megapixel, sides in steps of 16.
fn at_a_megapixel(ratio: f64) -> Size {
    let side = |side: f64| to_side((side / 16.0).round().max(1.0)) * 16;
    Size::new(side(1024.0 * ratio.sqrt()), side(1024.0 / ratio.sqrt()))
}

fn text<'a>(input: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Refusal> {
    match input.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Refusal::bad(format!("{name}: must be a string"))),
    }
}

fn whole(input: &Map<String, Value>, name: &str, least: u64, most: u64) -> Result<Option<u64>, Refusal> {
    let Some(value) = input.get(name).filter(|value| !value.is_null()) else { return Ok(None) };
    let number = value.as_u64().filter(|number| (least..=most).contains(number));
    number.map(Some).ok_or_else(|| Refusal::bad(format!("{name}: must be between {least} and {most}")))
}
