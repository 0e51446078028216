//! OpenRouter's own image and video endpoints, not its chat: `POST /images` answers at once with base64, `POST /videos`
//! is a job whose polling address comes back. <https://openrouter.ai/docs/api/api-reference/images/generate-an-image>
//! (read 2026-11).
//!
//! The bill is `usage.cost`, to which a customer's own key adds what the maker charged. A 200 may hold an error, named
//! by `metadata.error_type`. A 403 is mostly moderation, a 402 an empty purse or too much in flight. Its SDKs take a
//! server address, so they can be pointed at the simulator.

use super::{Adapter, Card, Reach, Site, Turn, shapes};
use crate::fault::{Accepted, Fault, FaultKind};
use crate::job::{Brief, Event, Mode, Output, Source, Usage};
use crate::lists::{self, Listing, Reading};
use crate::outbound::auth::AuthScheme;
use crate::outbound::call::{Call, Leg, Reply};
use bytes::Bytes;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) struct OpenRouter;

static CARD: Card = Card {
    id: "openrouter",
    name: "OpenRouter",
    base_url: "https://openrouter.ai/api/v1",
    reach: Reach::Hosted,
    auth: AuthScheme::Bearer,
    key_env: "OPENROUTER_API_KEY",
    hosts: &["openrouter.ai"],
    docs: "https://openrouter.ai/docs/guides/overview/multimodal/image-generation",
    catalog: include_str!("../../../config/catalog/openrouter.toml"),
};

impl Adapter for OpenRouter {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn open(&self, brief: &Brief, site: &Site) -> Result<Turn, Fault> {
        let mut body = brief.input.clone();
        body.insert("model".to_owned(), Value::from(brief.model.as_str()));
        let film = matches!(brief.mode, Mode::TextToVideo | Mode::ImageToVideo);
        let pictures =
            brief.images.iter().map(|image| json!({"type": "image_url", "image_url": {"url": image.data_uri()}}));
        if film {
            let first = pictures.take(1).map(|mut frame| {
                frame["frame_type"] = "first_frame".into();
                frame
            });
            body.extend((!brief.images.is_empty()).then(|| ("frame_images".to_owned(), first.collect())));
        } else if !brief.images.is_empty() {
            body.insert("input_references".to_owned(), pictures.collect());
        }
        let path = if film { "videos" } else { "images" };
        Ok(Turn::Next(Call::submit(format!("{}/{path}", site.base_url), Value::Object(body))))
    }

    fn read(&self, asked: &Call, reply: &Reply, site: &Site) -> Result<Turn, Fault> {
        match asked.leg {
            Leg::Submit if asked.url.ends_with("/videos") => {
                let job: Job = parse(asked, reply)?;
                // Older answers have a path only.
                let polling = job.polling_url.filter(|url| url.starts_with("http"));
                let url = polling.unwrap_or_else(|| format!("{}/videos/{}", site.base_url, job.id));
                Ok(Turn::Wait(Call::poll(url)))
            }
            Leg::Submit => read_pictures(asked, reply),
            Leg::Poll => read_job(asked, reply, site),
            Leg::Fetch | Leg::Cancel => {
                let cost = asked.memo.as_deref().and_then(|text| text.parse().ok());
                let output = Output { source: Source::Bytes(reply.body.clone()), revised_prompt: None };
                Ok(Turn::Done(vec![output], Usage { cost, ..Usage::default() }))
            }
        }
    }

    fn event(&self, asked: &Call, event: &Reply) -> Result<Event, Fault> {
        shapes::event::<Counted>(event, |counted| bill(Some(&counted))).map_err(|failed| match failed {
            // As an error inside a 200: generation had begun.
            shapes::Ended::Failed(_) => parse::<Value>(asked, event).err().unwrap_or_else(|| {
                Fault::new(FaultKind::Unavailable, "the provider's stream ended in an error").accepted(Accepted::Maybe)
            }),
            shapes::Ended::Garbled(fault) => fault,
        })
    }

    fn fault(&self, asked: &Call, reply: &Reply) -> Fault {
        let fault = shapes::fault(asked, reply);
        let error = serde_json::from_slice::<Failed>(&reply.body).ok().and_then(|body| body.error).unwrap_or_default();
        let kind = match (error.kind(), reply.status) {
            // A vanished job is no vanished model.
            (Some(FaultKind::Gone), _) | (None, 404) if asked.leg != Leg::Submit => FaultKind::Unavailable,
            (Some(kind), _) => kind,
            (None, 402) if error.in_flight() => FaultKind::RateLimited,
            (None, 403) if error.flagged() => FaultKind::Moderated,
            (None, _) => fault.kind,
        };
        Fault { kind, upstream_code: error.metadata.error_type.or(fault.upstream_code), ..fault }
    }

