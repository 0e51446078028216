//! Ideogram's API, after its reference (<https://developer.ideogram.ai/api-reference>) and OpenAPI document as read in
//! 2026-11.
//!
//! Simulated: the `Api-Key` header, generation and remixing with 3.0 and 4.0 (forms), `POST /generate` for V2 (JSON),
//! links that carry an expiry, both ways of refusing: `[refuse]` in a prompt is the 422, a `refuse` rule is a picture
//! that is withheld inside a 200, and billed. Bodies of other errors are not specified; here they are `{"error"}`. Not
//! simulated: inpainting, transparency, reframing and the other tools, instruction edits, style and character
//! references, expiry.

mod request;
#[cfg(test)]
mod tests;

use super::bill;
use super::easel::Motif;
use super::files::Files;
use super::form::Form;
use super::identity::{Key, fresh_hex, read_key};
use super::sale::{Sale, Why, turn_away};
use super::world::{World, today};
use crate::base::Timestamp;
use crate::catalog::Route;
use crate::job::Mode;
use crate::media::Format;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use request::Order;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The provider's id.
pub(super) const ID: &str = "ideogram";

/// The service and the files that it has made.
struct Studio {
    world: Arc<World>,
    files: Files,
}

/// An error: a status and its text.
type Refusal = (StatusCode, String);

fn bad(message: impl Into<String>) -> Refusal {
    (StatusCode::BAD_REQUEST, message.into())
}

fn tell((status, message): Refusal) -> Response {
    (status, Json(json!({"error": message}))).into_response()
}

pub(super) fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/v1/{model}/generate", post(generate))
        .route("/v1/{model}/remix", post(remix))
        .route("/generate", post(generate_legacy))
        .route("/files/{name}", get(file))
        .fallback(async || tell((StatusCode::NOT_FOUND, "Not Found".to_owned())))
        .with_state(Arc::new(Studio { world, files: Files::default() }))
}

async fn generate(studio: State<Arc<Studio>>, Path(model): Path<String>, headers: HeaderMap, body: Bytes) -> Response {
    by_form(&studio, &model, Mode::TextToImage, &headers, &body).await
}

async fn remix(studio: State<Arc<Studio>>, Path(model): Path<String>, headers: HeaderMap, body: Bytes) -> Response {
    by_form(&studio, &model, Mode::ImageEdit, &headers, &body).await
}

async fn by_form(studio: &Studio, model: &str, mode: Mode, headers: &HeaderMap, body: &Bytes) -> Response {
    let admitted = admit(&studio.world, model, mode, headers).and_then(|route| {
        let form = Form::read(headers, body).map_err(bad)?;
        let order = if mode == Mode::ImageEdit { Order::remix(&form, &route) } else { Order::form(&form, &route) };
        Ok((order.map_err(bad)?, route))
    });
    answer(studio, model, headers, admitted).await
}

async fn generate_legacy(State(studio): State<Arc<Studio>>, headers: HeaderMap, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let asked = body["image_request"].as_object().cloned().unwrap_or_default();
    let model = asked.get("model").and_then(Value::as_str).unwrap_or("V_2").to_owned();
    let admitted = admit(&studio.world, &model, Mode::TextToImage, &headers)
        .and_then(|route| Ok((Order::legacy(&asked, &route).map_err(bad)?, route)));
    answer(&studio, &model, &headers, admitted).await
}

/// Key, model, money.
fn admit(world: &World, model: &str, mode: Mode, headers: &HeaderMap) -> Result<Arc<Route>, Refusal> {
    let broke = identify(headers)?;
    let today = today();
    let mut routes = world.catalog.routes_of(ID);
    let route = routes.find(|route| route.upstream == model && route.modes.contains(&mode) && !route.retired(&today));
    let route = route.ok_or_else(|| (StatusCode::NOT_FOUND, "Not Found".to_owned()))?;
    if broke {
        return Err((StatusCode::PAYMENT_REQUIRED, "Insufficient credits".to_owned()));
    }
    Ok(Arc::clone(route))
}

