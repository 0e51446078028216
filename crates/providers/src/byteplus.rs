//! BytePlus ModelArk: Seedream pictures in one call, Seedance videos as tasks that are polled.
//! <https://docs.byteplus.com/en/docs/ModelArk/1541523> (read 2026-11). The official SDKs take another base address.
//!
//! There is no `n`, and watermarks are on unless refused (the catalog refuses them). A picture that failed shares its
//! list with the others under HTTP 200. A task's address is not returned but built from its id. Only what succeeded is
//! billed, so whatever `ModelArk` says in its own words cost nothing.

use super::{Adapter, Card, Reach, Site, Turn, shapes};
use crate::fault::{Accepted, Fault, FaultKind};
use crate::job::{Brief, Mode, Output, Source, Tokens, Usage};
use crate::outbound::auth::AuthScheme;
use crate::outbound::call::{Call, Leg, Reply, Verb};
use serde::Deserialize;
use serde_json::{Map, Value, json};

pub(super) struct BytePlus;

static CARD: Card = Card {
    id: "byteplus",
    name: "BytePlus",
    base_url: "https://ark.ap-southeast.bytepluses.com/api/v3",
    reach: Reach::Hosted,
    auth: AuthScheme::Bearer,
    key_env: "ARK_API_KEY",
    // Results lie in the object stores of both brands.
    hosts: &[],
    docs: "https://docs.byteplus.com/en/docs/ModelArk/1541523",
    catalog: include_str!("../../../config/catalog/byteplus.toml"),
};

impl Adapter for BytePlus {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn open(&self, brief: &Brief, site: &Site) -> Result<Turn, Fault> {
        let mut body = brief.input.clone();
        body.insert("model".to_owned(), Value::from(brief.model.as_str()));
        let path = match brief.mode {
            Mode::TextToVideo | Mode::ImageToVideo | Mode::VideoToVideo | Mode::VideoExtension => {
                nest_content(&mut body);
                "contents/generations/tasks"
            }
            Mode::TextToImage | Mode::ImageEdit | Mode::Upscale => "images/generations",
        };
        Ok(Turn::Next(Call::submit(format!("{}/{path}", site.base_url), Value::Object(body))))
    }

    fn read(&self, asked: &Call, reply: &Reply, _site: &Site) -> Result<Turn, Fault> {
        match asked.leg {
            Leg::Submit if asked.url.ends_with("/tasks") => {
                let ticket: Ticket = reply.json()?;
                Ok(Turn::Wait(Call::poll(format!("{}/{}", asked.url, ticket.id))))
            }
            Leg::Submit => read_pictures(reply),
            Leg::Poll | Leg::Fetch | Leg::Cancel => read_task(asked, reply),
        }
    }

    fn fault(&self, asked: &Call, reply: &Reply) -> Fault {
        let fault = shapes::fault(asked, reply);
        let code = fault.upstream_code.as_deref();
        let kind = match code.and_then(meaning) {
            Some(kind) => kind,
            None => fault.kind,
        };
        let accepted = if code.is_some() { Accepted::No } else { fault.accepted };
        Fault { kind, accepted, ..fault }
    }

    /// Stops a task that still waits; a running one goes on.
    fn cancel(&self, asked: &Call, _site: &Site) -> Option<Call> {
        (asked.leg == Leg::Poll).then(|| Call::cancel(Verb::Delete, asked.url.clone()))
    }
}

/// Moves prompt and picture into the list that video models read; a picture alone is the first frame.
fn nest_content(body: &mut Map<String, Value>) {
    let text = body.remove("prompt").map(|prompt| json!({"type": "text", "text": prompt}));
    let frame = body
        .remove("image")
        .map(|image| json!({"type": "image_url", "image_url": {"url": image}, "role": "first_frame"}));
    body.insert("content".to_owned(), text.into_iter().chain(frame).collect());
}

fn read_pictures(reply: &Reply) -> Result<Turn, Fault> {
    let answer: Answer<'_> = reply.json()?;
    let mut failed = None;
    let mut outputs = Vec::new();
    for slot in answer.data.unwrap_or_default() {
        let source = match (slot.b64_json, slot.url) {
            (Some(text), _) => text.into_source(&reply.body),
            (None, Some(url)) => Source::Link(url),
            (None, None) => {
                failed = failed.or(slot.error);
                continue;
            }
        };
        outputs.push(Output { source, revised_prompt: None });
    }
    match failed.or(answer.error).filter(|_| outputs.is_empty()) {
        Some(complaint) => Err(complaint.into_fault(reply)),
        None => Ok(Turn::Done(outputs, Usage::default())),
    }
}

fn read_task(asked: &Call, reply: &Reply) -> Result<Turn, Fault> {
    let task: Task = reply.json()?;
    match task.status.as_str() {
        "queued" | "running" => Ok(Turn::Wait(asked.clone())),
        "succeeded" => {
            let link = task.content.and_then(|content| content.video_url).map(Source::Link);
            let written = task.usage.map(|usage| Tokens { image_out: usage.completion_tokens, ..Tokens::default() });
            let outputs = link.into_iter().map(|source| Output { source, revised_prompt: None }).collect();
            Ok(Turn::Done(outputs, Usage { tokens: written, ..Usage::default() }))
        }
        "failed" | "cancelled" | "expired" => {
            let status = task.status.as_str();
            let complaint = task.error.unwrap_or_else(|| Complaint {
                code: status.to_owned(),
                message: format!("the task ended as '{status}'"),
            });
            Err(complaint.into_fault(reply))
        }
        other => Err(shapes::unknown_status(other)),
    }
}

