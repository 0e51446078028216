//! fal.ai: a queue. Submit, poll the status, read the result; the three addresses come back from the submit and are
//! never built here. <https://docs.fal.ai/model-apis/model-endpoints/queue> (read 2026-11).
//!
//! `COMPLETED` covers failures: the status of the result is the outcome. An empty purse is a 403 with a text. Open
//! models answer a refusal with 200, a black picture and `has_nsfw_concepts`. Pictures come as `images` or, from a few
//! models, as one `image`; videos as `video`. The catalog names each endpoint's fields, so one adapter serves them all.

use super::{Adapter, Card, Reach, Site, Turn, shapes};
use crate::fault::{Accepted, Fault, FaultKind};
use crate::invoice::{DOLLAR, Invoice};
use crate::job::{Brief, Output, Source, Usage};
use crate::lists::{self, Listed, Listing, Reading};
use crate::outbound::auth::AuthScheme;
use crate::outbound::call::{Call, Leg, Reply, Verb};
use serde::Deserialize;
use serde_json::Value;

pub(super) struct Fal;

static CARD: Card = Card {
    id: "fal",
    name: "fal.ai",
    base_url: "https://queue.fal.run",
    reach: Reach::Hosted,
    auth: AuthScheme::Word("Key"),
    key_env: "FAL_KEY",
    hosts: &["fal.run", "api.fal.ai"],
    docs: "https://docs.fal.ai/model-apis/model-endpoints/queue",
    catalog: include_str!("../../../config/catalog/fal.toml"),
};

/// How many endpoints are asked about at once: an address stays short enough.
const AT_ONCE: usize = 20;

/// The names of its API; it documents no export.
static INVOICE: Invoice = Invoice {
    time: &["timestamp", "created_at", "started_at", "date"],
    amount: &["cost", "cost_usd", "amount"],
    what: &["endpoint_id", "endpoint", "model"],
    id: &["request_id"],
    unit: DOLLAR,
    daily: false,
};

impl Adapter for Fal {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn open(&self, brief: &Brief, site: &Site) -> Result<Turn, Fault> {
        let url = format!("{}/{}", site.base_url, brief.model);
        let mut call = Call::submit(url, Value::Object(brief.input.clone()));
        // The platform's own retries would hide its faults from us and may run a job twice.
        call.headers.push(("x-fal-no-retry".to_owned(), "1".to_owned()));
        Ok(Turn::Next(call))
    }

    fn read(&self, asked: &Call, reply: &Reply, _site: &Site) -> Result<Turn, Fault> {
        match asked.leg {
            Leg::Submit => {
                let ticket: Ticket = reply.json()?;
                let memo = Memo { result: ticket.response_url, cancel: ticket.cancel_url };
                Ok(Turn::Wait(Call::poll(ticket.status_url).memo(memo.write())))
            }
            Leg::Poll => read_status(asked, reply),
            Leg::Fetch | Leg::Cancel => read_result(reply),
        }
    }

    fn fault(&self, asked: &Call, reply: &Reply) -> Fault {
        let fault = shapes::fault(asked, reply);
        let code = fault.upstream_code.as_deref().unwrap_or_default();
        let kind = match (reply.status, code) {
            (_, "content_policy_violation") => FaultKind::Moderated,
            (_, "no_media_generated") => FaultKind::Empty,
            (_, "downstream_service_error" | "downstream_service_unavailable") => FaultKind::Unavailable,
            // Told by the result, a timeout is the end of a job that is not billed; there is nothing left to cancel.
            (408 | 504, _) if asked.leg == Leg::Fetch => FaultKind::Unavailable,
            (_, "generation_timeout" | "request_timeout" | "startup_timeout") => FaultKind::Timeout,
            _ => fault.kind,
        };
        // fal bills neither queueing, nor input that it refuses, nor its own 5xx; a refusal by a model that ran may be
        // billed (docs, "Errors"). Input errors come with the result, not with the submit.
        let ran = asked.leg == Leg::Fetch && matches!(kind, FaultKind::Moderated | FaultKind::Empty);
        let accepted = if ran { Accepted::Maybe } else { fault.accepted };
        Fault { kind, accepted, ..fault }
    }

    fn cancel(&self, asked: &Call, _site: &Site) -> Option<Call> {
        Some(Call::cancel(Verb::Put, Memo::read(asked.memo.as_deref()?)?.cancel?))
    }

    fn listing(&self) -> Option<Listing> {
        Some(Listing { readings: price_readings, lines: listed_prices })
    }

    fn invoice(&self) -> Option<&'static Invoice> {
        Some(&INVOICE)
    }
}

