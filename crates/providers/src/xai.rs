//! xAI's Grok Imagine: pictures in one synchronous call, videos as a job that is polled by its id.
//! <https://docs.x.ai/developers/model-capabilities/images> (read 2026-11). OpenAI's SDKs can be pointed at another host
//! and speak its generations; its own SDK is gRPC and cannot.
//!
//! A video that is edited or gone on from has a door of its own (`/developers/model-capabilities/video/editing`,
//! `/extension`), and is polled like any other.
//!
//! Moderation is quiet: 200 with `respect_moderation: false`, or no pictures at all. A wrong key may be a 400, an empty
//! purse a 429 or 403, a refused prompt a 403: the text tells. The bill comes with the answer, in ticks. Edits are JSON.

use super::{Adapter, Card, Reach, Site, Turn, shapes};
use crate::fault::{Accepted, Fault, FaultKind};
use crate::job::{Brief, Input, Mode, Output, Source, Usage};
use crate::outbound::auth::AuthScheme;
use crate::outbound::call::{Call, Leg, Reply};
use bytes::Bytes;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Map, Value, json};

pub(super) struct Xai;

static CARD: Card = Card {
    id: "xai",
    name: "xAI",
    base_url: "https://api.x.ai/v1",
    reach: Reach::Hosted,
    auth: AuthScheme::Bearer,
    key_env: "XAI_API_KEY",
    hosts: &[],
    docs: "https://docs.x.ai/developers/model-capabilities/images",
    catalog: include_str!("../../../config/catalog/xai.toml"),
};

impl Adapter for Xai {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn open(&self, brief: &Brief, site: &Site) -> Result<Turn, Fault> {
        let mut body = brief.input.clone();
        body.insert("model".to_owned(), Value::from(brief.model.as_str()));
        let path = match brief.mode {
            Mode::TextToVideo | Mode::ImageToVideo => {
                body.extend(brief.images.first().map(|image| ("image".to_owned(), json!({"url": image.data_uri()}))));
                "videos/generations"
            }
            Mode::VideoToVideo | Mode::VideoExtension => {
                body.extend(brief.images.first().map(|video| ("video".to_owned(), json!({"url": video.data_uri()}))));
                if brief.mode == Mode::VideoToVideo { "videos/edits" } else { "videos/extensions" }
            }
            Mode::ImageEdit => {
                put_pictures(&mut body, &brief.images);
                ask_inline(&mut body);
                "images/edits"
            }
            _ => {
                ask_inline(&mut body);
                "images/generations"
            }
        };
        Ok(Turn::Next(Call::submit(format!("{}/{path}", site.base_url), Value::Object(body))))
    }

    fn read(&self, asked: &Call, reply: &Reply, site: &Site) -> Result<Turn, Fault> {
        match asked.leg {
            Leg::Submit if asked.url.starts_with(&format!("{}/videos/", site.base_url)) => {
                let ticket: Ticket = reply.json()?;
                Ok(Turn::Wait(Call::poll(format!("{}/videos/{}", site.base_url, ticket.request_id))))
            }
            Leg::Submit => read_pictures(reply),
            // The body of a 202 may be empty.
            _ if reply.status == 202 => Ok(Turn::Wait(asked.clone())),
            _ => read_video(asked, reply),
        }
    }

    fn fault(&self, asked: &Call, reply: &Reply) -> Fault {
        let fault = shapes::fault(asked, reply);
        let text = fault.message.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
        let kind = if says(&["usage guidelines", "content moderation", "moderation policy"]) {
            FaultKind::Moderated
        } else if (reply.status == 400 && says(&["api key"])) || says(&["available credits", "spending limit"]) {
            FaultKind::Auth
        } else if reply.status == 400 && text.contains("model") && says(&["not found", "does not exist"]) {
            FaultKind::Gone
        } else {
            fault.kind
        };
        // xAI does not say which of its refusals it bills.
        let accepted = if kind == FaultKind::Moderated { Accepted::Maybe } else { fault.accepted };
        let upstream_code = fault.upstream_code.clone().or_else(|| top_code(reply));
        Fault { kind, accepted, upstream_code, ..fault }
    }
}

/// Links are short-lived: the files come with the answer instead.
fn ask_inline(body: &mut Map<String, Value>) {
    body.insert("response_format".to_owned(), Value::from("b64_json"));
}

