//! The first generation: `/v1/…` with the model's name in a flat body.

use super::super::bill;
use super::super::body::{Fields, Flaw, picture};
use super::super::easel::Motif;
use super::super::queue::{Fate, Job, Phase, Queue, Work};
use super::super::steering::Fault;
use super::Order;
use crate::base::Usd;
use crate::catalog::Route;
use crate::job::Mode;
use crate::media::{Format, Ratio, Size, Tier};
use serde_json::{Map, Value, json};
use std::sync::Arc;

const SHAPES: [&str; 8] = ["16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9"];

/// Reads a creating call; `None` when there is no such endpoint or no such model there.
pub(super) fn read(path: &str, body: &Map<String, Value>, queue: &Queue) -> Result<Option<(Order, Arc<Route>)>, Flaw> {
    let fields = Fields(body);
    let name = fields.text("model_name")?.unwrap_or_default();
    let (upstream, mode) = match path {
        "v1/videos/text2video" => (name.to_owned(), Mode::TextToVideo),
        "v1/videos/image2video" => (name.to_owned(), Mode::ImageToVideo),
        "v1/videos/omni-video" if body.contains_key("image_list") => (format!("{path}/{name}"), Mode::ImageToVideo),
        "v1/videos/omni-video" => (format!("{path}/{name}"), Mode::TextToVideo),
        "v1/images/generations" | "v1/images/omni-image" => (format!("{path}/{name}"), Mode::TextToImage),
        _ => return Ok(None),
    };
    let Some(route) = queue.route(&upstream, mode) else { return Ok(None) };
    let prompt = fields.required("prompt", 2_500)?.to_owned();
    pictures(path, fields)?;
    let (work, price) = match mode {
        Mode::TextToImage => still(path, fields, &route, &prompt)?,
        _ => video(fields, &route, mode)?,
    };
    Ok(Some((Order { prompt, work, price }, route)))
}

/// Base64 without anything in front, or links, which are taken on trust.
fn base64(field: &str, value: &Value) -> Result<(), Flaw> {
    match value.as_str() {
        Some(text) if text.starts_with("http") => Ok(()),
        Some(text) if text.starts_with("data:") => Err(Flaw::new(field, "must not have a data prefix")),
        Some(text) => picture(field, text),
        None => Err(Flaw::new(field, "must be a string")),
    }
}

fn pictures(path: &str, fields: Fields<'_>) -> Result<(), Flaw> {
    for field in ["image", "image_tail"] {
        fields.0.get(field).map_or(Ok(()), |image| base64(field, image))?;
    }
    let inner = if path.ends_with("omni-video") { "image_url" } else { "image" };
    let list = fields.list("image_list", if inner == "image" { 10 } else { 7 })?;
    for image in list {
        base64("image_list", &image[inner])?;
        let kind = &image["type"];
        if !kind.is_null() && kind != "first_frame" && kind != "end_frame" {
            return Err(Flaw::new("image_list", "type must be first_frame or end_frame"));
        }
    }
    if path.ends_with("image2video") && !fields.0.contains_key("image") {
        return Err(Flaw::new("image", "is required"));
    }
    Ok(())
}

fn still(path: &str, fields: Fields<'_>, route: &Route, prompt: &str) -> Result<(Work, Usd), Flaw> {
    let count = fields.whole("n", 1..=9)?.unwrap_or(1);
    let tiers: &[&str] = if route.upstream.ends_with("v3-omni") { &["1k", "2k", "4k"] } else { &["1k", "2k"] };
    let tier = fields.one_of("resolution", tiers)?.and_then(Tier::parse).map_or(1024.0, |tier| tier.edge());
    let omni = path.ends_with("omni-image");
    let shape = match fields.text("aspect_ratio")? {
        Some("auto") if omni => "16:9",
        _ => fields.one_of("aspect_ratio", &SHAPES)?.unwrap_or("16:9"),
    };
    let size = Size::of_ratio(Ratio::parse(shape).map_or(1.0, |ratio| ratio.value()), tier);
    let motif = |index| Motif { prompt: prompt.into(), index, size, format: Format::Png, black: false };
    Ok((Work::Pictures((0..count).map(motif).collect()), bill::price(&route.price, fields.0, size, count.into())))
}

fn video(fields: Fields<'_>, route: &Route, mode: Mode) -> Result<(Work, Usd), Flaw> {
    let pro = fields.one_of("mode", &["std", "pro"])? == Some("pro");
    let sound = fields.one_of("sound", &["on", "off"])? == Some("on");
    let name = route.upstream.rsplit('/').next().unwrap_or_default();
    if sound && ((name == "kling-v2-6" && !pro) || ["kling-v1", "kling-v2-master", "kling-v2-5-turbo"].contains(&name))
    {
        return Err(Flaw::new("sound", "is not supported by this model in this mode"));
    }
    let shape = fields.one_of("aspect_ratio", &SHAPES[..3])?;
    if shape.is_some() && mode == Mode::ImageToVideo {
        return Err(Flaw::new("aspect_ratio", "follows the image"));
    }
    if shape.is_none() && mode == Mode::TextToVideo && route.upstream.contains("omni-video") {
        return Err(Flaw::new("aspect_ratio", "is required without a first frame"));
    }
    let said = fields.text("duration")?.unwrap_or("5");
    let bounds = match name {
        "kling-v3" | "kling-v3-omni" => 3..=15,
        "kling-video-o1" => 3..=10,
        _ => 5..=10,
    };
    let fits = |seconds: &u32| bounds.contains(seconds) && (*bounds.start() == 3 || seconds.is_multiple_of(5));
    let seconds =
        said.parse().ok().filter(fits).ok_or_else(|| Flaw::new("duration", "is not a length of the model"))?;
    Ok((Work::Video(seconds), bill::video(&route.price, fields.0, seconds)))
}

/// The task as its query tells it.
pub(super) fn show(job: &Job, base: &str, fault: Option<Fault>) -> Value {
    let status = match (job.phase(), job.fate) {
        (Phase::Queued, _) => "submitted",
        (Phase::Running, _) => "processing",
        (Phase::Done, Fate::Made) => "succeed",
        (Phase::Done, _) => "failed",
    };
    let mut task = json!({
        "task_id": job.id, "task_status": status, "task_status_msg": "",
        "created_at": job.created.millis(), "updated_at": job.created.millis(),
    });
    if job.phase() != Phase::Done {
        return task;
    }
    // Units are the account's own measure; how many a dollar buys is not simulated.
    task["final_unit_deduction"] = if job.fate == Fate::Made { "1" } else { "0" }.into();
    if job.fate == Fate::Failed {
        task["task_status_msg"] = "The service is busy, please try again later.".into();
    }
    if job.fate == Fate::Made {
        let links = super::links(job, base, fault).into_iter().enumerate();
        task["task_result"] = match &job.work {
            Work::Video(seconds) => {
                let file = |(index, url): (usize, String)| json!({"id": format!("{}-{index}", job.id), "url": url, "duration": format!("{seconds}.1")});
                json!({"videos": links.map(file).collect::<Vec<_>>()})
            }
            Work::Pictures(_) => {
                let file = |(index, url): (usize, String)| json!({"index": index, "url": url});
                json!({"images": links.map(file).collect::<Vec<_>>()})
            }
        };
    }
    task
}
