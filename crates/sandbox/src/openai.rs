//! OpenAI's image API, after the API reference, the model pages and the Python SDK as read in 2026-11
//! (<https://developers.openai.com/api/reference/resources/images>).
//!
//! Simulated: bearer keys, `POST /images/generations` and `POST /images/edits` (as a form) with the checks of the GPT
//! Image models (which models there are, their sizes and formats come from the catalog), base64 results, `usage` by
//! OpenAI's calculator, rate-limit headers, refusals, error envelopes, streams, `GET /models`. Not simulated: edits as JSON,
//! variations, real rate limits, cached tokens, transparency (a transparent picture is announced and drawn
//! opaque), animated GIF. The pictures of an edit are looked at and then not used.

mod error;
mod events;
mod form;
mod request;
#[cfg(test)]
mod tests;
mod usage;

use super::easel::Motif;
use super::identity::{Key, fresh_hex, read_key};
use super::mischief;
use super::sale::{Sale, Why, turn_away};
use super::world::{World, today};
use crate::base::{Timestamp, Usd};
use crate::catalog::Route;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use error::Refusal;
use form::Form;
use request::Order;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tokio::time::Instant;

/// The provider's id.
pub(super) const ID: &str = "openai";

pub(super) fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/images/edits", post(edit))
        .route("/images/generations", post(generate))
        .route("/models", get(models))
        .route("/models/{id}", get(model))
        .fallback(nowhere)
        .with_state(world)
}

async fn generate(State(world): State<Arc<World>>, headers: HeaderMap, body: Bytes) -> Response {
    let read = || serde_json::from_slice::<Map<String, Value>>(&body).map_err(|_| Refusal::not_json());
    let admitted = admit(&world, &headers, read, |body| body, Order::of_generation);
    serve(&world, admitted).await
}

async fn edit(State(world): State<Arc<World>>, headers: HeaderMap, body: Bytes) -> Response {
    let admitted = admit(&world, &headers, || Form::read(&headers, &body), |form| &form.fields, Order::of_edit);
    serve(&world, admitted).await
}

/// An order and its route, or a refusal and the model as far as it is known.
type Admitted = Result<(Order, Arc<Route>), (Refusal, Option<String>)>;

async fn serve(world: &World, admitted: Admitted) -> Response {
    let started = Instant::now();
    let id = format!("req_{}", fresh_hex());
    let response = match admitted {
        Ok((order, route)) => make(world, &order, &route, &id).await,
        Err((refusal, model)) => turn_away(world, ID, model.as_deref(), refusal.into_response()),
    };
    dress(response, &id, started)
}

/// Key, body, model, money, parameters: in the order in which OpenAI looks at them.
fn admit<B>(
    world: &World,
    headers: &HeaderMap,
    read: impl FnOnce() -> Result<B, Refusal>,
    fields: impl Fn(&B) -> &Map<String, Value>,
    order: impl FnOnce(&B, &Route) -> Result<Order, Refusal>,
) -> Admitted {
    let broke = identify(headers).map_err(|refusal| (refusal, None))?;
    let body = read().map_err(|refusal| (refusal, None))?;
    let model = request::model(fields(&body)).map_err(|refusal| (refusal, None))?;
    let refuse = |refusal| (refusal, Some(model.clone()));
    let route = world.route(ID, &model).ok_or_else(|| refuse(Refusal::no_model(&model)))?;
    if broke {
        return Err(refuse(Refusal::no_money()));
    }
    Ok((order(&body, &route).map_err(refuse)?, route))
}

/// Whether the key's account is out of money, when the key is known at all.
fn identify(headers: &HeaderMap) -> Result<bool, Refusal> {
    match read_key(headers, "bearer") {
        Key::Missing => Err(Refusal::no_key()),
        Key::Unknown(key) => Err(Refusal::wrong_key(&key)),
        Key::Broke => Ok(true),
        Key::Good => Ok(false),
    }
}

async fn make(world: &World, order: &Order, route: &Route, id: &str) -> Response {
    let sale = Sale::open(world, ID, route);
    let refusal = sale.why(&order.prompt).map(|why| match why {
        Why::Status(status) => Refusal::of_status(status),
        Why::Gone => Refusal::no_model(&route.upstream),
        Why::Refused => Refusal::moderated(id),
        Why::Failed => Refusal::of_status(500),
    });
    // A prompt that is refused or fails is never billed; a fault is, when the job had been taken.
    let accepted = sale.taken(refusal.is_some());
    let bill = if accepted && !order.doomed() { usage::bill(order) } else { Usd::ZERO };
    match sale.settle(refusal.map(IntoResponse::into_response), bill).await {
        Some(ending) => ending,
        None => deliver(world, order, &sale).await,
    }
}

/// The pictures, or what the fault leaves of them.
async fn deliver(world: &World, order: &Order, sale: &Sale<'_>) -> Response {
    let mut data = Vec::new();
    for index in 0..sale.delivered(order.n) {
        let motif =
            Motif { prompt: Arc::clone(&order.prompt), index, size: order.size, format: order.format, black: false };
        let Some(file) = world.easel.draw(&sale.spoil(motif)).await else {
            return Refusal::of_status(500).into_response();
        };
        data.push(json!({"b64_json": base64_simd::STANDARD.encode_to_string(&file)}));
    }
    if order.stream.is_some() {
        return events::answer(world, order, &data, sale.breaks_off()).await;
    }
    let answer = json!({
        "created": Timestamp::now().seconds(),
        "background": order.background,
        "data": data,
        "output_format": order.format.name(),
        "quality": order.quality,
        "size": order.size.to_string(),
        "usage": usage::report(order),
    });
    sale.answer(&answer, false)
}

/// The headers of every answer.
fn dress(mut response: Response, id: &str, started: Instant) -> Response {
    let took = started.elapsed().as_millis().to_string();
    let headers = [
        ("x-request-id", id),
        ("openai-processing-ms", took.as_str()),
        ("openai-version", "2020-10-01"),
        ("x-ratelimit-limit-requests", "5000"),
        ("x-ratelimit-remaining-requests", "4999"),
        ("x-ratelimit-reset-requests", "12ms"),
        ("x-ratelimit-limit-tokens", "8000000"),
        ("x-ratelimit-remaining-tokens", "7999000"),
        ("x-ratelimit-reset-tokens", "7ms"),
    ];
    for (name, value) in headers {
        mischief::put(&mut response, name, value);
    }
    response
}

async fn models(State(world): State<Arc<World>>, headers: HeaderMap) -> Response {
    if let Err(refusal) = identify(&headers) {
        return refusal.into_response();
    }
    let today = today();
    let routes = world.catalog.routes_of(ID).filter(|route| !route.retired(&today));
    let list: Vec<Value> = routes.map(|route| describe(&route.upstream)).collect();
    Json(json!({"object": "list", "data": list})).into_response()
}

async fn model(State(world): State<Arc<World>>, headers: HeaderMap, Path(id): Path<String>) -> Response {
    if let Err(refusal) = identify(&headers) {
        return refusal.into_response();
    }
    match world.route(ID, &id) {
        Some(route) => Json(describe(&route.upstream)).into_response(),
        None => Refusal::no_model(&id).into_response(),
    }
}

fn describe(id: &str) -> Value {
    json!({"id": id, "object": "model", "created": 1_776_000_000, "owned_by": "system"})
}

async fn nowhere(method: Method, uri: Uri) -> Response {
    let message = format!("Invalid URL ({method} /v1{})", uri.path());
    Refusal::new(StatusCode::NOT_FOUND, "invalid_request_error", message).into_response()
}