/// One picture is `image`, several are `images`; never both.
fn put_pictures(body: &mut Map<String, Value>, images: &[Input]) {
    let write = |image: &Input| json!({"url": image.data_uri(), "type": "image_url"});
    match images {
        [one] => body.insert("image".to_owned(), write(one)),
        several => body.insert("images".to_owned(), several.iter().map(write).collect()),
    };
}

fn read_pictures(reply: &Reply) -> Result<Turn, Fault> {
    let answer: Answer<'_> = reply.json()?;
    let usage = bill(answer.usage.as_ref());
    if answer.data.iter().all(Item::refused) {
        return Err(refused(reply, usage));
    }
    // A refused picture is not handed on, whatever stands in its place.
    let kept = answer.data.into_iter().filter(|item| !item.refused());
    Ok(Turn::Done(kept.filter_map(|item| item.into_output(&reply.body)).collect(), usage))
}

fn read_video(asked: &Call, reply: &Reply) -> Result<Turn, Fault> {
    let job: Job = reply.json()?;
    let usage = bill(job.usage.as_ref());
    match job.status.as_str() {
        "pending" => Ok(Turn::Wait(asked.clone())),
        "done" => match job.video {
            Some(Video { url: Some(url), respect_moderation })
                if !url.is_empty() && respect_moderation != Some(false) =>
            {
                Ok(Turn::Done(vec![Output { source: Source::Link(url), revised_prompt: None }], usage))
            }
            _ => Err(refused(reply, usage)),
        },
        "failed" => {
            let error = job.error.unwrap_or_default();
            let text = error.message.unwrap_or_else(|| "the provider failed to make the video".to_owned());
            Err(Fault::new(FaultKind::Unavailable, text)
                .accepted(paid(usage.cost))
                .status(reply.status)
                // Without a code it would pass for trouble on the way.
                .code(error.code.or(Some(job.status)))
                .usage(usage))
        }
        "expired" => {
            let text = "the provider no longer has the job";
            Err(Fault::new(FaultKind::Unavailable, text).accepted(Accepted::Maybe).code(Some(job.status)))
        }
        other => Err(shapes::unknown_status(other)),
    }
}

fn refused(reply: &Reply, usage: Usage) -> Fault {
    let text = "The content was blocked by the provider's moderation.";
    Fault::new(FaultKind::Moderated, text).accepted(paid(usage.cost)).status(reply.status).usage(usage)
}

/// What the reported cost says of who pays for nothing.
fn paid(cost: Option<Decimal>) -> Accepted {
    match cost {
        Some(cost) if cost.is_zero() => Accepted::No,
        Some(_) => Accepted::Yes,
        None => Accepted::Maybe,
    }
}

/// A tick is a ten-thousand-millionth of a dollar.
fn bill(usage: Option<&Ticks>) -> Usage {
    Usage {
        cost: usage.and_then(|usage| usage.cost_in_usd_ticks).map(|ticks| Decimal::new(ticks, 10)),
        ..Usage::default()
    }
}

/// `code` beside `error`, in the second of its three envelopes.
fn top_code(reply: &Reply) -> Option<String> {
    let body: Value = serde_json::from_slice(&reply.body).ok()?;
    body["code"].as_str().map(str::to_owned)
}

#[derive(Deserialize)]
struct Ticks {
    cost_in_usd_ticks: Option<i64>,
}

/// Borrowed from the reply: a picture stays where it arrived.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    data: Vec<Item<'a>>,
    usage: Option<Ticks>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    b64_json: Option<shapes::Text<'a>>,
    url: Option<String>,
    revised_prompt: Option<String>,
    respect_moderation: Option<bool>,
}

impl Item<'_> {
    fn refused(&self) -> bool {
        self.respect_moderation == Some(false)
    }

    fn into_output(self, body: &Bytes) -> Option<Output> {
        let inline = self.b64_json.filter(|text| !text.is_empty()).map(|text| text.into_source(body));
        let source = inline.or_else(|| self.url.filter(|url| !url.is_empty()).map(Source::Link))?;
        Some(Output { source, revised_prompt: self.revised_prompt.filter(|text| !text.is_empty()) })
    }
}

#[derive(Deserialize)]
struct Ticket {
    request_id: String,
}

#[derive(Deserialize)]
struct Job {
    status: String,
    video: Option<Video>,
    usage: Option<Ticks>,
    error: Option<Failure>,
}

#[derive(Deserialize)]
struct Video {
    url: Option<String>,
    respect_moderation: Option<bool>,
}

