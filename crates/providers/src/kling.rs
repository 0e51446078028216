//! Kling (Kuaishou): pictures and videos, all of them tasks that are polled, in two generations of one API.
//! <https://app.klingai.com/global/dev/document-api> through public mirrors (read 2026-11). We know of no official
//! client.
//!
//! The catalog's ids say where a model lives: `kling-v3` is a video model of the first generation, `v1/…/kling-v3` one
//! of its other endpoints with the model's name at the end, and `text-to-video/kling-3.0` a path of the second. There
//! the body is nested and the task is asked for elsewhere. What the catalog calls a `mode` of 720p or 1080p is `std` or
//! `pro`, and sound is a word. HTTP 200 can carry an error, and a 429 an empty purse: the code tells. Nothing can be
//! cancelled. The refusal of a task that ran is a text that no page documents.

use super::{Adapter, Card, Reach, Site, Turn, shapes};
use crate::fault::{Accepted, Fault, FaultKind};
use crate::job::{Brief, Mode, Output, Source, Usage};
use crate::outbound::auth::AuthScheme;
use crate::outbound::call::{Call, Leg, Payload, Reply};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Map, Value, json};

pub(super) struct Kling;

static CARD: Card = Card {
    id: "kling",
    name: "Kling",
    base_url: "https://api-singapore.klingai.com",
    reach: Reach::Hosted,
    // A newer account's key, or `access key:secret key`.
    auth: AuthScheme::Jwt,
    key_env: "KLING_API_KEY",
    hosts: &[],
    docs: "https://app.klingai.com/global/dev/document-api",
    catalog: include_str!("../../../config/catalog/kling.toml"),
};

/// What stands under `settings` in the second generation.
const SETTINGS: [&str; 5] = ["resolution", "aspect_ratio", "duration", "audio", "multi_shot"];

impl Adapter for Kling {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn open(&self, brief: &Brief, site: &Site) -> Result<Turn, Fault> {
        let (path, mut body) = match brief.model.rsplit_once('/') {
            Some((path, name)) if path.starts_with("v1/") => (path.to_owned(), write_first(&brief.input, path, name)),
            Some((path, _)) => (brief.model.clone(), write_second(&brief.input, path)),
            None => {
                let kind = if brief.mode == Mode::TextToVideo { "text2video" } else { "image2video" };
                let path = format!("v1/videos/{kind}");
                let body = write_first(&brief.input, &path, &brief.model);
                (path, body)
            }
        };
        name_order(&mut body, &path, &brief.id);
        Ok(Turn::Next(Call::submit(format!("{}/{path}", site.base_url), Value::Object(body))))
    }

    fn read(&self, asked: &Call, reply: &Reply, site: &Site) -> Result<Turn, Fault> {
        let answer: Answer = reply.json()?;
        if answer.code != 0 {
            return Err(answer.fault(asked, reply));
        }
        let malformed = || Fault::new(FaultKind::Malformed, "an answer without a task").accepted(Accepted::Maybe);
        let task = answer.data.and_then(OneOrMany::first).ok_or_else(malformed)?;
        match (task.task_status.or(task.status).as_deref(), asked.leg) {
            (_, Leg::Submit) => match (task.task_id, task.id) {
                (Some(id), _) => Ok(Turn::Wait(Call::poll(format!("{}/{id}", asked.url)))),
                (None, Some(id)) => Ok(Turn::Wait(Call::poll(format!("{}/tasks?task_ids={id}", site.base_url)))),
                (None, None) => Err(malformed()),
            },
            (Some("submitted" | "processing"), _) => Ok(Turn::Wait(asked.clone())),
            (Some("succeed" | "succeeded"), _) => {
                let result = task.task_result.unwrap_or_default();
                let files = result.images.into_iter().chain(result.videos).chain(task.outputs);
                let outputs = files.map(|file| Output { source: Source::Link(file.url), revised_prompt: None });
                Ok(Turn::Done(outputs.collect(), Usage::default()))
            }
            (Some("failed"), _) => {
                let text = task.task_status_msg.or(task.message).filter(|text| !text.is_empty());
                let text = text.unwrap_or_else(|| "the task failed".to_owned());
                let refused = text.to_lowercase().contains("risk control");
                let kind = if refused { FaultKind::Moderated } else { FaultKind::Unavailable };
                let taken = task.final_unit_deduction.and_then(|units| units.parse::<Decimal>().ok());
                let accepted =
                    taken.map_or(Accepted::Maybe, |units| if units.is_zero() { Accepted::No } else { Accepted::Yes });
                let code = Some("failed".to_owned());
                Err(Fault::new(kind, text).accepted(accepted).status(reply.status).code(code))
            }
            (status, _) => Err(shapes::unknown_status(status.unwrap_or_default())),
        }
    }

    fn look_up(&self, submit: &Call, site: &Site) -> Option<Call> {
        let Payload::Json(body) = &submit.payload else { return None };
        let first = body[ORDER].as_str().map(|order| format!("{}/{order}", submit.url));
        let second = || {
            body["options"][ORDER].as_str().map(|order| format!("{}/tasks?external_task_ids={order}", site.base_url))
        };
        first.or_else(second).map(Call::poll)
    }

