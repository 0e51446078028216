//! Luma's Agents API, after its guides (<https://docs.agents.lumalabs.ai/>) and the types of its SDK 0.5.0, as read in
//! 2026-11.
//!
//! Simulated: bearer keys, `POST /generations` for pictures, edits and videos with the fields that our catalog uses, 201
//! with the headers of the limits, states in order, failures with their codes, links. Not simulated: `video_edit`,
//! `video_reframe` and `layering`, keyframes, files, the hour that links live, real limits.

mod request;

use super::body::{Flaw, Refusal};
use super::identity::{Key, fresh_uuid, read_key};
use super::mischief;
use super::queue::{Fate, Job, Phase, Queue, Work};
use super::sale::Why;
use super::steering::Fault;
use super::world::World;
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
pub(super) const ID: &str = "luma";

pub(super) fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/generations", post(create))
        .route("/generations/{id}", get(show))
        .route("/files/{name}", get(file))
        .with_state(Arc::new(Queue::new(world, ID)))
}

fn refuse(status: u16, detail: &str) -> Refusal {
    Refusal(status, json!({"detail": detail}))
}

fn invalid(flaw: &Flaw) -> Refusal {
    refuse(422, &format!("{}: {}", flaw.field, flaw.message))
}

/// A success names its request and the version of the API.
fn sign(mut response: Response) -> Response {
    mischief::put(&mut response, "x-request-id", &fresh_uuid());
    mischief::put(&mut response, "x-api-version", "2026-04-01");
    response
}

/// Whether the key's account is out of money, when the key is known at all.
fn identify(headers: &HeaderMap) -> Result<bool, Refusal> {
    match read_key(headers, "bearer") {
        Key::Missing => Err(refuse(401, "Missing bearer token")),
        Key::Unknown(_) => Err(refuse(401, "Invalid API key")),
        Key::Broke => Ok(true),
        Key::Good => Ok(false),
    }
}

async fn create(State(queue): State<Arc<Queue>>, headers: HeaderMap, body: Bytes) -> Response {
    let (job, prompt) = match admit(&queue, &headers, &body) {
        Ok(admitted) => admitted,
        Err(refusal) => return queue.turn_away(refusal.into_response()),
    };
    let taken = queue.submit(job, &prompt, |why| match why {
        Why::Status(status) => Some(refuse(status, "An error was asked for").into_response()),
        Why::Gone => Some(refuse(404, "Model not found").into_response()),
        Why::Refused | Why::Failed => None,
    });
    match taken.await {
        Ok(job) => {
            let mut response = (StatusCode::CREATED, Json(describe(&job, "", None))).into_response();
            mischief::put(&mut response, "x-ratelimit-limit", "60");
            mischief::put(&mut response, "x-ratelimit-remaining", "59");
            sign(response)
        }
        Err(answer) => answer,
    }
}

fn admit(queue: &Queue, headers: &HeaderMap, body: &[u8]) -> Result<(Job, String), Refusal> {
    let broke = identify(headers)?;
    let body: Map<String, Value> = serde_json::from_slice(body).map_err(|_| refuse(400, "Invalid JSON"))?;
    let order = Order::read(&body, queue).map_err(|flaw| invalid(&flaw))?;
    if broke {
        return Err(refuse(402, "Budget exhausted"));
    }
    Ok((Job::new(fresh_uuid(), order.route, order.work, order.price), order.prompt))
}

fn describe(job: &Job, base: &str, fault: Option<Fault>) -> Value {
    let kind = match &job.work {
        Work::Video(_) => "video",
        Work::Pictures(_) => "image",
    };
    let mut object = json!({
        "id": job.id, "model": job.route.upstream, "type": kind, "created_at": job.created.rfc3339(),
        "output": [], "failure_code": null, "failure_reason": null,
    });
    object["state"] = match (job.phase(), job.fate) {
        (Phase::Queued, _) => "queued",
        (Phase::Running, _) => "processing",
        (Phase::Done, Fate::Made) => "completed",
        (Phase::Done, _) => "failed",
    }
    .into();
    match (job.phase(), job.fate) {
        (Phase::Done, Fate::Made) if fault != Some(Fault::Empty) => {
            let link = |name: &String| json!({"type": kind, "url": format!("{base}/{name}")});
            object["output"] = job.files().iter().map(link).collect();
        }
        (Phase::Done, Fate::Refused) => {
            object["failure_code"] = "content_moderated".into();
            object["failure_reason"] = "The request was blocked by content moderation.".into();
        }
        (Phase::Done, Fate::Failed) => {
            object["failure_code"] = "generation_failed".into();
            object["failure_reason"] = "The generation failed.".into();
        }
        _ => {}
    }
    object
}

async fn show(State(queue): State<Arc<Queue>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    if let Err(refusal) = identify(&headers) {
        return refusal.into_response();
    }
    let Some((job, fault)) = queue.poll(&id) else { return refuse(404, "Generation not found").into_response() };
    if fault == Some(Fault::Garbage) {
        return mischief::garbage();
    }
    let base = format!("{}/{ID}/files", queue.world.base_url(&headers));
    sign(Json(describe(&job, &base, fault)).into_response())
}

async fn file(State(queue): State<Arc<Queue>>, Path(name): Path<String>) -> Response {
    queue.file(&name).await
}
