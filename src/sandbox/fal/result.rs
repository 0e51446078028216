//! What a finished job hands over: the result object, and the files that it links to.

use super::super::book::{Entry, Operation};
use super::super::easel::Motif;
use super::super::mischief;
use super::super::steering::Fault;
use super::super::world::World;
use super::error::Refusal;
use super::job::{Fate, Job, Phase};
use super::{ID, Queue, write};
use crate::media::Format;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::json;
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

/// The pictures, or what a fault leaves of them.
async fn deliver(world: &World, job: &Job, base: &str) -> Response {
    let order = &job.order;
    let here = |fault: Fault| fault.at_result() || (order.inline && fault.at_file());
    let fault = world.rules.pick(ID, &job.route, |fault| fault.is_some_and(here)).and_then(|rule| rule.fault);
    if fault == Some(Fault::Garbage) {
        return mischief::garbage();
    }
    let count = if fault == Some(Fault::Empty) { 0 } else { order.count };
    let mut images = Vec::new();
    for index in 0..count {
        let motif = spoil(motif(job, index), fault);
        let Some(file) = world.easel.draw(&motif).await else { return Refusal::failed().into_response() };
        let name = format!("{}_{index}.{}", job.id, order.format.extension());
        let url = if order.inline {
            let data = base64_simd::STANDARD.encode_to_string(&file);
            format!("data:{};base64,{data}", order.format.mime())
        } else {
            format!("{base}/files/{name}")
        };
        images.push(json!({
            "url": url,
            "width": order.size.width,
            "height": order.size.height,
            "content_type": order.format.mime(),
            "file_name": name,
            "file_size": file.len(),
        }));
    }
    let answer = json!({
        "images": images,
        "timings": {"inference": job.seconds()},
        "seed": order.seed,
        "has_nsfw_concepts": vec![job.fate == Fate::Blackened; count as usize],
        "prompt": &*order.prompt,
    });
    let mut response = match fault {
        Some(Fault::Truncate) => mischief::truncate("application/json", &answer.to_string().into()),
        _ => Json(answer).into_response(),
    };
    mischief::put(&mut response, "x-fal-billable-units", &job.units.to_string());
    response
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
    let drawn = queue.world.easel.draw(&spoil(motif(&job, index), fault)).await;
    let response = match (drawn, fault) {
        (None, _) => Refusal::failed().into_response(),
        (Some(file), Some(Fault::Truncate)) => mischief::truncate(job.order.format.mime(), &file),
        (Some(file), _) => ([(header::CONTENT_TYPE, job.order.format.mime())], Body::from(file)).into_response(),
    };
    write(&queue, Operation::File, &job, response.status());
    response
}

/// The job and the index that a file's name means: `<job>_<index>.<extension>`.
fn find(queue: &Queue, name: &str) -> Option<(Arc<Job>, u32)> {
    let (stem, extension) = name.rsplit_once('.')?;
    let (id, index) = stem.rsplit_once('_')?;
    let (job, index) = (queue.jobs.find(id)?, index.parse().ok()?);
    let real = index < job.order.count && Format::parse(extension) == Some(job.order.format);
    (real && matches!(job.fate, Fate::Made | Fate::Blackened)).then_some((job, index))
}
