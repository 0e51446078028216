//! `GET/DELETE /v1/requests/{id}/payloads`, and the keeping of what was asked and answered where the operator wants it.

use super::Api;
use super::caller::Caller;
use crate::base::Timestamp;
use crate::error::{Error, ErrorKind};
use crate::job::Job;
use crate::pipeline::{Answer, Asker, Handle};
use crate::store::NewPayload;
use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use std::time::Duration;

/// Longer texts in a request are cut: pictures and masks come as text as well.
const LONGEST: usize = 8000;

/// What was asked and answered, while it is kept.
pub(super) async fn show(State(api): State<Api>, caller: Caller, Path(id): Path<String>) -> Result<Json<Value>, Error> {
    let kept = api.0.store.payloads().find(&id, caller.scope(), Timestamp::now()).await?;
    let missing = || Error::new(ErrorKind::NotFound, "Nothing is kept of that request.");
    kept.and_then(|text| serde_json::from_str(&text).ok()).map(Json).ok_or_else(missing)
}

/// Forgets what was kept of a request, and deletes the files that it made.
pub(super) async fn purge(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Error> {
    let store = &api.0.store;
    if store.requests().find(&id, caller.scope()).await?.is_none() {
        return Err(Error::new(ErrorKind::NotFound, "No request of that id."));
    }
    let purged = store.payloads().purge(&id, caller.scope()).await?;
    let mut deleted = 0;
    let storage = &api.0.gateway.storage;
    for name in &purged.media {
        if storage.size(name).await.map_err(Error::internal)?.is_some() {
            storage.delete(name).await.map_err(Error::internal)?;
            deleted += 1;
        }
    }
    Ok(Json(json!({"id": id, "purged": true, "already_purged": purged.already, "media_deleted": deleted})))
}

/// What is to be kept of a request, where the operator keeps anything.
pub(super) struct Keeper {
    asked: Value,
    request_id: String,
    account_id: String,
}

impl Keeper {
    /// Takes note of what is asked.
    pub(super) fn of(api: &Api, job: &Job, asker: &Asker) -> Option<Self> {
        (api.0.payload_days > 0).then(|| Self {
            asked: without_media(&serde_json::to_value(job).unwrap_or_default()),
            request_id: asker.request_id.clone(),
            account_id: asker.account_id.clone(),
        })
    }

    /// Keeps it with what was answered: links and rewritten prompts, or the refusal. Pictures that were answered inline
    /// leave only their size. That it may fail is no reason to fail the request.
    pub(super) async fn keep(self, api: &Api, response: Value, media: Vec<String>) {
        let days = Duration::from_hours(24 * u64::from(api.0.payload_days));
        let new = NewPayload {
            request_id: self.request_id,
            account_id: self.account_id,
            payload: json!({"request": self.asked, "response": response}).to_string(),
            media,
            expires_at: Timestamp::now().plus(days),
        };
        if let Err(error) = api.0.store.payloads().insert(new).await {
            tracing::warn!(%error, "what was asked and answered could not be kept");
        }
    }
}

/// What is kept of an answer, and the names of its files.
pub(super) fn outcome(answer: &Result<Answer, Error>) -> (Value, Vec<String>) {
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

/// The same without what may be a file: data URIs and long texts leave their size.
fn without_media(value: &Value) -> Value {
    match value {
        Value::String(text) if text.len() > LONGEST || text.starts_with("data:") => {
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
