//! OpenRouter's image and video endpoints, after its OpenAPI file and client tests as read in 2026-11
//! (<https://openrouter.ai/docs/api/api-reference/images/generate-an-image>).
//!
//! Simulated: bearer keys, `POST /images` with base64 and `usage.cost`, refusals by a guard (403 with reasons), failures
//! inside a 200, `POST /videos` with polls and content behind the key, `GET /images/models`. Not simulated: chat,
//! a customer's own keys, `provider` routing, real prices (a picture is four cents here, as in the
//! reference's example, and so is a second of video), which parameters a single model honours.

mod error;
mod request;
#[cfg(test)]
mod tests;
mod video;

use super::book::{Entry, Operation};
use super::easel::Motif;
use super::identity::{Key, fresh_uuid, read_key};
use super::mischief;
use super::sale::{Sale, Why};
use super::shelf::Shelf;
use super::world::World;
use crate::base::{Timestamp, Usd};
use crate::catalog::Route;
use crate::job::Mode;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use error::Refusal;
use request::{Film, Order};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The provider's id.
pub(super) const ID: &str = "openrouter";

/// What a picture costs here, in millionths of a dollar, and the tokens that it is said to have.
const PICTURE: i64 = 40_000;
const TOKENS: u32 = 4_175;

/// What this simulator remembers.
struct Desk {
    world: Arc<World>,
    jobs: Shelf<video::Job>,
}

pub(super) fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/images", post(make))
        .route("/images/models", get(models))
        .route("/videos", post(film))
        .route("/videos/{id}", get(video::poll))
        .route("/videos/{id}/content", get(video::content))
        .fallback(async || Refusal::not_found("Path").into_response())
        .with_state(Arc::new(Desk { world, jobs: Shelf::default() }))
}

/// A legal request and its route, or the answer that says why it is not.
fn admit<T>(
    desk: &Desk,
    headers: &HeaderMap,
    body: &[u8],
    film: bool,
    read: impl FnOnce(&Map<String, Value>, &Route) -> Result<T, Refusal>,
) -> Result<(T, Arc<Route>), Refusal> {
    let mut named = None;
    let admitted = (|| {
        let broke = identify(headers)?;
        let body: Map<String, Value> =
            serde_json::from_slice(body).map_err(|_| Refusal::bad("Invalid JSON in the request body"))?;
        let model = request::text(&body, "model")?.ok_or_else(|| Refusal::bad("model: Required"))?;
        named = Some(model.to_owned());
        let route = desk.world.route(ID, model).filter(|route| route.modes.contains(&Mode::TextToVideo) == film);
        let route = route.ok_or_else(|| Refusal::no_model(model))?;
        if broke {
            return Err(Refusal::no_money());
        }
        Ok((read(&body, &route)?, route))
    })();
    admitted.inspect_err(|refusal: &Refusal| {
        let entry = Entry::new(ID, Operation::Create, refusal.status.as_u16());
        desk.world.book.write(named.iter().fold(entry, |entry, model| entry.model(model)));
    })
}

/// Whether the key's account is out of money, when the key is known at all.
fn identify(headers: &HeaderMap) -> Result<bool, Refusal> {
    match read_key(headers, "bearer") {
        Key::Missing => Err(Refusal::no_key()),
        Key::Unknown(_) => Err(Refusal::wrong_key()),
        Key::Broke => Ok(true),
        Key::Good => Ok(false),
    }
}

/// An amount as `usage.cost` has it.
fn dollars(amount: Usd) -> Value {
    json!(amount.as_number())
}

