//! Alibaba Cloud Model Studio's `DashScope` API, after its help pages and the official SDK as read in 2026-11
//! (<https://www.alibabacloud.com/help/en/model-studio/>).
//!
//! Simulated: bearer keys, the endpoint that answers at once, the endpoints of tasks with their header, which endpoint
//! serves which model, sizes with an asterisk, four pictures where nobody says `n`, tasks with their states in order,
//! cancelling of waiting ones, `UNKNOWN` for lost ones, clocks without a zone, refusals and failures in both disguises.
//! Not simulated: regions, the OpenAI-compatible path, rewriting of prompts, media other than pictures, partial failures,
//! sets of pictures, real limits.

mod error;
mod request;
mod task;
#[cfg(test)]
mod tests;

use super::book::{Entry, Operation};
use super::easel::Motif;
use super::identity::{Key, fresh_uuid, read_key};
use super::mischief;
use super::sale::{Sale, turn_away};
use super::shelf::Shelf;
use super::steering::Fault;
use super::world::World;
use crate::base::Usd;
use crate::catalog::Route;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use error::Refusal;
use request::{AT_ONCE, Order};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use task::{Fate, Task};

/// The provider's id.
pub(super) const ID: &str = "alibaba";

/// The account, with what it had made.
struct Desk {
    world: Arc<World>,
    tasks: Shelf<Task>,
}

impl Desk {
    fn keep(&self, task: Task) {
        self.tasks.add(task.id.clone(), task);
    }

    /// Where files are, as this client calls us.
    fn base(&self, headers: &HeaderMap) -> String {
        format!("{}/{ID}/files", self.world.base_url(headers))
    }
}

pub(super) fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/services/aigc/{task}/{function}", post(create))
        .route("/tasks/{id}", get(show))
        .route("/tasks/{id}/cancel", post(cancel))
        .route("/files/{name}", get(file))
        .fallback(async || Refusal::wrong_endpoint().into_response())
        .with_state(Arc::new(Desk { world, tasks: Shelf::default() }))
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

