//! Ideogram: one synchronous call; forms for 3.0 and 4.0, a wrapped JSON body for the older models. The answer holds
//! links. <https://developer.ideogram.ai/api-reference> (read 2026-11). There is no official client.
//!
//! A refused prompt is a 422; a refused picture is an item without a link and `is_image_safe: false` inside a 200, next
//! to others that may be fine. Nothing is said of the bill.

use super::{Adapter, Card, Reach, Site, Turn, shapes};
use crate::fault::{Accepted, Fault, FaultKind};
use crate::job::{Brief, Input, Mode, Output, Source, Usage};
use crate::outbound::auth::AuthScheme;
use crate::outbound::call::{Call, Content, Part, Payload, Reply};
use serde::Deserialize;
use serde_json::{Map, Value, json};

pub(super) struct Ideogram;

static CARD: Card = Card {
    id: "ideogram",
    name: "Ideogram",
    base_url: "https://api.ideogram.ai",
    reach: Reach::Hosted,
    auth: AuthScheme::Header("api-key"),
    key_env: "IDEOGRAM_API_KEY",
    hosts: &[],
    docs: "https://developer.ideogram.ai/api-reference",
    catalog: include_str!("../../../config/catalog/ideogram.toml"),
};

impl Adapter for Ideogram {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn open(&self, brief: &Brief, site: &Site) -> Result<Turn, Fault> {
        if brief.model.starts_with("V_") {
            let body = json!({"image_request": legacy(brief)});
            return Ok(Turn::Next(Call::submit(format!("{}/generate", site.base_url), body)));
        }
        let route = if brief.mode == Mode::ImageEdit { "remix" } else { "generate" };
        let url = format!("{}/v1/{}/{route}", site.base_url, brief.model);
        let mut parts: Vec<Part> = brief.input.iter().flat_map(|(name, value)| texts(name, value)).collect();
        parts.extend(brief.images.iter().map(file));
        Ok(Turn::Next(Call { payload: Payload::Form(parts), ..Call::submit(url, Value::Null) }))
    }

    fn read(&self, _asked: &Call, reply: &Reply, _site: &Site) -> Result<Turn, Fault> {
        let answer: Answer = reply.json()?;
        let refused = answer.data.iter().any(|item| item.is_image_safe == Some(false));
        let outputs: Vec<Output> = answer.data.into_iter().filter_map(Item::into_output).collect();
        if outputs.is_empty() && refused {
            // The picture was made and then withheld; whether that is billed is not said.
            let text = "The picture failed the provider's safety check.";
            return Err(Fault::new(FaultKind::Moderated, text).accepted(Accepted::Maybe).status(reply.status));
        }
        Ok(Turn::Done(outputs, Usage::default()))
    }

    fn fault(&self, asked: &Call, reply: &Reply) -> Fault {
        let fault = shapes::fault(asked, reply);
        // The only use of this status: the prompt or an input picture failed the safety check.
        let kind = if reply.status == 422 { FaultKind::Moderated } else { fault.kind };
        Fault { kind, ..fault }
    }
}

/// The body of V1 and V2, whose shapes are called `ASPECT_16_9`.
fn legacy(brief: &Brief) -> Map<String, Value> {
    let mut body = brief.input.clone();
    body.insert("model".to_owned(), Value::from(brief.model.as_str()));
    if let Some(Value::String(ratio)) = body.get_mut("aspect_ratio") {
        *ratio = format!("ASPECT_{}", ratio.replace(':', "_"));
    }
    body
}

/// A list is a part for each value, an object is JSON inside its part.
fn texts(name: &str, value: &Value) -> Vec<Part> {
    let part = |value: &Value| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Part { name: name.to_owned(), content: Content::Text(text) }
    };
    match value {
        Value::Array(values) => values.iter().map(part).collect(),
        one => vec![part(one)],
    }
}

fn file(input: &Input) -> Part {
    let name = format!("image.{}", input.mime.strip_prefix("image/").unwrap_or("bin"));
    let (mime, bytes) = (input.mime.clone(), input.bytes.clone());
    Part { name: "image".to_owned(), content: Content::File { name, mime, bytes } }
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    url: Option<String>,
    prompt: Option<String>,
    is_image_safe: Option<bool>,
}

impl Item {
    fn into_output(self) -> Option<Output> {
        let url = self.url.filter(|url| !url.is_empty() && self.is_image_safe != Some(false))?;
        Some(Output { source: Source::Link(url), revised_prompt: self.prompt })
    }
}
