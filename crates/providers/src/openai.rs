//! OpenAI images: one synchronous call, base64 inside the JSON answer; edits go up as a form.
//! <https://developers.openai.com/api/reference/resources/images> (read 2026-11).
//!
//! GPT Image models never return a link and refuse `response_format`. A refusal is a 400 whose type is
//! `image_generation_user_error`; running out of money is a 429 with the code `insufficient_quota`. One picture is the
//! part `image`, several are `image[]` each; transparent pixels of the mask are what is edited.

use super::{Adapter, Card, Reach, Site, Turn, shapes};
use crate::fault::{Accepted, Fault, FaultKind};
use crate::invoice::{DOLLAR, Invoice};
use crate::job::{Brief, Event, Input, Mode, Tokens, Usage};
use crate::lists::{self, Listing, Reading};
use crate::outbound::auth::AuthScheme;
use crate::outbound::call::{Call, Content, Part, Payload, Reply};
use serde::Deserialize;
use serde_json::Value;

pub(super) struct OpenAi;

static CARD: Card = Card {
    id: "openai",
    name: "OpenAI",
    base_url: "https://api.openai.com/v1",
    reach: Reach::Hosted,
    auth: AuthScheme::Bearer,
    key_env: "OPENAI_API_KEY",
    hosts: &[],
    docs: "https://developers.openai.com/api/reference/resources/images",
    catalog: include_str!("../../../config/catalog/openai.toml"),
};

/// `GET /v1/organization/costs`, read 2026-11-20.
static INVOICE: Invoice = Invoice {
    time: &["start_time_iso", "start_time", "date"],
    amount: &["amount_value", "amount", "cost"],
    what: &["line_item", "model"],
    id: &[],
    unit: DOLLAR,
    daily: true,
};

impl Adapter for OpenAi {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn open(&self, brief: &Brief, site: &Site) -> Result<Turn, Fault> {
        if brief.mode == Mode::ImageEdit {
            let empty = Call::submit(format!("{}/images/edits", site.base_url), Value::Null);
            return Ok(Turn::Next(Call { payload: Payload::Form(form(brief)), ..empty }));
        }
        let mut body = brief.input.clone();
        body.insert("model".to_owned(), Value::from(brief.model.as_str()));
        Ok(Turn::Next(Call::submit(format!("{}/images/generations", site.base_url), Value::Object(body))))
    }

    fn read(&self, _asked: &Call, reply: &Reply, _site: &Site) -> Result<Turn, Fault> {
        let answer: Answer<'_> = reply.json()?;
        let usage = answer.usage.map(Usage::from).unwrap_or_default();
        let outputs = answer.data.into_iter().flatten().filter_map(|item| item.into_output(&reply.body)).collect();
        Ok(Turn::Done(outputs, usage))
    }

    fn event(&self, asked: &Call, event: &Reply) -> Result<Event, Fault> {
        shapes::event::<Counted>(event, Usage::from).map_err(|failed| match failed {
            // An error inside the stream has no status of its own: its type says whose mistake it is.
            shapes::Ended::Failed(kind) => {
                let mistake = kind.contains("user_error") || kind.contains("invalid_request");
                let status = if mistake { 400 } else { 500 };
                self.fault(asked, &Reply { status, ..event.clone() })
            }
            shapes::Ended::Garbled(fault) => fault,
        })
    }

    fn fault(&self, asked: &Call, reply: &Reply) -> Fault {
        let fault = shapes::fault(asked, reply);
        let kind = match fault.upstream_code.as_deref() {
            Some("moderation_blocked" | "content_policy_violation") => FaultKind::Moderated,
            Some("insufficient_quota" | "billing_hard_limit_reached" | "project_spend_limit_exceeded") => {
                FaultKind::Auth
            }
            Some("model_not_found") => FaultKind::Gone,
            _ => fault.kind,
        };
        // A refusal of the output comes after the work; OpenAI does not say whether that is billed.
        let accepted = if kind == FaultKind::Moderated && fault.message.contains("output") {
            Accepted::Maybe
        } else {
            fault.accepted
        };
        Fault { kind, accepted, ..fault }
    }

