//! Replicate's HTTP API, after its OpenAPI, the recorded traffic of its Python client and the models' schemas as read
//! in 2026-11 (<https://replicate.com/docs/reference/http>).
//!
//! Simulated: bearer tokens (`Token` too), predictions by model path and by `version`, `Prefer: wait`, statuses in
//! order, cancelling, problem documents, outputs as one address or a list, files and outputs that are gone after an
//! hour; all with and without `/v1`, for clients whose base address ends before it. Which models there are, and their
//! sizes and formats, comes from the catalog. A blocking call finds a prediction finished unless a rule says how many
//! polls it takes. Names that a model does not know are ignored, as there. Not simulated: webhooks, streams, files,
//! deployments, deadlines, rate limits, data addresses as outputs, and knobs that do not change the picture.

mod error;
mod prediction;
mod request;
mod result;
#[cfg(test)]
mod tests;

use super::book::{Entry, Operation};
use super::identity::{Key, read_key};
use super::sale::{Sale, turn_away};
use super::world::World;
use super::{bill, mischief};
use crate::base::Usd;
use crate::catalog::Route;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use error::Refusal;
use prediction::{Fate, Phase, Prediction, Predictions};
use request::Order;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;

/// The provider's id.
pub(super) const ID: &str = "replicate";

/// The service.
struct Service {
    world: Arc<World>,
    predictions: Predictions,
}

pub(super) fn router(world: Arc<World>) -> Router {
    let api = Router::new()
        .route("/models/{owner}/{name}/predictions", post(create_by_model))
        .route("/predictions", post(create_by_version))
        .route("/predictions/{id}", get(follow))
        .route("/predictions/{id}/cancel", post(cancel));
    Router::new()
        .merge(api.clone())
        .nest("/v1", api)
        .route("/delivery/{id}/{name}", get(result::file))
        .fallback(nowhere)
        .with_state(Arc::new(Service { world, predictions: Predictions::default() }))
}

async fn nowhere() -> Response {
    Refusal::nothing().into_response()
}

