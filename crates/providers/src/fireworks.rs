//! Fireworks AI images: FLUX.1 in one synchronous call with base64 in the JSON answer, Kontext as a job, older models at
//! an older endpoint that answers with the file itself.
//! <https://docs.fireworks.ai/api-reference/generate-or-edit-image-using-flux-kontext> (read 2026-11). Vercel's provider
//! takes a base address.
//!
//! A job is asked after by POST, with the id in the body, at an address that no answer names. A filtered picture is a 200
//! whose `finishReason` says so, a refused job a 200 with a status of its own. A suspended account is a 412. Nothing is
//! said of the bill.
//! Its own Python client was not tried against the simulator.

use super::{Adapter, Card, Reach, Site, Turn, shapes};
use crate::fault::{Accepted, Fault, FaultKind};
use crate::job::{Brief, Output, Source, Usage};
use crate::media::Format;
use crate::outbound::auth::AuthScheme;
use crate::outbound::call::{Call, Leg, Payload, Reply, Verb};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) struct Fireworks;

static CARD: Card = Card {
    id: "fireworks",
    name: "Fireworks AI",
    base_url: "https://api.fireworks.ai/inference/v1",
    reach: Reach::Hosted,
    auth: AuthScheme::Bearer,
    key_env: "FIREWORKS_API_KEY",
    // Kontext is its makers' own service: its statuses are theirs, and so, it is presumed, are its links.
    hosts: &[],
    docs: "https://docs.fireworks.ai/api-reference/generate-a-new-image-from-a-text-prompt",
    catalog: include_str!("../../../config/catalog/fireworks.toml"),
};

/// The end of an address that answers at once.
const AT_ONCE: &str = "/text_to_image";

/// The part of an address of the older endpoint.
const OLDER: &str = "/image_generation/";

impl Adapter for Fireworks {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn open(&self, brief: &Brief, site: &Site) -> Result<Turn, Fault> {
        let (queued, older) = (brief.model.contains("/flux-kontext-"), !brief.model.contains("/flux-"));
        let end = if queued || older { "" } else { AT_ONCE };
        let start = if older { OLDER } else { "/workflows/" };
        let url = format!("{}{start}{}{end}", site.base_url, brief.model);
        let accept = if older { brief.format.unwrap_or(Format::Png).mime() } else { "application/json" };
        let headers = vec![("accept".to_owned(), accept.to_owned())];
        Ok(Turn::Next(Call { headers, ..Call::submit(url, Value::Object(brief.input.clone())) }))
    }

    fn read(&self, asked: &Call, reply: &Reply, _site: &Site) -> Result<Turn, Fault> {
        match asked.leg {
            Leg::Submit if asked.url.ends_with(AT_ONCE) => read_pictures(reply),
            Leg::Submit if asked.url.contains(OLDER) => read_file(reply),
            Leg::Submit => {
                let ticket: Ticket = reply.json()?;
                let (url, payload) = (format!("{}/get_result", asked.url), json!({"id": ticket.request_id}));
                Ok(Turn::Wait(Call { verb: Verb::Post, payload: Payload::Json(payload), ..Call::poll(url) }))
            }
            Leg::Poll | Leg::Fetch | Leg::Cancel => read_state(asked, reply),
        }
    }

    fn fault(&self, asked: &Call, reply: &Reply) -> Fault {
        let fault = shapes::fault(asked, reply);
        match fault.kind {
            // A suspended account: out of money, or of its monthly limit.
            _ if reply.status == 412 => Fault { kind: FaultKind::Auth, ..fault },
            FaultKind::Auth | FaultKind::RateLimited => fault,
            // Without a status in the body it is not the job that speaks but something on the way.
            _ if asked.leg != Leg::Submit => Fault { kind: FaultKind::Unavailable, ..fault.code(None) },
            _ => fault,
        }
    }
}

fn read_pictures(reply: &Reply) -> Result<Turn, Fault> {
    let answer: Answer<'_> = reply.json()?;
    let outcome = answer.finish_reason.unwrap_or_default();
    match outcome.as_str() {
        "SUCCESS" | "" => {
            let texts = answer.base64.into_iter().flatten().filter(|text| !text.is_empty());
            let output =
                |text: shapes::Text<'_>| Output { source: text.into_source(&reply.body), revised_prompt: None };
            Ok(Turn::Done(texts.map(output).collect(), Usage::default()))
        }
        "CONTENT_FILTERED" => {
            let text = "The picture was filtered by the provider's safety check.";
            Err(ended(FaultKind::Moderated, text, outcome, reply))
        }
        _ => {
            let outcome: String = outcome.chars().take(40).collect();
            let text = format!("the picture ended with the unknown reason '{outcome}'");
            Err(ended(FaultKind::Malformed, &text, outcome, reply))
        }
    }
}

/// A file, with the outcome in a header.
fn read_file(reply: &Reply) -> Result<Turn, Fault> {
    if reply.header("finish-reason") == Some("CONTENT_FILTERED") {
        let text = "The picture was filtered by the provider's safety check.";
        return Err(ended(FaultKind::Moderated, text, "CONTENT_FILTERED".to_owned(), reply));
    }
    let file = Some(reply.body.clone()).filter(|file| !file.is_empty());
    let outputs = file.map(|file| Output { source: Source::Bytes(file), revised_prompt: None });
    Ok(Turn::Done(outputs.into_iter().collect(), Usage::default()))
}

fn read_state(asked: &Call, reply: &Reply) -> Result<Turn, Fault> {
    let state: State = reply.json()?;
    match state.status.as_str() {
        "Pending" => Ok(Turn::Wait(asked.clone())),
        "Ready" => {
            let link = state.result.and_then(|made| made.sample).filter(|link| !link.is_empty());
            let output = link.map(|link| Output { source: Source::Link(link), revised_prompt: None });
            Ok(Turn::Done(output.into_iter().collect(), Usage::default()))
        }
        // Only a refused request is surely not run.
        "Request Moderated" => {
            let fault = ended(FaultKind::Moderated, "Request Moderated", state.status.clone(), reply);
            Err(fault.accepted(Accepted::No))
        }
        "Content Moderated" => Err(ended(FaultKind::Moderated, "Content Moderated", state.status.clone(), reply)),
        "Error" | "Task not found" => {
            Err(ended(FaultKind::Unavailable, &format!("the job ended: {}", state.status), state.status.clone(), reply))
        }
        _ => {
            let status: String = state.status.chars().take(40).collect();
            let text = format!("the job is in the unknown status '{status}'");
            Err(ended(FaultKind::Malformed, &text, status, reply))
        }
    }
}

/// An end without pictures that may be billed.
fn ended(kind: FaultKind, text: &str, code: String, reply: &Reply) -> Fault {
    Fault::new(kind, text).accepted(Accepted::Maybe).status(reply.status).code(Some(code))
}

/// Borrowed from the reply: a picture stays where it arrived.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    #[serde(borrow)]
    base64: Option<Vec<shapes::Text<'a>>>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Ticket {
    request_id: String,
}

#[derive(Deserialize)]
struct State {
    status: String,
    result: Option<Made>,
}

#[derive(Deserialize)]
struct Made {
    sample: Option<String>,
}
