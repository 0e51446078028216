//! A video task: what its body may say, what becomes of it, how it is shown.

use super::super::identity::fresh_hex;
use super::error::Refusal;
use super::request::{address, flag, one_of, whole};
use crate::base::{Timestamp, Usd};
use crate::catalog::price::Metric;
use crate::catalog::{Route, SizeRule};
use crate::job::Mode;
use crate::media::Size;
use rust_decimal::Decimal;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Frames of a second.
const FRAMES: u64 = 24;

/// The ratios that a task may ask for.
const RATIOS: [&str; 7] = ["16:9", "4:3", "1:1", "3:4", "9:16", "21:9", "adaptive"];

/// What becomes of a task. It is settled when the task is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// A video.
    Made,
    /// Refused after the work.
    Refused,
    /// The model fell over.
    Failed,
    /// Given up in the queue.
    Cancelled,
}

/// One task.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) id: String,
    pub(super) route: Arc<Route>,
    pub(super) fate: Fate,
    pub(super) billed: Usd,
    /// How many polls find it unfinished, and how many there were.
    pub(super) polls: u32,
    pub(super) polled: u32,
    /// How long it takes at least.
    pub(super) latency: Duration,
    pub(super) seconds: u32,
    tokens: u64,
    resolution: String,
    ratio: String,
    seed: i64,
    born: Instant,
    created: i64,
}

impl Task {
    /// Reads the body as that model's task, or says what is wrong with it.
    pub(super) fn read(body: &Map<String, Value>, route: Arc<Route>, refused: bool) -> Result<Self, Refusal> {
        let prompt = content(body, &route)?;
        let tiers = match &route.size {
            SizeRule::Ratios { tiers, .. } => tiers.iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        };
        let tiers: Vec<&str> = tiers.iter().map(String::as_str).collect();
        let resolution = one_of(body, "resolution", &tiers)?.unwrap_or("720p");
        let ratio = one_of(body, "ratio", &RATIOS)?.unwrap_or("16:9");
        let newest = route.upstream.contains("seedance-2");
        if let Some(name) = ["seed", "camera_fixed"].iter().find(|name| newest && body.contains_key(**name)) {
            return Err(Refusal::bad(name, "the parameter is not supported by this model"));
        }
        let tier = one_of(body, "service_tier", &["default", "flex"])?;
        if newest && tier == Some("flex") {
            return Err(Refusal::bad("service_tier", "flex is not supported by this model"));
        }
        let seed = whole(body, "seed", -1, 4_294_967_295)?.unwrap_or(1);
        for name in ["watermark", "camera_fixed", "generate_audio", "return_last_frame", "draft"] {
            flag(body, name)?;
        }
        let seconds = duration(body, &route.upstream)?;
        let size = pixels(resolution, ratio);
        let tokens = u64::from(size.width) * u64::from(size.height) * FRAMES * u64::from(seconds) / 1024;
        let fate = match prompt {
            _ if refused || prompt.contains("[refuse]") => Fate::Refused,
            _ if prompt.contains("[fail]") => Fate::Failed,
            _ => Fate::Made,
        };
        // Only what succeeds is billed.
        let billed = if fate == Fate::Made { price(body, &route, tokens, seconds) } else { Usd::ZERO };
        Ok(Self {
            id: format!("cgt-{}", fresh_hex()),
            fate,
            billed,
            polls: 0,
            polled: 0,
            latency: Duration::ZERO,
            seconds,
            tokens,
            resolution: resolution.to_owned(),
            ratio: ratio.to_owned(),
            seed,
            born: Instant::now(),
            created: Timestamp::now().seconds(),
            route,
        })
    }

