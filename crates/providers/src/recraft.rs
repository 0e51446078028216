//! Recraft: one synchronous call. Generation looks like OpenAI's; edits do not: their routes are its own and take a form.
//! <https://www.recraft.ai/docs/api-reference/endpoints> (read 2026-11). OpenAI's client can be pointed at it for
//! generation; Recraft has none of its own.
//!
//! Vectors are asked for by link and pictures as base64, as the catalog says. `credits` is the real bill, a thousand to
//! the dollar. Errors are plain text (401, 404) or JSON with `code` and `message`; no list of codes is published, so a
//! refusal and an empty purse are told by their words.

use super::{Adapter, Card, Reach, Site, Turn, shapes};
use crate::fault::{Fault, FaultKind};
use crate::job::{Brief, Input, Mode, Usage};
use crate::outbound::auth::AuthScheme;
use crate::outbound::call::{Call, Content, Part, Payload, Reply};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::Value;

pub(super) struct Recraft;

static CARD: Card = Card {
    id: "recraft",
    name: "Recraft",
    base_url: "https://external.api.recraft.ai/v1",
    reach: Reach::Hosted,
    auth: AuthScheme::Bearer,
    key_env: "RECRAFT_API_TOKEN",
    hosts: &[],
    docs: "https://www.recraft.ai/docs/api-reference/endpoints",
    catalog: include_str!("../../../config/catalog/recraft.toml"),
};

impl Adapter for Recraft {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn open(&self, brief: &Brief, site: &Site) -> Result<Turn, Fault> {
        let url = |route: &str| format!("{}/images/{route}", site.base_url);
        let mut body = brief.input.clone();
        if brief.mode == Mode::TextToImage {
            body.insert("model".to_owned(), Value::from(brief.model.as_str()));
            return Ok(Turn::Next(Call::submit(url("generations"), Value::Object(body))));
        }
        // A tool is its own route; everything else is a model.
        let tool = !brief.model.starts_with("recraft");
        let route = match &brief.mask {
            _ if tool => &brief.model,
            Some(_) => "inpaint",
            None => "imageToImage",
        };
        if !tool {
            body.insert("model".to_owned(), Value::from(brief.model.as_str()));
        }
        if brief.mask.is_some() {
            // How far to move from the picture is said by the mask.
            body.remove("strength");
        }
        let texts = body.iter().map(|(name, value)| Part { name: name.clone(), content: Content::Text(text(value)) });
        let image = brief.images.iter().map(|image| file(if tool { "file" } else { "image" }, image));
        let mask = brief.mask.iter().map(|mask| file("mask", mask));
        let form = Payload::Form(texts.chain(image).chain(mask).collect());
        Ok(Turn::Next(Call { payload: form, ..Call::submit(url(route), Value::Null) }))
    }

    fn read(&self, _asked: &Call, reply: &Reply, _site: &Site) -> Result<Turn, Fault> {
        let answer: Answer<'_> = reply.json()?;
        let cost = answer.credits.map(|credits| credits / Decimal::ONE_THOUSAND);
        let items = answer.data.into_iter().flatten().chain(answer.image);
        let outputs = items.filter_map(|item| item.into_output(&reply.body)).collect();
        Ok(Turn::Done(outputs, Usage { cost, ..Usage::default() }))
    }

    fn fault(&self, asked: &Call, reply: &Reply) -> Fault {
        let fault = shapes::fault(asked, reply);
        let (message, code) = words(reply).unwrap_or((fault.message, fault.upstream_code));
        let said = format!("{} {message}", code.as_deref().unwrap_or_default()).to_lowercase();
        let says = |words: &[&str]| (400..500).contains(&reply.status) && words.iter().any(|word| said.contains(word));
        let kind = match fault.kind {
            FaultKind::BadRequest | FaultKind::Auth
                if says(&["moderat", "content policy", "content_policy", "unsafe"]) =>
            {
                FaultKind::Moderated
            }
            FaultKind::BadRequest if says(&["not enough", "not_enough", "insufficient", "balance"]) => FaultKind::Auth,
            kind => kind,
        };
        Fault { accepted: fault.accepted, ..Fault::new(kind, message) }
            .status(reply.status)
            .code(code)
            .retry_after(fault.retry_after)
    }
}

/// `{"code", "message"}`, or a line of text.
fn words(reply: &Reply) -> Option<(String, Option<String>)> {
    if let Ok(complaint) = serde_json::from_slice::<Complaint>(&reply.body) {
        return complaint.message.map(|message| (message, complaint.code));
    }
    let plain = reply.header("content-type").is_some_and(|kind| kind.starts_with("text/plain"));
    let text = std::str::from_utf8(&reply.body).ok()?.trim();
    (plain && !text.is_empty()).then(|| (text.to_owned(), None))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn file(name: &str, input: &Input) -> Part {
    let extension = input.mime.strip_prefix("image/").unwrap_or("bin");
    let (file, mime, bytes) = (format!("{name}.{extension}"), input.mime.clone(), input.bytes.clone());
    Part { name: name.to_owned(), content: Content::File { name: file, mime, bytes } }
}

#[derive(Deserialize)]
struct Complaint {
    code: Option<String>,
    message: Option<String>,
}

/// Borrowed from the reply: a picture stays where it arrived. Tools answer with one `image`.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    data: Option<Vec<shapes::Item<'a>>>,
    #[serde(borrow)]
    image: Option<shapes::Item<'a>>,
    credits: Option<Decimal>,
}
