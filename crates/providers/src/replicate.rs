//! Replicate: a prediction of a model, followed at the addresses that come with it. One shape for pictures and videos:
//! the output is an address or a list of them. <https://replicate.com/docs/reference/http> (read 2026-11).
//!
//! A short blocking wait (`Prefer: wait`) saves the polls of quick models; it may also end with a prediction that runs
//! on. A refusal is a failed prediction, told apart by its text alone. No answer tells the cost.

use super::{Adapter, Card, Reach, Site, Turn, shapes};
use crate::fault::{Accepted, Fault, FaultKind};
use crate::invoice::{DOLLAR, Invoice};
use crate::job::{Brief, Mode, Output, Source, Usage};
use crate::lists::{Listed, Listing, Reading};
use crate::outbound::auth::AuthScheme;
use crate::outbound::call::{Call, Leg, Reply, Verb};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

pub(super) struct Replicate;

static CARD: Card = Card {
    id: "replicate",
    name: "Replicate",
    base_url: "https://api.replicate.com/v1",
    reach: Reach::Hosted,
    auth: AuthScheme::Bearer,
    key_env: "REPLICATE_API_TOKEN",
    hosts: &["api.replicate.com"],
    docs: "https://replicate.com/docs/reference/http",
    catalog: include_str!("../../../config/catalog/replicate.toml"),
};

/// Words of a failed prediction that are a refusal.
const REFUSALS: [&str; 7] =
    ["(e005)", "nsfw", "flagged as sensitive", "safety", "content policy", "moderation", "prohibited content"];

/// The names of its API; it documents no export.
static INVOICE: Invoice = Invoice {
    time: &["created_at", "started_at", "date"],
    amount: &["cost", "cost_usd", "amount"],
    what: &["model", "version"],
    id: &["prediction_id", "id"],
    unit: DOLLAR,
    daily: false,
};

impl Adapter for Replicate {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn open(&self, brief: &Brief, site: &Site) -> Result<Turn, Fault> {
        // A community's model is called by its version.
        let mut call = if brief.model.contains(':') {
            Call::submit(
                format!("{}/predictions", site.base_url),
                json!({"version": brief.model, "input": brief.input}),
            )
        } else {
            let url = format!("{}/models/{}/predictions", site.base_url, brief.model);
            Call::submit(url, json!({"input": brief.input}))
        };
        if matches!(brief.mode, Mode::TextToImage | Mode::ImageEdit | Mode::Upscale) {
            // Long enough for quick models, short enough that little is lost with a connection that breaks.
            call.headers.push(("prefer".to_owned(), "wait=5".to_owned()));
        }
        Ok(Turn::Next(call))
    }

    fn read(&self, asked: &Call, reply: &Reply, _site: &Site) -> Result<Turn, Fault> {
        let prediction: Prediction = reply.json()?;
        match prediction.status.as_str() {
            // There may be outputs already; all of them are there only when it has succeeded.
            "starting" | "processing" => prediction.follow(asked),
            "succeeded" => Ok(Turn::Done(prediction.outputs(), Usage::default())),
            _ => Err(prediction.failure(reply)),
        }
    }

    fn fault(&self, asked: &Call, reply: &Reply) -> Fault {
        let fault = shapes::fault(asked, reply);
        let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let told = body["retry_after"].as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let fault = Fault { retry_after: fault.retry_after.or(told), ..fault };
        match (asked.leg, fault.kind) {
            (Leg::Submit, _) => fault.code(body["title"].as_str().map(str::to_owned)),
            (_, FaultKind::Auth | FaultKind::RateLimited) => fault,
            // What goes wrong while asking is not the prediction's end: that is a status.
            (_, _) => Fault { kind: FaultKind::Unavailable, ..fault.code(None) },
        }
    }

    fn cancel(&self, asked: &Call, _site: &Site) -> Option<Call> {
        Some(Call::cancel(Verb::Post, asked.memo.clone()?))
    }

    /// `GET /models/{owner}/{name}`, model by model: whether it is there.
    fn listing(&self) -> Option<Listing> {
        Some(Listing {
            readings: |site, endpoints| endpoints.iter().map(|id| model_reading(site, id)).collect(),
            lines: |_, about| about.iter().map(|id| Listed { id: id.clone(), ..Listed::default() }).collect(),
        })
    }

    fn invoice(&self) -> Option<&'static Invoice> {
        Some(&INVOICE)
    }
}

fn model_reading(site: &Site, id: &str) -> Reading {
    let name = id.split(':').next().unwrap_or_default();
    Reading { about: vec![id.to_owned()], ..Reading::whole(site, &format!("/models/{name}")) }
}

#[derive(Deserialize)]
struct Prediction {
    status: String,
    #[serde(default)]
    output: Value,
    #[serde(default)]
    error: Value,
    urls: Option<Urls>,
}

#[derive(Deserialize)]
struct Urls {
    get: String,
    cancel: Option<String>,
}

impl Prediction {
    /// State and result are one address.
    fn follow(self, asked: &Call) -> Result<Turn, Fault> {
        if asked.leg != Leg::Submit {
            return Ok(Turn::Wait(asked.clone()));
        }
        let text = "a running prediction without an address to follow";
        let urls = self.urls.ok_or_else(|| Fault::new(FaultKind::Malformed, text).accepted(Accepted::Maybe))?;
        let call = Call::poll(urls.get);
        Ok(Turn::Wait(match urls.cancel {
            Some(cancel) => call.memo(cancel),
            None => call,
        }))
    }

    /// One address or a list; none when the files have been removed.
    fn outputs(self) -> Vec<Output> {
        let links = match self.output {
            Value::String(link) => vec![Value::String(link)],
            Value::Array(links) => links,
            _ => Vec::new(),
        };
        let place = |link: Value| match link {
            Value::String(link) if !link.is_empty() => {
                Some(Output { source: Source::Link(link), revised_prompt: None })
            }
            _ => None,
        };
        links.into_iter().filter_map(place).collect()
    }

    /// What an end without success means. Only a prediction that never started is surely free.
    fn failure(self, reply: &Reply) -> Fault {
        let words = self.error.as_str().unwrap_or_default().to_owned();
        let lower = words.to_lowercase();
        let status: String = self.status.chars().take(40).collect();
        let (kind, accepted) = match status.as_str() {
            "failed" if REFUSALS.iter().any(|sign| lower.contains(sign)) => (FaultKind::Moderated, Accepted::Maybe),
            "failed" | "canceled" => (FaultKind::Unavailable, Accepted::Maybe),
            "aborted" => (FaultKind::Unavailable, Accepted::No),
            _ => (FaultKind::Malformed, Accepted::Maybe),
        };
        let message = match kind {
            FaultKind::Malformed => format!("the prediction is in the unknown status '{status}'"),
            _ if words.is_empty() => format!("the prediction was {status}"),
            _ => words.clone(),
        };
        Fault::new(kind, message).accepted(accepted).status(reply.status).code(Some(code_in(&words).unwrap_or(status)))
    }
}

/// `E005` of `… (E005)`.
fn code_in(words: &str) -> Option<String> {
    let (_, code) = words.rsplit_once("(E")?;
    let digits: String = code.chars().take_while(char::is_ascii_digit).collect();
    (!digits.is_empty()).then(|| format!("E{digits}"))
}
