//! `GET/DELETE /v1/requests/{id}/payloads`.

use super::Api;
use super::caller::Caller;
use crate::base::Timestamp;
use crate::error::{Error, ErrorKind};
use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

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