async fn create_by_model(
    State(service): State<Arc<Service>>,
    Path((owner, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body = serde_json::from_slice(&body);
    create(&service, &headers, format!("{owner}/{name}"), body).await
}

/// `version` may be a name, with or without a hash.
async fn create_by_version(State(service): State<Arc<Service>>, headers: HeaderMap, body: Bytes) -> Response {
    let body: Result<Value, _> = serde_json::from_slice(&body);
    let version = body.as_ref().ok().and_then(|body| body["version"].as_str()).unwrap_or_default();
    // What a community made is known by its version only.
    let known = service.world.route(ID, version).is_some();
    let model = if known { version } else { version.split(':').next().unwrap_or_default() }.to_owned();
    create(&service, &headers, model, body).await
}

async fn create(
    service: &Service,
    headers: &HeaderMap,
    model: String,
    body: Result<Value, serde_json::Error>,
) -> Response {
    let world = &service.world;
    let (route, input, order) = match admit(world, &model, headers, body) {
        Ok(admitted) => admitted,
        Err(refusal) => return turn_away(world, ID, Some(&model), refusal.into_response()),
    };
    let mut sale = Sale::of_job(world, ID, &route);
    let refusal = sale.refusal(Refusal::of_status, Refusal::nothing);
    let mut prediction = begin(route, input, order, &sale);
    let wait = patience(headers);
    // How the call ends is known before it is answered.
    let within = wait.is_some_and(|wait| prediction.latency <= wait) && sale.polls().is_none();
    if within {
        prediction.polls = 0;
    }
    sale.made = if wait.is_some() && !within { StatusCode::ACCEPTED } else { StatusCode::CREATED };
    if sale.take(refusal.as_ref(), &prediction.id, prediction.billed) {
        service.predictions.add(prediction.clone());
    }
    match sale.instead(refusal).await {
        Some(ending) => ending,
        None => begun(service, headers, &prediction, wait, sale.made).await,
    }
}

/// The answer to a creating call, after the wait that it asks for.
async fn begun(
    service: &Service,
    headers: &HeaderMap,
    prediction: &Prediction,
    wait: Option<Duration>,
    status: StatusCode,
) -> Response {
    let base = base(service, headers);
    let Some(wait) = wait else {
        let told = result::describe(prediction, Phase::Starting, &base, &Value::Null);
        return (status, Json(told)).into_response();
    };
    tokio::time::sleep(prediction.latency.min(wait)).await;
    let mut response = match service.predictions.look(&prediction.id) {
        Some((prediction, phase)) => result::tell(&service.world, &prediction, phase, &base),
        None => Refusal::nothing().into_response(),
    };
    if response.status() == StatusCode::OK {
        *response.status_mut() = status;
    }
    mischief::put(&mut response, "preference-applied", &format!("wait={}", wait.as_secs()));
    response
}

/// `Prefer: wait` or `wait=1` to `wait=60`.
fn patience(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("prefer")?.to_str().ok()?;
    let seconds = match text.strip_prefix("wait")? {
        "" => 60,
        rest => rest.strip_prefix('=')?.parse().ok().filter(|seconds| (1..=60).contains(seconds))?,
    };
    Some(Duration::from_secs(seconds))
}

/// A legal call: the model, what was sent, and what it means.
type Admitted = (Arc<Route>, Map<String, Value>, Order);

/// Token, model, input, money.
fn admit(
    world: &World,
    model: &str,
    headers: &HeaderMap,
    body: Result<Value, serde_json::Error>,
) -> Result<Admitted, Refusal> {
    let broke = identify(headers)?;
    let route = world.route(ID, model).ok_or_else(Refusal::nothing)?;
    let body = body.map_err(|_| Refusal::not_json())?;
    let input = body["input"].as_object().cloned().ok_or_else(Refusal::no_input)?;
    let order = Order::read(&input, &route)?;
    if broke { Err(Refusal::no_money()) } else { Ok((route, input, order)) }
}

/// Whether the token's account is out of money, when the token is known at all.
fn identify(headers: &HeaderMap) -> Result<bool, Refusal> {
    let key = match read_key(headers, "bearer") {
        Key::Missing => read_key(headers, "token"),
        key => key,
    };
    match key {
        Key::Missing | Key::Unknown(_) => Err(Refusal::wrong_key()),
        Key::Broke => Ok(true),
        Key::Good => Ok(false),
    }
}

/// The prediction, its fate and its bill. What fails costs nothing here.
fn begin(route: Arc<Route>, input: Map<String, Value>, order: Order, sale: &Sale<'_>) -> Prediction {
    let fate = match (sale.refuses(&order.prompt), order.prompt.contains("[fail]")) {
        (true, _) => Fate::Refused,
        (false, true) => Fate::Failed,
        (false, false) => Fate::Made,
    };
    let billed = match fate {
        Fate::Made if order.seconds.is_some() => bill::result(&route, &input, order.size),
        Fate::Made => {
            let made = bill::price(&route.price, &input, order.size, order.count.into());
            made + bill::given(&route.price, &input, &order.given)
        }
        _ => Usd::ZERO,
    };
    let mut prediction = Prediction::new(route, input, order, fate);
    prediction.billed = billed;
    (prediction.polls, prediction.latency) = sale.pace();
    prediction
}

/// Where the service is, as this client calls it.
fn base(service: &Service, headers: &HeaderMap) -> String {
    format!("{}/{ID}", service.world.base_url(headers))
}

async fn follow(State(service): State<Arc<Service>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let found = identify(&headers).and_then(|_| service.predictions.advance(&id).ok_or_else(Refusal::nothing));
    let (prediction, phase) = match found {
        Ok(found) => found,
        Err(refusal) => {
            service.world.book.write(Entry::new(ID, Operation::Poll, refusal.status.as_u16()).job(&id));
            return refusal.into_response();
        }
    };
    let response = result::tell(&service.world, &prediction, phase, &base(&service, &headers));
    let entry = Entry::new(ID, Operation::Poll, response.status().as_u16());
    service.world.book.write(entry.model(&prediction.route.upstream).job(&id));
    response
}

/// Gives a prediction up: free when it has not started, billed when it runs.
async fn cancel(State(service): State<Arc<Service>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let found = identify(&headers).and_then(|_| service.predictions.cancel(&id).ok_or_else(Refusal::nothing));
    let (status, refund, response) = match found {
        Ok((prediction, phase, refund)) => {
            (StatusCode::OK, refund, result::tell(&service.world, &prediction, phase, &base(&service, &headers)))
        }
        Err(refusal) => (refusal.status, Usd::ZERO, refusal.into_response()),
    };
    let billed = Usd::from_micros(-refund.micros());
    service.world.book.write(Entry::new(ID, Operation::Cancel, status.as_u16()).job(&id).billed(billed));
    response
}
