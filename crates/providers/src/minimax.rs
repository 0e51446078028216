//! MiniMax: pictures in one synchronous call, base64 inside the JSON answer; videos as tasks in two versions of one API.
//! <https://platform.minimax.io/docs/api-reference/image-generation-t2i>, `video-generation-t2v` and `-v2-create` beside
//! it (read 2026-11). We know of no official client that takes another address.
//!
//! Pictures and the older videos tell every failure as HTTP 200 with a `base_resp.status_code` other than 0, numbers
//! perhaps as texts; their finished task names a file, whose link is one call more. The newer videos
//! (`defaults.endpoint` of the catalog, no parameter of callers) nest what they are given and have honest statuses, with
//! the same codes at the end of the text. The catalog's edits are drawn after one person: `subject_reference` of the
//! kind `character`.

use super::{Adapter, Card, Reach, Site, Turn, shapes};
use crate::fault::{Accepted, Fault, FaultKind};
use crate::job::{Brief, Input, Mode, Output, Source, Usage};
use crate::outbound::auth::AuthScheme;
use crate::outbound::call::{Call, Leg, Reply, Verb};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Map, Value, json};

pub(super) struct MiniMax;

static CARD: Card = Card {
    id: "minimax",
    name: "MiniMax",
    base_url: "https://api.minimax.io",
    reach: Reach::Hosted,
    auth: AuthScheme::Bearer,
    key_env: "MINIMAX_API_KEY",
    hosts: &[],
    docs: "https://platform.minimax.io/docs/api-reference/image-generation-t2i",
    catalog: include_str!("../../../config/catalog/minimax.toml"),
};

impl Adapter for MiniMax {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn open(&self, brief: &Brief, site: &Site) -> Result<Turn, Fault> {
        let mut body = brief.input.clone();
        body.insert("model".to_owned(), Value::from(brief.model.as_str()));
        let endpoint = body.remove("endpoint");
        let path = match (endpoint.as_ref().and_then(Value::as_str), brief.mode) {
            (Some(path), _) => {
                nest_content(&mut body);
                path
            }
            (None, Mode::TextToVideo | Mode::ImageToVideo | Mode::VideoToVideo | Mode::VideoExtension) => {
                "v1/video_generation"
            }
            (None, Mode::TextToImage | Mode::ImageEdit | Mode::Upscale) => {
                body.insert("response_format".to_owned(), Value::from("base64"));
                if !brief.images.is_empty() {
                    body.insert("subject_reference".to_owned(), brief.images.iter().map(subject).collect());
                }
                "v1/image_generation"
            }
        };
        Ok(Turn::Next(Call::submit(format!("{}/{path}", site.base_url), Value::Object(body))))
    }

    fn read(&self, asked: &Call, reply: &Reply, site: &Site) -> Result<Turn, Fault> {
        let answer: Answer<'_> = reply.json()?;
        if let Some(verdict) = &answer.base_resp
            && let Some(fault) = verdict.fault()
        {
            return Err(fault.status(reply.status).retry_after(reply.retry_after));
        }
        if let Some(task) = answer.task {
            return read_task(task, asked, reply);
        }
        match (asked.leg, answer.status.as_deref()) {
            (Leg::Submit, _) if asked.url.ends_with("/video_generation") => {
                let id = answer.task_id.as_ref().map(plain).filter(|id| !id.is_empty()).ok_or_else(no_task)?;
                let newer = asked.url.ends_with("/v2/video_generation");
                let path = if newer { "v2/query/video_generation/" } else { "v1/query/video_generation?task_id=" };
                Ok(Turn::Wait(Call::poll(format!("{}/{path}{id}", site.base_url))))
            }
            (Leg::Submit, _) => {
                let pictures = answer.data.unwrap_or_default();
                let inline = pictures.image_base64.into_iter().flatten().map(|text| text.into_source(&reply.body));
                let linked = pictures.image_urls.into_iter().flatten().map(Source::Link);
                let outputs = inline.chain(linked).map(|source| Output { source, revised_prompt: None }).collect();
                Ok(Turn::Done(outputs, Usage::default()))
            }
            (Leg::Poll, Some("Preparing" | "Queueing" | "Processing")) => Ok(Turn::Wait(asked.clone())),
            (Leg::Poll, Some("Success")) => {
                let file = answer.file_id.as_ref().map(plain).filter(|id| !id.is_empty()).ok_or_else(no_task)?;
                Ok(Turn::Next(Call::fetch(format!("{}/v1/files/retrieve?file_id={file}", site.base_url))))
            }
            (Leg::Poll, Some("Fail")) => {
                let fault = Fault::new(FaultKind::Unavailable, "the provider failed to make the video");
                Err(fault.accepted(Accepted::Maybe).status(reply.status).code(Some("Fail".to_owned())))
            }
            (Leg::Poll, status) => Err(shapes::unknown_status(status.unwrap_or_default())),
            (Leg::Fetch | Leg::Cancel, _) => Ok(done(answer.file.and_then(|file| file.download_url), None)),
        }
    }

