//! Runway: pictures and videos, its own models and others', all of them tasks that are polled.
//! <https://docs.dev.runwayml.com/api/> and the types of its SDK 5.24.0 (read 2026-11). The official SDKs take another
//! base address.
//!
//! Every call names the version of the API. A task held back behind our own limit is `THROTTLED`, which is no error.
//! A finished task says what it cost, in credits of a cent; what failed is usually given back, and it says so too. A
//! prompt or an output is refused as a failure whose code has `SAFETY` in it.

use super::{Adapter, Card, Reach, Site, Turn, shapes};
use crate::fault::{Accepted, Fault, FaultKind};
use crate::job::{Brief, Mode, Output, Source, Usage};
use crate::outbound::auth::AuthScheme;
use crate::outbound::call::{Call, Leg, Reply, Verb};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Map, Value, json};

pub(super) struct Runway;

static CARD: Card = Card {
    id: "runway",
    name: "Runway",
    base_url: "https://api.dev.runwayml.com",
    reach: Reach::Hosted,
    auth: AuthScheme::Bearer,
    key_env: "RUNWAYML_API_SECRET",
    hosts: &[],
    docs: "https://docs.dev.runwayml.com/api/",
    catalog: include_str!("../../../config/catalog/runway.toml"),
};

/// The version of the API that this file speaks.
const VERSION: &str = "2024-11-06";

impl Adapter for Runway {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn open(&self, brief: &Brief, site: &Site) -> Result<Turn, Fault> {
        let mut body = brief.input.clone();
        body.insert("model".to_owned(), Value::from(brief.model.as_str()));
        name_pictures(&mut body);
        let path = match brief.mode {
            Mode::TextToVideo => "text_to_video",
            Mode::ImageToVideo => "image_to_video",
            Mode::VideoToVideo | Mode::VideoExtension => "video_to_video",
            Mode::TextToImage | Mode::ImageEdit | Mode::Upscale => "text_to_image",
        };
        Ok(Turn::Next(versioned(Call::submit(format!("{}/v1/{path}", site.base_url), Value::Object(body)))))
    }

    fn read(&self, asked: &Call, reply: &Reply, site: &Site) -> Result<Turn, Fault> {
        if asked.leg == Leg::Submit {
            let ticket: Ticket = reply.json()?;
            return Ok(Turn::Wait(versioned(Call::poll(format!("{}/v1/tasks/{}", site.base_url, ticket.id)))));
        }
        let task: Task = reply.json()?;
        let usage = Usage { cost: task.cost.map(|cost| cost.credits * Decimal::new(1, 2)), ..Usage::default() };
        match task.status.as_str() {
            "PENDING" | "THROTTLED" | "RUNNING" => Ok(Turn::Wait(asked.clone())),
            "SUCCEEDED" => {
                let output = |url| Output { source: Source::Link(url), revised_prompt: None };
                Ok(Turn::Done(task.output.into_iter().map(output).collect(), usage))
            }
            status @ ("FAILED" | "CANCELLED") => {
                let code = task.failure_code.unwrap_or_else(|| status.to_owned());
                let message = task.failure.unwrap_or_else(|| format!("the task ended as '{status}'"));
                let accepted = match usage.cost {
                    Some(cost) if cost.is_zero() => Accepted::No,
                    Some(_) => Accepted::Yes,
                    None => Accepted::Maybe,
                };
                let fault = Fault::new(meaning(&code), message).accepted(accepted).usage(usage);
                Err(fault.status(reply.status).code(Some(code)))
            }
            other => Err(shapes::unknown_status(other)),
        }
    }

    /// An empty purse is a 400 with a text, as clients report; the pages do not say.
    fn fault(&self, asked: &Call, reply: &Reply) -> Fault {
        let fault = shapes::fault(asked, reply);
        let broke = reply.status == 400 && fault.message.contains("enough credits");
        if broke { Fault { kind: FaultKind::Auth, ..fault } } else { fault }
    }

    /// Stops a task; a finished one is deleted, so it is asked only of what was given up.
    fn cancel(&self, asked: &Call, _site: &Site) -> Option<Call> {
        (asked.leg == Leg::Poll).then(|| versioned(Call::cancel(Verb::Delete, asked.url.clone())))
    }
}

fn versioned(mut call: Call) -> Call {
    call.headers.push(("X-Runway-Version".to_owned(), VERSION.to_owned()));
    call
}

/// References are objects, and the pictures of a video say which frame they are.
fn name_pictures(body: &mut Map<String, Value>) {
    if let Some(Value::Array(images)) = body.get_mut("referenceImages") {
        images.iter_mut().filter(|image| image.is_string()).for_each(|image| *image = json!({"uri": image.take()}));
    }
    let mut frame = |field: &str, position: &str| {
        body.remove(field).filter(Value::is_string).map(|uri| json!({"uri": uri, "position": position}))
    };
    let frames: Vec<Value> = frame("promptImage", "first").into_iter().chain(frame("lastImage", "last")).collect();
    if !frames.is_empty() {
        body.insert("promptImage".to_owned(), Value::Array(frames));
    }
}

/// What a failure code means (docs, "Task failures").
fn meaning(code: &str) -> FaultKind {
    match code {
        _ if code.split('.').any(|part| part == "SAFETY") => FaultKind::Moderated,
        "ASSET.INVALID" => FaultKind::BadRequest,
        _ => FaultKind::Unavailable,
    }
}

#[derive(Deserialize)]
struct Ticket {
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Task {
    status: String,
    #[serde(default)]
    output: Vec<String>,
    cost: Option<Cost>,
    failure: Option<String>,
    failure_code: Option<String>,
}

#[derive(Deserialize)]
struct Cost {
    credits: Decimal,
}
