//! What the image and video endpoints take, and the checks that come before anything is made.

use super::error::Refusal;
use super::fields::{one_of, text, whole};
use super::source::Source;
use crate::catalog::{Route, SizeRule};
use crate::media::size::to_side;
use crate::media::{Facts, Format, Limits, Ratio, Size, Tier, inspect};
use serde_json::{Map, Value};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// The parameters of pictures, of edits besides, and of videos.
const OF_PICTURES: [&str; 9] =
    ["model", "prompt", "n", "response_format", "aspect_ratio", "resolution", "quality", "user", "storage_options"];
const OF_EDITS: [&str; 2] = ["image", "images"];
const OF_VIDEOS: [&str; 11] = [
    "model",
    "prompt",
    "duration",
    "aspect_ratio",
    "resolution",
    "image",
    "reference_images",
    "reference_audios",
    "generate_audio",
    "user",
    "storage_options",
];
/// The parameters of what is made of a video, and of its extension besides.
const OF_SOURCES: [&str; 5] = ["model", "prompt", "video", "user", "storage_options"];
const OF_EXTENSIONS: &str = "duration";

/// How long a video may be that is edited, or gone on from, in milliseconds.
const EDITED: RangeInclusive<u64> = 1..=8_700;
const EXTENDED: RangeInclusive<u64> = 2_000..=30_000;

/// The largest input picture.
const LARGEST: usize = 10 * 1024 * 1024;

/// A legal request for pictures, with `auto` resolved.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) prompt: Arc<str>,
    pub(super) n: u32,
    pub(super) size: Size,
    pub(super) scale: String,
    pub(super) quality: String,
    pub(super) inline: bool,
    /// How many pictures are edited.
    pub(super) inputs: usize,
}

/// A legal request for a video.
#[derive(Debug, Clone)]
pub(super) struct Film {
    pub(super) prompt: Arc<str>,
    /// The seconds that are made, and paid.
    pub(super) seconds: u32,
    /// The length of the file in milliseconds: an extension comes with what it extends.
    pub(super) millis: u64,
    pub(super) resolution: String,
    /// How many pictures it starts from.
    pub(super) inputs: usize,
}

impl Order {
    /// Reads a body as that route's; `edit` says at which of the two doors it was handed in.
    pub(super) fn read(body: &Map<String, Value>, route: &Route, edit: bool) -> Result<Self, Refusal> {
        let second = route.upstream.ends_with("-2.0");
        known(body, |name| {
            (OF_PICTURES.contains(&name) && (name != "quality" || second)) || (edit && OF_EDITS.contains(&name))
        })?;
        let prompt = prompt(body)?.into();
        let n = whole(body, "n", 1, 10)?.unwrap_or(1);
        let form = one_of(body, "response_format", &["url", "b64_json"])?;
        // The level that is served when it is left open.
        let usual = if edit { "medium" } else { "low" };
        let quality = one_of(body, "quality", &["low", "medium", "auto"])?.filter(|said| *said != "auto");
        let pictures = if edit { pictures(body, route)? } else { Vec::new() };
        let own = if let [one] = pictures.as_slice() { *one } else { None };
        let (ratio, scale) = shape(body, route)?;
        let edge = Tier::parse(&scale).map_or(1024.0, |tier| tier.edge());
        Ok(Self {
            prompt,
            n,
            // A single picture keeps its shape.
            size: pixels(own.map_or(ratio, Size::ratio), edge),
            scale,
            quality: quality.unwrap_or(usual).to_owned(),
            inline: form == Some("b64_json"),
            inputs: pictures.len(),
        })
    }
}

impl Film {
    /// Reads a body of `/videos/generations` as that route's.
    pub(super) fn read(body: &Map<String, Value>, route: &Route) -> Result<Self, Refusal> {
        known(body, |name| OF_VIDEOS.contains(&name))?;
        let prompt = prompt(body)?.into();
        let seconds = whole(body, "duration", 1, 15)?.unwrap_or(8);
        let (_, resolution) = shape(body, route)?;
        let inputs = match body.get("image") {
            None => 0,
            Some(image) => picture(image).map(|_| 1)?,
        };
        Ok(Self { prompt, seconds, millis: u64::from(seconds) * 1000, resolution, inputs })
    }

    /// Reads a body of `/videos/edits`: as long as what is edited.
    pub(super) fn edit(body: &Map<String, Value>) -> Result<Self, Refusal> {
        known(body, |name| OF_SOURCES.contains(&name))?;
        let prompt = prompt(body)?.into();
        let Source { millis, resolution } = Source::read(body, &EDITED)?;
        let seconds = u32::try_from(millis.div_ceil(1000)).unwrap_or(u32::MAX);
        Ok(Self { prompt, seconds, millis, resolution: resolution.to_owned(), inputs: 0 })
    }

