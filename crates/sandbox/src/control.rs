//! `/_control`: rules in, the call book out. The sandbox listens on loopback, so there is no key.

use super::SIMULATORS;
use super::steering::Rule;
use super::world::World;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

pub(super) fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/_control", post(set).get(list).delete(clear))
        .route("/_control/calls", get(calls))
        .route("/_control/received", get(received))
        .with_state(world)
}

async fn set(State(world): State<Arc<World>>, body: Bytes) -> Response {
    let read =
        serde_json::from_slice(&body).map_err(|fault| fault.to_string()).and_then(Rule::read).and_then(simulated);
    match read {
        Ok(rule) => {
            world.rules.add(rule.clone());
            (StatusCode::CREATED, Json(rule)).into_response()
        }
        Err(message) => (StatusCode::BAD_REQUEST, Json(json!({"error": message}))).into_response(),
    }
}

/// A rule is about a provider that we imitate, or about all.
fn simulated(rule: Rule) -> Result<Rule, String> {
    let names: Vec<&str> = SIMULATORS.iter().map(|simulator| simulator.id).collect();
    if rule.provider != "*" && !names.contains(&rule.provider.as_str()) {
        return Err(format!("provider: '{}' is not simulated; use *, {}", rule.provider, names.join(", ")));
    }
    Ok(rule)
}

async fn list(State(world): State<Arc<World>>) -> Response {
    Json(json!({"rules": world.rules.list()})).into_response()
}

#[derive(Deserialize)]
struct Clearing {
    #[serde(default)]
    calls: bool,
}

async fn clear(State(world): State<Arc<World>>, Query(what): Query<Clearing>) -> Response {
    if what.calls {
        world.book.clear();
    }
    Json(json!({"cleared": world.rules.clear()})).into_response()
}

#[derive(Deserialize)]
struct Sought {
    provider: Option<String>,
    text: Option<String>,
}

async fn received(State(world): State<Arc<World>>, Query(sought): Query<Sought>) -> Response {
    let found = world.received.find(sought.provider.as_deref(), sought.text.as_deref());
    Json(json!({"received": found})).into_response()
}

async fn calls(State(world): State<Arc<World>>) -> Response {
    Json(world.book.read()).into_response()
}
