//! Stability AI: one synchronous call, always a form, answered with base64 when JSON is accepted.
//! <https://platform.stability.ai/docs/api-reference> (read 2026-11). Its old gRPC client knows none of these routes.
//!
//! A refused prompt is a 403 named `content_moderation`, which is not charged; a refused picture comes blurred inside a
//! 200 whose `finish_reason` is `CONTENT_FILTERED`, which may be. An empty purse is a 402. Nothing is said of the bill.

use super::{Adapter, Card, Reach, Site, Turn, shapes};
use crate::fault::{Accepted, Fault, FaultKind};
use crate::job::{Brief, Input, Mode, Output, Usage};
use crate::outbound::auth::AuthScheme;
use crate::outbound::call::{Call, Content, Part, Payload, Reply};
use serde::Deserialize;
use serde_json::Value;

pub(super) struct Stability;

static CARD: Card = Card {
    id: "stability",
    name: "Stability AI",
    base_url: "https://api.stability.ai",
    reach: Reach::Hosted,
    auth: AuthScheme::Bearer,
    key_env: "STABILITY_API_KEY",
    hosts: &[],
    docs: "https://platform.stability.ai/docs/api-reference",
    catalog: include_str!("../../../config/catalog/stability.toml"),
};

impl Adapter for Stability {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn open(&self, brief: &Brief, site: &Site) -> Result<Turn, Fault> {
        // Stable Diffusion shares a route and is told apart by `model`; every other upstream id is its route.
        let shared = brief.model.starts_with("sd3");
        let route = if shared { "generate/sd3" } else { brief.model.as_str() };
        let mut parts: Vec<Part> = brief.input.iter().map(|(name, value)| text(name, value)).collect();
        if shared {
            let mode = if brief.mode == Mode::ImageEdit { "image-to-image" } else { "text-to-image" };
            parts.push(text("model", &brief.model.as_str().into()));
            parts.push(text("mode", &mode.into()));
        }
        parts.extend(brief.images.iter().map(|image| file("image", image)));
        parts.extend(brief.mask.iter().map(|mask| file("mask", mask)));
        let url = format!("{}/v2beta/stable-image/{route}", site.base_url);
        let headers = vec![("accept".to_owned(), "application/json".to_owned())];
        Ok(Turn::Next(Call { headers, payload: Payload::Form(parts), ..Call::submit(url, Value::Null) }))
    }

    fn read(&self, _asked: &Call, reply: &Reply, _site: &Site) -> Result<Turn, Fault> {
        let answer: Answer<'_> = reply.json()?;
        let outcome = answer.finish_reason.unwrap_or_default();
        match outcome.as_str() {
            "CONTENT_FILTERED" => {
                let text = "The picture was filtered by the provider's moderation.";
                let fault = Fault::new(FaultKind::Moderated, text).accepted(Accepted::Maybe);
                Err(fault.status(reply.status).code(Some(outcome)))
            }
            "SUCCESS" | "" => {
                let image = answer.image.filter(|image| !image.is_empty());
                let outputs =
                    image.map(|image| Output { source: image.into_source(&reply.body), revised_prompt: None });
                Ok(Turn::Done(outputs.into_iter().collect(), Usage::default()))
            }
            _ => {
                let outcome: String = outcome.chars().take(40).collect();
                let text = format!("the picture ended with the unknown reason '{outcome}'");
                let fault = Fault::new(FaultKind::Malformed, text).accepted(Accepted::Maybe);
                Err(fault.status(reply.status).code(Some(outcome)))
            }
        }
    }

    fn fault(&self, asked: &Call, reply: &Reply) -> Fault {
        let fault = shapes::fault(asked, reply);
        let complaint: Complaint = serde_json::from_slice(&reply.body).unwrap_or_default();
        let message = if complaint.errors.is_empty() { fault.message } else { complaint.errors.join("; ") };
        let kind = match complaint.name.as_deref() {
            Some("content_moderation") => FaultKind::Moderated,
            Some("payment_required") => FaultKind::Auth,
            _ => fault.kind,
        };
        let accepted = fault.accepted;
        Fault { retry_after: fault.retry_after, ..Fault::new(kind, message) }
            .accepted(accepted)
            .status(reply.status)
            .code(complaint.name.or(fault.upstream_code))
    }
}

fn text(name: &str, value: &Value) -> Part {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Part { name: name.to_owned(), content: Content::Text(text) }
}

fn file(name: &str, input: &Input) -> Part {
    let extension = input.mime.strip_prefix("image/").unwrap_or("bin");
    let (file, mime, bytes) = (format!("{name}.{extension}"), input.mime.clone(), input.bytes.clone());
    Part { name: name.to_owned(), content: Content::File { name: file, mime, bytes } }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    image: Option<shapes::Text<'a>>,
    finish_reason: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Complaint {
    name: Option<String>,
    errors: Vec<String>,
}