/// `POST /images`
async fn make(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> Response {
    let (order, route) = match admit(&desk, &headers, &body, false, Order::read) {
        Ok(admitted) => admitted,
        Err(refusal) => return refusal.into_response(),
    };
    let world = &desk.world;
    let sale = Sale::open(world, ID, &route);
    let refusal = sale.why(&order.prompt).map(|why| match why {
        Why::Status(status) => Refusal::of_status(status),
        Why::Gone => Refusal::no_model(&route.upstream),
        Why::Refused => Refusal::moderated(&order.prompt, &route.upstream),
        Why::Failed => Refusal::late(&route.upstream),
    });
    let bill = Usd::from_micros(if sale.taken(refusal.is_some()) { PICTURE * i64::from(order.n) } else { 0 });
    match sale.settle(refusal.map(IntoResponse::into_response), bill).await {
        Some(ending) => ending,
        None => deliver(world, &order, &sale, bill).await,
    }
}

/// The pictures, or what the fault leaves of them.
async fn deliver(world: &World, order: &Order, sale: &Sale<'_>, bill: Usd) -> Response {
    let mut data = Vec::new();
    for index in 0..sale.delivered(order.n) {
        let (prompt, size, format) = (Arc::clone(&order.prompt), order.size, order.format);
        let motif = sale.spoil(Motif { prompt, index, size, format, black: false });
        let Some(file) = world.easel.draw(&motif).await else { return Refusal::of_status(500).into_response() };
        let text = base64_simd::STANDARD.encode_to_string(&file);
        data.push(json!({"b64_json": text, "media_type": order.format.mime()}));
    }
    let tokens = TOKENS * order.n;
    let usage = json!({
        "prompt_tokens": 0,
        "completion_tokens": tokens,
        "total_tokens": tokens,
        "cost": dollars(bill),
        "is_byok": false,
        "cost_details": {
            "upstream_inference_cost": null,
            "upstream_inference_prompt_cost": 0,
            "upstream_inference_completions_cost": dollars(bill),
        },
        "completion_tokens_details": {"image_tokens": tokens},
    });
    if order.stream {
        return stream(&data, &usage, sale.breaks_off());
    }
    let body = json!({"created": Timestamp::now().seconds(), "data": data, "usage": usage});
    sale.answer(&body, false)
}

/// The same as events: one unfinished picture (the finished one stands for it), words about it, the picture.
fn stream(data: &[Value], usage: &Value, cut: bool) -> Response {
    let mut text = ": OPENROUTER PROCESSING\n\n".to_owned();
    let mut write = |event: Value| text.push_str(&["data: ", &event.to_string(), "\n\n"].concat());
    for item in data {
        let picture = &item["b64_json"];
        write(json!({"type": "image_generation.partial_image", "partial_image_index": 0, "b64_json": picture}));
        write(json!({"type": "image_generation.text_chunk", "phase": "content", "text": "Here it is."}));
        write(json!({
            "type": "image_generation.completed", "b64_json": picture, "created": Timestamp::now().seconds(),
            "media_type": item["media_type"], "usage": usage,
        }));
    }
    text.push_str("data: [DONE]\n\n");
    if cut {
        return mischief::truncate("text/event-stream", &text.into());
    }
    ([(axum::http::header::CONTENT_TYPE, "text/event-stream")], text).into_response()
}

/// `POST /videos`
async fn film(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> Response {
    let (film, route) = match admit(&desk, &headers, &body, true, Film::read) {
        Ok(admitted) => admitted,
        Err(refusal) => return refusal.into_response(),
    };
    let world = &desk.world;
    let mut sale = Sale::of_job(world, ID, &route);
    sale.made = StatusCode::ACCEPTED;
    // What is refused or fails is told by the job.
    let refusal = sale.refusal(Refusal::of_status, || Refusal::no_model(&route.upstream));
    let (id, job) = (fresh_uuid(), video::Job::new(film, route, &sale));
    if sale.take(refusal.as_ref(), &id, job.bill()) {
        desk.jobs.add(id.clone(), job);
    }
    let told = || (sale.made, Json(video::ticket(&id, &format!("{}/{ID}", world.base_url(&headers))))).into_response();
    sale.instead(refusal).await.unwrap_or_else(told)
}

/// `GET /images/models`
async fn models(State(desk): State<Arc<Desk>>) -> Response {
    let routes = desk.world.catalog.routes_of(ID).filter(|route| route.modes.contains(&Mode::TextToImage));
    let list: Vec<Value> = routes
        .map(|route| {
            json!({
                "id": route.upstream,
                "name": route.model,
                "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["image"]},
                "supports_streaming": false,
                "endpoints": format!("/api/v1/images/models/{}/endpoints", route.upstream),
            })
        })
        .collect();
    Json(json!({"data": list})).into_response()
}