    fn fault(&self, asked: &Call, reply: &Reply) -> Fault {
        match serde_json::from_slice::<Answer>(&reply.body) {
            Ok(answer) if answer.code != 0 => answer.fault(asked, reply),
            _ => shapes::fault(asked, reply),
        }
    }
}

/// The field with an id of ours, by which a task can be asked for as well. Pictures are not documented to have it.
const ORDER: &str = "external_task_id";

fn name_order(body: &mut Map<String, Value>, path: &str, order: &str) {
    if path.starts_with("v1/videos/") {
        body.insert(ORDER.to_owned(), json!(order));
    } else if !path.starts_with("v1/")
        && let Value::Object(options) = body.entry("options").or_insert_with(|| json!({}))
    {
        options.insert(ORDER.to_owned(), json!(order));
    }
}

/// The flat body of the first generation.
fn write_first(input: &Map<String, Value>, path: &str, name: &str) -> Map<String, Value> {
    let mut body = input.clone();
    body.insert("model_name".to_owned(), Value::from(name));
    match body.get("mode").and_then(Value::as_str) {
        Some("720p") => drop(body.insert("mode".to_owned(), json!("std"))),
        Some("1080p") => drop(body.insert("mode".to_owned(), json!("pro"))),
        _ => {}
    }
    if let Some(sound) = body.get("sound").and_then(Value::as_bool) {
        body.insert("sound".to_owned(), json!(if sound { "on" } else { "off" }));
    }
    if path.ends_with("omni-video") {
        let frames = [("image", "first_frame"), ("image_tail", "end_frame")];
        let frames = frames.iter().filter_map(|(field, kind)| Some((body.remove(*field)?, kind)));
        let frames: Vec<Value> = frames.map(|(image, kind)| json!({"image_url": image, "type": kind})).collect();
        body.extend((!frames.is_empty()).then(|| ("image_list".to_owned(), Value::Array(frames))));
    } else if let Some(Value::Array(images)) = body.get_mut("image_list") {
        images.iter_mut().filter(|image| image.is_string()).for_each(|image| *image = json!({"image": image.take()}));
    }
    body
}

/// The nested body of the second generation. Only what is made from text alone has its prompt at the top.
fn write_second(input: &Map<String, Value>, path: &str) -> Map<String, Value> {
    let mut body = input.clone();
    let named = SETTINGS.iter().filter_map(|name| Some(((*name).to_owned(), body.remove(*name)?)));
    let mut settings: Map<String, Value> = named.collect();
    if let Some(audio) = settings.get("audio").and_then(Value::as_bool) {
        settings.insert("audio".to_owned(), json!(if audio { "native" } else { "off" }));
    }
    if path != "text-to-video" {
        let prompt = body.remove("prompt").map(|text| json!({"type": "prompt", "text": text}));
        let frames = [("image", "first_frame"), ("image_tail", "last_frame")];
        let frames = frames.iter().filter_map(|(field, kind)| Some(json!({"type": kind, "url": body.remove(*field)?})));
        let contents = prompt.into_iter().chain(frames.collect::<Vec<_>>()).collect();
        body.insert("contents".to_owned(), contents);
    }
    body.insert("settings".to_owned(), Value::Object(settings));
    body
}

#[derive(Deserialize)]
struct Answer {
    code: i64,
    #[serde(default)]
    message: String,
    data: Option<OneOrMany>,
}

impl Answer {
    /// What a code means (the reference's table of error codes). Below 5000 the provider refuses, and has not begun.
    fn fault(&self, asked: &Call, reply: &Reply) -> Fault {
        let kind = match self.code {
            1000..=1004 | 1100..=1103 | 1304 => FaultKind::Auth,
            1200 | 1201 => FaultKind::BadRequest,
            1202 | 1203 => shapes::kind(asked, 404),
            1300 | 1301 => FaultKind::Moderated,
            1302 | 1303 => FaultKind::RateLimited,
            5002 => FaultKind::Timeout,
            _ => FaultKind::Unavailable,
        };
        let begun = shapes::accepted(asked, if reply.ok() { 500 } else { reply.status });
        Fault::new(kind, self.message.clone())
            .accepted(if self.code < 5_000 { Accepted::No } else { begun })
            .status(reply.status)
            .code(Some(self.code.to_string()))
            .retry_after(reply.retry_after)
    }
}

/// The second generation answers a question with a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    Many(Vec<Task>),
    One(Box<Task>),
}

impl OneOrMany {
    fn first(self) -> Option<Task> {
        match self {
            Self::Many(tasks) => tasks.into_iter().next(),
            Self::One(task) => Some(*task),
        }
    }
}

/// A task of either generation.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Task {
    task_id: Option<String>,
    task_status: Option<String>,
    task_status_msg: Option<String>,
    task_result: Option<Files>,
    final_unit_deduction: Option<String>,
    id: Option<String>,
    status: Option<String>,
    message: Option<String>,
    outputs: Vec<File>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Files {
    images: Vec<File>,
    videos: Vec<File>,
}

#[derive(Deserialize)]
struct File {
    url: String,
}
