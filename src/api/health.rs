//! `GET /healthz`: the process lives. `GET /readyz`: it can serve. `GET /metrics`: what it counted.

use super::Api;
use crate::error::{Error, ErrorKind};
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

/// Always, while the process lives.
pub(super) async fn alive() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// What Prometheus reads. Labels are routes and kinds: nothing that a caller chose, no secret.
pub(super) async fn metrics(State(api): State<Api>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], api.0.metrics.render())
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
