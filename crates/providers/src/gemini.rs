//! Google's Gemini API: pictures from `generateContent` in one call, videos (Omni) from the Interactions API as a job
//! in the background. <https://ai.google.dev/gemini-api/docs/image-generation> and
//! <https://ai.google.dev/gemini-api/docs/omni> (read 2026-11). The official SDKs take a `base_url`.
//!
//! A finished job without a video is a refusal, but Google has been seen to say "completed" too early: it is read once
//! more before it is believed. Files are fetched with the key.

use super::{Adapter, Card, Reach, Site, Turn, google, shapes};
use crate::fault::{Accepted, Fault, FaultKind};
use crate::job::{Brief, Mode, Output, Source, Tokens, Usage};
use crate::outbound::auth::AuthScheme;
use crate::outbound::call::{Call, Leg, Reply, Verb};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) struct Gemini;

static CARD: Card = Card {
    id: "gemini",
    name: "Google Gemini API",
    base_url: "https://generativelanguage.googleapis.com/v1beta",
    reach: Reach::Hosted,
    auth: AuthScheme::Header("x-goog-api-key"),
    key_env: "GEMINI_API_KEY",
    hosts: &["generativelanguage.googleapis.com"],
    docs: "https://ai.google.dev/gemini-api/docs/image-generation",
    catalog: include_str!("../../../config/catalog/gemini.toml"),
};

impl Adapter for Gemini {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn open(&self, brief: &Brief, site: &Site) -> Result<Turn, Fault> {
        let (path, body) = match brief.mode {
            Mode::TextToVideo | Mode::ImageToVideo => ("interactions".to_owned(), ask_video(brief)),
            _ => (format!("models/{}:generateContent", brief.model), google::ask(brief)),
        };
        Ok(Turn::Next(Call::submit(format!("{}/{path}", site.base_url), body)))
    }

    fn read(&self, asked: &Call, reply: &Reply, site: &Site) -> Result<Turn, Fault> {
        match asked.leg {
            Leg::Submit if asked.url.ends_with(":generateContent") => google::read(reply),
            Leg::Fetch => Ok(read_file(asked, reply)),
            Leg::Submit | Leg::Poll | Leg::Cancel => read_interaction(asked, reply, site),
        }
    }

    fn fault(&self, asked: &Call, reply: &Reply) -> Fault {
        google::fault(asked, reply)
    }

    fn cancel(&self, asked: &Call, _site: &Site) -> Option<Call> {
        (asked.leg == Leg::Poll).then(|| Call::cancel(Verb::Post, format!("{}/cancel", asked.url)))
    }
}

/// The body of an interaction that makes a video, in the background.
fn ask_video(brief: &Brief) -> Value {
    let mut body = brief.input.clone();
    let mut format = google::object(body.remove("response_format"));
    google::shift(&mut body, &["aspect_ratio", "resolution", "duration"], &mut format);
    format.extend([("type".to_owned(), json!("video")), ("delivery".to_owned(), json!("uri"))]);
    if let Some(duration) = format.get_mut("duration") {
        *duration = json!(seconds(duration));
    }
    let mut generation = google::object(body.remove("generation_config"));
    google::shift(&mut body, &["seed"], &mut generation);
    let task = if brief.mode == Mode::TextToVideo { "text_to_video" } else { "image_to_video" };
    generation.entry("video_config").or_insert_with(|| json!({"task": task}));
    let pictures =
        brief.images.iter().map(|image| json!({"type": "image", "mime_type": image.mime, "data": image.base64()}));
    let text = body.remove("prompt").map(|prompt| json!({"type": "text", "text": prompt}));
    let content: Vec<Value> = pictures.chain(text).collect();
    for (name, value) in [
        ("model", json!(brief.model)),
        ("input", json!([{"type": "user_input", "content": content}])),
        ("response_modalities", json!(["video"])),
        ("response_format", Value::Object(format)),
        ("generation_config", Value::Object(generation)),
        ("background", json!(true)),
        ("store", json!(true)),
    ] {
        body.insert(name.to_owned(), value);
    }
    body.into()
}

/// `8` and `"8"` are `"8s"`.
fn seconds(said: &Value) -> String {
    let text = said.as_str().map_or_else(|| said.to_string(), str::to_owned);
    if text.ends_with('s') { text } else { format!("{text}s") }
}

fn read_interaction(asked: &Call, reply: &Reply, site: &Site) -> Result<Turn, Fault> {
    let told: Interaction<'_> = reply.json()?;
    let status = told.status.clone().unwrap_or_default();
    match status.as_str() {
        "queued" | "in_progress" => Ok(Turn::Wait(told.poll(asked, site)?)),
        "completed" => read_video(told, asked, reply, site),
        "failed" | "cancelled" | "incomplete" | "budget_exceeded" | "requires_action" => Err(told.failure(&status)),
        other => Err(shapes::unknown_status(other)),
    }
}

