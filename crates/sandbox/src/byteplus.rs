//! BytePlus `ModelArk`, after its API pages, the official SDKs and the error table as read in 2026-11
//! (<https://docs.byteplus.com/en/docs/ModelArk/1541523>).
//!
//! Simulated: bearer keys, `POST /images/generations` with both forms of result, input pictures, tiers and pixel
//! windows, token counts, refusals; video tasks with create, get, list and delete, their states in order, token bills
//! for what succeeds. Not simulated: endpoint ids (`ep-...`), AK/SK signatures, streaming, groups of pictures (one
//! comes, whatever is asked), layers, video and audio references, drafts, flags inside prompts, callbacks, real limits.

mod error;
mod request;
mod task;
#[cfg(test)]
mod tests;

use super::book::{Entry, Operation};
use super::easel::Motif;
use super::identity::{Key, fresh_hex, read_key};
use super::sale::{Sale, Why, turn_away};
use super::shelf::Shelf;
use super::steering::Fault;
use super::world::World;
use super::{bill, mischief};
use crate::base::{Timestamp, Usd};
use crate::catalog::Route;
use crate::job::Mode;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use error::Refusal;
use request::Order;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use task::{Fate, Task};

/// The provider's id.
pub(super) const ID: &str = "byteplus";

/// The account: its tasks, and the pictures behind its links.
struct Desk {
    world: Arc<World>,
    tasks: Shelf<Task>,
    files: Shelf<(Arc<Route>, Motif)>,
}

pub(super) fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/images/generations", post(generate))
        .route("/contents/generations/tasks", post(create).get(list))
        .route("/contents/generations/tasks/{id}", get(show).delete(remove))
        .route("/files/{name}", get(file))
        .fallback(async || Refusal::no_path().into_response())
        .with_state(Arc::new(Desk { world, tasks: Shelf::default(), files: Shelf::default() }))
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

/// Key, body, model, money: what is looked at before any parameter.
fn admit(
    world: &World,
    headers: &HeaderMap,
    body: &[u8],
    modes: &[Mode],
) -> Result<(Map<String, Value>, Arc<Route>), Refusal> {
    let broke = identify(headers)?;
    let body: Map<String, Value> = serde_json::from_slice(body).map_err(|_| Refusal::not_json())?;
    let model = request::text(&body, "model")?.ok_or_else(|| Refusal::missing("model"))?;
    let route = world.route(ID, model).filter(|route| route.modes.iter().any(|mode| modes.contains(mode)));
    let route = route.ok_or_else(|| Refusal::no_model(model))?;
    if broke { Err(Refusal::no_money()) } else { Ok((body, route)) }
}