    fn fault(&self, asked: &Call, reply: &Reply) -> Fault {
        let told: Option<Answer<'_>> = serde_json::from_slice(&reply.body).ok();
        let fault = told.and_then(|answer| answer.base_resp?.fault());
        match fault {
            Some(fault) => fault.status(reply.status).retry_after(reply.retry_after),
            None => newer_fault(shapes::fault(asked, reply)),
        }
    }

    /// Stops a task of the newer videos while it waits; a running one goes on, an older one has no such call.
    fn cancel(&self, asked: &Call, _site: &Site) -> Option<Call> {
        let (base, id) = asked.url.split_once("/v2/query/video_generation/")?;
        Some(Call::cancel(Verb::Delete, format!("{base}/v2/video_generation/{id}")))
    }
}

/// Moves prompt and pictures into the list that the newer videos read.
fn nest_content(body: &mut Map<String, Value>) {
    let text = body.remove("prompt").map(|prompt| json!({"type": "text", "text": prompt}));
    let frames = ["first_frame", "last_frame"]
        .into_iter()
        .filter_map(|role| Some(json!({"type": "image_url", "image_url": {"url": body.remove(role)?}, "role": role})));
    let content: Vec<Value> = frames.collect();
    body.insert("content".to_owned(), text.into_iter().chain(content).collect());
}

/// How far a task of the newer videos is.
fn read_task(task: Task, asked: &Call, reply: &Reply) -> Result<Turn, Fault> {
    match task.status.as_str() {
        "queued" | "running" => Ok(Turn::Wait(asked.clone())),
        "succeeded" => {
            let seconds = task.usage.and_then(|usage| usage.output_seconds);
            Ok(done(task.content.and_then(|content| content.url), seconds))
        }
        status @ ("failed" | "cancelled" | "expired") => {
            let error = task.error.unwrap_or_default();
            let code = error.code.as_ref().map_or_else(|| status.to_owned(), plain);
            let message = error.message.unwrap_or_else(|| format!("the task ended as '{status}'"));
            let (kind, accepted) = match verdict(&code) {
                // A code that is not in the table ends the task, and says nothing of the bill.
                (FaultKind::Malformed | FaultKind::Timeout, accepted) => (FaultKind::Unavailable, accepted),
                known => known,
            };
            Err(Fault::new(kind, message).accepted(accepted).status(reply.status).code(Some(code)))
        }
        other => Err(shapes::unknown_status(other)),
    }
}

/// The newer envelope says a kind, and at the end of its text, in brackets, the code that the older ones have.
fn newer_fault(fault: Fault) -> Fault {
    let code = fault.message.rsplit_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).map(str::to_owned);
    match code.map(|code| (verdict(&code), code)) {
        Some(((kind, _), code)) if kind != FaultKind::Malformed => Fault { kind, upstream_code: Some(code), ..fault },
        _ => fault,
    }
}

/// A finished video, billed by its seconds.
fn done(link: Option<String>, seconds: Option<Decimal>) -> Turn {
    let link = link.filter(|url| !url.is_empty()).map(Source::Link);
    let outputs = link.into_iter().map(|source| Output { source, revised_prompt: None }).collect();
    Turn::Done(outputs, Usage { units: seconds, ..Usage::default() })
}

fn no_task() -> Fault {
    Fault::new(FaultKind::Malformed, "an answer without the id of what it made").accepted(Accepted::Maybe)
}

