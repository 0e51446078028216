//! The body of `POST /generations`.

use super::super::bill;
use super::super::body::{Fields, Flaw, address, picture};
use super::super::easel::Motif;
use super::super::queue::{Queue, Work};
use crate::base::Usd;
use crate::catalog::Route;
use crate::job::Mode;
use crate::media::{Format, Ratio, Size};
use serde_json::{Map, Value, json};
use std::sync::Arc;

const PICTURES: [&str; 12] = ["3:1", "2:1", "21:9", "16:9", "4:3", "3:2", "1:1", "3:4", "2:3", "9:16", "1:2", "1:3"];
const VIDEOS: [&str; 6] = ["9:16", "3:4", "1:1", "4:3", "16:9", "21:9"];

/// A legal call.
pub(super) struct Order {
    pub(super) prompt: String,
    pub(super) route: Arc<Route>,
    pub(super) work: Work,
    pub(super) price: Usd,
}

impl Order {
    pub(super) fn read(body: &Map<String, Value>, queue: &Queue) -> Result<Self, Flaw> {
        let fields = Fields(body);
        let prompt = fields.required("prompt", 6_000)?;
        let kind = fields.one_of("type", &["image", "image_edit", "video"])?.unwrap_or("image");
        let mode = match kind {
            "video" if frames(fields)? > 0 => Mode::ImageToVideo,
            "video" => Mode::TextToVideo,
            "image_edit" => Mode::ImageEdit,
            _ => Mode::TextToImage,
        };
        let model = fields.text("model")?.unwrap_or("uni-1");
        let route = queue.route(model, mode).ok_or_else(|| Flaw::new("model", "is not a model of this type"))?;
        let (work, price) = if kind == "video" { video(fields, &route)? } else { still(fields, &route, kind, prompt)? };
        Ok(Self { prompt: prompt.to_owned(), route, work, price })
    }
}

/// A medium: a link, or data with its type.
fn media(field: &str, value: &Value) -> Result<(), Flaw> {
    match (value["url"].is_string(), value["data"].as_str()) {
        (true, None) => address(field, &value["url"]),
        (false, Some(data)) if value["media_type"].is_string() => picture(field, data),
        (false, Some(_)) => Err(Flaw::new(field, "media_type is required with data")),
        _ => Err(Flaw::new(field, "give exactly one of url, data, generation_id or file_id")),
    }
}

fn still(fields: Fields<'_>, route: &Route, kind: &str, prompt: &str) -> Result<(Work, Usd), Flaw> {
    let edit = kind == "image_edit";
    let references = fields.list("image_ref", if edit { 8 } else { 9 })?;
    references.iter().try_for_each(|one| media("image_ref", one))?;
    match fields.object("source")? {
        Some(_) if edit => media("source", &fields.0["source"])?,
        Some(_) => return Err(Flaw::new("source", "is for edits")),
        None if edit => return Err(Flaw::new("source", "is required")),
        None => {}
    }
    fields.one_of("style", &["auto", "manga"])?;
    let format = fields.one_of("output_format", &["png", "jpeg"])?.and_then(Format::parse).unwrap_or(Format::Png);
    let ratio = fields.one_of("aspect_ratio", &PICTURES)?.and_then(Ratio::parse).map_or(1.0, |ratio| ratio.value());
    // All pictures are of the 2K class.
    let size = Size::of_ratio(ratio, 2048.0);
    let price = bill::price(&route.price, fields.0, size, 1);
    let given = bill::inputs(&route.price, fields.0, references.len() + usize::from(edit));
    let motif = Motif { prompt: prompt.into(), index: 0, size, format, black: false };
    Ok((Work::Pictures(vec![motif]), price + given))
}

/// How many frames are given.
fn frames(fields: Fields<'_>) -> Result<usize, Flaw> {
    let Some(video) = fields.object("video")? else { return Ok(0) };
    let given: Vec<&Value> = ["start_frame", "end_frame"].iter().filter_map(|name| video.0.get(*name)).collect();
    given.iter().try_for_each(|frame| media("video.start_frame", frame))?;
    Ok(given.len())
}

fn video(fields: Fields<'_>, route: &Route) -> Result<(Work, Usd), Flaw> {
    fields.one_of("aspect_ratio", &VIDEOS)?;
    let none = Map::new();
    let video = fields.object("video")?.unwrap_or(Fields(&none));
    let resolution = video.one_of("resolution", &["360p", "540p", "720p", "1080p"])?.unwrap_or("720p");
    let duration = video.one_of("duration", &["5s", "10s"])?.unwrap_or("5s");
    let (hdr, exr) = (video.flag("hdr")? == Some(true), video.flag("exr_export")? == Some(true));
    let looped = video.flag("loop")? == Some(true);
    if duration == "10s" && (hdr || looped || frames(fields)? > 0) {
        return Err(Flaw::new("video.duration", "10s is not supported with hdr, loop, start_frame or end_frame"));
    }
    if (hdr && ["360p", "540p"].contains(&resolution)) || (exr && !hdr) {
        return Err(Flaw::new("video.hdr", "is not supported so"));
    }
    let said = json!({"resolution": resolution, "duration": duration, "hdr": hdr, "exr_export": exr});
    let seconds = if duration == "10s" { 10 } else { 5 };
    let price = said.as_object().map(|said| bill::video(&route.price, said, seconds)).unwrap_or_default();
    Ok((Work::Video(seconds), price))
}
