//! MiniMax's image and video APIs, after their reference (<https://platform.minimax.io/docs>) as read in 2026-11.
//!
//! Simulated: bearer keys, `POST /v1/image_generation` with its checks, `base64` and `url` results (links are public),
//! and failures as HTTP 200 with a `base_resp` that says no; videos in both versions ([`video`]). Not simulated: uploads
//! of links (taken on trust), `prompt_optimizer`, watermarks. Files are JPEG; the documentation does not say.

mod request;
mod video;

use super::bill;
use super::files::Files;
use super::identity::{Key, fresh_hex, read_key};
use super::sale::{Sale, Why, turn_away};
use super::world::World;
use crate::base::Usd;
use crate::catalog::Route;
use crate::media::Format;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use request::Order;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The provider's id.
pub(super) const ID: &str = "minimax";

struct Studio {
    world: Arc<World>,
    files: Files,
}

/// A failure: the code and the words of `base_resp`, and the HTTP status, which is 200 of its own accord.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refusal {
    status: StatusCode,
    code: u32,
    message: String,
}

impl Refusal {
    fn new(code: u32, message: impl Into<String>) -> Self {
        Self { status: StatusCode::OK, code, message: message.into() }
    }

    /// What a steered status looks like: the status itself, with the code nearest to it.
    fn of_status(status: u16) -> Self {
        let (code, message) = match status {
            401 => {
                (1004, "login fail: Please carry the API secret key in the 'Authorization' field of the request header")
            }
            402 | 403 => (1008, "insufficient balance"),
            429 => (1002, "rate limit exceeded"),
            504 | 408 => (1001, "request timeout"),
            400..=499 => (2013, "invalid params"),
            _ => (1024, "internal error"),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, ..Self::new(code, message) }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let verdict = json!({"status_code": self.code, "status_msg": self.message});
        (self.status, Json(json!({"id": "", "data": null, "base_resp": verdict}))).into_response()
    }
}

pub(super) fn router(world: Arc<World>) -> Router {
    let videos = video::router(Arc::clone(&world));
    Router::new()
        .route("/v1/image_generation", post(generate))
        .route("/files/{name}", get(file))
        .with_state(Arc::new(Studio { world, files: Files::default() }))
        .merge(videos)
}

async fn generate(State(studio): State<Arc<Studio>>, headers: HeaderMap, body: Bytes) -> Response {
    match admit(&studio.world, &headers, &body) {
        Ok((order, route)) => make(&studio, &order, &route, &headers).await,
        Err((refusal, model)) => turn_away(&studio.world, ID, model.as_deref(), refusal.into_response()),
    }
}

/// Key, body, model, money, parameters.
fn admit(world: &World, headers: &HeaderMap, body: &[u8]) -> Result<(Order, Arc<Route>), (Refusal, Option<String>)> {
    let key = read_key(headers, "bearer");
    match key {
        Key::Missing => return Err((Refusal { status: StatusCode::OK, ..Refusal::of_status(401) }, None)),
        Key::Unknown(_) => return Err((Refusal::new(2049, "invalid api key"), None)),
        Key::Broke | Key::Good => {}
    }
    let input: Map<String, Value> =
        serde_json::from_slice(body).map_err(|_| (Refusal::new(2013, "invalid params, not a JSON object"), None))?;
    let model = input.get("model").and_then(Value::as_str).unwrap_or_default().to_owned();
    let unknown = || (Refusal::new(2013, format!("invalid params, unknown model '{model}'")), None);
    let route = world.route(ID, &model).ok_or_else(unknown)?;
    if key == Key::Broke {
        return Err((Refusal::new(1008, "insufficient balance"), Some(model)));
    }
    match Order::read(input, &route) {
        Ok(order) => Ok((order, route)),
        Err(what) => Err((Refusal::new(2013, format!("invalid params, {what}")), Some(model))),
    }
}

async fn make(studio: &Studio, order: &Order, route: &Route, headers: &HeaderMap) -> Response {
    let world = &studio.world;
    let sale = Sale::open(world, ID, route);
    let refusal = sale.why(&order.prompt).map(|why| match why {
        Why::Status(status) => Refusal::of_status(status),
        Why::Gone => Refusal::new(2013, format!("invalid params, unknown model '{}'", route.upstream)),
        Why::Refused => Refusal::new(1026, "input new_sensitive"),
        Why::Failed => Refusal::new(1000, "unknown error"),
    });
    let bill = if sale.taken(refusal.is_some()) && !order.doomed() {
        bill::price(&route.price, &order.input, order.size, order.count.into())
    } else {
        Usd::ZERO
    };
    match sale.settle(refusal.map(IntoResponse::into_response), bill).await {
        Some(ending) => ending,
        None => deliver(studio, order, &sale, headers).await,
    }
}

/// The pictures, or what the fault leaves of them.
async fn deliver(studio: &Studio, order: &Order, sale: &Sale<'_>, headers: &HeaderMap) -> Response {
    let id = fresh_hex();
    let count = sale.delivered(order.count);
    let (mut texts, mut links) = (Vec::new(), Vec::new());
    for index in 0..count {
        let motif = sale.spoil(order.motif(index));
        if order.inline {
            let Some(file) = studio.world.easel.draw(&motif).await else { return unable() };
            texts.push(base64_simd::STANDARD.encode_to_string(&file));
        } else {
            let name = format!("{id}_{index}.jpeg");
            links.push(format!("{}/{ID}/files/{name}", studio.world.base_url(headers)));
            studio.files.put(&name, motif, Format::Jpeg.mime(), false);
        }
    }
    let data = if order.inline { json!({"image_base64": texts}) } else { json!({"image_urls": links}) };
    let answer = json!({
        "id": id,
        "data": data,
        // Counts come as texts.
        "metadata": {"success_count": count.to_string(), "failed_count": (order.count - count).to_string()},
        "base_resp": {"status_code": 0, "status_msg": "success"},
    });
    sale.answer(&answer, false)
}

/// A result file, for anybody who has its link.
async fn file(State(studio): State<Arc<Studio>>, Path(name): Path<String>) -> Response {
    studio.files.fetch(&studio.world, ID, &name).await
}

fn unable() -> Response {
    Refusal::new(1024, "internal error").into_response()
}

#[cfg(test)]
mod tests;
