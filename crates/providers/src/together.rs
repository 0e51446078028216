//! Together AI. Pictures: one synchronous call for generations and edits alike, base64 inside the JSON answer.
//! <https://docs.together.ai/reference/post-images-generations> (read 2026-11). Its SDKs take a base address.
//!
//! `base64` is asked for, `b64_json` is answered. Together's own checker refuses with a 422, the makers of closed models
//! with the code `content_policy_violation`; an empty purse is a 402. Nothing is said of the bill.
//!
//! Videos are jobs under `v2` of the same host (<https://docs.together.ai/reference/create-videos>, read 2026-11), whose
//! answer names its cost. A finished one has a link that needs no key. Which failures are billed is not said, nor in which
//! words one is refused, nor that a job can be stopped.

use super::{Adapter, Card, Reach, Site, Turn, shapes};
use crate::fault::{Accepted, Fault, FaultKind};
use crate::job::{Brief, Output, Source, Usage};
use crate::outbound::auth::AuthScheme;
use crate::outbound::call::{Call, Leg, Reply};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Map, Value, json};

pub(super) struct Together;

static CARD: Card = Card {
    id: "together",
    name: "Together AI",
    base_url: "https://api.together.xyz/v1",
    reach: Reach::Hosted,
    auth: AuthScheme::Bearer,
    key_env: "TOGETHER_API_KEY",
    // Pictures are never asked for by link, and a video's needs no key.
    hosts: &[],
    docs: "https://docs.together.ai/reference/post-images-generations",
    catalog: include_str!("../../../config/catalog/together.toml"),
};

impl Adapter for Together {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn open(&self, brief: &Brief, site: &Site) -> Result<Turn, Fault> {
        let mut body = brief.input.clone();
        body.insert("model".to_owned(), Value::from(brief.model.as_str()));
        if brief.mode.makes_video() {
            pin_frames(&mut body);
            return Ok(Turn::Next(Call::submit(videos(site), Value::Object(body))));
        }
        // Links die within the hour and lead to hosts that are not documented.
        body.insert("response_format".to_owned(), Value::from("base64"));
        Ok(Turn::Next(Call::submit(format!("{}/images/generations", site.base_url), Value::Object(body))))
    }

    fn read(&self, asked: &Call, reply: &Reply, site: &Site) -> Result<Turn, Fault> {
        if asked.url.starts_with(&videos(site)) {
            return read_video(asked, reply, site);
        }
        let answer: Answer<'_> = reply.json()?;
        let outputs = answer.data.into_iter().flatten().filter_map(|item| item.into_output(&reply.body)).collect();
        Ok(Turn::Done(outputs, Usage::default()))
    }

    fn fault(&self, asked: &Call, reply: &Reply) -> Fault {
        let fault = shapes::fault(asked, reply);
        let (kind, accepted) = match (reply.status, fault.upstream_code.as_deref()) {
            // The maker may have refused what it had made, and nobody says who pays for that.
            (_, Some(REFUSED)) => (FaultKind::Moderated, Accepted::Maybe),
            (_, Some("model_not_available")) => (FaultKind::Gone, Accepted::No),
            (_, Some("credit_limit")) => (FaultKind::Auth, Accepted::No),
            (422, _) => (FaultKind::Moderated, fault.accepted),
            _ => (fault.kind, fault.accepted),
        };
        Fault { kind, accepted, ..fault }
    }
}

/// The code of a maker's refusal.
const REFUSED: &str = "content_policy_violation";

/// Where videos are asked for. A base address without a version stands for the place where both are.
fn videos(site: &Site) -> String {
    format!("{}/v2/videos", site.base_url.strip_suffix("/v1").unwrap_or(&site.base_url))
}

/// The pictures become the first frame and the last.
fn pin_frames(body: &mut Map<String, Value>) {
    let Some(Value::Array(pictures)) = body.remove("frame_images") else { return };
    let pin = |(picture, frame): (Value, &str)| json!({"input_image": picture, "frame": frame});
    let frames: Vec<Value> = pictures.into_iter().zip(["first", "last"]).map(pin).collect();
    body.insert("media".to_owned(), json!({"frame_images": frames}));
}

fn read_video(asked: &Call, reply: &Reply, site: &Site) -> Result<Turn, Fault> {
    let job: Job = reply.json()?;
    let made = job.outputs.unwrap_or_default();
    let usage = Usage { cost: made.cost, ..Usage::default() };
    match job.status.as_str() {
        "queued" | "in_progress" if asked.leg == Leg::Submit => {
            Ok(Turn::Wait(Call::poll(format!("{}/{}", videos(site), job.id))))
        }
        "queued" | "in_progress" => Ok(Turn::Wait(asked.clone())),
        "completed" => {
            let link = made.video_url.filter(|url| !url.is_empty()).map(Source::Link);
            let outputs = link.into_iter().map(|source| Output { source, revised_prompt: None }).collect();
            Ok(Turn::Done(outputs, usage))
        }
        "failed" | "cancelled" => Err(ended(job.error.unwrap_or_default(), job.status, reply.status, usage)),
        other => Err(shapes::unknown_status(other)),
    }
}

/// A job that ended without a video.
fn ended(trouble: Trouble, status: String, answered: u16, usage: Usage) -> Fault {
    let accepted = match usage.cost {
        Some(cost) if cost.is_zero() => Accepted::No,
        Some(_) => Accepted::Yes,
        None => Accepted::Maybe,
    };
    let refused = trouble.code.as_deref() == Some(REFUSED);
    let kind = if refused { FaultKind::Moderated } else { FaultKind::Unavailable };
    let text = trouble.message.unwrap_or_else(|| format!("the job ended as '{status}'"));
    Fault::new(kind, text).accepted(accepted).status(answered).code(trouble.code.or(Some(status))).usage(usage)
}

#[derive(Deserialize)]
struct Job {
    id: String,
    status: String,
    error: Option<Trouble>,
    outputs: Option<Made>,
}

#[derive(Deserialize, Default)]
struct Trouble {
    code: Option<String>,
    message: Option<String>,
}

#[derive(Deserialize, Default)]
struct Made {
    /// In dollars.
    cost: Option<Decimal>,
    video_url: Option<String>,
}

/// Borrowed from the reply: a picture stays where it arrived.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    data: Option<Vec<shapes::Item<'a>>>,
}