    /// `GET /models`, of which only those that make pictures or videos are told.
    fn listing(&self) -> Option<Listing> {
        Some(Listing {
            readings: |site, _| vec![Reading::whole(site, "/models")],
            lines: |answer, _| lists::models(answer).filter(|one| draws(&one.id)).collect(),
        })
    }

    fn invoice(&self) -> Option<&'static Invoice> {
        Some(&INVOICE)
    }
}

fn draws(id: &str) -> bool {
    ["gpt-image", "chatgpt-image", "dall-e", "sora"].iter().any(|family| id.starts_with(family))
}

/// What the form of an edit does not take, though generations do.
const NOT_IN_EDITS: [&str; 1] = ["moderation"];

/// The parameters, then the files.
fn form(brief: &Brief) -> Vec<Part> {
    let said = brief.input.iter().filter(|(name, value)| !NOT_IN_EDITS.contains(&name.as_str()) && !value.is_null());
    let field = if brief.images.len() == 1 { "image" } else { "image[]" };
    let images = brief.images.iter().enumerate().map(|(index, image)| file(field, &format!("image-{index}"), image));
    let mask = brief.mask.iter().map(|mask| file("mask", "mask", mask));
    said.map(|(name, value)| text(name, value))
        .chain([text("model", &Value::from(brief.model.as_str()))])
        .chain(images)
        .chain(mask)
        .collect()
}

/// Texts go bare, everything else as JSON.
fn text(name: &str, value: &Value) -> Part {
    let bare = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Part { name: name.to_owned(), content: Content::Text(bare) }
}

/// A file needs a name, and OpenAI looks at its ending.
fn file(field: &str, stem: &str, picture: &Input) -> Part {
    let ending = picture.mime.rsplit('/').next().unwrap_or_default();
    let (name, mime) = (format!("{stem}.{ending}"), picture.mime.clone());
    Part { name: field.to_owned(), content: Content::File { name, mime, bytes: picture.bytes.clone() } }
}

/// Borrowed from the reply: a picture stays where it arrived.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    data: Option<Vec<shapes::Item<'a>>>,
    usage: Option<Counted>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Counted {
    input_tokens: u64,
    output_tokens: u64,
    input_tokens_details: Option<Details>,
    output_tokens_details: Option<Details>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Details {
    text_tokens: u64,
    image_tokens: u64,
    cached_tokens_details: Option<Cached>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Cached {
    text_tokens: u64,
    image_tokens: u64,
}

impl From<Counted> for Usage {
    fn from(counted: Counted) -> Self {
        Self { tokens: Some(Tokens::from(counted)), ..Self::default() }
    }
}

impl From<Counted> for Tokens {
    /// Without details, everything read is text and everything written is image.
    fn from(counted: Counted) -> Self {
        let read =
            counted.input_tokens_details.unwrap_or(Details { text_tokens: counted.input_tokens, ..Details::default() });
        let written = counted
            .output_tokens_details
            .unwrap_or(Details { image_tokens: counted.output_tokens, ..Details::default() });
        let cached = read.cached_tokens_details.unwrap_or_default();
        Self {
            text_in: read.text_tokens,
            image_in: read.image_tokens,
            cached_text_in: cached.text_tokens,
            cached_image_in: cached.image_tokens,
            text_out: written.text_tokens,
            image_out: written.image_tokens,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The simulator and the fixtures know the answers of one piece; an error in the middle of a stream is told here.
    #[test]
    fn an_error_in_a_stream_keeps_its_meaning() {
        let asked = Call::submit("https://api.openai.com/v1/images/generations".to_owned(), Value::Null);
        let read = |kind: &str, code: &str| {
            let text = format!(r#"{{"type":"error","error":{{"type":"{kind}","code":"{code}","message":"no"}}}}"#);
            let reply = Reply { status: 200, headers: Vec::new(), retry_after: None, body: text.into() };
            let fault = OpenAi.event(&asked, &reply).unwrap_err();
            (fault.kind, fault.accepted)
        };
        assert_eq!(read("image_generation_user_error", "moderation_blocked").0, FaultKind::Moderated);
        assert_eq!(read("invalid_request_error", "invalid_value").0, FaultKind::BadRequest);
        assert_eq!(read("server_error", "server_error"), (FaultKind::Unavailable, Accepted::Maybe));
        assert_eq!(read("insufficient_quota", "insufficient_quota").0, FaultKind::Auth);
    }
}