    fn listing(&self) -> Option<Listing> {
        Some(Listing {
            readings: |site, _| ["/images/models", "/videos/models"].map(|path| Reading::whole(site, path)).to_vec(),
            lines: |answer, _| lists::models(answer).collect(),
        })
    }
}

/// The answer, unless it is an error that came with a 200: generation had begun, so it may be billed.
fn parse<'a, T: Deserialize<'a>>(asked: &Call, reply: &'a Reply) -> Result<T, Fault> {
    let failed = serde_json::from_slice::<Failed>(&reply.body).ok().and_then(|body| body.error);
    let Some(error) = failed.filter(|_| asked.leg == Leg::Submit) else { return reply.json() };
    let kind = error.kind().unwrap_or_else(|| match error.code {
        Some(status @ 400..=599) => shapes::kind(asked, status),
        _ => FaultKind::Unavailable,
    });
    let code = error.metadata.error_type.or(error.code.map(|code| code.to_string()));
    Err(Fault::new(kind, error.message).accepted(Accepted::Maybe).status(reply.status).code(code))
}

fn read_pictures(asked: &Call, reply: &Reply) -> Result<Turn, Fault> {
    let answer: Answer<'_> = parse(asked, reply)?;
    let usage = bill(answer.usage.as_ref());
    let outputs = answer.data.into_iter().filter_map(|item| item.into_output(&reply.body)).collect();
    Ok(Turn::Done(outputs, usage))
}

fn read_job(asked: &Call, reply: &Reply, site: &Site) -> Result<Turn, Fault> {
    let job: Job = reply.json()?;
    let usage = bill(job.usage.as_ref());
    let cost = usage.cost;
    match job.status.as_str() {
        "pending" | "in_progress" => Ok(Turn::Wait(asked.clone())),
        "completed" => {
            // Content paths of OpenRouter's own, behind our key; no other host would be shown it.
            let ours = job.unsigned_urls.into_iter().find(|url| url.starts_with(&site.base_url));
            let url = ours.unwrap_or_else(|| format!("{}/videos/{}/content?index=0", site.base_url, job.id));
            let call = Call::fetch(url);
            Ok(Turn::Next(match cost {
                Some(cost) => call.memo(cost.to_string()),
                None => call,
            }))
        }
        "failed" | "cancelled" | "expired" | "dead" => Err(ended(job.error, job.status, usage)),
        other => Err(shapes::unknown_status(other)),
    }
}

/// A job that ended without a video. Its error is a bare text.
fn ended(error: Option<String>, status: String, usage: Usage) -> Fault {
    let text = error.unwrap_or_else(|| format!("the job ended as '{status}'"));
    let refused = ["moderation", "content policy", "safety"].iter().any(|word| text.to_lowercase().contains(word));
    let accepted = match usage.cost {
        Some(cost) if cost.is_zero() => Accepted::No,
        Some(_) => Accepted::Yes,
        None => Accepted::Maybe,
    };
    let kind = if refused { FaultKind::Moderated } else { FaultKind::Unavailable };
    Fault::new(kind, text).accepted(accepted).code(Some(status)).usage(usage)
}

/// Credits are dollars. With a customer's own key they are OpenRouter's fee, and the maker's bill comes on top.
fn bill(counted: Option<&Counted>) -> Usage {
    let cost = counted.and_then(|counted| {
        let beside = counted.cost_details.as_ref().filter(|_| counted.is_byok);
        let upstream = beside.and_then(|details| details.upstream_inference_cost).unwrap_or_default();
        counted.cost.map(|cost| cost + upstream)
    });
    Usage { cost, ..Usage::default() }
}

/// Borrowed from the reply: a picture stays where it arrived.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    data: Vec<Item<'a>>,
    usage: Option<Counted>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    b64_json: Option<shapes::Text<'a>>,
}

impl Item<'_> {
    fn into_output(self, body: &Bytes) -> Option<Output> {
        let source = self.b64_json.filter(|text| !text.is_empty())?.into_source(body);
        Some(Output { source, revised_prompt: None })
    }
}

#[derive(Deserialize)]
struct Counted {
    cost: Option<Decimal>,
    #[serde(default)]
    is_byok: bool,
    cost_details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    upstream_inference_cost: Option<Decimal>,
}