fn read_video(told: Interaction<'_>, asked: &Call, reply: &Reply, site: &Site) -> Result<Turn, Fault> {
    let poll = told.poll(asked, site)?;
    let tokens = told.usage.as_ref().map(Tokens::from);
    let made = told.steps.into_iter().filter(|step| step.kind != "user_input").flat_map(|step| step.content);
    let video = made.chain(told.output_video).find(|block| block.data.is_some() || block.uri.is_some());
    match video {
        Some(Block { data: Some(data), .. }) => {
            let source = Source::Base64(data.into_bytes(&reply.body));
            Ok(Turn::Done(vec![Output { source, revised_prompt: None }], Usage { tokens, ..Usage::default() }))
        }
        Some(Block { uri: Some(uri), .. }) => {
            let memo = serde_json::to_string(&tokens).unwrap_or_default();
            Ok(Turn::Next(Call::fetch(media(uri)).memo(memo)))
        }
        _ if asked.memo.is_none() => Ok(Turn::Wait(poll.memo("completed without a video"))),
        _ => {
            let text = "Google finished the job without a video: its filters took it.";
            let fault = Fault::new(FaultKind::Moderated, text).accepted(Accepted::Maybe);
            Err(fault.code(Some("completed".to_owned())).usage(Usage { tokens, ..Usage::default() }))
        }
    }
}

/// The file itself; without `alt=media` the address describes it.
fn media(uri: String) -> String {
    match uri.split_once('?') {
        Some((_, query)) if query.split('&').any(|pair| pair.starts_with("alt=")) => uri,
        Some(_) => format!("{uri}&alt=media"),
        None => format!("{uri}?alt=media"),
    }
}

fn read_file(asked: &Call, reply: &Reply) -> Turn {
    let tokens = asked.memo.as_deref().and_then(|memo| serde_json::from_str(memo).ok()).flatten();
    let source = Source::Bytes(reply.body.clone());
    Turn::Done(vec![Output { source, revised_prompt: None }], Usage { tokens, ..Usage::default() })
}

#[derive(Deserialize)]
struct Interaction<'a> {
    id: Option<String>,
    status: Option<String>,
    #[serde(borrow, default)]
    steps: Vec<Step<'a>>,
    #[serde(borrow)]
    output_video: Option<Block<'a>>,
    usage: Option<Counted>,
    #[serde(default)]
    errors: Vec<Complaint>,
}

impl Interaction<'_> {
    /// The next question after this job: the same again, or the first one.
    fn poll(&self, asked: &Call, site: &Site) -> Result<Call, Fault> {
        if asked.leg == Leg::Poll {
            return Ok(asked.clone());
        }
        let id = self.id.as_deref().filter(|id| !id.is_empty());
        let id = id.ok_or_else(|| Fault::new(FaultKind::Malformed, "a job without an id").accepted(Accepted::Maybe))?;
        Ok(Call::poll(format!("{}/interactions/{id}", site.base_url)))
    }

    /// Google does not say whether a job that failed is billed.
    fn failure(self, status: &str) -> Fault {
        let complaints = self.errors.into_iter().chain(self.steps.into_iter().filter_map(|step| step.error));
        let (message, code) = complaints.map(|said| (said.message, said.code)).next().unwrap_or_default();
        let message = message.unwrap_or_else(|| format!("the job ended as '{status}'"));
        let code = code.map_or_else(|| status.to_owned(), |code| code.as_str().map_or(code.to_string(), str::to_owned));
        let kind = if google::is_policy(&message) { FaultKind::Moderated } else { FaultKind::Unavailable };
        let accepted = google::charged(&message);
        Fault::new(kind, message).accepted(accepted).code(Some(code))
    }
}

#[derive(Deserialize)]
struct Step<'a> {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(borrow, default)]
    content: Vec<Block<'a>>,
    error: Option<Complaint>,
}

#[derive(Deserialize)]
struct Block<'a> {
    #[serde(borrow)]
    data: Option<shapes::Text<'a>>,
    uri: Option<String>,
}

