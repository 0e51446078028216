//! `GET/DELETE /v1/requests/{id}/payloads`: request and answer of a call, where the operator retains them.

use crate::api::caller::Caller;
use crate::api::state::Api;
use crate::base::Timestamp;
use crate::error::{Error, ErrorKind};
use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

pub(in crate::api) async fn retrieve(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Error> {
    let payload = api.store.payloads().find(&id, caller.scope(), Timestamp::now()).await?;
    let missing = || Error::new(ErrorKind::NotFound, "No payload is stored for this request.");
    payload.and_then(|text| serde_json::from_str(&text).ok()).map(Json).ok_or_else(missing)
}

/// Deletes the payload of a request and the files that it made.
pub(in crate::api) async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Error> {
    let store = &api.store;
    if store.requests().find(&id, caller.scope()).await?.is_none() {
        return Err(Error::new(ErrorKind::NotFound, "There is no request with this id."));
    }
    let purged = store.payloads().purge(&id, caller.scope()).await?;
    let mut deleted = 0;
    let storage = &api.gateway.storage;
    for name in &purged.media {
        if storage.size(name).await.map_err(Error::internal)?.is_some() {
            storage.delete(name).await.map_err(Error::internal)?;
            deleted += 1;
        }
    }
    Ok(Json(json!({"id": id, "purged": true, "already_purged": purged.already, "media_deleted": deleted})))
}
