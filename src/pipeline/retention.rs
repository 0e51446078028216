//! Keeps what was asked and answered, where the operator turned that on (`server.payload_days`).

use super::ledger::RequestInfo;
use crate::base::Timestamp;
use crate::error::Error;
use crate::job::Job;
use crate::store::{NewPayload, Store};
use serde_json::{Value, json};
use std::time::Duration;

/// Longer texts in a request are cut: pictures and masks come as text as well.
const MAX_TEXT: usize = 8000;

/// Keeps payloads.
#[derive(Clone)]
pub struct Retention {
    store: Store,
    /// Days for which payloads are kept; 0 keeps none.
    days: u32,
}

/// What is kept of an answer.
pub(super) struct Response {
    pub shown: Value,
    /// The names of the files that were made.
    pub media: Vec<String>,
}

impl Response {
    pub(super) fn of_error(error: &Error) -> Self {
        Self { shown: json!({"error": {"code": error.kind.code(), "message": error.message}}), media: Vec::new() }
    }
}

/// The request of a payload, taken before the job is given away.
pub(super) struct Asked {
    request: Value,
    request_id: String,
    account_id: String,
}

impl Retention {
    pub const fn new(store: Store, days: u32) -> Self {
        Self { store, days }
    }

    /// Takes note of a request, where anything is kept.
    pub(super) fn note(&self, job: &Job, request_id: &str, account_id: &str) -> Option<Asked> {
        (self.days > 0).then(|| Asked {
            request: without_media(&serde_json::to_value(job).unwrap_or_default()),
            request_id: request_id.to_owned(),
            account_id: account_id.to_owned(),
        })
    }

    /// The same for a request that waits.
    pub(super) fn note_request(&self, job: &Job, info: &RequestInfo) -> Option<Asked> {
        self.note(job, &info.request_id, &info.account_id)
    }

    /// Keeps a request with its answer: links and rewritten prompts, or the refusal. Pictures that were answered inline
    /// leave only their size. That it may fail is no reason to fail the request.
    pub(super) async fn keep(&self, asked: Option<Asked>, response: Response) {
        let Some(asked) = asked else { return };
        let days = Duration::from_hours(24 * u64::from(self.days));
        let new = NewPayload {
            request_id: asked.request_id,
            account_id: asked.account_id,
            payload: json!({"request": asked.request, "response": response.shown}).to_string(),
            media: response.media,
            expires_at: Timestamp::now().plus(days),
        };
        if let Err(error) = self.store.payloads().insert(new).await {
            tracing::warn!(%error, "the payload of a request could not be stored");
        }
    }
}

/// The same without what may be a file: data URIs and long texts leave their size.
fn without_media(value: &Value) -> Value {
    match value {
        Value::String(text) if text.len() > MAX_TEXT || text.starts_with("data:") => {
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
    fn no_file_is_kept() {
        let asked = json!({"prompt": "a fox", "image": ["data:image/png;base64,AAAA", "x".repeat(9000)], "n": 2});
        let kept = without_media(&asked);
        assert_eq!(kept, json!({"prompt": "a fox", "image": ["[26 bytes]", "[9000 bytes]"], "n": 2}));
    }
}