    /// Where it is.
    pub(super) fn status(&self) -> &'static str {
        let elapsed = self.born.elapsed();
        let polled = |beyond: u32| self.polls == 0 || self.polled > beyond;
        let done = polled(self.polls) && elapsed >= self.latency;
        match self.fate {
            Fate::Cancelled => "cancelled",
            Fate::Made if done => "succeeded",
            Fate::Refused | Fate::Failed if done => "failed",
            _ if polled(self.polls.div_ceil(2)) && elapsed * 4 >= self.latency => "running",
            _ => "queued",
        }
    }

    /// The task object, its video at `link`.
    pub(super) fn show(&self, link: &str) -> Value {
        let status = self.status();
        let mut object = json!({
            "id": self.id,
            "model": self.route.upstream,
            "status": status,
            "created_at": self.created,
            "updated_at": Timestamp::now().seconds(),
            "service_tier": "default",
        });
        match status {
            "succeeded" => {
                let more = json!({
                    "error": null,
                    "content": {"video_url": link},
                    "usage": {"completion_tokens": self.tokens, "total_tokens": self.tokens},
                    "seed": self.seed,
                    "resolution": self.resolution,
                    "ratio": self.ratio,
                    "duration": self.seconds,
                    "framespersecond": FRAMES,
                });
                object
                    .as_object_mut()
                    .into_iter()
                    .for_each(|fields| fields.extend(more.as_object().cloned().unwrap_or_default()));
            }
            "failed" if self.fate == Fate::Refused => {
                object["error"] = json!({
                    "code": "OutputVideoSensitiveContentDetected",
                    "message": "The request failed because the output video may contain sensitive information.",
                });
            }
            "failed" => {
                object["error"] = json!({
                    "code": "InternalServerError",
                    "message": "The service encountered an unexpected internal error.",
                });
            }
            _ => {}
        }
        object
    }
}

/// Checks `content` against what the model takes, and gives the text in it.
fn content<'a>(body: &'a Map<String, Value>, route: &Route) -> Result<&'a str, Refusal> {
    let list = body.get("content").and_then(Value::as_array).ok_or_else(|| Refusal::missing("content"))?;
    let (mut prompt, mut frames) = ("", 0);
    for part in list {
        match part["type"].as_str() {
            Some("text") => prompt = part["text"].as_str().ok_or_else(|| Refusal::missing("content.text"))?,
            Some("image_url") => {
                address(&part["image_url"]["url"], "content.image_url")?;
                frames += 1;
            }
            Some("video_url" | "audio_url" | "draft_task") => {
                return Err(Refusal::bad("content.type", "references other than images are not simulated"));
            }
            _ => return Err(Refusal::bad("content.type", "unknown content type")),
        }
    }
    let takes = |mode| route.modes.contains(&mode);
    match frames {
        0 if prompt.is_empty() => Err(Refusal::missing("content")),
        0 if !takes(Mode::TextToVideo) => Err(Refusal::bad("content", "this model needs an image")),
        1.. if !takes(Mode::ImageToVideo) => Err(Refusal::bad("content", "this model does not take images")),
        _ => Ok(prompt),
    }
}

/// Seconds of video; the model's own choice is five.
fn duration(body: &Map<String, Value>, model: &str) -> Result<u32, Refusal> {
    let (least, most) = match model {
        _ if model.contains("1-5") => (4, 12),
        _ if model.contains("2-0") => (4, 15),
        _ if model.contains("2-5") => (4, 30),
        _ => (2, 12),
    };
    let free = !model.contains("seedance-1-0") && body.get("duration").and_then(Value::as_i64) == Some(-1);
    let said = if free { None } else { whole(body, "duration", least, most)? };
    Ok(said.and_then(|said| u32::try_from(said).ok()).unwrap_or(5))
}

/// The pixels of a resolution and a ratio, as the 2.0 family makes them.
fn pixels(resolution: &str, ratio: &str) -> Size {
    let column = match ratio {
        "4:3" | "3:4" => 1,
        "1:1" => 2,
        "21:9" => 3,
        _ => 0,
    };
    let row: [(u32, u32); 4] = match resolution {
        "480p" => [(864, 496), (752, 560), (640, 640), (992, 432)],
        "1080p" => [(1920, 1080), (1664, 1248), (1440, 1440), (2206, 946)],
        "4k" => [(3840, 2160), (3326, 2494), (2880, 2880), (4400, 1886)],
        _ => [(1280, 720), (1112, 834), (960, 960), (1470, 630)],
    };
    let (long, short) = row[column];
    if ["9:16", "3:4"].contains(&ratio) { Size::new(short, long) } else { Size::new(long, short) }
}

/// The bill: tokens or seconds, at the prices of the lines whose conditions hold.
fn price(body: &Map<String, Value>, route: &Route, tokens: u64, seconds: u32) -> Usd {
    let said = |name: &str| match body.get(name) {
        None | Some(Value::Null) => "unsaid".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let lines = route.price.lines.iter().filter(|line| line.when.iter().all(|(name, list)| list.contains(&said(name))));
    let dollars: Decimal = lines
        .map(|line| {
            let units = if line.metric == Metric::Second { u64::from(seconds) } else { tokens };
            Decimal::from(units) * line.unit_price / Decimal::from(line.unit_size)
        })
        .sum();
    Usd::from_dollars(dollars).unwrap_or_default()
}
