//! Google's Gemini API, after its reference, the official SDKs and recorded answers as read in 2026-11
//! (<https://ai.google.dev/gemini-api/docs/image-generation>).
//!
//! Simulated: the key in a header or in the query, `generateContent` of the image models (their shapes and scales come
//! from the catalog) with Google's checks, tokens, drafts among the thoughts and refusals with 200; the Interactions API
//! for videos in the background; `GET /models`; the same paths under `/v1beta`, `/v1` (as the SDKs of late 2026 ask) and
//! neither. Not simulated: streaming, uploads, thought signatures of earlier turns, conversations, real quotas.

mod answer;
mod error;
mod interactions;
mod job;
mod request;
#[cfg(test)]
mod tests;
mod usage;

pub(super) use answer::generate;
pub(super) use error::Refusal;
pub(super) use job::{Fate, Film, Job, Jobs, Phase};
pub(super) use request::{camel, decode};

use super::identity::{Key, read_key};
use super::world::{World, today};
use crate::job::Mode;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use rand::RngExt;
use rand::distr::Alphanumeric;
use serde_json::{Value, json};
use std::sync::Arc;

/// The provider's id.
pub(super) const ID: &str = "gemini";

/// Which of Google's two hosts is imitated. They share the wire of image models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Host {
    /// generativelanguage.googleapis.com
    Gemini,
    /// aiplatform.googleapis.com
    Vertex,
}

impl Host {
    /// The provider's id.
    pub(super) const fn id(self) -> &'static str {
        match self {
            Self::Gemini => ID,
            Self::Vertex => "vertex",
        }
    }
}

/// The shared state, and the videos in the making.
struct Google {
    world: Arc<World>,
    jobs: Jobs,
}

pub(super) fn router(world: Arc<World>) -> Router {
    let paths = Router::new()
        .route("/models", get(models))
        .route("/models/{call}", get(model).post(call))
        .route("/interactions", post(interactions::create))
        .route("/interactions/{id}", get(interactions::read))
        .route("/interactions/{id}/cancel", post(interactions::cancel))
        .route("/files/{name}", get(interactions::download))
        .fallback(async || Refusal::nothing_here());
    let state = Arc::new(Google { world, jobs: Jobs::default() });
    // The adapter's base address stands for `…/v1beta`; the SDKs add the version themselves.
    Router::new().nest("/v1beta", paths.clone()).nest("/v1", paths.clone()).merge(paths).with_state(state)
}

/// `POST /models/{model}:{method}`
async fn call(
    State(google): State<Arc<Google>>,
    Path(call): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let broke = identify(&headers, query.as_deref());
    match call.split_once(':') {
        Some((model, "generateContent")) => generate(&google.world, Host::Gemini, model, broke, &body).await,
        Some((model, method)) => Refusal::no_model(Host::Gemini, model, method).into_response(),
        None => Refusal::nothing_here().into_response(),
    }
}

/// Whether the key's account is out of money, when the key is known at all. The key is in a header, or in the query.
fn identify(headers: &HeaderMap, query: Option<&str>) -> Result<bool, Refusal> {
    let header = headers.get("x-goog-api-key").and_then(|value| value.to_str().ok());
    let query = query.into_iter().flat_map(|query| query.split('&')).find_map(|pair| pair.strip_prefix("key="));
    let mut shown = HeaderMap::new();
    if let Some(value) = header.or(query).and_then(|key| HeaderValue::from_str(&format!("Key {key}")).ok()) {
        shown.insert(header::AUTHORIZATION, value);
    }
    worth(&read_key(&shown, "key"), Host::Gemini)
}

/// What a key means at that host.
pub(super) fn worth(key: &Key, host: Host) -> Result<bool, Refusal> {
    match key {
        Key::Missing => Err(Refusal::no_key(host)),
        Key::Unknown(_) => Err(Refusal::wrong_key(host)),
        Key::Broke => Ok(true),
        Key::Good => Ok(false),
    }
}

/// Random letters and digits, as ids of answers and operations are.
fn fresh_token(length: usize) -> String {
    rand::rng().sample_iter(Alphanumeric).take(length).map(char::from).collect()
}

async fn models(State(google): State<Arc<Google>>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    if let Err(refusal) = identify(&headers, query.as_deref()) {
        return refusal.into_response();
    }
    let today = today();
    let routes = google.world.catalog.routes_of(ID).filter(|route| !route.retired(&today));
    let list: Vec<Value> = routes.map(|route| describe(&route.upstream, &route.modes)).collect();
    Json(json!({"models": list})).into_response()
}

async fn model(
    State(google): State<Arc<Google>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    if let Err(refusal) = identify(&headers, query.as_deref()) {
        return refusal.into_response();
    }
    match google.world.route(ID, &id) {
        Some(route) => Json(describe(&route.upstream, &route.modes)).into_response(),
        None => Refusal::no_model(Host::Gemini, &id, "getModel").into_response(),
    }
}

fn describe(id: &str, modes: &[Mode]) -> Value {
    let methods =
        if modes.contains(&Mode::TextToVideo) { json!(["createInteraction"]) } else { json!(["generateContent"]) };
    json!({"name": format!("models/{id}"), "displayName": id, "supportedGenerationMethods": methods})
}