async fn create(
    State(desk): State<Arc<Desk>>,
    Path((task, function)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let endpoint = format!("{task}/{function}");
    let mut model = None;
    let (order, route) = match admit(&desk.world, &endpoint, &headers, &body, &mut model) {
        Ok(admitted) => admitted,
        Err(refusal) => return turn_away(&desk.world, ID, model.as_deref(), refusal.into_response()),
    };
    if endpoint == AT_ONCE { answer(&desk, &headers, order, route).await } else { enqueue(&desk, order, route).await }
}

/// Key, body, model, endpoint, manner, money, parameters.
fn admit(
    world: &World,
    endpoint: &str,
    headers: &HeaderMap,
    body: &[u8],
    model: &mut Option<String>,
) -> Result<(Order, Arc<Route>), Refusal> {
    let broke = identify(headers)?;
    let body: Map<String, Value> = serde_json::from_slice(body)
        .map_err(|_| Refusal::bad("Required body invalid, please check the request body format."))?;
    let named = body.get("model").and_then(Value::as_str).ok_or_else(|| Refusal::bad("Model can not be empty."))?;
    *model = Some(named.to_owned());
    let route = world.route(ID, named).ok_or_else(Refusal::no_model)?;
    if !request::serves(endpoint, &route) {
        return Err(Refusal::wrong_endpoint());
    }
    let tasks_only = endpoint != AT_ONCE;
    let asks_task = headers.get("x-dashscope-async").is_some_and(|value| value == "enable");
    if tasks_only != asks_task {
        return Err(Refusal::wrong_manner(tasks_only));
    }
    if broke {
        return Err(Refusal::no_money());
    }
    Ok((Order::read(&body, &route, endpoint)?, route))
}

/// Pictures in the answer itself.
async fn answer(desk: &Desk, headers: &HeaderMap, order: Order, route: Arc<Route>) -> Response {
    let world = &desk.world;
    let sale = Sale::steered(world, ID, &route, |fault| !fault.is_some_and(Fault::at_file));
    let task = Task::new(order, route, sale.fault() == Some(Fault::Refuse));
    let complaint = || task.complaint().map(IntoResponse::into_response);
    let refusal = sale.refusal(Refusal::of_status, Refusal::no_model).or_else(complaint);
    let billed = if sale.taken(refusal.is_some()) { task.billed } else { Usd::ZERO };
    if let Some(ending) = sale.settle(refusal, billed).await {
        return ending;
    }
    let body = task.answer(&desk.base(headers), sale.delivered(task.order.count));
    desk.keep(task);
    Json(body).into_response()
}

/// A task, to be asked after.
async fn enqueue(desk: &Desk, order: Order, route: Arc<Route>) -> Response {
    let world = &desk.world;
    let sale = Sale::of_job(world, ID, &route);
    let refusal = sale.refusal(Refusal::of_status, Refusal::no_model);
    let mut task = Task::new(order, route, sale.fault() == Some(Fault::Refuse));
    (task.polls, task.latency) = sale.pace();
    let body = json!({"request_id": fresh_uuid(), "output": {"task_status": "PENDING", "task_id": task.id}});
    if sale.take(refusal.as_ref(), &task.id, task.billed) {
        desk.keep(task);
    }
    sale.instead(refusal).await.unwrap_or_else(|| Json(body).into_response())
}

/// A task asked after: it moves one step. One that nobody knows is `UNKNOWN`, under HTTP 200.
async fn show(State(desk): State<Arc<Desk>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let write = |status: u16| desk.world.book.write(Entry::new(ID, Operation::Poll, status).job(&id));
    if let Err(refusal) = identify(&headers) {
        write(refusal.status.as_u16());
        return refusal.into_response();
    }
    write(200);
    let found = desk.tasks.change(&id, |task| {
        task.polled = task.polled.saturating_add(1);
        task.clone()
    });
    let Some(task) = found else {
        let output = json!({"task_id": id, "task_status": "UNKNOWN"});
        return Json(json!({"request_id": fresh_uuid(), "output": output})).into_response();
    };
    let done = task.status() == "SUCCEEDED";
    let spoils = |fault: Option<Fault>| done && fault.is_some_and(Fault::at_result);
    let fault = desk.world.rules.pick(ID, &task.route, spoils).and_then(|rule| rule.fault);
    let count = if fault == Some(Fault::Empty) { 0 } else { task.order.count };
    let messages = request::serves("image-generation/generation", &task.route);
    match fault {
        Some(Fault::Garbage) => mischief::garbage(),
        _ => Json(task.show(&desk.base(&headers), messages, count)).into_response(),
    }
}

/// Gives a waiting task up. It is not billed then.
async fn cancel(State(desk): State<Arc<Desk>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let mut refund = Usd::ZERO;
    let outcome = identify(&headers).and_then(|_| {
        let given_up = desk.tasks.change(&id, |task| {
            let waiting = task.status() == "PENDING";
            if waiting {
                refund = std::mem::take(&mut task.billed);
                task.fate = Fate::Cancelled;
            }
            waiting
        });
        given_up.filter(|waiting| *waiting).ok_or_else(Refusal::not_pending)?;
        Ok(Json(json!({"request_id": fresh_uuid()})).into_response())
    });
    let response = outcome.unwrap_or_else(IntoResponse::into_response);
    let billed = Usd::from_micros(-refund.micros());
    desk.world.book.write(Entry::new(ID, Operation::Cancel, response.status().as_u16()).job(&id).billed(billed));
    response
}

/// A result file: public.
async fn file(State(desk): State<Arc<Desk>>, Path(name): Path<String>) -> Response {
    let index = |task: &Task| (0..task.order.count).find(|index| task.file(*index) == name);
    let found = desk.tasks.all().into_iter().find_map(|task| index(&task).map(|index| (task, index)));
    let Some((task, index)) = found.filter(|(task, _)| task.fate == Fate::Made) else {
        desk.world.book.write(Entry::new(ID, Operation::File, 404));
        return StatusCode::NOT_FOUND.into_response();
    };
    let rule = desk.world.rules.pick(ID, &task.route, |fault| fault.is_some_and(Fault::at_file));
    let fault = rule.and_then(|rule| rule.fault);
    desk.world.book.write(Entry::new(ID, Operation::File, 200).model(&task.route.upstream).job(&task.id));
    let (mime, bytes) = match task.order.seconds {
        Some(seconds) => ("video/mp4", Some(super::clip::clip(seconds * 1000))),
        None => ("image/png", desk.world.easel.draw(&spoil(task.motif(index), fault)).await),
    };
    match (bytes, fault) {
        (None, _) => Refusal::of_status(500).into_response(),
        (Some(bytes), Some(Fault::Truncate)) => mischief::truncate(mime, &bytes),
        (Some(bytes), _) => ([(header::CONTENT_TYPE, mime)], Body::from(bytes)).into_response(),
    }
}

fn spoil(motif: Motif, fault: Option<Fault>) -> Motif {
    match fault {
        Some(Fault::WrongType) => motif.wrong_type(),
        Some(Fault::WrongSize) => motif.wrong_size(),
        _ => motif,
    }
}
