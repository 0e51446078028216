//! Google Vertex AI: pictures from `generateContent` in one call, videos (Veo) as a long-running operation.
//! <https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/gemini> and
//! <https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/veo-video-generation> (read 2026-11).
//! The official SDKs take a `base_url`.
//!
//! An operation is asked after with a POST that names it. It has no status but `done`; a filtered one looks like a
//! success without videos. Videos come as base64.

use super::{Adapter, Card, Reach, Site, Turn, google, shapes};
use crate::fault::{Fault, FaultKind};
use crate::job::{Brief, Mode, Output, Source, Usage};
use crate::outbound::auth::AuthScheme;
use crate::outbound::call::{Call, Leg, Payload, Reply, Verb};
use serde::Deserialize;
use serde_json::{Map, Value, json};

pub(super) struct Vertex;

static CARD: Card = Card {
    id: "vertex",
    name: "Google Vertex AI",
    base_url: "https://aiplatform.googleapis.com/v1/projects/{project}/locations/{region}",
    reach: Reach::Hosted,
    auth: AuthScheme::Google,
    key_env: "GOOGLE_APPLICATION_CREDENTIALS",
    hosts: &[],
    docs: "https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/gemini",
    catalog: include_str!("../../../config/catalog/vertex.toml"),
};

const START: &str = ":predictLongRunning";
const ASK: &str = ":fetchPredictOperation";

impl Adapter for Vertex {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn open(&self, brief: &Brief, site: &Site) -> Result<Turn, Fault> {
        let (method, body) = match brief.mode {
            Mode::TextToVideo | Mode::ImageToVideo => (START, ask_video(brief)),
            _ => (":generateContent", google::ask(brief)),
        };
        let url = format!("{}/publishers/google/models/{}{method}", site.base_url, brief.model);
        Ok(Turn::Next(Call::submit(url, body)))
    }

    fn read(&self, asked: &Call, reply: &Reply, _site: &Site) -> Result<Turn, Fault> {
        match asked.url.strip_suffix(START) {
            Some(model) => {
                let ticket: Ticket = reply.json()?;
                let payload = Payload::Json(json!({"operationName": ticket.name}));
                Ok(Turn::Wait(Call { verb: Verb::Post, payload, ..Call::poll(format!("{model}{ASK}")) }))
            }
            None if asked.leg == Leg::Submit => google::read(reply),
            None => read_operation(asked, reply),
        }
    }

    fn fault(&self, asked: &Call, reply: &Reply) -> Fault {
        google::fault(asked, reply)
    }
}

/// The body of `predictLongRunning`: one instance, and every other parameter beside it.
fn ask_video(brief: &Brief) -> Value {
    let mut parameters = brief.input.clone();
    let mut instance = Map::new();
    google::shift(&mut parameters, &["prompt"], &mut instance);
    if let Some(image) = brief.images.first() {
        instance.insert("image".to_owned(), json!({"bytesBase64Encoded": image.base64(), "mimeType": image.mime}));
    }
    // `"8"`, as OpenAI's clients say it, is 8.
    let spelled = parameters.get("durationSeconds").and_then(Value::as_str);
    if let Some(seconds) = spelled.and_then(|text| text.trim_end_matches('s').parse::<u32>().ok()) {
        parameters.insert("durationSeconds".to_owned(), json!(seconds));
    }
    json!({"instances": [instance], "parameters": parameters})
}

fn read_operation(asked: &Call, reply: &Reply) -> Result<Turn, Fault> {
    let told: Operation<'_> = reply.json()?;
    if !told.done {
        return Ok(Turn::Wait(asked.clone()));
    }
    if let Some(error) = told.error {
        return Err(error.into_fault());
    }
    let made = told.response.unwrap_or_default();
    let outputs: Vec<Output> = made
        .videos
        .into_iter()
        .filter_map(|video| {
            let inline = video.data.map(|data| Source::Base64(data.into_bytes(&reply.body)));
            inline.map(|source| Output { source, revised_prompt: None })
        })
        .collect();
    if outputs.is_empty() && made.filtered > 0 {
        let text = made.reasons.into_iter().next().unwrap_or_else(|| "Google's filters took the video.".to_owned());
        let accepted = google::charged(&text);
        let fault = Fault::new(FaultKind::Moderated, text).accepted(accepted).status(reply.status);
        return Err(fault.code(Some("raiMediaFiltered".to_owned())));
    }
    Ok(Turn::Done(outputs, Usage::default()))
}

#[derive(Deserialize)]
struct Ticket {
    name: String,
}

#[derive(Deserialize)]
struct Operation<'a> {
    #[serde(default)]
    done: bool,
    error: Option<Failure>,
    #[serde(borrow)]
    response: Option<Made<'a>>,
}

