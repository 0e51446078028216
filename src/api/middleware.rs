//! Middleware around every request: its id and access log line, and the limit on requests at once.

use super::state::Api;
use crate::base::{Timestamp, id};
use crate::error::{Error, ErrorKind};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tracing::Instrument;

/// The header with the request's id, on every answer.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-lumenfall-request-id");

/// Headers that scripts in browsers may read.
pub(super) fn exposed_headers() -> Vec<HeaderName> {
    let ours = ["request-id", "provider", "model", "attempts", "sandbox"];
    let ours = ours.into_iter().filter_map(|name| HeaderName::try_from(format!("x-lumenfall-{name}")).ok());
    ours.chain([
        HeaderName::from_static("server-timing"),
        HeaderName::from_static("retry-after"),
        HeaderName::from_static("idempotent-replayed"),
    ])
    .collect()
}

/// Id and arrival of a request, set before anything else looks at it.
#[derive(Debug, Clone)]
pub(super) struct RequestMeta {
    /// `req_…`
    pub(super) id: String,
    pub(super) created_at: Timestamp,
    /// For durations, which a change of the system clock must not touch.
    pub(super) started: Instant,
}

/// Gives the request its id, and logs it when it is answered.
pub(super) async fn log_request(mut request: Request, next: Next) -> Response {
    let created_at = Timestamp::now();
    let meta = RequestMeta { id: id::request(created_at), created_at, started: Instant::now() };
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let span = tracing::info_span!("request", request.id = %meta.id);
    request.extensions_mut().insert(meta.clone());
    let mut response = next.run(request).instrument(span.clone()).await;
    if let Ok(value) = HeaderValue::from_str(&meta.id) {
        // A replayed answer keeps the id of the request that made it.
        response.headers_mut().entry(REQUEST_ID).or_insert(value);
    }
    let status = response.status().as_u16();
    let duration_ms = u64::try_from(meta.started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let _entered = span.enter();
    // Probes would drown everything else.
    if is_probe(&path) {
        tracing::debug!(%method, path, status, duration_ms, "request answered");
    } else {
        tracing::info!(%method, path, status, duration_ms, "request answered");
    }
    response
}

/// A share of the concurrency limit. A call that goes on after its handler has returned keeps a clone.
#[derive(Debug, Clone)]
pub(super) struct ConcurrencyPermit {
    _permit: Arc<OwnedSemaphorePermit>,
}

/// Probes are answered at any load.
fn is_probe(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz" | "/metrics")
}

/// Runs so many requests at once and refuses more with 503, before anything of them is read.
pub(super) async fn limit_concurrency(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    if is_probe(request.uri().path()) {
        return next.run(request).await;
    }
    match Arc::clone(&api.running).try_acquire_owned() {
        Ok(permit) => {
            let permit = ConcurrencyPermit { _permit: Arc::new(permit) };
            request.extensions_mut().insert(permit.clone());
            let response = next.run(request).await;
            drop(permit);
            response
        }
        Err(_) => {
            let limit = api.max_concurrent;
            let text = format!("This gateway is serving {limit} requests, which is its limit. Try again shortly.");
            let retry_after = Some(Duration::from_secs(1));
            Error { retry_after, ..Error::new(ErrorKind::Unavailable, text) }.into_response()
        }
    }
}
