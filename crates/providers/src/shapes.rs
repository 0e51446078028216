//! Reply bodies that several providers speak: error envelopes and what statuses mean.

use crate::fault::{Accepted, Fault, FaultKind};
use crate::job::{Event, Output, Partial, Source, Usage};
use crate::outbound::call::{Call, Leg, Payload, Reply};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use std::borrow::Cow;

/// A text that stays in the reply's own buffer unless it was escaped there: how inline pictures are read. (Inside an
/// `Option` or a list, serde borrows a `Cow` only through a type of its own.)
#[derive(Debug, Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Text<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text as bytes: a slice of `body`. A `data:…;base64,` in front, which some providers write, is left out.
    pub(super) fn into_bytes(self, body: &Bytes) -> Bytes {
        let bare = |text: &str| match text.split_once(";base64,") {
            Some((head, _)) if head.starts_with("data:") => head.len() + ";base64,".len(),
            _ => 0,
        };
        match self.0 {
            Cow::Borrowed(text) => body.slice_ref(&text.as_bytes()[bare(text)..]),
            Cow::Owned(text) => {
                let start = bare(&text);
                Bytes::from(text).slice(start..)
            }
        }
    }

    /// The same as an inline picture.
    pub(super) fn into_source(self, body: &Bytes) -> Source {
        Source::Base64(self.into_bytes(body))
    }
}

/// The names under which polls carry the id of their job.
const IDS: [&str; 6] = ["id", "task_id", "task_ids", "external_task_ids", "taskUUID", "operationName"];
/// Longest id that is told.
const LONGEST_ID: usize = 200;

/// The id of the job that a poll asks after: in the body, in the query, else the last part of the path that is one.
pub(super) fn job(poll: &Call) -> Option<String> {
    let in_body = match &poll.payload {
        Payload::Json(body) => {
            let body = body.get(0).unwrap_or(body);
            IDS.iter().find_map(|name| body.get(name)?.as_str())
        }
        _ => None,
    };
    let (path, query) = poll.url.split_once('?').unwrap_or((&poll.url, ""));
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let in_query = || pairs.find_map(|(name, value)| IDS.contains(&name).then_some(value));
    // What a body calls an operation's name may be a path as well.
    let found = in_body.or_else(in_query).unwrap_or(path);
    let id = found.rsplit('/').find(|part| !part.is_empty() && *part != "status")?;
    (id.len() <= LONGEST_ID).then(|| id.to_owned())
}

/// One picture as OpenAI writes it, and those who follow it.
#[derive(Debug, Deserialize)]
pub(super) struct Item<'a> {
    #[serde(borrow)]
    b64_json: Option<Text<'a>>,
    url: Option<String>,
    revised_prompt: Option<String>,
}

impl Item<'_> {
    pub(super) fn into_output(self, body: &Bytes) -> Option<Output> {
        let inline = self.b64_json.filter(|text| !text.is_empty()).map(|text| text.into_source(body));
        let source = inline.or_else(|| self.url.filter(|url| !url.is_empty()).map(Source::Link))?;
        Some(Output { source, revised_prompt: self.revised_prompt.filter(|text| !text.is_empty()) })
    }
}

/// Why an event brings nothing.
pub(super) enum Ended {
    /// It is an error; its type, which may be empty.
    Failed(String),
    /// It cannot be read.
    Garbled(Fault),
}

/// An event as OpenAI writes it, and those who follow it.
#[derive(Debug, Deserialize)]
struct Streamed<'a, U> {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(borrow)]
    b64_json: Option<Text<'a>>,
    #[serde(default)]
    partial_image_index: u32,
    usage: Option<U>,
    error: Option<Value>,
}

/// Reads `….partial_image`, `….completed` and errors; anything else brings nothing.
pub(super) fn event<'a, U: Deserialize<'a>>(event: &'a Reply, usage: fn(U) -> Usage) -> Result<Event, Ended> {
    let read: Streamed<'a, U> = event.json().map_err(Ended::Garbled)?;
    if let Some(error) = read.error.filter(|error| !error.is_null()) {
        return Err(Ended::Failed(error["type"].as_str().unwrap_or_default().to_owned()));
    }
    let usage = read.usage.map(usage).unwrap_or_default();
    let picture = read.b64_json.filter(|text| !text.is_empty()).map(|text| text.into_bytes(&event.body));
    let partial = read.kind.ends_with(".partial_image");
    Ok(match picture {
        Some(base64) if partial => {
            Event { partial: Some(Partial { index: read.partial_image_index, base64 }), outputs: Vec::new(), usage }
        }
        Some(base64) => Event {
            outputs: vec![Output { source: Source::Base64(base64), revised_prompt: None }],
            partial: None,
            usage,
        },
        None => Event { usage, ..Event::default() },
    })
}

/// What a failing reply means by its status alone, with whatever words its body has.
pub(super) fn fault(asked: &Call, reply: &Reply) -> Fault {
    let (message, code) = words(reply);
    Fault::new(kind_of(asked, reply), message)
        .accepted(accepted(asked, reply.status))
        .status(reply.status)
        .code(code)
        .retry_after(reply.retry_after)
}

/// The kind that a reply stands for by its status. A 503 that says when to come back is a rate limit by another number.
pub(super) fn kind_of(asked: &Call, reply: &Reply) -> FaultKind {
    match reply.status {
        503 if reply.retry_after.is_some() => FaultKind::RateLimited,
        status => kind(asked, status),
    }
}

