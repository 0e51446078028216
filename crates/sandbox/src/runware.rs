//! Runware's task API, after its documentation (<https://runware.ai/docs/platform/errors> and beside it) and the
//! official SDKs as read in 2026-11.
//!
//! Simulated: bearer keys, arrays of tasks at one address, `imageInference` and `vectorize` at once or later,
//! `videoInference` later, `getResponse`, `ping`, results and errors side by side, exact sizes, all three ways to hand a
//! picture over, costs on request, three kinds of refusal (an error of 400, an error inside a 200, a flagged picture when
//! the check is asked for). Several tasks in one array that fail make an error of the first one's status only when nothing
//! succeeded. Not simulated: the WebSocket, webhooks (ignored), uploads, streams, the other tools, parameters that do not
//! change the picture. A task that is polled for is in neither list at first, then `processing`.

mod error;
mod job;
mod request;
mod result;

use super::book::{Entry, Operation};
use super::identity::{Key, read_key};
use super::mischief;
use super::sale::{Sale, Why};
use super::steering::Fault;
use super::world::World;
use crate::base::Usd;
use crate::catalog::Route;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use error::Complaint;
use job::{Job, Jobs};
use request::{Order, is_uuid};
use result::Shelf;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The provider's id.
pub(super) const ID: &str = "runware";

struct Desk {
    world: Arc<World>,
    jobs: Jobs,
    shelf: Shelf,
}

pub(super) fn router(world: Arc<World>) -> Router {
    Router::new().route("/v1", post(receive)).route("/files/{name}", get(result::file)).with_state(Arc::new(Desk {
        world,
        jobs: Jobs::default(),
        shelf: Shelf::default(),
    }))
}

/// The two lists of an answer. A fault of transport takes its place.
#[derive(Default)]
struct Answer {
    data: Vec<Value>,
    errors: Vec<Value>,
    /// The status of the first task that failed.
    status: Option<StatusCode>,
    retry_after: Option<u64>,
    instead: Option<Response>,
    truncated: bool,
}

impl Answer {
    fn complain(&mut self, complaint: &Complaint, task: &Map<String, Value>) {
        let said = |name: &str| task.get(name).and_then(Value::as_str);
        self.errors.push(complaint.describe(said("taskType").unwrap_or("unknown"), said("taskUUID")));
        self.status.get_or_insert(complaint.status);
    }

    fn send(self) -> Response {
        if let Some(instead) = self.instead {
            return instead;
        }
        let status = self.status.filter(|_| self.data.is_empty()).unwrap_or(StatusCode::OK);
        let mut body = Map::new();
        if !self.data.is_empty() || self.errors.is_empty() {
            body.insert("data".to_owned(), self.data.into());
        }
        if !self.errors.is_empty() {
            body.insert("errors".to_owned(), self.errors.into());
        }
        if self.truncated {
            return mischief::truncate("application/json", &Value::Object(body).to_string().into());
        }
        let mut response = (status, Json(body)).into_response();
        if let Some(seconds) = self.retry_after {
            mischief::put(&mut response, "retry-after", &seconds.to_string());
        }
        response
    }
}

