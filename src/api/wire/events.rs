//! Events of a streamed image call, named as OpenAI's: `image_generation.partial_image`, `image_edit.completed`, `error`.
//! A picture's base64 is written as a slice of the provider's reply.

use super::images::metadata_json;
use crate::api::error::error_json;
use crate::base::Timestamp;
use crate::error::Error;
use crate::job::{Job, Mode, Partial};
use crate::media::{Limits, inspect_base64};
use crate::pipeline::{GenerationResult, OutputRef};
use bytes::Bytes;
use serde_json::{Map, Value, json};

/// Writes the events of one call.
#[derive(Debug, Clone, Default)]
pub(in crate::api) struct EventWriter {
    /// `image_generation` or `image_edit`.
    prefix: &'static str,
    /// As the caller asked for it; likewise `background`.
    quality: Value,
    background: Value,
}

impl EventWriter {
    pub(in crate::api) fn of(job: &Job) -> Self {
        let asked = |name: &str| job.extra.get(name).cloned().unwrap_or_else(|| json!("auto"));
        let prefix = if job.mode == Mode::TextToImage { "image_generation" } else { "image_edit" };
        Self { prefix, quality: asked("quality"), background: asked("background") }
    }

    /// An unfinished picture, in whatever format the provider sends; nothing when it is not a picture.
    pub(in crate::api) fn partial(&self, partial: &Partial) -> Vec<Bytes> {
        let Ok(facts) = inspect_base64(&partial.base64, &Limits::default()) else { return Vec::new() };
        let body = json!({
            "created_at": Timestamp::now().seconds(), "size": facts.size, "quality": self.quality,
            "background": self.background, "output_format": facts.format, "partial_image_index": partial.index,
        });
        self.event("partial_image", body, "b64_json", &partial.base64)
    }

    /// One event for each finished picture, with our own fields beside OpenAI's.
    pub(in crate::api) fn completed(
        &self,
        id: &str,
        created: i64,
        result: &GenerationResult,
        sandbox: bool,
    ) -> Vec<Bytes> {
        let metadata = metadata_json(result, sandbox);
        let events = result.deliveries.iter().flat_map(|delivery| {
            let mut body = json!({
                "id": id, "created_at": created, "size": result.size, "quality": self.quality,
                "background": self.background, "output_format": result.format, "metadata": metadata,
            });
            if let Some(revised) = &delivery.revised_prompt {
                body["revised_prompt"] = json!(revised);
            }
            match &delivery.output {
                OutputRef::Base64(text) => self.event("completed", body, "b64_json", text),
                OutputRef::Url(url) => self.event("completed", body, "url", &Bytes::from(url.clone())),
            }
        });
        events.collect()
    }

    /// One event, its one long value last. That value is base64 or a link of ours: neither needs escapes.
    fn event(&self, suffix: &str, body: Value, name: &str, value: &Bytes) -> Vec<Bytes> {
        let kind = format!("{}.{suffix}", self.prefix);
        let mut fields = Map::from_iter([("type".to_owned(), json!(kind))]);
        if let Value::Object(body) = body {
            fields.extend(body);
        }
        let mut text = Value::Object(fields).to_string();
        text.pop();
        let head = format!("event: {kind}\ndata: {text},\"{name}\":\"");
        vec![Bytes::from(head), value.clone(), Bytes::from_static(b"\"}\n\n")]
    }
}

/// The last event of a request that failed.
pub(in crate::api) fn error_event(error: &Error) -> Bytes {
    let mut body = error_json(error);
    body["type"] = json!("error");
    Bytes::from(format!("event: error\ndata: {body}\n\n"))
}