/// What `ModelArk`'s code says, where it says more than the status.
fn meaning(code: &str) -> Option<FaultKind> {
    let head = code.split('.').next().unwrap_or(code);
    let refused = ["SensitiveContentDetected", "RiskDetection", "ContentSecurityDetectionError"];
    match head {
        _ if refused.iter().any(|word| head.contains(word)) => Some(FaultKind::Moderated),
        "MissingParameter" | "InvalidParameter" => Some(FaultKind::BadRequest),
        "InvalidEndpoint" | "InvalidEndpointOrModel" | "UnsupportedModel" | "ModelNotOpen" => Some(FaultKind::Gone),
        // A 429, but it lasts until the owner raises the spending cap.
        "AuthenticationError" | "AccessDenied" | "AccountOverdueError" | "SetLimitExceeded" => Some(FaultKind::Auth),
        _ => None,
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    data: Option<Vec<Slot<'a>>>,
    error: Option<Complaint>,
}

#[derive(Deserialize)]
struct Slot<'a> {
    url: Option<String>,
    #[serde(borrow)]
    b64_json: Option<shapes::Text<'a>>,
    error: Option<Complaint>,
}

#[derive(Deserialize)]
struct Ticket {
    id: String,
}

#[derive(Deserialize)]
struct Task {
    status: String,
    content: Option<Content>,
    usage: Option<Counted>,
    error: Option<Complaint>,
}

#[derive(Deserialize)]
struct Content {
    video_url: Option<String>,
}

#[derive(Deserialize)]
struct Counted {
    completion_tokens: u64,
}

#[derive(Deserialize)]
struct Complaint {
    code: String,
    #[serde(default)]
    message: String,
}

impl Complaint {
    /// The outcome of work that was taken and came to nothing, which is not billed.
    fn into_fault(self, reply: &Reply) -> Fault {
        let kind = meaning(&self.code).unwrap_or(FaultKind::Unavailable);
        Fault::new(kind, self.message).status(reply.status).code(Some(self.code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use crate::outbound::call::Payload;
    use bytes::Bytes;

    const TASK: &str = "https://ark/api/v3/contents/generations/tasks/cgt-1";

    fn site() -> Site {
        Site { base_url: "https://ark/api/v3".to_owned() }
    }

    fn poll(body: &Value) -> Result<Turn, Fault> {
        let reply = Reply::new(200, Vec::new(), Bytes::from(body.to_string()), Timestamp::from_millis(0));
        BytePlus.read(&Call::poll(TASK.to_owned()), &reply, &site())
    }

    #[test]
    fn a_video_is_a_task() {
        let input = json!({"prompt": "a fox", "image": "data:image/png;base64,AA==", "resolution": "720p"});
        let brief = Brief {
            id: "6f1c1f0e-8f1d-4b52-9c37-0d1d3c1f7a11".to_owned(),
            model: "seedance-1-0-pro-250528".to_owned(),
            mode: Mode::ImageToVideo,
            n: 1,
            format: None,
            input: input.as_object().unwrap().clone(),
            images: Vec::new(),
            mask: None,
        };
        let Ok(Turn::Next(call)) = BytePlus.open(&brief, &site()) else { panic!("no call") };
        let body = json!({"model": "seedance-1-0-pro-250528", "resolution": "720p", "content": [
            {"type": "text", "text": "a fox"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}, "role": "first_frame"},
        ]});
        assert_eq!(call.payload, Payload::Json(body));
        let ticket = Reply::new(200, Vec::new(), Bytes::from(r#"{"id":"cgt-1"}"#), Timestamp::from_millis(0));
        let Ok(Turn::Wait(next)) = BytePlus.read(&call, &ticket, &site()) else { panic!("no task") };
        assert_eq!(next.url, TASK);
        let stop = BytePlus.cancel(&next, &site()).unwrap();
        assert_eq!((stop.verb, stop.url.as_str()), (Verb::Delete, TASK));
    }

    #[test]
    fn a_task_ends_once() {
        assert!(matches!(poll(&json!({"status": "running"})), Ok(Turn::Wait(_))));
        let done = json!({"status": "succeeded", "content": {"video_url": "https://x/a.mp4"},
            "usage": {"completion_tokens": 108_000, "total_tokens": 108_000}, "error": null});
        let Ok(Turn::Done(outputs, usage)) = poll(&done) else { panic!("not done") };
        assert_eq!(outputs[0].source, Source::Link("https://x/a.mp4".to_owned()));
        assert_eq!(usage.tokens.unwrap().image_out, 108_000);
        for (body, kind, accepted) in [
            (
                json!({"status": "failed", "error": {"code": "OutputVideoSensitiveContentDetected", "message": "no"}}),
                FaultKind::Moderated,
                Accepted::No,
            ),
            (
                json!({"status": "failed", "error": {"code": "InternalServerError", "message": "no"}}),
                FaultKind::Unavailable,
                Accepted::No,
            ),
            (json!({"status": "expired"}), FaultKind::Unavailable, Accepted::No),
            (json!({"status": "pondering"}), FaultKind::Malformed, Accepted::Maybe),
        ] {
            let fault = poll(&body).unwrap_err();
            assert_eq!((fault.kind, fault.accepted), (kind, accepted), "{body}");
            assert!(fault.upstream_code.is_some());
        }
    }

    #[test]
    fn base64_is_not_copied() {
        let body = Bytes::from(r#"{"data":[{"b64_json":"AAAA","size":"1x1"}]}"#);
        let reply = Reply::new(200, Vec::new(), body, Timestamp::from_millis(0));
        let Ok(Turn::Done(outputs, _)) = read_pictures(&reply) else { panic!("not done") };
        let Source::Base64(text) = &outputs[0].source else { panic!("no base64") };
        assert!(reply.body.as_ptr_range().contains(&text.as_ptr()), "a slice of the reply");
    }
}