#[derive(Deserialize)]
struct Job {
    id: String,
    status: String,
    polling_url: Option<String>,
    #[serde(default)]
    unsigned_urls: Vec<String>,
    usage: Option<Counted>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Failed {
    error: Option<Trouble>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Trouble {
    code: Option<u16>,
    message: String,
    metadata: Metadata,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Metadata {
    error_type: Option<String>,
    limit_source: Option<String>,
    reasons: Value,
    flagged_input: Value,
    patterns: Value,
    /// The maker's own error: a text, JSON in a text, or an object.
    raw: Value,
}

impl Trouble {
    /// What its type says, or the words of the maker.
    fn kind(&self) -> Option<FaultKind> {
        let raw = self.metadata.raw.to_string();
        if ["moderation_blocked", "content_policy", "PROHIBITED_CONTENT"].iter().any(|word| raw.contains(word)) {
            return Some(FaultKind::Moderated);
        }
        Some(match self.metadata.error_type.as_deref()? {
            "content_policy_violation" | "refusal" => FaultKind::Moderated,
            "authentication" | "permission_denied" | "payment_required" => FaultKind::Auth,
            "rate_limit_exceeded" => FaultKind::RateLimited,
            "provider_overloaded" | "provider_unavailable" | "server" => FaultKind::Unavailable,
            "timeout" => FaultKind::Timeout,
            "not_found" => FaultKind::Gone,
            "unmapped" => return None,
            // Everything else in its list is about the request: too long, too large, not readable.
            _ => FaultKind::BadRequest,
        })
    }

    fn in_flight(&self) -> bool {
        self.metadata.limit_source.as_deref() == Some("openrouter_in_flight_budget")
    }

    fn flagged(&self) -> bool {
        let Metadata { reasons, flagged_input, patterns, .. } = &self.metadata;
        [reasons, flagged_input, patterns].iter().any(|sign| !sign.is_null())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;

    const SITE: &str = "https://openrouter.ai/api/v1";

    fn read(call: &Call, body: &str) -> Result<Turn, Fault> {
        let reply = Reply::new(200, Vec::new(), Bytes::from(body.to_owned()), Timestamp::from_millis(0));
        OpenRouter.read(call, &reply, &Site { base_url: SITE.to_owned() })
    }

    #[test]
    fn a_video_is_followed_to_its_bytes() {
        let submit = Call::submit(format!("{SITE}/videos"), Value::Null);
        let poll = format!("{SITE}/videos/j1");
        for body in [
            r#"{"id":"j1","status":"pending","polling_url":"https://openrouter.ai/api/v1/videos/j1"}"#,
            r#"{"id":"j1","status":"pending","polling_url":"/api/v1/videos/j1"}"#,
        ] {
            assert_eq!(read(&submit, body), Ok(Turn::Wait(Call::poll(poll.clone()))));
        }
        let done =
            r#"{"id":"j1","status":"completed","unsigned_urls":["https://cdn.example/a.mp4"],"usage":{"cost":0.5}}"#;
        let fetch = Call::fetch(format!("{poll}/content?index=0")).memo("0.5");
        assert_eq!(read(&Call::poll(poll), done), Ok(Turn::Next(fetch.clone())));
        let Ok(Turn::Done(outputs, usage)) = read(&fetch, "mp4") else { panic!("not done") };
        assert_eq!(
            (&outputs[0].source, usage.cost),
            (&Source::Bytes(Bytes::from("mp4")), Some("0.5".parse().unwrap()))
        );
    }

    #[test]
    fn a_video_ends_in_every_way() {
        let how = |body: &str| {
            let fault = read(&Call::poll(format!("{SITE}/videos/j1")), body).unwrap_err();
            (fault.kind, fault.accepted)
        };
        let ended = |status: &str, error: &str| how(&format!(r#"{{"id":"j1","status":"{status}","error":{error}}}"#));
        assert_eq!(ended("failed", "\"no luck\""), (FaultKind::Unavailable, Accepted::Maybe));
        assert_eq!(ended("failed", "\"Blocked by content moderation\""), (FaultKind::Moderated, Accepted::Maybe));
        assert_eq!(ended("expired", "null"), (FaultKind::Unavailable, Accepted::Maybe));
        assert_eq!(ended("paused", "null"), (FaultKind::Malformed, Accepted::Maybe));
        let free = r#"{"id":"j1","status":"cancelled","usage":{"cost":0}}"#;
        assert_eq!(how(free), (FaultKind::Unavailable, Accepted::No));
    }
}