/// `GET https://api.fal.ai/v1/models/pricing?endpoint_id=…`, read 2026-11.
fn price_readings(site: &Site, endpoints: &[&str]) -> Vec<Reading> {
    let base = lists::base(site, CARD.base_url, "https://api.fal.ai");
    let some = |some: &[&str]| {
        let query: Vec<String> = some.iter().map(|id| format!("endpoint_id={id}")).collect();
        let call = Call::fetch(format!("{base}/v1/models/pricing?{}", query.join("&")));
        Reading { call, open: false, about: some.iter().map(|id| (*id).to_owned()).collect() }
    };
    endpoints.chunks(AT_ONCE).map(some).collect()
}

fn listed_prices(answer: &Value, _about: &[String]) -> Vec<Listed> {
    let one = |row: &Value| {
        let id = row["endpoint_id"].as_str()?.to_owned();
        Some(Listed { id, ends: None, prices: lists::amount(&row["unit_price"]).into_iter().collect() })
    };
    lists::rows(answer, "prices").filter_map(one).collect()
}

fn read_status(asked: &Call, reply: &Reply) -> Result<Turn, Fault> {
    let status: Status = reply.json()?;
    match status.status.as_str() {
        "COMPLETED" => {
            let known = asked.memo.as_deref().and_then(Memo::read).map(|memo| memo.result);
            known
                .or(status.response_url)
                .map(|url| Turn::Next(Call::fetch(url)))
                .ok_or_else(|| Fault::new(FaultKind::Malformed, "a finished job without a result address"))
        }
        "IN_QUEUE" | "IN_PROGRESS" => Ok(Turn::Wait(asked.clone())),
        other => Err(shapes::unknown_status(other)),
    }
}

fn read_result(reply: &Reply) -> Result<Turn, Fault> {
    let mut answer: Answer = reply.json().map_err(|fault| fault.accepted(Accepted::Yes))?;
    if answer.flagged() {
        let text = "The content was flagged by the provider's safety checker.";
        return Err(Fault::new(FaultKind::Moderated, text).accepted(Accepted::Yes).status(reply.status));
    }
    let usage = Usage {
        units: reply.header("x-fal-billable-units").and_then(|text| text.trim().parse().ok()),
        ..Usage::default()
    };
    let revised = answer.revised_prompt.take().or(answer.actual_prompt.take());
    let outputs = answer
        .files()
        .into_iter()
        .map(|file| Output { source: Source::Link(file.url), revised_prompt: revised.clone() })
        .collect();
    Ok(Turn::Done(outputs, usage))
}

/// The addresses that a job's later calls need, carried from leg to leg. Addresses hold no spaces.
struct Memo {
    result: String,
    cancel: Option<String>,
}

impl Memo {
    fn write(self) -> String {
        format!("{} {}", self.result, self.cancel.unwrap_or_default())
    }

    fn read(text: &str) -> Option<Self> {
        let (result, cancel) = text.split_once(' ')?;
        Some(Self { result: result.to_owned(), cancel: (!cancel.is_empty()).then(|| cancel.to_owned()) })
    }
}

#[derive(Deserialize)]
struct Ticket {
    status_url: String,
    response_url: String,
    cancel_url: Option<String>,
}

#[derive(Deserialize)]
struct Status {
    status: String,
    response_url: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    images: Option<Vec<File>>,
    image: Option<File>,
    video: Option<File>,
    has_nsfw_concepts: Option<Vec<bool>>,
    revised_prompt: Option<String>,
    actual_prompt: Option<String>,
}

impl Answer {
    fn flagged(&self) -> bool {
        self.has_nsfw_concepts.iter().flatten().any(|flagged| *flagged)
    }

    /// A model that sends both `image` and `images` shows the same picture twice.
    fn files(self) -> Vec<File> {
        let listed = self.images.filter(|images| !images.is_empty());
        listed.unwrap_or_else(|| self.video.into_iter().chain(self.image).collect())
    }
}

#[derive(Deserialize)]
struct File {
    url: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use bytes::Bytes;

    fn result(body: &'static str) -> Result<Turn, Fault> {
        let headers = vec![("x-fal-billable-units".to_owned(), "8".to_owned())];
        let reply = Reply::new(200, headers, Bytes::from(body), Timestamp::from_millis(0));
        read_result(&reply)
    }

    #[test]
    fn a_video_is_a_link_with_its_seconds() {
        let turn =
            result(r#"{"video": {"url": "https://v3b.fal.media/a.mp4", "content_type": "video/mp4"}, "seed": 1}"#);
        let link = Source::Link("https://v3b.fal.media/a.mp4".to_owned());
        let usage = Usage { units: Some(8.into()), ..Usage::default() };
        assert_eq!(turn.unwrap(), Turn::Done(vec![Output { source: link, revised_prompt: None }], usage));
    }

    #[test]
    fn a_result_without_a_file_is_no_output() {
        for body in [r#"{"video": null}"#, r#"{"images": []}"#, r#"{"images": null, "has_nsfw_concepts": null}"#] {
            assert!(matches!(result(body), Ok(Turn::Done(outputs, _)) if outputs.is_empty()), "{body}");
        }
    }
}
