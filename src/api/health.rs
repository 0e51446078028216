//! `GET /healthz`: the process lives. `GET /readyz`: it can serve.

use super::Api;
use crate::error::{Error, ErrorKind};
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

/// Always, while the process lives.
pub(super) async fn alive() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// When the database answers and no stop is under way.
pub(super) async fn ready(State(api): State<Api>) -> Result<Json<Value>, Error> {
    if api.0.stopping.load(Ordering::Relaxed) {
        return Err(Error::new(ErrorKind::Unavailable, "This gateway is stopping."));
    }
    api.0.store.ping().await?;
    let gateway = &api.0.gateway;
    Ok(Json(json!({"status": "ready", "models": gateway.catalog.get().models().len(), "sandbox": gateway.sandbox})))
}