async fn receive(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> Response {
    let refused = match read_key(&headers, "bearer") {
        Key::Missing => Some(Complaint::no_key()),
        Key::Unknown(_) => Some(Complaint::wrong_key()),
        Key::Broke | Key::Good => None,
    };
    if let Some(complaint) = refused {
        desk.world.book.write(Entry::new(ID, Operation::Create, complaint.status.as_u16()));
        return (complaint.status, Json(json!({"errors": [complaint.describe("authentication", None)]})))
            .into_response();
    }
    let Ok(tasks) = serde_json::from_slice::<Vec<Map<String, Value>>>(&body) else {
        let message = "The request body must be a JSON array of task objects.";
        let complaint = Complaint::new(StatusCode::BAD_REQUEST, "invalidRequestBody", message);
        return (complaint.status, Json(json!({"errors": [complaint.describe("unknown", None)]}))).into_response();
    };
    let broke = read_key(&headers, "bearer") == Key::Broke;
    let base = format!("{}/{ID}", desk.world.base_url(&headers));
    let mut answer = Answer::default();
    for task in &tasks {
        match task.get("taskType").and_then(Value::as_str) {
            Some("ping") => answer.data.push(json!({"taskType": "ping", "pong": true})),
            Some("getResponse") => tell(&desk, task, &base, &mut answer).await,
            Some("imageInference" | "videoInference" | "vectorize") => {
                infer(&desk, task, broke, &base, &mut answer).await;
            }
            Some(_) => answer.complain(&Complaint::invalid("taskType", "It is not supported."), task),
            None => answer.complain(&Complaint::missing("taskType"), task),
        }
        if answer.instead.is_some() {
            break;
        }
    }
    answer.send()
}

/// Id, model, money, parameters.
fn admit(world: &World, task: &Map<String, Value>, broke: bool) -> Result<(Arc<Route>, Order), Complaint> {
    match task.get("taskUUID").map(Value::as_str) {
        None => return Err(Complaint::missing("taskUUID")),
        Some(id) if id.is_none_or(|id| !is_uuid(id)) => {
            return Err(Complaint::invalid("taskUUID", "It must be a UUID v4."));
        }
        Some(_) => {}
    }
    let model = task.get("model").and_then(Value::as_str).ok_or_else(|| Complaint::missing("model"))?;
    let routes = || world.catalog.routes_of(ID).filter(|route| route.upstream == model);
    // A model whose sizes depend on what it is given has a row for each case.
    let given = task.contains_key("inputs") || task.contains_key("frameImages") || task.contains_key("referenceImages");
    let fits = |route: &&Arc<Route>| route.inputs.is_some() == given;
    let route = routes().find(fits).or_else(|| routes().next()).ok_or_else(|| Complaint::no_model(model))?;
    if broke {
        return Err(Complaint::no_money(hosted(route)));
    }
    Ok((Arc::clone(route), Order::read(task, route)?))
}

/// Runware runs open models itself and relays the others.
fn hosted(route: &Route) -> bool {
    route.upstream.starts_with("runware:")
}

async fn infer(desk: &Desk, task: &Map<String, Value>, broke: bool, base: &str, answer: &mut Answer) {
    let world = &desk.world;
    let id = task.get("taskUUID").and_then(Value::as_str).unwrap_or_default();
    let (route, order) = match admit(world, task, broke) {
        Ok(admitted) => admitted,
        Err(complaint) => {
            let entry = Entry::new(ID, Operation::Create, complaint.status.as_u16()).job(id);
            let model = task.get("model").and_then(Value::as_str);
            world.book.write(if let Some(model) = model { entry.model(model) } else { entry });
            return answer.complain(&complaint, task);
        }
    };
    let mut sale = Sale::steered(world, ID, &route, |fault| order.meets(fault));
    let fate = judge(&order, &route, &sale);
    // A failed task is not billed, unless a rule breaks off what had been taken.
    let doomed = order.prompt.contains("[refuse]") || order.prompt.contains("[fail]");
    let takes = !sale.silent() && fate.is_none();
    let billed = if takes || (sale.after_accept() && !doomed) { order.bill() } else { Usd::ZERO };
    let told = fate.as_ref().filter(|_| !order.later || sale.fault().is_some());
    world.book.write(sale.entry(told.map(|complaint| complaint.status)).job(id).billed(billed));
    if order.later && sale.taken(told.is_some()) {
        desk.jobs.add(Job::new(id, Arc::clone(&route), order.clone(), fate.clone(), sale.pace()));
    } else {
        sale.wait().await;
    }
    if let Some(complaint) = told.filter(|_| !sale.silent()) {
        answer.complain(complaint, task);
        answer.retry_after = sale.take_retry_after();
        return;
    }
    answer.instead = sale.instead(None).await;
    if answer.instead.is_some() {
        return;
    }
    if order.later {
        answer.data.push(json!({"taskType": task["taskType"], "taskUUID": id}));
    } else {
        answer.truncated = sale.breaks_off();
        answer.data.extend(result::items(desk, &route, &order, id, base, sale.fault()).await);
    }
}

/// What a rule or the prompt has in store for a task; nothing when it will be done.
fn judge(order: &Order, route: &Route, sale: &Sale<'_>) -> Option<Complaint> {
    match sale.why(&order.prompt)? {
        Why::Status(status) => Some(Complaint::of_status(status)),
        Why::Gone => Some(Complaint::no_model(&route.upstream)),
        // Where the check is asked for, an own model makes the picture and flags it.
        Why::Refused if sale.fault() != Some(Fault::Refuse) && hosted(route) && order.checked => None,
        Why::Refused => Some(Complaint::moderated(hosted(route))),
        Why::Failed => Some(Complaint::failed(hosted(route))),
    }
}

/// `getResponse`: how a task is doing.
async fn tell(desk: &Desk, task: &Map<String, Value>, base: &str, answer: &mut Answer) {
    let id = task.get("taskUUID").and_then(Value::as_str).unwrap_or_default();
    let Some((job, phase)) = desk.jobs.advance(id) else {
        let complaint = Complaint::of_status(404);
        desk.world.book.write(Entry::new(ID, Operation::Poll, 404).job(id));
        return answer.complain(&complaint, task);
    };
    desk.world.book.write(Entry::new(ID, Operation::Poll, 200).model(&job.route.upstream).job(id));
    let kind = if job.order.video { "videoInference" } else { "imageInference" };
    match (phase, &job.fate) {
        (job::Phase::Taken, _) => {}
        (job::Phase::Running, _) => {
            answer.data.push(json!({"taskType": kind, "taskUUID": id, "status": "processing", "progress": 50}));
        }
        (job::Phase::Done, Some(complaint)) => {
            let error = complaint.describe(kind, Some(id));
            answer.data.push(json!({"taskType": kind, "taskUUID": id, "status": "error", "error": error}));
        }
        (job::Phase::Done, None) => {
            let acts = |fault: Option<Fault>| fault.is_some_and(Fault::at_result);
            let fault = desk.world.rules.pick(ID, &job.route, acts).and_then(|rule| rule.fault);
            if fault == Some(Fault::Garbage) {
                answer.instead = Some(mischief::garbage());
            } else {
                answer.data.extend(result::items(desk, &job.route, &job.order, id, base, fault).await);
            }
        }
    }
}

#[cfg(test)]
mod tests;
