//! OpenRouter's image and video endpoints, after its OpenAPI file and client tests as read in 2026-11
//! (`providers-1.md` 4.1 to 4.8).
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
use super::identity::{Key, read_key};
use super::lists;
use super::mischief;
use super::shelf::Shelf;
use super::steering::{Fault, Rule};
use super::world::World;
use crate::base::{Timestamp, Usd};
use crate::catalog::Route;
use crate::job::Mode;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use error::Refusal;
use request::{Film, Order};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

/// The provider's id.
pub(super) const ID: &str = "openrouter";

/// How long a call takes unless a rule says otherwise.
const LATENCY: Duration = Duration::from_millis(20);

/// What a picture costs here, in millionths of a dollar, and the tokens that it is said to have.
const PICTURE: i64 = 40_000;
const TOKENS: u32 = 4_175;

/// What this simulator remembers.
struct Desk {
    world: Arc<World>,
    jobs: Shelf<video::Job>,
}

pub(super) fn router(world: Arc<World>) -> Router {
    let lists = lists::of_openrouter(&world);
    Router::new()
        .route("/images", post(make))
        .route("/images/models", get(models))
        .route("/videos", post(film))
        .route("/videos/{id}", get(video::poll))
        .route("/videos/{id}/content", get(video::content))
        .fallback(async || Refusal::not_found("Path").into_response())
        .with_state(Arc::new(Desk { world, jobs: Shelf::default() }))
        .merge(lists)
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
    let rule = world.rules.pick(ID, &route, |_| true);
    let fault = rule.as_ref().and_then(|rule| rule.fault);
    let refusal = refuse(fault, rule.as_ref(), &order.prompt, &route);
    let silent = matches!(fault, Some(Fault::Hang | Fault::Reset));
    let taken = !silent && refusal.is_none() || rule.as_ref().is_some_and(|rule| rule.after_accept);
    let bill = Usd::from_micros(if taken { PICTURE * i64::from(order.n) } else { 0 });
    let status = if silent { 0 } else { refusal.as_ref().map_or(200, |refusal| refusal.status.as_u16()) };
    world.book.write(Entry::new(ID, Operation::Create, status).model(&route.upstream).billed(bill));
    tokio::time::sleep(rule.as_ref().and_then(Rule::latency).unwrap_or(LATENCY)).await;
    match (fault, refusal) {
        (Some(Fault::Hang), _) => world.hang().await,
        (Some(Fault::Reset), _) => mischief::reset(),
        (_, Some(refusal)) => answer(refusal, rule.as_ref()),
        (Some(Fault::Garbage), None) => mischief::garbage(),
        (fault, None) => deliver(world, &order, fault, bill).await,
    }
}

/// The refusal that a rule or the prompt asks for.
fn refuse(fault: Option<Fault>, rule: Option<&Rule>, prompt: &str, route: &Route) -> Option<Refusal> {
    match fault {
        Some(Fault::Status) => Some(Refusal::of_status(rule.and_then(|rule| rule.status).unwrap_or(503))),
        Some(Fault::Gone) => Some(Refusal::no_model(&route.upstream)),
        Some(Fault::Refuse) => Some(Refusal::moderated(prompt, &route.upstream)),
        Some(Fault::Hang | Fault::Reset) => None,
        _ if prompt.contains("[refuse]") => Some(Refusal::moderated(prompt, &route.upstream)),
        _ if prompt.contains("[fail]") => Some(Refusal::late(&route.upstream)),
        _ => None,
    }
}

fn answer(refusal: Refusal, rule: Option<&Rule>) -> Response {
    let mut response = refusal.into_response();
    if let Some(seconds) = rule.and_then(|rule| rule.retry_after) {
        mischief::put(&mut response, "retry-after", &seconds.to_string());
    }
    response
}

/// The pictures, or what the fault leaves of them.
async fn deliver(world: &World, order: &Order, fault: Option<Fault>, bill: Usd) -> Response {
    let mut data = Vec::new();
    for index in 0..if fault == Some(Fault::Empty) { 0 } else { order.n } {
        let (prompt, size, format) = (Arc::clone(&order.prompt), order.size, order.format);
        let motif = Motif { prompt, index, size, format, black: false };
        let motif = match fault {
            Some(Fault::WrongType) => motif.wrong_type(),
            Some(Fault::WrongSize) => motif.wrong_size(),
            _ => motif,
        };
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
        return stream(&data, &usage, fault == Some(Fault::Truncate));
    }
    let body = json!({"created": Timestamp::now().seconds(), "data": data, "usage": usage});
    if fault == Some(Fault::Truncate) {
        return mischief::truncate("application/json", &body.to_string().into());
    }
    Json(body).into_response()
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
    let rule = world.rules.pick(ID, &route, |fault| fault.is_none_or(Fault::at_creation));
    let fault = rule.as_ref().and_then(|rule| rule.fault);
    // What is refused or fails is told by the job.
    let refusal = refuse(fault.filter(|fault| *fault != Fault::Refuse), rule.as_ref(), "", &route);
    let silent = matches!(fault, Some(Fault::Hang | Fault::Reset));
    let status = if silent { 0 } else { refusal.as_ref().map_or(202, |refusal| refusal.status.as_u16()) };
    let mut entry = Entry::new(ID, Operation::Create, status).model(&route.upstream);
    let mut ticket = Value::Null;
    if !silent && refusal.is_none() || rule.as_ref().is_some_and(|rule| rule.after_accept) {
        let (id, bill) = video::enqueue(&desk, film, &route, rule.as_ref());
        entry = entry.job(&id).billed(bill);
        ticket = video::ticket(&id, &format!("{}/{ID}", world.base_url(&headers)));
    }
    world.book.write(entry);
    match (fault, refusal) {
        (Some(Fault::Hang), _) => world.hang().await,
        (Some(Fault::Reset), _) => mischief::reset(),
        (_, Some(refusal)) => answer(refusal, rule.as_ref()),
        (_, None) => (axum::http::StatusCode::ACCEPTED, Json(ticket)).into_response(),
    }
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