    /// Reads a body of `/videos/extensions`: `duration` is what is added.
    pub(super) fn extension(body: &Map<String, Value>) -> Result<Self, Refusal> {
        known(body, |name| OF_SOURCES.contains(&name) || name == OF_EXTENSIONS)?;
        let prompt = prompt(body)?.into();
        let seconds = whole(body, OF_EXTENSIONS, 1, 10)?.unwrap_or(6);
        let Source { millis, resolution } = Source::read(body, &EXTENDED)?;
        let millis = millis + u64::from(seconds) * 1000;
        Ok(Self { prompt, seconds, millis, resolution: resolution.to_owned(), inputs: 0 })
    }
}

/// Refuses a parameter by its name.
fn known(body: &Map<String, Value>, known: impl Fn(&str) -> bool) -> Result<(), Refusal> {
    body.keys().find(|name| !known(name)).map_or(Ok(()), |name| Err(Refusal::unsupported(name)))
}

fn prompt(body: &Map<String, Value>) -> Result<&str, Refusal> {
    match text(body, "prompt")? {
        Some("") => Err(Refusal::invalid("Prompt must not be empty")),
        Some(prompt) => Ok(prompt),
        None => Err(Refusal::misshapen("missing field `prompt`")),
    }
}

/// The ratio that was said (square when none was) and the scale.
fn shape(body: &Map<String, Value>, route: &Route) -> Result<(f64, String), Refusal> {
    let SizeRule::Ratios { ratios, tiers, auto, .. } = &route.size else {
        return Ok((1.0, "1k".to_owned()));
    };
    let names: Vec<String> = ratios.iter().map(Ratio::to_string).chain(auto.then(|| "auto".to_owned())).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let ratio = one_of(body, "aspect_ratio", &names)?.and_then(Ratio::parse).map_or(1.0, |ratio| ratio.value());
    let scales: Vec<String> = tiers.iter().map(Tier::to_string).collect();
    let scales: Vec<&str> = scales.iter().map(String::as_str).collect();
    let scale = one_of(body, "resolution", &scales)?.or(scales.first().copied()).unwrap_or_default();
    Ok((ratio, scale.to_owned()))
}

/// The tier sets the area; edges are on a grid of 16.
fn pixels(ratio: f64, edge: f64) -> Size {
    let side = |length: f64| to_side((length / 16.0).round().max(1.0)) * 16;
    Size::new(side(edge * ratio.sqrt()), side(edge / ratio.sqrt()))
}

/// The sizes of the pictures to edit; none of one behind a link, which nobody fetches here.
fn pictures(body: &Map<String, Value>, route: &Route) -> Result<Vec<Option<Size>>, Refusal> {
    let most = route.inputs.as_ref().map_or(1, |inputs| inputs.max);
    match (body.get("image"), body.get("images")) {
        (Some(_), Some(_)) => Err(Refusal::invalid("Only one of image and images may be given")),
        (Some(one), None) => Ok(vec![picture(one)?]),
        (None, Some(Value::Array(list))) if list.len() > most => {
            Err(Refusal::invalid(format!("At most {most} images may be given, found {}", list.len())))
        }
        (None, Some(Value::Array(list))) if !list.is_empty() => list.iter().map(picture).collect(),
        (None, Some(_)) => Err(Refusal::misshapen("invalid type for `images`: expected a sequence")),
        (None, None) => Err(Refusal::invalid("An image must be given")),
    }
}

/// `{"url": …}` or `{"file_id": …}`.
fn picture(value: &Value) -> Result<Option<Size>, Refusal> {
    let Some(fields) = value.as_object() else {
        return Err(Refusal::misshapen("invalid type for `image`: expected a map"));
    };
    match (text(fields, "url")?, text(fields, "file_id")?) {
        (Some(url), None) if url.starts_with("https://") => Ok(None),
        (Some(url), None) => embedded(url).map(Some),
        (None, Some(_)) => Ok(None),
        _ => Err(Refusal::invalid("Exactly one of url and file_id must be given for an image")),
    }
}

fn embedded(url: &str) -> Result<Size, Refusal> {
    let data = url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
    let bytes = data.and_then(|(_, text)| base64_simd::STANDARD.decode_to_vec(text).ok());
    let bytes = bytes.ok_or_else(|| Refusal::invalid("Image url must be https or a base64 data URI"))?;
    if bytes.len() > LARGEST {
        return Err(Refusal::invalid("Image is larger than the limit of 10 MiB"));
    }
    match inspect(&bytes, &Limits::default()) {
        Ok(Facts { format: Format::Png | Format::Jpeg | Format::Webp, size, .. }) => Ok(size),
        _ => Err(Refusal::invalid("Unsupported image: must be a png, jpg or webp")),
    }
}
