//! Black Forest Labs' API, after its documentation, its OpenAPI and the official Python client as read in 2026-11
//! (<https://docs.bfl.ai/quick_start/generating_images>).
//!
//! Simulated: the `x-key` header, one path for each model (with and without `/v1`, for clients whose base address ends
//! before it), pydantic's complaints, strict schemas of FLUX.2 and FLUX 3, `polling_url`, statuses in order, both
//! refusals as HTTP 200, costs in credits and megapixels, result links that expire, `GET /credits`. A prompt with
//! `[refuse output]` is refused after the work. FLUX 3 says `Generating` on the way; the older ones only `Pending`, as
//! Vercel's client wants it. Not simulated: webhooks (ignored), regions, the limit on tasks in flight, the erase,
//! deblur, outpainting and try-on tools, continuing videos, and knobs that do not change the picture. A picture that is
//! given by address counts as one of 1024x1024.

mod error;
mod measure;
mod request;
mod result;
mod task;
#[cfg(test)]
mod tests;

use super::bill;
use super::book::{Entry, Operation};
use super::sale::{Sale, turn_away};
use super::world::World;
use crate::base::Usd;
use crate::catalog::Route;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use error::Refusal;
use request::Order;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use task::{Fate, Task, Tasks};

/// The provider's id.
pub(super) const ID: &str = "bfl";

/// The service.
struct Labs {
    world: Arc<World>,
    tasks: Tasks,
}

pub(super) fn router(world: Arc<World>) -> Router {
    let api =
        Router::new().route("/get_result", get(follow)).route("/credits", get(credits)).route("/{model}", post(submit));
    Router::new()
        .merge(api.clone())
        .nest("/v1", api)
        .route("/results/{id}/{name}", get(result::file))
        .fallback(nowhere)
        .with_state(Arc::new(Labs { world, tasks: Tasks::default() }))
}

async fn nowhere() -> Response {
    Refusal::no_path().into_response()
}

async fn submit(State(labs): State<Arc<Labs>>, Path(model): Path<String>, headers: HeaderMap, body: Bytes) -> Response {
    let world = &labs.world;
    let (route, input, order) = match admit(world, &model, &headers, &body) {
        Ok(admitted) => admitted,
        Err(refusal) => return turn_away(world, ID, Some(&model), refusal.into_response()),
    };
    let sale = Sale::of_job(world, ID, &route);
    let refusal = sale.refusal(Refusal::of_status, Refusal::no_path);
    let task = begin(route, &input, order, &sale);
    let ticket = describe(&task, &base(&labs, &headers));
    if sale.take(refusal.as_ref(), &task.id, task.billed()) {
        labs.tasks.add(task);
    }
    sale.instead(refusal).await.unwrap_or_else(|| Json(ticket).into_response())
}

/// A legal call: the model, what was sent, and what it means.
type Admitted = (Arc<Route>, Map<String, Value>, Order);

/// Key, model, body, money.
fn admit(world: &World, model: &str, headers: &HeaderMap, body: &[u8]) -> Result<Admitted, Refusal> {
    let broke = identify(headers)?;
    let route = world.route(ID, model).ok_or_else(Refusal::no_path)?;
    let input: Map<String, Value> = serde_json::from_slice(body).map_err(|_| Refusal::not_json())?;
    let order = Order::read(&input, &route)?;
    if broke { Err(Refusal::no_money()) } else { Ok((route, input, order)) }
}

/// Whether the key's account is out of money, when the key is known at all. No key and the wrong header are the same.
fn identify(headers: &HeaderMap) -> Result<bool, Refusal> {
    let key = headers.get("x-key").and_then(|value| value.to_str().ok()).map_or("", str::trim);
    if key.is_empty() {
        Err(Refusal::no_key())
    } else if key.contains("bad") || key.contains("invalid") {
        Err(Refusal::wrong_key())
    } else {
        Ok(key.contains("broke"))
    }
}

/// The task, its fate and its cost.
fn begin(route: Arc<Route>, input: &Map<String, Value>, order: Order, sale: &Sale<'_>) -> Task {
    let told = |word: &str| order.prompt.contains(word);
    let fate = if sale.refuses(&order.prompt) {
        Fate::RequestModerated
    } else if told("[refuse output]") {
        Fate::ContentModerated
    } else if told("[fail]") {
        Fate::Failed
    } else {
        Fate::Made
    };
    let cost = cost(&route, input, &order);
    let mut task = Task::new(route, order, fate);
    task.cost = cost;
    (task.polls, task.latency) = sale.pace();
    task
}

/// What the pictures cost by the price list, and the input by the megapixel.
fn cost(route: &Route, input: &Map<String, Value>, order: &Order) -> Usd {
    // The catalog's lines are for calls without pictures; what those cost is below.
    let mut plain = input.clone();
    if route.upstream.starts_with("flux-2-") {
        plain.retain(|name, _| !name.starts_with("input_image"));
    }
    let each = match route.upstream.as_str() {
        "flux-2-max" => Decimal::new(3, 2),
        "flux-2-pro" => Decimal::new(15, 3),
        "flux-2-flex" => Decimal::new(5, 2),
        "flux-2-klein-9b" => Decimal::new(2, 3),
        "flux-2-klein-4b" => Decimal::new(1, 3),
        _ => Decimal::ZERO,
    };
    let read: u64 = order.pictures.iter().map(|size| size.area().div_ceil(1024 * 1024)).sum();
    bill::price(&route.price, &plain, order.size, 1) + Usd::from_dollars(each * Decimal::from(read)).unwrap_or_default()
}

/// Where the service is, as this client calls it.
fn base(labs: &Labs, headers: &HeaderMap) -> String {
    format!("{}/{ID}", labs.world.base_url(headers))
}

/// The answer to a submit.
fn describe(task: &Task, base: &str) -> Value {
    let read: u64 = task.order.pictures.iter().map(|size| size.area()).sum();
    json!({
        "id": task.id,
        "polling_url": format!("{base}/v1/get_result?id={}", task.id),
        "cost": measure::credits(task.cost),
        "input_mp": measure::megapixels(read),
        "output_mp": measure::megapixels(task.order.size.area()),
    })
}

#[derive(Deserialize)]
struct Asked {
    id: String,
}

async fn follow(State(labs): State<Arc<Labs>>, Query(asked): Query<Asked>, headers: HeaderMap) -> Response {
    let entry = |status: StatusCode| Entry::new(ID, Operation::Poll, status.as_u16()).job(&asked.id);
    if let Err(refusal) = identify(&headers) {
        labs.world.book.write(entry(refusal.status));
        return refusal.into_response();
    }
    let Some((task, phase)) = labs.tasks.advance(&asked.id) else {
        labs.world.book.write(entry(StatusCode::OK));
        return Json(result::state(&asked.id, "Task not found")).into_response();
    };
    let response = result::tell(&labs.world, &task, phase, &base(&labs, &headers));
    labs.world.book.write(entry(response.status()).model(&task.route.upstream));
    response
}

async fn credits(headers: HeaderMap) -> Response {
    match identify(&headers) {
        Ok(broke) => Json(json!({"credits": if broke { 0.0 } else { 1000.0 }})).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}