async fn generate(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> Response {
    let world = &desk.world;
    let modes = [Mode::TextToImage, Mode::ImageEdit];
    let (body, route) = match admit(world, &headers, &body, &modes) {
        Ok(admitted) => admitted,
        Err(refusal) => return sign(turn_away(world, ID, None, refusal.into_response())),
    };
    let order = match Order::read(&body, &route) {
        Ok(order) => order,
        Err(refusal) => return sign(turn_away(world, ID, Some(&route.upstream), refusal.into_response())),
    };
    let sale = Sale::steered(world, ID, &route, |fault| order.inline || !fault.is_some_and(Fault::at_file));
    let refusal = sale.why(&order.prompt).map(|why| match why {
        Why::Status(status) => Refusal::of_status(status),
        Why::Gone => Refusal::no_model(&route.upstream),
        Why::Refused => Refusal::moderated(),
        Why::Failed => Refusal::of_status(500),
    });
    let doomed = sale.refuses(&order.prompt) || order.prompt.contains("[fail]");
    let free = doomed || !sale.taken(refusal.is_some());
    let billed = if free { Usd::ZERO } else { bill::price(&route.price, &body, order.size, 1) };
    sign(match sale.settle(refusal.map(IntoResponse::into_response), billed).await {
        Some(ending) => ending,
        None => deliver(&desk, &headers, &order, &route, &sale).await,
    })
}

/// The picture, or what the fault leaves of it.
async fn deliver(desk: &Desk, headers: &HeaderMap, order: &Order, route: &Arc<Route>, sale: &Sale<'_>) -> Response {
    let size = order.size;
    let motif = Motif { prompt: Arc::clone(&order.prompt), index: 0, size, format: order.format, black: false };
    let mut data = Vec::new();
    if sale.delivered(1) > 0 {
        let mut slot = json!({"size": size.to_string()});
        if !route.formats.is_empty() {
            slot["output_format"] = order.format.name().into();
        }
        if order.inline {
            let Some(file) = desk.world.easel.draw(&sale.spoil(motif)).await else {
                return Refusal::of_status(500).into_response();
            };
            slot["b64_json"] = base64_simd::STANDARD.encode_to_string(&file).into();
        } else {
            let name = format!("{}_0.{}", fresh_hex(), order.format.extension());
            slot["url"] = format!("{}/{ID}/files/{name}", desk.world.base_url(headers)).into();
            desk.files.add(name, (Arc::clone(route), motif));
        }
        data.push(slot);
    }
    let made = data.len();
    let tokens = u64::from(size.width) * u64::from(size.height) / 256 * made as u64;
    let answer = json!({
        "model": route.upstream,
        "created": Timestamp::now().seconds(),
        "data": data,
        "usage": {"generated_images": made, "output_tokens": tokens, "total_tokens": tokens},
    });
    sale.answer(&answer, false)
}

fn spoil(motif: Motif, fault: Option<Fault>) -> Motif {
    match fault {
        Some(Fault::WrongType) => motif.wrong_type(),
        Some(Fault::WrongSize) => motif.wrong_size(),
        _ => motif,
    }
}

/// Every answer names its request.
fn sign(mut response: Response) -> Response {
    mischief::put(&mut response, "x-request-id", &fresh_hex());
    response
}

async fn create(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> Response {
    let world = &desk.world;
    let modes = [Mode::TextToVideo, Mode::ImageToVideo];
    let (body, route) = match admit(world, &headers, &body, &modes) {
        Ok(admitted) => admitted,
        Err(refusal) => return sign(turn_away(world, ID, None, refusal.into_response())),
    };
    let sale = Sale::of_job(world, ID, &route);
    let refused = sale.fault() == Some(Fault::Refuse);
    let mut task = match Task::read(&body, Arc::clone(&route), refused) {
        Ok(task) => task,
        Err(refusal) => return sign(turn_away(world, ID, Some(&route.upstream), refusal.into_response())),
    };
    (task.polls, task.latency) = sale.pace();
    let refusal = sale.refusal(Refusal::of_status, || Refusal::no_model(&route.upstream));
    let id = task.id.clone();
    if sale.take(refusal.as_ref(), &id, task.billed) {
        desk.tasks.add(id.clone(), task);
    }
    sign(sale.instead(refusal).await.unwrap_or_else(|| Json(json!({"id": id})).into_response()))
}

/// A task asked after: it moves one step.
async fn show(State(desk): State<Arc<Desk>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    if let Err(refusal) = identify(&headers) {
        desk.world.book.write(Entry::new(ID, Operation::Poll, refusal.status.as_u16()).job(&id));
        return sign(refusal.into_response());
    }
    let found = desk.tasks.change(&id, |task| {
        task.polled = task.polled.saturating_add(1);
        task.clone()
    });
    let Some(task) = found else {
        desk.world.book.write(Entry::new(ID, Operation::Poll, 404).job(&id));
        return sign(Refusal::no_task(&id).into_response());
    };
    desk.world.book.write(Entry::new(ID, Operation::Poll, 200).model(&task.route.upstream).job(&id));
    let done = task.status() == "succeeded";
    let spoils = |fault: Option<Fault>| done && fault.is_some_and(Fault::at_result);
    let fault = desk.world.rules.pick(ID, &task.route, spoils).and_then(|rule| rule.fault);
    let mut object = task.show(&link(&desk.world, &headers, &id));
    sign(match fault {
        Some(Fault::Garbage) => mischief::garbage(),
        Some(Fault::Empty) => {
            object["content"] = json!({});
            Json(object).into_response()
        }
        _ => Json(object).into_response(),
    })
}

fn link(world: &World, headers: &HeaderMap, id: &str) -> String {
    format!("{}/{ID}/files/{id}.mp4", world.base_url(headers))
}

async fn list(State(desk): State<Arc<Desk>>, headers: HeaderMap) -> Response {
    if let Err(refusal) = identify(&headers) {
        return sign(refusal.into_response());
    }
    let show = |task: &Task| task.show(&link(&desk.world, &headers, &task.id));
    let items: Vec<Value> = desk.tasks.all().iter().map(show).collect();
    sign(Json(json!({"total": items.len(), "items": items})).into_response())
}

/// Gives a queued task up, and forgets a finished one.
async fn remove(State(desk): State<Arc<Desk>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let mut refund = Usd::ZERO;
    let outcome = identify(&headers).and_then(|_| {
        let status = desk.tasks.change(&id, |task| {
            let status = task.status();
            if status == "queued" {
                refund = std::mem::take(&mut task.billed);
                task.fate = Fate::Cancelled;
            }
            status
        });
        match status.ok_or_else(|| Refusal::no_task(&id))? {
            "running" => return Err(Refusal::task_runs()),
            "queued" => {}
            _ => drop(desk.tasks.remove(&id)),
        }
        Ok(Json(json!({})).into_response())
    });
    let response = outcome.unwrap_or_else(IntoResponse::into_response);
    let billed = Usd::from_micros(-refund.micros());
    desk.world.book.write(Entry::new(ID, Operation::Cancel, response.status().as_u16()).job(&id).billed(billed));
    sign(response)
}

/// A result file: public.
async fn file(State(desk): State<Arc<Desk>>, Path(name): Path<String>) -> Response {
    let task = name.strip_suffix(".mp4").and_then(|id| desk.tasks.find(id)).filter(|task| task.status() == "succeeded");
    let video = task.map(|task| (Arc::clone(&task.route), super::clip::clip(task.seconds * 1000)));
    let picture = desk.files.find(&name);
    let route = video.as_ref().map(|(route, _)| route).or(picture.as_ref().map(|(route, _)| route));
    let Some(route) = route.map(Arc::clone) else {
        desk.world.book.write(Entry::new(ID, Operation::File, 404));
        return StatusCode::NOT_FOUND.into_response();
    };
    let rule = desk.world.rules.pick(ID, &route, |fault| fault.is_some_and(Fault::at_file));
    let fault = rule.and_then(|rule| rule.fault);
    desk.world.book.write(Entry::new(ID, Operation::File, 200).model(&route.upstream));
    let (mime, bytes) = match (video, picture) {
        (Some((_, bytes)), _) => ("video/mp4", Some(bytes)),
        (None, Some((_, motif))) => (motif.format.mime(), desk.world.easel.draw(&spoil(motif, fault)).await),
        (None, None) => ("", None),
    };
    match (bytes, fault) {
        (None, _) => Refusal::of_status(500).into_response(),
        (Some(bytes), Some(Fault::Truncate)) => mischief::truncate(mime, &bytes),
        (Some(bytes), _) => ([(header::CONTENT_TYPE, mime)], Body::from(bytes)).into_response(),
    }
}