/// The kind that a status stands for.
pub(super) fn kind(asked: &Call, status: u16) -> FaultKind {
    match status {
        401..=403 => FaultKind::Auth,
        404 | 410 if asked.leg == Leg::Submit => FaultKind::Gone,
        // A vanished job is no vanished model.
        404 | 410 => FaultKind::Unavailable,
        429 => FaultKind::RateLimited,
        408 | 504 | 524 => FaultKind::Timeout,
        // A conflict or "too early" is about a moment, not about the request.
        409 | 425 => FaultKind::Unavailable,
        300..=399 => FaultKind::Malformed,
        400..=499 => FaultKind::BadRequest,
        _ => FaultKind::Unavailable,
    }
}

/// A status below 500 says that the provider did not take the job. Above, a proxy may speak for a server that did.
pub(super) fn accepted(asked: &Call, status: u16) -> Accepted {
    match asked.leg {
        Leg::Submit if status == 408 || status == 409 || (status >= 500 && status != 503) => Accepted::Maybe,
        _ => Accepted::No,
    }
}

/// A job in a state that we have never heard of: nobody knows whether it will be billed.
pub(super) fn unknown_status(status: &str) -> Fault {
    let status: String = status.chars().take(40).collect();
    let text = format!("the job is in the unknown status '{status}'");
    Fault::new(FaultKind::Malformed, text).accepted(Accepted::Maybe).code(Some(status))
}

/// The message and code in any of the usual envelopes: `error.message`, `error`, `detail`, `message`.
pub(super) fn words(reply: &Reply) -> (String, Option<String>) {
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let error = &body["error"];
    let message = text(&error["message"])
        .or_else(|| text(error))
        .or_else(|| text(&body["detail"]))
        .or_else(|| text(&body["detail"][0]["msg"]))
        .or_else(|| text(&body["message"]))
        .unwrap_or_else(|| format!("the provider answered {}", reply.status));
    let code = text(&error["code"])
        .or_else(|| text(&error["type"]))
        .or_else(|| text(&body["error_type"]))
        .or_else(|| text(&body["detail"][0]["type"]));
    (message, code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn polls_name_their_job() {
        for url in [
            "https://api.x.ai/v1/videos/j-1",
            "https://queue.fal.run/fal-ai/flux/requests/j-1/status",
            "https://api.bfl.ai/v1/get_result?id=j-1",
            "https://api.minimax.io/v1/query/video_generation?task_id=j-1",
            "https://api-singapore.klingai.com/tasks?task_ids=j-1",
        ] {
            assert_eq!(job(&Call::poll(url.to_owned())).as_deref(), Some("j-1"), "{url}");
        }
        for body in [
            json!([{"taskType": "getResponse", "taskUUID": "j-1"}]),
            json!({"id": "j-1"}),
            json!({"operationName": "projects/p/locations/l/operations/j-1"}),
        ] {
            let call = Call { payload: Payload::Json(body), ..Call::poll("https://api.test/v1/ask".to_owned()) };
            assert_eq!(job(&call).as_deref(), Some("j-1"));
        }
    }

    #[test]
    fn inline_pictures_are_slices_of_the_reply() {
        let body = Bytes::from_static(br#"{"b64_json": "data:image/png;base64,AAAA", "revised_prompt": ""}"#);
        let item: Item<'_> = serde_json::from_slice(&body).unwrap();
        let output = item.into_output(&body).unwrap();
        let Source::Base64(text) = output.source else { panic!("inline") };
        assert_eq!(text.as_ref(), b"AAAA");
        assert!(body.as_ptr_range().contains(&text.as_ptr()), "no copy");
        assert_eq!(output.revised_prompt, None);
        // Escaped text has to be copied, and still comes out right.
        let body = Bytes::from_static(br#"{"b64_json": "AA\/A"}"#);
        let item: Item<'_> = serde_json::from_slice(&body).unwrap();
        assert_eq!(item.into_output(&body).unwrap().source, Source::Base64(Bytes::from_static(b"AA/A")));
    }

    #[test]
    fn events_bring_slices_and_errors_their_type() {
        let read = |text: &str| {
            let body = Bytes::copy_from_slice(text.as_bytes());
            let reply = Reply { status: 200, headers: Vec::new(), retry_after: None, body };
            event::<Value>(&reply, |_| Usage { units: Some(1.into()), ..Usage::default() })
                .map_err(|ended| matches!(ended, Ended::Failed(kind) if kind == "image_generation_user_error"))
        };
        let partial = read(r#"{"type":"image_edit.partial_image","b64_json":"AAAA","partial_image_index":2}"#).unwrap();
        assert_eq!(partial.partial.unwrap().index, 2);
        let done = read(r#"{"type":"image_generation.completed","b64_json":"AAAA","usage":{"n":1}}"#).unwrap();
        assert_eq!((done.outputs.len(), done.usage.units), (1, Some(1.into())));
        assert_eq!(read(r#"{"type":"image_generation.text_chunk","text":"hm"}"#).unwrap(), Event::default());
        let failed = r#"{"type":"error","error":{"type":"image_generation_user_error","code":"moderation_blocked"}}"#;
        assert!(read(failed).unwrap_err());
        assert!(!read("not JSON").unwrap_err());
    }
}
