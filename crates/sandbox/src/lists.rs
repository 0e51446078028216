//! The lists that fal, OpenRouter, Replicate and Runware publish of their models and prices, beside their APIs.

use super::world::World;
use super::{fal, openrouter, replicate, runware};
use crate::catalog::Route;
use crate::catalog::price::Metric;
use crate::job::Mode;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use std::sync::Arc;

/// `https://api.fal.ai/v1/models/pricing?endpoint_id=…&endpoint_id=…`
pub(super) fn of_fal(world: &Arc<World>) -> Router {
    Router::new().route("/v1/models/pricing", get(fal_prices)).with_state(Arc::clone(world))
}

/// `GET /videos/models`, as `GET /images/models` is.
pub(super) fn of_openrouter(world: &Arc<World>) -> Router {
    Router::new().route("/videos/models", get(openrouter_videos)).with_state(Arc::clone(world))
}

/// `GET /models/{owner}/{name}`
pub(super) fn of_replicate(world: &Arc<World>) -> Router {
    Router::new().route("/models/{owner}/{name}", get(replicate_model)).with_state(Arc::clone(world))
}

/// `https://content.runware.ai/models/{AIR}/pricing`, without a key.
pub(super) fn of_runware(world: &Arc<World>) -> Router {
    Router::new().route("/models/{air}/pricing", get(runware_prices)).with_state(Arc::clone(world))
}

async fn fal_prices(State(world): State<Arc<World>>, Query(asked): Query<Vec<(String, String)>>) -> Response {
    let price = |(_, id): &(String, String)| {
        let route = world.route(fal::ID, id)?;
        // fal prices every endpoint; those whose price the price list does not have are listed without one.
        let line = route.price.lines.first();
        let unit = match line.map(|line| line.metric) {
            Some(Metric::Megapixel) => "megapixels",
            Some(Metric::Second) => "seconds",
            _ => "images",
        };
        let price: Value = line.map_or(Value::Null, |line| line.unit_price.to_string().parse().unwrap_or_default());
        Some(json!({"endpoint_id": id, "unit_price": price, "unit": unit, "currency": "USD"}))
    };
    let unknown = asked.iter().find(|(_, id)| world.route(fal::ID, id).is_none());
    if let Some((_, id)) = unknown.filter(|_| asked.len() == 1) {
        let error = json!({"error": {"type": "not_found", "message": format!("Endpoint {id} not found")}});
        return (StatusCode::NOT_FOUND, Json(error)).into_response();
    }
    let prices: Vec<Value> = asked.iter().filter(|(name, _)| name == "endpoint_id").filter_map(price).collect();
    Json(json!({"prices": prices, "has_more": false, "next_cursor": null})).into_response()
}

async fn openrouter_videos(State(world): State<Arc<World>>) -> Response {
    let films =
        |route: &&Arc<Route>| route.modes.contains(&Mode::TextToVideo) || route.modes.contains(&Mode::ImageToVideo);
    let describe = |route: &Arc<Route>| json!({"id": route.upstream, "name": route.model});
    let list: Vec<Value> = world.catalog.routes_of(openrouter::ID).filter(films).map(describe).collect();
    Json(json!({"data": list})).into_response()
}

async fn replicate_model(State(world): State<Arc<World>>, Path((owner, name)): Path<(String, String)>) -> Response {
    let id = format!("{owner}/{name}");
    let mut routes = world.catalog.routes_of(replicate::ID);
    if !routes.any(|route| route.upstream.split(':').next() == Some(id.as_str())) {
        let detail = json!({"detail": "The requested resource could not be found.", "status": 404});
        return (StatusCode::NOT_FOUND, Json(detail)).into_response();
    }
    Json(json!({"url": format!("https://replicate.com/{id}"), "owner": owner, "name": name, "visibility": "public"}))
        .into_response()
}

async fn runware_prices(State(world): State<Arc<World>>, Path(air): Path<String>) -> Response {
    let Some(route) = world.route(runware::ID, &air) else { return StatusCode::NOT_FOUND.into_response() };
    let example = |price: String| json!({"configuration": "1024x1024", "price": price, "competitorPrice": null});
    let examples: Vec<Value> = route.price.lines.iter().map(|line| example(format!("${}", line.unit_price))).collect();
    Json(json!({"air": air, "pricingOverview": "", "pricingExamples": examples})).into_response()
}