/// An id or a code, which may be a number or a text.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn subject(image: &Input) -> Value {
    json!({"type": "character", "image_file": image.data_uri()})
}

/// What a status code means, and whether the work may have been done by then. Codes from 1026 on are not in the
/// maker's own table; sources differ on 1039, which is taken for a limit of tokens a minute.
fn verdict(code: &str) -> (FaultKind, Accepted) {
    match code {
        "1002" | "1039" => (FaultKind::RateLimited, Accepted::No),
        "1004" | "1008" | "1028" | "1030" | "2049" | "2061" => (FaultKind::Auth, Accepted::No),
        "1001" => (FaultKind::Timeout, Accepted::Maybe),
        "1000" | "1024" => (FaultKind::Unavailable, Accepted::Maybe),
        "1026" => (FaultKind::Moderated, Accepted::No),
        "1027" => (FaultKind::Moderated, Accepted::Maybe),
        "2013" => (FaultKind::BadRequest, Accepted::No),
        _ => (FaultKind::Malformed, Accepted::Maybe),
    }
}

/// Borrowed from the reply: a picture stays where it arrived.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    data: Option<Pictures<'a>>,
    base_resp: Option<Verdict>,
    task_id: Option<Value>,
    status: Option<String>,
    file_id: Option<Value>,
    file: Option<File>,
    task: Option<Task>,
}

/// The finished file of an older video.
#[derive(Deserialize)]
struct File {
    download_url: Option<String>,
}

/// A newer video.
#[derive(Deserialize)]
struct Task {
    status: String,
    content: Option<Content>,
    usage: Option<Counted>,
    error: Option<Failure>,
}

#[derive(Deserialize)]
struct Counted {
    output_seconds: Option<Decimal>,
}

#[derive(Deserialize)]
struct Content {
    url: Option<String>,
}

#[derive(Deserialize, Default)]
struct Failure {
    code: Option<Value>,
    message: Option<String>,
}

#[derive(Deserialize, Default)]
struct Pictures<'a> {
    #[serde(borrow)]
    image_base64: Option<Vec<shapes::Text<'a>>>,
    image_urls: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Verdict {
    /// A number, perhaps written as a text.
    status_code: Value,
    #[serde(default)]
    status_msg: String,
}

impl Verdict {
    fn fault(&self) -> Option<Fault> {
        let code = plain(&self.status_code);
        if code == "0" {
            return None;
        }
        let (kind, accepted) = verdict(&code);
        let message =
            if self.status_msg.is_empty() { format!("MiniMax answered {code}") } else { self.status_msg.clone() };
        Some(Fault::new(kind, message).accepted(accepted).code(Some(code)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use bytes::Bytes;

    #[test]
    fn pictures_are_slices_of_the_reply() {
        let body = Bytes::from(r#"{"data": {"image_base64": ["AAAA", "BB\/B"]}, "base_resp": {"status_code": 0}}"#);
        let reply = Reply::new(200, Vec::new(), body.clone(), Timestamp::from_millis(0));
        let asked = Call::submit(String::new(), Value::Null);
        let turn = MiniMax.read(&asked, &reply, &Site { base_url: String::new() }).unwrap();
        let Turn::Done(outputs, _) = turn else { panic!("{turn:?}") };
        let texts: Vec<&Bytes> = outputs
            .iter()
            .filter_map(|output| if let Source::Base64(text) = &output.source { Some(text) } else { None })
            .collect();
        assert_eq!((&texts[0][..], &texts[1][..]), (b"AAAA".as_slice(), b"BB/B".as_slice()));
        assert!(body.as_ptr_range().contains(&texts[0].as_ptr()), "copied");
    }

    #[test]
    fn codes_come_as_numbers_and_as_texts() {
        for code in [json!(1026), json!("1026")] {
            let fault = Verdict { status_code: code, status_msg: "input new_sensitive".into() }.fault().unwrap();
            assert_eq!((fault.kind, fault.upstream_code.as_deref()), (FaultKind::Moderated, Some("1026")));
        }
        assert_eq!(Verdict { status_code: json!("0"), status_msg: String::new() }.fault(), None);
    }
}
