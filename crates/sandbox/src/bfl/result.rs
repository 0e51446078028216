//! What a poll answers, and the files that results link to.

use super::super::book::{Entry, Operation};
use super::super::clip::clip;
use super::super::easel::Motif;
use super::super::mischief;
use super::super::steering::Fault;
use super::super::world::World;
use super::error::Refusal;
use super::task::{Fate, Phase, Task};
use super::{ID, Labs, measure};
use crate::base::Timestamp;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::Arc;

/// A poll's answer without anything in it.
pub(super) fn state(id: &str, status: &str) -> Value {
    json!({"id": id, "status": status, "result": null, "progress": null, "details": null, "preview": null})
}

/// The answer to who asks after a task.
pub(super) fn tell(world: &World, task: &Task, phase: Phase, base: &str) -> Response {
    let mut answer = match (phase, task.fate) {
        (Phase::Pending, _) => state(&task.id, "Pending"),
        (Phase::Generating, _) => state(&task.id, "Generating"),
        (Phase::Done, Fate::RequestModerated) => refused(task, "Request Moderated", "Derivative Works Filter"),
        (Phase::Done, Fate::ContentModerated) => refused(task, "Content Moderated", "NSFW"),
        (Phase::Done, Fate::Failed) => {
            let mut answer = state(&task.id, "Error");
            answer["details"] = json!({"error": "The model could not finish the task"});
            answer
        }
        (Phase::Done, Fate::Made) => return deliver(world, task, base),
    };
    if phase == Phase::Generating {
        answer["progress"] = json!(0.5);
    }
    Json(answer).into_response()
}

fn refused(task: &Task, status: &str, reason: &str) -> Value {
    let mut answer = state(&task.id, status);
    answer["details"] = json!({"Moderation Reasons": [reason]});
    answer
}

/// The link, or what a fault leaves of it.
fn deliver(world: &World, task: &Task, base: &str) -> Response {
    let fault = world.rules.pick(ID, &task.route, |fault| fault.is_some_and(Fault::at_result));
    let fault = fault.and_then(|rule| rule.fault);
    if fault == Some(Fault::Garbage) {
        return mischief::garbage();
    }
    let mut answer = state(&task.id, "Ready");
    answer["cost"] = measure::credits(task.cost);
    answer["progress"] = json!(1.0);
    if fault != Some(Fault::Empty) {
        let end = Timestamp::now().seconds();
        answer["result"] = json!({
            "sample": format!("{base}/results/{}/sample.{}?se={}&sp=r&sig=sandbox", task.id, extension(task), end + 600),
            "prompt": &*task.order.prompt,
            "seed": task.order.seed,
            "start_time": end,
            "end_time": end,
            "duration": task.seconds(),
        });
    }
    Json(answer).into_response()
}

fn extension(task: &Task) -> &'static str {
    if task.order.film { "mp4" } else { task.order.format.name() }
}

/// A result file: public for ten minutes.
pub(super) async fn file(State(labs): State<Arc<Labs>>, Path((id, name)): Path<(String, String)>) -> Response {
    let found = labs.tasks.find(&id).filter(|task| name == format!("sample.{}", extension(task)));
    let response = match &found {
        None => Refusal::no_path().into_response(),
        Some(task) if !task.linked() => Refusal::expired().into_response(),
        Some(task) if task.order.film => {
            ([(header::CONTENT_TYPE, "video/mp4")], Body::from(clip(1000))).into_response()
        }
        Some(task) => picture(&labs.world, task).await,
    };
    let mut entry = Entry::new(ID, Operation::File, response.status().as_u16()).job(&id);
    if let Some(task) = &found {
        entry = entry.model(&task.route.upstream);
    }
    labs.world.book.write(entry);
    response
}

async fn picture(world: &World, task: &Task) -> Response {
    let picked = world.rules.pick(ID, &task.route, |fault| fault.is_some_and(Fault::at_file));
    let fault = picked.and_then(|rule| rule.fault);
    let order = &task.order;
    let motif =
        Motif { prompt: Arc::clone(&order.prompt), index: 0, size: order.size, format: order.format, black: false };
    let motif = match fault {
        Some(Fault::WrongType) => motif.wrong_type(),
        Some(Fault::WrongSize) => motif.wrong_size(),
        _ => motif,
    };
    match (world.easel.draw(&motif).await, fault) {
        (None, _) => Refusal::broken().into_response(),
        (Some(file), Some(Fault::Truncate)) => mischief::truncate(order.format.mime(), &file),
        (Some(file), _) => ([(header::CONTENT_TYPE, order.format.mime())], Body::from(file)).into_response(),
    }
}
