//! The second generation: the model in the path, a nested body, one query for all tasks.

use super::super::bill;
use super::super::body::{Fields, Flaw, picture};
use super::super::queue::{Fate, Job, Phase, Queue, Work};
use super::super::steering::Fault;
use super::Order;
use crate::catalog::Route;
use crate::job::Mode;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Reads a creating call; `None` when there is no such endpoint or no such model there.
pub(super) fn read(path: &str, body: &Map<String, Value>, queue: &Queue) -> Result<Option<(Order, Arc<Route>)>, Flaw> {
    let fields = Fields(body);
    let (kind, _) = path.split_once('/').unwrap_or_default();
    let (prompt, framed) = match kind {
        "text-to-video" => (fields.required("prompt", 3_072)?.to_owned(), false),
        "image-to-video" | "omni-video" => contents(fields)?,
        _ => return Ok(None),
    };
    if kind == "image-to-video" && !framed {
        return Err(Flaw::new("contents", "must have a first_frame"));
    }
    let mode = if framed { Mode::ImageToVideo } else { Mode::TextToVideo };
    let Some(route) = queue.route(path, mode) else { return Ok(None) };
    let none = Map::new();
    let settings = fields.object("settings")?.unwrap_or(Fields(&none));
    let turbo = path.ends_with("turbo");
    let resolutions: &[&str] = if turbo { &["720p", "1080p"] } else { &["720p", "1080p", "4k"] };
    let resolution = settings.one_of("resolution", resolutions)?.unwrap_or("720p");
    let audio = settings.one_of("audio", &["native", "off"])?;
    if turbo && audio.is_some() {
        return Err(Flaw::new("settings.audio", "is not a parameter of this model"));
    }
    if settings.one_of("aspect_ratio", &["16:9", "9:16", "1:1"])?.is_some() && framed {
        return Err(Flaw::new("settings.aspect_ratio", "follows the image"));
    }
    let seconds = settings.whole("duration", 3..=15)?.unwrap_or(5);
    let said = json!({"resolution": resolution, "audio": audio});
    let price = said.as_object().map(|said| bill::video(&route.price, said, seconds)).unwrap_or_default();
    let order = Order { prompt, work: Work::Video(seconds), price };
    Ok(Some((order, route)))
}

/// The prompt, and whether there is a first frame.
fn contents(fields: Fields<'_>) -> Result<(String, bool), Flaw> {
    let (mut prompt, mut framed) = (None, false);
    for part in fields.list("contents", 10)? {
        match part["type"].as_str() {
            Some("prompt") => prompt = part["text"].as_str().map(str::to_owned),
            Some(kind @ ("first_frame" | "last_frame")) => {
                framed |= kind == "first_frame";
                match part["url"].as_str() {
                    Some(text) if text.starts_with("http") => {}
                    Some(text) => picture("contents", text)?,
                    None => return Err(Flaw::new("contents", "url is required")),
                }
            }
            _ => return Err(Flaw::new("contents", "type is unknown")),
        }
    }
    let prompt = prompt.filter(|text| !text.is_empty()).ok_or_else(|| Flaw::new("contents", "must have a prompt"))?;
    Ok((prompt, framed))
}

/// The task as the query lists it.
pub(super) fn show(job: &Job, base: &str, fault: Option<Fault>) -> Value {
    let status = match (job.phase(), job.fate) {
        (Phase::Queued, _) => "submitted",
        (Phase::Running, _) => "processing",
        (Phase::Done, Fate::Made) => "succeeded",
        (Phase::Done, _) => "failed",
    };
    let failed = job.phase() == Phase::Done && job.fate == Fate::Failed;
    let message = if failed { "The service is busy, please try again later." } else { "" };
    let mut task = json!({
        "id": job.id, "status": status, "message": message,
        "create_time": job.created.millis(), "update_time": job.created.millis(),
    });
    if job.phase() == Phase::Done && job.fate == Fate::Made {
        let seconds = match job.work {
            Work::Video(seconds) => seconds,
            Work::Pictures(_) => 0,
        };
        let file = |url: String| json!({"type": "video", "url": url, "duration": seconds.to_string()});
        task["outputs"] = super::links(job, base, fault).into_iter().map(file).collect();
    }
    task
}