#[derive(Deserialize, Default)]
struct Made<'a> {
    #[serde(borrow, default)]
    videos: Vec<Video<'a>>,
    #[serde(rename = "raiMediaFilteredCount", default)]
    filtered: u32,
    #[serde(rename = "raiMediaFilteredReasons", default)]
    reasons: Vec<String>,
}

#[derive(Deserialize)]
struct Video<'a> {
    #[serde(borrow, rename = "bytesBase64Encoded")]
    data: Option<shapes::Text<'a>>,
}

#[derive(Deserialize)]
struct Failure {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
}

impl Failure {
    /// The code is gRPC's. Google does not say whether a failed operation is billed.
    fn into_fault(self) -> Fault {
        let kind = match self.code {
            3 if google::is_policy(&self.message) => FaultKind::Moderated,
            3 | 9 | 11 => FaultKind::BadRequest,
            4 => FaultKind::Timeout,
            5 => FaultKind::Gone,
            7 | 16 => FaultKind::Auth,
            _ => FaultKind::Unavailable,
        };
        let accepted = google::charged(&self.message);
        let code = Some(self.code.to_string());
        let message = if self.message.is_empty() { "the operation failed".to_owned() } else { self.message };
        Fault::new(kind, message).accepted(accepted).code(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use crate::fault::Accepted;
    use crate::job::Input;
    use bytes::Bytes;

    const MODEL: &str = "https://google/v1/projects/p/locations/global/publishers/google/models/veo-3.1-generate-001";

    fn site() -> Site {
        Site { base_url: "https://google/v1/projects/p/locations/global".into() }
    }

    fn submit(seconds: &Value) -> Call {
        let brief = Brief {
            id: "6f1c1f0e-8f1d-4b52-9c37-0d1d3c1f7a11".to_owned(),
            model: "veo-3.1-generate-001".into(),
            mode: Mode::ImageToVideo,
            n: 1,
            format: None,
            input: google::object(Some(json!({"prompt": "a fox", "durationSeconds": seconds, "sampleCount": 1}))),
            images: vec![Input { mime: "image/png".into(), bytes: Bytes::from_static(b"abc"), size: None }],
            mask: None,
        };
        let Turn::Next(call) = Vertex.open(&brief, &site()).unwrap() else { panic!("a submit") };
        call
    }

    fn read(asked: &Call, body: &Value) -> Result<Turn, Fault> {
        let reply = Reply::new(200, Vec::new(), Bytes::from(body.to_string()), Timestamp::from_millis(0));
        Vertex.read(asked, &reply, &site())
    }

    fn poll() -> Call {
        let Turn::Wait(poll) = read(&submit(&json!(8)), &json!({"name": "projects/p/operations/1"})).unwrap() else {
            panic!("wait")
        };
        poll
    }

    #[test]
    fn starts_an_operation_and_asks_after_it_by_name() {
        let call = submit(&json!("8"));
        assert_eq!(call.url, format!("{MODEL}:predictLongRunning"));
        let body = json!({"instances": [{"prompt": "a fox", "image": {"bytesBase64Encoded": "YWJj", "mimeType": "image/png"}}],
            "parameters": {"durationSeconds": 8, "sampleCount": 1}});
        assert_eq!(call.payload, Payload::Json(body));
        let poll = poll();
        assert_eq!((poll.leg, poll.verb, poll.url.clone()), (Leg::Poll, Verb::Post, format!("{MODEL}{ASK}")));
        assert_eq!(poll.payload, Payload::Json(json!({"operationName": "projects/p/operations/1"})));
        let Turn::Wait(again) = read(&poll, &json!({"name": "projects/p/operations/1"})).unwrap() else {
            panic!("wait")
        };
        assert_eq!(again, poll);
    }

    #[test]
    fn done_is_videos_or_a_refusal_or_an_error() {
        let made =
            json!({"done": true, "response": {"videos": [{"bytesBase64Encoded": "YWJj", "mimeType": "video/mp4"}]}});
        let Turn::Done(outputs, _) = read(&poll(), &made).unwrap() else { panic!("done") };
        assert_eq!(outputs[0].source, Source::Base64(Bytes::from_static(b"YWJj")));
        let filtered = json!({"done": true, "response": {"raiMediaFilteredCount": 1, "raiMediaFilteredReasons":
            ["Veo could not generate 1 videos based on the prompt provided. You will not be charged for this request."]}});
        let fault = read(&poll(), &filtered).unwrap_err();
        assert_eq!((fault.kind, fault.accepted), (FaultKind::Moderated, Accepted::No));
        let failed = json!({"done": true, "error": {"code": 13, "message": "Internal error."}});
        let fault = read(&poll(), &failed).unwrap_err();
        assert_eq!((fault.kind, fault.accepted), (FaultKind::Unavailable, Accepted::Maybe));
        assert_eq!(fault.upstream_code.as_deref(), Some("13"));
    }
}
