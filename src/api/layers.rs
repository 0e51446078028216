//! What surrounds every request: its id, its place among the running ones, its one line in the log.

use super::Api;
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
pub(super) fn exposed() -> Vec<HeaderName> {
    let ours = ["request-id", "provider", "model", "attempts", "sandbox"];
    let ours = ours.into_iter().filter_map(|name| HeaderName::try_from(format!("x-lumenfall-{name}")).ok());
    ours.chain([
        HeaderName::from_static("server-timing"),
        HeaderName::from_static("retry-after"),
        HeaderName::from_static("idempotent-replayed"),
    ])
    .collect()
}

/// A request's identity, made before anything else.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    /// `req_…`
    pub(super) id: String,
    /// By the clock.
    pub(super) at: Timestamp,
    /// For durations.
    pub(super) instant: Instant,
}

/// Gives the request its id, and writes its line when it is answered.
pub(super) async fn identify(mut request: Request, next: Next) -> Response {
    let at = Timestamp::now();
    let arrival = Arrival { id: id::request(at), at, instant: Instant::now() };
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let span = tracing::info_span!("request", request.id = %arrival.id);
    request.extensions_mut().insert(arrival.clone());
    let mut response = next.run(request).instrument(span.clone()).await;
    if let Ok(value) = HeaderValue::from_str(&arrival.id) {
        // A replayed answer keeps the id of the request that made it.
        response.headers_mut().entry(REQUEST_ID).or_insert(value);
    }
    let status = response.status().as_u16();
    let duration_ms = u64::try_from(arrival.instant.elapsed().as_millis()).unwrap_or(u64::MAX);
    let _entered = span.enter();
    // Probes would drown everything else.
    if is_probe(&path) {
        tracing::debug!(%method, path, status, duration_ms, "answered");
    } else {
        tracing::info!(%method, path, status, duration_ms, "answered");
    }
    response
}

/// A request's place among the running ones: whoever answers in a stream keeps it until the end of that.
#[derive(Debug, Clone)]
pub(super) struct Place {
    _permit: Arc<OwnedSemaphorePermit>,
}

/// Machines that look after us: answered however busy we are.
fn is_probe(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz" | "/metrics")
}

/// Lets so many requests in at once; more are told to come back, at once.
pub(super) async fn admit(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if is_probe(path) {
        return next.run(request).await;
    }
    match Arc::clone(&api.0.running).try_acquire_owned() {
        Ok(permit) => {
            let place = Place { _permit: Arc::new(permit) };
            request.extensions_mut().insert(place.clone());
            let response = next.run(request).await;
            drop(place);
            response
        }
        Err(_) => {
            let most = api.0.max_concurrent;
            let text = format!("This gateway is serving {most} requests, as many as it may. Try again shortly.");
            let retry_after = Some(Duration::from_secs(1));
            Error { retry_after, ..Error::new(ErrorKind::Unavailable, text) }.into_response()
        }
    }
}
