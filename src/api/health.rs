//! `GET /healthz` (liveness), `GET /readyz` (readiness) and `GET /metrics`.

use super::state::Api;
use crate::error::{Error, ErrorKind};
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde_json::{Value, json};

/// Succeeds while the process runs.
pub(super) async fn liveness() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// Metrics in Prometheus' text format. No label holds a secret or a text that a caller chose.
pub(super) async fn metrics(State(api): State<Api>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], api.metrics.render())
}

/// Succeeds when the database answers and no shutdown has begun.
pub(super) async fn readiness(State(api): State<Api>) -> Result<Json<Value>, Error> {
    if api.is_stopping() {
        return Err(Error::new(ErrorKind::Unavailable, "This gateway is shutting down."));
    }
    api.store.ping().await?;
    let gateway = &api.gateway;
    Ok(Json(json!({"status": "ready", "models": gateway.catalog.get().models().len(), "sandbox": gateway.sandbox})))
}
