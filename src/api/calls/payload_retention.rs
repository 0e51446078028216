//! Retains what was asked and answered, for as many days as the operator wants.

use crate::api::state::Api;
use crate::base::Timestamp;
use crate::error::Error;
use crate::job::Job;
use crate::pipeline::{Answer, Asker, Handle};
use crate::store::NewPayload;
use serde_json::{Value, json};
use std::time::Duration;

/// Longer texts in a request are cut: pictures and masks come as text as well.
const MAX_TEXT_LENGTH: usize = 8000;

/// The part of a payload that is known before the answer.
pub(super) struct RetainedPayload {
    request: Value,
    request_id: String,
    account_id: String,
}

impl RetainedPayload {
    /// `None` where the operator retains nothing.
    pub(super) fn of_request(api: &Api, job: &Job, info: &Asker) -> Option<Self> {
        (api.payload_days > 0).then(|| Self {
            request: without_media(&serde_json::to_value(job).unwrap_or_default()),
            request_id: info.request_id.clone(),
            account_id: info.account_id.clone(),
        })
    }

    /// Stores it with the answer: links and rewritten prompts, or the error. Of pictures that were answered inline only
    /// the size is retained. A failure here is no reason to fail the request.
    pub(super) async fn store(self, api: &Api, answer: &Result<Answer, Error>) {
        let (response, media) = retained_answer(answer);
        let days = Duration::from_hours(24 * u64::from(api.payload_days));
        let new = NewPayload {
            request_id: self.request_id,
            account_id: self.account_id,
            payload: json!({"request": self.request, "response": response}).to_string(),
            media,
            expires_at: Timestamp::now().plus(days),
        };
        if let Err(error) = api.store.keep_payload(new).await {
            tracing::warn!(%error, "failed to store the payload of a request");
        }
    }
}

/// The retained part of an answer, and the names of its files.
fn retained_answer(answer: &Result<Answer, Error>) -> (Value, Vec<String>) {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return (json!({"error": {"code": error.kind.code(), "message": error.message}}), Vec::new()),
    };
    let shown = answer.deliveries.iter().map(|delivery| match &delivery.handle {
        Handle::Url(url) => json!({"url": url, "revised_prompt": delivery.revised_prompt}),
        Handle::Base64(text) => json!({"b64_json_bytes": text.len(), "revised_prompt": delivery.revised_prompt}),
    });
    let names = answer.deliveries.iter().filter_map(|delivery| match &delivery.handle {
        Handle::Url(url) => url.rsplit('/').next().map(str::to_owned),
        Handle::Base64(_) => None,
    });
    (shown.collect(), names.collect())
}

/// Replaces what may be a file (data URIs and long texts) by its size.
fn without_media(value: &Value) -> Value {
    match value {
        Value::String(text) if text.len() > MAX_TEXT_LENGTH || text.starts_with("data:") => {
            json!(format!("[{} bytes]", text.len()))
        }
        Value::Array(items) => items.iter().map(without_media).collect(),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(name, value)| (name.clone(), without_media(value))).collect())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_is_retained() {
        let asked = json!({"prompt": "a fox", "image": ["data:image/png;base64,AAAA", "x".repeat(9000)], "n": 2});
        let kept = without_media(&asked);
        assert_eq!(kept, json!({"prompt": "a fox", "image": ["[26 bytes]", "[9000 bytes]"], "n": 2}));
    }
}
