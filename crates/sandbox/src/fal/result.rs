//! What a finished job hands over: the result object, and the files that it links to.

use super::super::book::{Entry, Operation};
use super::super::clip::clip;
use super::super::easel::Motif;
use super::super::mischief;
use super::super::steering::Fault;
use super::super::world::World;
use super::endpoint;
use super::error::Refusal;
use super::job::{Fate, Job, Phase};
use super::{ID, Queue, write};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;

/// The answer to who fetches the result.
pub(super) async fn tell(world: &World, job: &Job, phase: &Phase, base: &str) -> Response {
    if *phase != Phase::Done {
        return Refusal::unfinished().into_response();
    }
    match &job.fate {
        Fate::Invalid(complaints) => Refusal::invalid(complaints.clone()).into_response(),
        Fate::Refused => Refusal::moderated(&job.order.prompt).into_response(),
        Fate::Failed => Refusal::failed().into_response(),
        Fate::Cancelled => Refusal::cancelled().into_response(),
        Fate::Made | Fate::Blackened => deliver(world, job, base).await,
    }
}

/// What was made, or what a fault leaves of it.
async fn deliver(world: &World, job: &Job, base: &str) -> Response {
    let order = &job.order;
    let here = |fault: Fault| fault.at_result() || (order.inline && fault.at_file());
    let fault = world.rules.pick(ID, &job.route, |fault| fault.is_some_and(here)).and_then(|rule| rule.fault);
    if fault == Some(Fault::Garbage) {
        return mischief::garbage();
    }
    let count = if fault == Some(Fault::Empty) { 0 } else { order.count };
    let mut files = Vec::new();
    for index in 0..count {
        let Some(file) = make(world, job, index, fault).await else { return Refusal::failed().into_response() };
        files.push(describe(job, index, &file, base));
    }
    let answer = result(job, files);
    let mut response = match fault {
        Some(Fault::Truncate) => mischief::truncate("application/json", &answer.to_string().into()),
        _ => Json(answer).into_response(),
    };
    mischief::put(&mut response, "x-fal-billable-units", &job.units.to_string());
    response
}

/// The result object, in the shape of its endpoint.
fn result(job: &Job, mut files: Vec<Value>) -> Value {
    let (route, order) = (&job.route, &job.order);
    let mut answer = json!({"seed": order.seed});
    if let Some(name) = endpoint::rewritten_prompt(route) {
        answer[name] = format!("{}, in detail", order.prompt).into();
    }
    if order.seconds.is_some() {
        answer["video"] = files.pop().unwrap_or_default();
        return answer;
    }
    if endpoint::open_weights(route) {
        answer["has_nsfw_concepts"] = vec![job.fate == Fate::Blackened; files.len()].into();
        answer["timings"] = json!({"inference": job.seconds()});
        answer["prompt"] = (&*order.prompt).into();
    }
    if endpoint::single_image(route) {
        answer["image"] = files.pop().unwrap_or_default();
    } else {
        answer["images"] = files.into();
    }
    answer
}

/// A file object. Pictures say their size; videos do not.
fn describe(job: &Job, index: u32, file: &Bytes, base: &str) -> Value {
    let (order, name) = (&job.order, file_name(job, index));
    let url = if order.inline {
        format!("data:{};base64,{}", order.mime(), base64_simd::STANDARD.encode_to_string(file))
    } else {
        format!("{base}/files/{name}")
    };
    let mut object = json!({"url": url, "content_type": order.mime(), "file_name": name, "file_size": file.len()});
    if order.seconds.is_none() {
        object["width"] = order.size.width.into();
        object["height"] = order.size.height.into();
    }
    object
}

fn file_name(job: &Job, index: u32) -> String {
    format!("{}_{index}.{}", job.id, job.order.extension())
}

/// The bytes of a picture or video, spoiled on demand.
async fn make(world: &World, job: &Job, index: u32, fault: Option<Fault>) -> Option<Bytes> {
    match (job.order.seconds, fault) {
        (Some(seconds), None | Some(Fault::Truncate | Fault::WrongSize)) => Some(clip(seconds * 1000)),
        _ => world.easel.draw(&spoil(motif(job, index), fault)).await,
    }
}

fn motif(job: &Job, index: u32) -> Motif {
    Motif {
        prompt: Arc::clone(&job.order.prompt),
        index,
        size: job.order.size,
        format: job.order.format,
        black: job.fate == Fate::Blackened,
    }
}

fn spoil(motif: Motif, fault: Option<Fault>) -> Motif {
    match fault {
        Some(Fault::WrongType) => motif.wrong_type(),
        Some(Fault::WrongSize) => motif.wrong_size(),
        _ => motif,
    }
}

/// A result file: public, with the media type that it was announced with, whatever is in it.
pub(super) async fn file(State(queue): State<Arc<Queue>>, Path(name): Path<String>) -> Response {
    let found = find(&queue, &name);
    let Some((job, index)) = found else {
        queue.world.book.write(Entry::new(ID, Operation::File, 404));
        return Refusal::no_file().into_response();
    };
    let picked = queue.world.rules.pick(ID, &job.route, |fault| fault.is_some_and(Fault::at_file));
    let fault = picked.and_then(|rule| rule.fault);
    let mime = job.order.mime();
    let response = match (make(&queue.world, &job, index, fault).await, fault) {
        (None, _) => Refusal::failed().into_response(),
        (Some(file), Some(Fault::Truncate)) => mischief::truncate(mime, &file),
        (Some(file), _) => ([(header::CONTENT_TYPE, mime)], Body::from(file)).into_response(),
    };
    write(&queue, Operation::File, &job, response.status());
    response
}

/// The job and the index that a file's name means: `<job>_<index>.<extension>`.
fn find(queue: &Queue, name: &str) -> Option<(Arc<Job>, u32)> {
    let (stem, _) = name.rsplit_once('.')?;
    let (id, index) = stem.rsplit_once('_')?;
    let (job, index) = (queue.jobs.find(id)?, index.parse().ok()?);
    let real = index < job.order.count && name == file_name(&job, index);
    (real && matches!(job.fate, Fate::Made | Fate::Blackened)).then_some((job, index))
}