#[derive(Deserialize, Default)]
struct Failure {
    code: Option<String>,
    message: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use crate::outbound::call::Payload;

    const SITE: &str = "https://api.x.ai/v1";

    fn site() -> Site {
        Site { base_url: SITE.to_owned() }
    }

    fn video() -> Brief {
        let input = json!({"prompt": "a fox runs", "duration": 5}).as_object().unwrap().clone();
        let images = vec![Input { mime: "image/png".into(), bytes: Bytes::from_static(b"x"), size: None }];
        let model = "grok-imagine-video".to_owned();
        Brief {
            id: "6f1c1f0e-8f1d-4b52-9c37-0d1d3c1f7a11".to_owned(),
            model,
            mode: Mode::ImageToVideo,
            n: 1,
            format: None,
            input,
            images,
            mask: None,
        }
    }

    #[test]
    fn a_video_is_edited_and_extended_at_doors_of_their_own() {
        let clip = Input { mime: "video/mp4".into(), bytes: Bytes::from_static(b"x"), size: None };
        for (mode, door) in [(Mode::VideoToVideo, "edits"), (Mode::VideoExtension, "extensions")] {
            let brief = Brief { mode, images: vec![clip.clone()], ..video() };
            let Turn::Next(call) = Xai.open(&brief, &site()).unwrap() else { panic!("no call") };
            assert_eq!(call.url, format!("{SITE}/videos/{door}"));
            let Payload::Json(body) = &call.payload else { panic!("no JSON") };
            assert_eq!((&body["video"], body.get("image")), (&json!({"url": clip.data_uri()}), None));
            let reply = Reply::new(200, Vec::new(), Bytes::from(r#"{"request_id":"r1"}"#), Timestamp::from_millis(0));
            let Turn::Wait(next) = Xai.read(&call, &reply, &site()).unwrap() else { panic!("no poll") };
            assert_eq!(next.url, format!("{SITE}/videos/r1"));
        }
    }

    fn poll(status: u16, body: &str) -> Result<Turn, Fault> {
        let body = Bytes::from(body.to_owned());
        let reply = Reply::new(status, Vec::new(), body, Timestamp::from_millis(0));
        Xai.read(&Call::poll(format!("{SITE}/videos/r1")), &reply, &site())
    }

    #[test]
    fn a_video_is_submitted_and_polled() {
        let Turn::Next(call) = Xai.open(&video(), &site()).unwrap() else { panic!("no call") };
        assert_eq!(call.url, format!("{SITE}/videos/generations"));
        let reply = Reply::new(200, Vec::new(), Bytes::from(r#"{"request_id":"r1"}"#), Timestamp::from_millis(0));
        let Turn::Wait(next) = Xai.read(&call, &reply, &site()).unwrap() else { panic!("no poll") };
        assert_eq!(next.url, format!("{SITE}/videos/r1"));
        assert!(matches!(poll(202, ""), Ok(Turn::Wait(_))));
        assert!(matches!(poll(200, r#"{"status":"pending","progress":40}"#), Ok(Turn::Wait(_))));
    }

    #[test]
    fn a_video_ends_in_every_way() {
        let done = r#"{"status":"done","video":{"url":"https://vidgen.x.ai/a.mp4","duration":5,"respect_moderation":true},
            "usage":{"cost_in_usd_ticks":2500000000}}"#;
        let Ok(Turn::Done(outputs, usage)) = poll(200, done) else { panic!("not done") };
        assert_eq!((outputs.len(), usage.cost), (1, Some("0.25".parse().unwrap())));
        let how = |body: &str| poll(200, body).map(|_| ()).map_err(|fault| (fault.kind, fault.accepted)).unwrap_err();
        let blocked =
            r#"{"status":"done","video":{"url":"","respect_moderation":false},"usage":{"cost_in_usd_ticks":1}}"#;
        assert_eq!(how(blocked), (FaultKind::Moderated, Accepted::Yes));
        let failed = r#"{"status":"failed","error":{"code":"internal_error","message":"no luck"}}"#;
        assert_eq!(how(failed), (FaultKind::Unavailable, Accepted::Maybe));
        assert_eq!(how(r#"{"status":"expired"}"#), (FaultKind::Unavailable, Accepted::Maybe));
        assert_eq!(how(r#"{"status":"paused"}"#), (FaultKind::Malformed, Accepted::Maybe));
    }
}