#[derive(Deserialize, Default)]
struct Complaint {
    /// A text or a number.
    code: Option<Value>,
    message: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Counted {
    total_input_tokens: u64,
    total_output_tokens: u64,
    output_tokens_by_modality: Vec<Share>,
}

#[derive(Deserialize)]
struct Share {
    #[serde(default)]
    modality: String,
    #[serde(default)]
    tokens: u64,
}

impl From<&Counted> for Tokens {
    /// Video tokens are counted as image tokens: the price list has one line for either.
    fn from(counted: &Counted) -> Self {
        let shares = counted.output_tokens_by_modality.iter();
        let video = shares.filter(|share| share.modality == "video").map(|share| share.tokens).sum();
        let text_out = counted.total_output_tokens.saturating_sub(video);
        Self { text_in: counted.total_input_tokens, text_out, image_out: video, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use crate::job::Input;
    use crate::outbound::call::Payload;
    use bytes::Bytes;

    fn site() -> Site {
        Site { base_url: "https://google/v1beta".into() }
    }

    fn submit() -> Call {
        let brief = Brief {
            id: "6f1c1f0e-8f1d-4b52-9c37-0d1d3c1f7a11".to_owned(),
            model: "gemini-omni-1.1-flash".into(),
            mode: Mode::ImageToVideo,
            n: 1,
            format: None,
            input: google::object(Some(json!({"prompt": "a fox", "aspect_ratio": "16:9", "duration": 6, "seed": 7}))),
            images: vec![Input { mime: "image/png".into(), bytes: Bytes::from_static(b"abc"), size: None }],
            mask: None,
        };
        let Turn::Next(call) = Gemini.open(&brief, &site()).unwrap() else { panic!("a submit") };
        call
    }

    fn read(asked: &Call, body: &Value) -> Result<Turn, Fault> {
        let reply = Reply::new(200, Vec::new(), Bytes::from(body.to_string()), Timestamp::from_millis(0));
        Gemini.read(asked, &reply, &site())
    }

    #[test]
    fn asks_for_a_video_in_the_background() {
        let call = submit();
        assert_eq!(call.url, "https://google/v1beta/interactions");
        let body = json!({"model": "gemini-omni-1.1-flash", "input": [{"type": "user_input", "content": [
                {"type": "image", "mime_type": "image/png", "data": "YWJj"}, {"type": "text", "text": "a fox"}]}],
            "response_modalities": ["video"],
            "response_format": {"type": "video", "aspect_ratio": "16:9", "duration": "6s", "delivery": "uri"},
            "generation_config": {"seed": 7, "video_config": {"task": "image_to_video"}},
            "background": true, "store": true});
        assert_eq!(call.payload, Payload::Json(body));
    }

    #[test]
    fn follows_a_job_to_its_file() {
        let Turn::Wait(poll) = read(&submit(), &json!({"id": "v1_a", "status": "queued"})).unwrap() else {
            panic!("wait")
        };
        assert_eq!((poll.leg, poll.url.as_str()), (Leg::Poll, "https://google/v1beta/interactions/v1_a"));
        assert_eq!(Gemini.cancel(&poll, &site()).unwrap().url, "https://google/v1beta/interactions/v1_a/cancel");
        let done = json!({"id": "v1_a", "status": "completed", "steps": [
                {"type": "user_input", "content": [{"type": "image", "data": "YWJj"}]},
                {"type": "model_output", "content": [{"type": "video", "uri": "https://google/v1beta/files/1:download"}]}],
            "usage": {"total_input_tokens": 12, "total_output_tokens": 57920,
                "output_tokens_by_modality": [{"modality": "video", "tokens": 57920}]}});
        let Turn::Next(file) = read(&poll, &done).unwrap() else { panic!("fetch") };
        assert_eq!((file.leg, file.url.as_str()), (Leg::Fetch, "https://google/v1beta/files/1:download?alt=media"));
        let reply = Reply::new(200, Vec::new(), Bytes::from_static(b"mp4"), Timestamp::from_millis(0));
        let Turn::Done(outputs, usage) = Gemini.read(&file, &reply, &site()).unwrap() else { panic!("done") };
        assert_eq!(outputs[0].source, Source::Bytes(Bytes::from_static(b"mp4")));
        assert_eq!(usage.tokens.map(|tokens| (tokens.text_in, tokens.image_out)), Some((12, 57920)));
    }

    #[test]
    fn a_job_without_a_video_is_read_twice_and_then_refused() {
        let Turn::Wait(poll) = read(&submit(), &json!({"id": "v1_a", "status": "completed"})).unwrap() else {
            panic!("once more")
        };
        let fault = read(&poll, &json!({"id": "v1_a", "status": "completed", "steps": []})).unwrap_err();
        assert_eq!((fault.kind, fault.accepted), (FaultKind::Moderated, Accepted::Maybe));
    }

    #[test]
    fn says_why_a_job_failed() {
        let poll = Call::poll("https://google/v1beta/interactions/v1_a".into());
        let failed = json!({"status": "failed", "errors": [{"code": "internal", "message": "boom"}]});
        let fault = read(&poll, &failed).unwrap_err();
        assert_eq!((fault.kind, fault.upstream_code.as_deref()), (FaultKind::Unavailable, Some("internal")));
        let fault = read(&poll, &json!({"status": "paused"})).unwrap_err();
        assert_eq!((fault.kind, fault.upstream_code.as_deref()), (FaultKind::Malformed, Some("paused")));
        assert_eq!(fault.accepted, Accepted::Maybe);
    }
}
