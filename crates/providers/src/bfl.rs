//! Black Forest Labs, the makers of FLUX: a job for each call, an address to poll, a signed link that lives ten
//! minutes. <https://docs.bfl.ai/quick_start/generating_images> (read 2026-11).
//!
//! Refusals are HTTP 200 with a status of their own, and a job that failed may come with HTTP 422 or 503 and a status
//! in its body. Costs are credits, hundredths of a dollar; the one told with the result replaces the one told first.

use super::{Adapter, Card, Reach, Site, Turn, shapes};
use crate::fault::{Accepted, Fault, FaultKind};
use crate::invoice::{DOLLAR, Invoice};
use crate::job::{Brief, Mode, Output, Source, Usage};
use crate::outbound::auth::AuthScheme;
use crate::outbound::call::{Call, Leg, Reply};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Map, Number, Value};

pub(super) struct Bfl;

static CARD: Card = Card {
    id: "bfl",
    name: "Black Forest Labs",
    base_url: "https://api.bfl.ai/v1",
    reach: Reach::Hosted,
    auth: AuthScheme::Header("x-key"),
    key_env: "BFL_API_KEY",
    // Regional machines answer polls (api.eu1) and deliver files (delivery-eu1).
    hosts: &["bfl.ai"],
    docs: "https://docs.bfl.ai/api_integration/errors",
    catalog: include_str!("../../../config/catalog/bfl.toml"),
};

/// The names of its API; it documents no export. A credit is a cent.
static INVOICE: Invoice = Invoice {
    time: &["created_at", "timestamp", "date"],
    amount: &["credits", "cost"],
    what: &["model", "endpoint"],
    id: &["task_id", "id"],
    unit: DOLLAR / 100,
    daily: false,
};

impl Adapter for Bfl {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn open(&self, brief: &Brief, site: &Site) -> Result<Turn, Fault> {
        let mut body = brief.input.clone();
        name_video_mode(&mut body, brief.mode);
        Ok(Turn::Next(Call::submit(format!("{}/{}", site.base_url, brief.model), Value::Object(body))))
    }

    fn read(&self, asked: &Call, reply: &Reply, _site: &Site) -> Result<Turn, Fault> {
        match asked.leg {
            Leg::Submit => read_ticket(reply),
            Leg::Poll | Leg::Fetch | Leg::Cancel => read_state(asked, reply),
        }
    }

    fn fault(&self, asked: &Call, reply: &Reply) -> Fault {
        let fault = shapes::fault(asked, reply);
        if asked.leg == Leg::Submit {
            return fault;
        }
        match (serde_json::from_slice::<State>(&reply.body), fault.kind) {
            (Ok(state), _) => state.failure(reply),
            (Err(_), FaultKind::Auth | FaultKind::RateLimited) => fault,
            // Without a status in the body it is not the job that speaks but something on the way.
            (Err(_), _) => Fault { kind: FaultKind::Unavailable, ..fault.code(None) },
        }
    }

    fn invoice(&self) -> Option<&'static Invoice> {
        Some(&INVOICE)
    }
}

/// FLUX 3 Video is told what it works from, and has names of its own for resolutions.
fn name_video_mode(body: &mut Map<String, Value>, mode: Mode) {
    let name = match mode {
        Mode::TextToVideo => "t2v",
        Mode::ImageToVideo => "i2v",
        _ => return,
    };
    body.insert("mode".to_owned(), name.into());
    if let Some(resolution) = body.get_mut("resolution") {
        match resolution.as_str() {
            Some("720p") => *resolution = "hd".into(),
            Some("1080p") => *resolution = "fhd".into(),
            _ => {}
        }
    }
}

/// The state and the result are one address, so asking for it is a fetch: what it says in its own words is final.
fn read_ticket(reply: &Reply) -> Result<Turn, Fault> {
    let ticket: Ticket = reply.json()?;
    let call = Call::fetch(ticket.polling_url);
    Ok(Turn::Wait(match ticket.cost {
        Some(credits) => call.memo(credits.to_string()),
        None => call,
    }))
}

fn read_state(asked: &Call, reply: &Reply) -> Result<Turn, Fault> {
    let state: State = reply.json()?;
    match state.status.as_str() {
        "Pending" | "Queued" | "Reasoning" | "Generating" => Ok(Turn::Wait(asked.clone())),
        "Ready" => Ok(state.done(asked.memo.as_deref())),
        _ => Err(state.failure(reply)),
    }
}

#[derive(Deserialize)]
struct Ticket {
    polling_url: String,
    cost: Option<Number>,
}

#[derive(Deserialize)]
struct State {
    status: String,
    result: Option<Made>,
    #[serde(default)]
    details: Value,
    cost: Option<Number>,
}

#[derive(Deserialize)]
struct Made {
    sample: Option<String>,
}

impl State {
    /// The picture, and the bill: of this reply, or the one that the submit foretold.
    fn done(self, foretold: Option<&str>) -> Turn {
        let credits = self.cost.map(|credits| credits.to_string()).or_else(|| foretold.map(str::to_owned));
        let cost =
            credits.and_then(|credits| credits.parse::<Decimal>().ok()).map(|credits| credits / Decimal::ONE_HUNDRED);
        let link = self.result.and_then(|made| made.sample).filter(|link| !link.is_empty());
        let output = link.map(|link| Output { source: Source::Link(link), revised_prompt: None });
        Turn::Done(output.into_iter().collect(), Usage { cost, ..Usage::default() })
    }

    /// What a status without a picture means. Only a refused request is surely not run; nothing is said of the bill
    /// of the others.
    fn failure(self, reply: &Reply) -> Fault {
        let (kind, accepted) = match self.status.as_str() {
            "Request Moderated" => (FaultKind::Moderated, Accepted::No),
            "Content Moderated" => (FaultKind::Moderated, Accepted::Maybe),
            "Error" | "Failed" | "Task not found" => (FaultKind::Unavailable, Accepted::Maybe),
            _ => (FaultKind::Malformed, Accepted::Maybe),
        };
        let status: String = self.status.chars().take(40).collect();
        let words = self.words();
        let message = match kind {
            FaultKind::Malformed => format!("the job is in the unknown status '{status}'"),
            _ if words.is_empty() => status.clone(),
            _ => format!("{status}: {words}"),
        };
        Fault::new(kind, message).accepted(accepted).status(reply.status).code(Some(status))
    }

    /// The texts of `details`: reasons of a refusal, the error of a failure.
    fn words(&self) -> String {
        let mut texts = Vec::new();
        gather(&self.details, &mut texts);
        texts.join(", ")
    }
}

fn gather<'a>(value: &'a Value, texts: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => texts.push(text),
        Value::Array(items) => items.iter().for_each(|item| gather(item, texts)),
        Value::Object(fields) => fields.values().for_each(|field| gather(field, texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