/// The key has a header of its own.
fn identify(headers: &HeaderMap) -> Result<bool, Refusal> {
    let key = headers.get("api-key").and_then(|key| key.to_str().ok()).unwrap_or_default();
    let presented = HeaderValue::from_str(&format!("key {key}")).ok();
    let presented = HeaderMap::from_iter(presented.map(|value| (header::AUTHORIZATION, value)));
    match read_key(&presented, "key") {
        Key::Missing | Key::Unknown(_) => Err((StatusCode::UNAUTHORIZED, "Invalid API key".to_owned())),
        Key::Broke => Ok(true),
        Key::Good => Ok(false),
    }
}

async fn answer(
    studio: &Studio,
    model: &str,
    headers: &HeaderMap,
    admitted: Result<(Order, Arc<Route>), Refusal>,
) -> Response {
    let world = &studio.world;
    let (order, route) = match admitted {
        Ok(admitted) => admitted,
        Err(refusal) => return turn_away(world, ID, Some(model), tell(refusal)),
    };
    let sale = Sale::open(world, ID, &route);
    let refusal = sale.why(&order.prompt).map(|why| match why {
        Why::Status(status) => tell(of_status(status)),
        Why::Gone => tell(of_status(404)),
        Why::Refused if order.prompt.contains("[refuse]") => {
            tell((StatusCode::UNPROCESSABLE_ENTITY, "Prompt or provided image failed the safety checks".to_owned()))
        }
        Why::Refused => withhold(&order),
        Why::Failed => tell(of_status(500)),
    });
    let speed = Map::from_iter(order.speed.clone().map(|speed| ("rendering_speed".to_owned(), speed.into())));
    let bill = bill::price(&route.price, &speed, order.size, order.n.into());
    if let Some(ending) = sale.settle(refusal, bill).await {
        return ending;
    }
    let base = format!("{}/{ID}", world.base_url(headers));
    deliver(studio, &order, &sale, &base)
}

fn of_status(status: u16) -> Refusal {
    let message = match status {
        401 | 403 => "Not authorized to generate an image.",
        402 => "Insufficient credits",
        404 => "Not Found",
        429 => "Too many requests.",
        503 => "Image generation service temporarily unavailable.",
        _ if status >= 500 => "Internal server error",
        _ => "Invalid input provided.",
    };
    (StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), message.to_owned())
}

/// Pictures that were made, and found unsafe.
fn withhold(order: &Order) -> Response {
    let item =
        json!({"url": null, "prompt": &*order.prompt, "resolution": order.size, "is_image_safe": false, "seed": 1});
    let data = vec![item; order.n as usize];
    Json(json!({"created": Timestamp::now().rfc3339(), "data": data})).into_response()
}

/// The links, or what the fault leaves of them.
fn deliver(studio: &Studio, order: &Order, sale: &Sale<'_>, base: &str) -> Response {
    let expires = Timestamp::now().seconds() + 86_400;
    let mut data = Vec::new();
    for index in 0..sale.delivered(order.n) {
        let (size, format) = (order.size, Format::Png);
        let motif = sale.spoil(Motif { prompt: Arc::clone(&order.prompt), index, size, format, black: false });
        let name = format!("{}.png", fresh_hex());
        studio.files.put(&name, motif, format.mime(), sale.breaks_off());
        data.push(json!({
            "url": format!("{base}/files/{name}?exp={expires}&sig={}", fresh_hex()),
            "prompt": order.told(),
            "resolution": size,
            "is_image_safe": true,
            "seed": order.seed,
            "style_type": order.style,
        }));
    }
    let mut body = json!({"created": Timestamp::now().rfc3339(), "data": data});
    if order.typed {
        body["response_type"] = "url".into();
    }
    sale.answer(&body, true)
}

async fn file(State(studio): State<Arc<Studio>>, Path(name): Path<String>) -> Response {
    studio.files.fetch(&studio.world, ID, &name).await
}
