//! Stability AI's v2beta image routes, after the reference and its OpenAPI documents as read in 2026-11
//! (<https://platform.stability.ai/docs/api-reference>).
//!
//! Simulated: bearer keys, generation, the synchronous edits, controls and upscalers, both kinds of answer (`image/*`
//! with `seed` and `finish-reason` headers, JSON with base64), error envelopes, both ways of refusing: `[refuse]` in a
//! prompt is the 403, a `refuse` rule is a blurred (here: black) picture inside a 200, and billed. The account's balance.
//! Not simulated: the routes that answer later, style transfer, real rate limits. Tools without a known price are free.

mod error;
mod request;
#[cfg(test)]
mod tests;

use super::bill;
use super::easel::Motif;
use super::form::Form;
use super::identity::{Key, read_key};
use super::mischief;
use super::sale::{Sale, Why, turn_away};
use super::world::{World, today};
use crate::catalog::Route;
use crate::job::Mode;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use error::Refusal;
use request::Order;
use serde_json::{Map, json};
use std::sync::Arc;

/// The provider's id.
pub(super) const ID: &str = "stability";

pub(super) fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/v2beta/stable-image/{group}/{name}", post(make))
        .route("/v1/user/balance", get(balance))
        .fallback(async || Refusal::of_status(404).into_response())
        .with_state(world)
}

async fn make(
    State(world): State<Arc<World>>,
    Path((group, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (order, route) = match admit(&world, &group, &name, &headers, &body) {
        Ok(admitted) => admitted,
        Err(refusal) => return turn_away(&world, ID, Some(&format!("{group}/{name}")), refusal.into_response()),
    };
    let sale = Sale::open(&world, ID, &route);
    let why = sale.why(&order.prompt);
    let filtered = why == Some(Why::Refused) && !order.prompt.contains("[refuse]");
    let refusal = match why {
        Some(Why::Refused) if filtered => Some(deliver(&world, &order, &sale, true).await),
        Some(Why::Refused) => Some(Refusal::moderated().into_response()),
        Some(Why::Status(status)) => Some(Refusal::of_status(status).into_response()),
        Some(Why::Gone) => Some(Refusal::of_status(404).into_response()),
        Some(Why::Failed) => Some(Refusal::of_status(500).into_response()),
        None => None,
    };
    let bill = bill::price(&route.price, &Map::new(), order.size, 1);
    if let Some(ending) = sale.settle(refusal, bill).await {
        return ending;
    }
    deliver(&world, &order, &sale, false).await
}

/// Key, route, form, parameters, money.
fn admit(
    world: &World,
    group: &str,
    name: &str,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<(Order, Arc<Route>), Refusal> {
    let broke = identify(headers)?;
    let form = Form::read(headers, body).map_err(Refusal::bad)?;
    let shared = (group, name) == ("generate", "sd3");
    let upstream =
        if shared { form.text("model").unwrap_or("sd3.5-large").to_owned() } else { format!("{group}/{name}") };
    let edits = form.files("image").next().is_some() || group != "generate";
    let today = today();
    let does = |route: &&Arc<Route>| (route.modes.contains(&Mode::TextToImage)) != edits && !route.retired(&today);
    let mut routes = world.catalog.routes_of(ID).filter(|route| route.upstream == upstream);
    let route = routes.find(does).ok_or_else(|| {
        if shared {
            Refusal::bad("model: must be one of the Stable Diffusion 3.5 models")
        } else {
            Refusal::of_status(404)
        }
    })?;
    let order = Order::read(&form, &upstream, headers)?;
    if broke {
        return Err(Refusal::of_status(402));
    }
    Ok((order, Arc::clone(route)))
}

/// Whether the key's account is out of credits, when the key is known at all.
fn identify(headers: &HeaderMap) -> Result<bool, Refusal> {
    match read_key(headers, "bearer") {
        Key::Missing | Key::Unknown(_) => Err(Refusal::of_status(401)),
        Key::Broke => Ok(true),
        Key::Good => Ok(false),
    }
}

/// The picture in the form that was asked for, or what the fault leaves of it.
async fn deliver(world: &World, order: &Order, sale: &Sale<'_>, filtered: bool) -> Response {
    let Order { size, format, .. } = *order;
    let motif = sale.spoil(Motif { prompt: Arc::clone(&order.prompt), index: 0, size, format, black: filtered });
    let Some(file) = world.easel.draw(&motif).await else { return Refusal::of_status(500).into_response() };
    let file = if sale.delivered(1) == 0 { Bytes::new() } else { file };
    let outcome = if filtered { "CONTENT_FILTERED" } else { "SUCCESS" };
    if order.json {
        let image = base64_simd::STANDARD.encode_to_string(&file);
        return sale.answer(&json!({"image": image, "finish_reason": outcome, "seed": order.seed}), false);
    }
    let mut response = if sale.breaks_off() {
        mischief::truncate(format.mime(), &file)
    } else {
        ([(header::CONTENT_TYPE, format.mime())], Body::from(file)).into_response()
    };
    mischief::put(&mut response, "finish-reason", outcome);
    mischief::put(&mut response, "seed", &order.seed.to_string());
    response
}

async fn balance(headers: HeaderMap) -> Response {
    match identify(&headers) {
        Ok(broke) => Json(json!({"credits": if broke { 0.0 } else { 1000.0 }})).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}
