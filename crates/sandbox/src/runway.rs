//! Runway, after the types of its SDK 5.24.0 and its error pages
//! (<https://docs.dev.runwayml.com/api/>), as read in 2026-11.
//!
//! Simulated: bearer keys, the header with the version, the four creating calls with the fields that our catalog uses,
//! tasks with their states in order, their cost in credits, deletion, refusals and failures with their codes. Not
//! simulated: uploads, audio and video references, recipes, workflows, routers, limits of its own (`THROTTLED`).

mod request;

use super::body::{Flaw, Refusal};
use super::identity::{Key, fresh_uuid, read_key};
use super::mischief;
use super::queue::{Fate, Job, Phase, Queue};
use super::sale::Why;
use super::steering::Fault;
use super::world::World;
use crate::job::Mode;
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
pub(super) const ID: &str = "runway";

pub(super) fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/v1/{kind}", post(create))
        .route("/v1/tasks/{id}", get(show).delete(remove))
        .route("/files/{name}", get(file))
        .with_state(Arc::new(Queue::new(world, ID)))
}

fn refuse(status: u16, error: &str) -> Refusal {
    Refusal(status, json!({"error": error}))
}

fn invalid(flaw: &Flaw) -> Refusal {
    let issue = json!({"code": "custom", "path": [flaw.field], "message": flaw.message});
    let body = json!({"error": "Validation of body failed", "issues": [issue],
        "docUrl": "https://docs.dev.runwayml.com/api/"});
    Refusal(400, body)
}

/// Key and version. Whether the account is out of money.
fn identify(headers: &HeaderMap) -> Result<bool, Refusal> {
    let broke = match read_key(headers, "bearer") {
        Key::Missing => return Err(refuse(401, "Missing Authorization header.")),
        Key::Unknown(_) => return Err(refuse(401, "Invalid API key.")),
        Key::Broke => true,
        Key::Good => false,
    };
    match headers.get("x-runway-version").map(|version| version.as_bytes() == b"2024-11-06") {
        Some(true) => Ok(broke),
        Some(false) => Err(refuse(400, "The X-Runway-Version header names no version of this API.")),
        None => Err(refuse(400, "The X-Runway-Version header is required.")),
    }
}

async fn create(
    State(queue): State<Arc<Queue>>,
    Path(kind): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (job, prompt) = match admit(&queue, &kind, &headers, &body) {
        Ok(admitted) => admitted,
        Err(refusal) => return queue.turn_away(refusal.into_response()),
    };
    let taken = queue.submit(job, &prompt, |why| match why {
        Why::Status(status) => Some(refuse(status, "An error was asked for.").into_response()),
        Why::Gone => Some(refuse(404, "The model is not available.").into_response()),
        Why::Refused | Why::Failed => None,
    });
    match taken.await {
        Ok(job) => Json(json!({"id": job.id, "estimatedCost": {"credits": credits(&job)}})).into_response(),
        Err(answer) => answer,
    }
}

fn admit(queue: &Queue, kind: &str, headers: &HeaderMap, body: &[u8]) -> Result<(Job, String), Refusal> {
    let modes = match kind {
        "text_to_image" => [Mode::TextToImage, Mode::ImageEdit].as_slice(),
        "text_to_video" => &[Mode::TextToVideo],
        "image_to_video" => &[Mode::ImageToVideo],
        "video_to_video" => &[Mode::VideoToVideo],
        _ => return Err(refuse(404, "Not found.")),
    };
    let broke = identify(headers)?;
    let body: Map<String, Value> =
        serde_json::from_slice(body).map_err(|_| refuse(400, "The body is not a JSON object."))?;
    let model = body.get("model").and_then(Value::as_str).unwrap_or_default();
    let route = modes.iter().find_map(|mode| queue.route(model, *mode));
    let route = route.ok_or_else(|| invalid(&Flaw::new("model", "is not a model of this endpoint")))?;
    let order = Order::read(&body, &route, modes).map_err(|flaw| invalid(&flaw))?;
    if broke {
        return Err(refuse(400, "You do not have enough credits to run this task."));
    }
    Ok((Job::new(fresh_uuid(), route, order.work, order.price), order.prompt))
}

/// What a task costs, in hundredths of a dollar.
fn credits(job: &Job) -> i64 {
    job.billed.micros() / 10_000
}

async fn show(State(queue): State<Arc<Queue>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    if let Err(refusal) = identify(&headers) {
        return refusal.into_response();
    }
    let Some((job, fault)) = queue.poll(&id) else { return refuse(404, "The task was not found.").into_response() };
    if fault == Some(Fault::Garbage) {
        return mischief::garbage();
    }
    let mut task = json!({"id": job.id, "createdAt": job.created.rfc3339()});
    let base = format!("{}/{ID}/files", queue.world.base_url(&headers));
    let more = match (job.phase(), job.fate) {
        (Phase::Queued, _) => json!({"status": "PENDING", "estimatedCost": {"credits": credits(&job)}}),
        (Phase::Running, _) => {
            json!({"status": "RUNNING", "progress": 0.5, "estimatedCost": {"credits": credits(&job)}})
        }
        (Phase::Done, fate) => {
            let mut end = json!({"cost": {"credits": credits(&job)}});
            let (status, told) = match fate {
                Fate::Made => ("SUCCEEDED", None),
                Fate::Refused => {
                    let text = "The generation was stopped because its prompt did not pass content moderation.";
                    ("FAILED", Some((text, "SAFETY.INPUT.TEXT")))
                }
                Fate::Failed => ("FAILED", Some(("An unexpected error occurred.", "INTERNAL.BAD_OUTPUT.CODE01"))),
                Fate::Cancelled => ("CANCELLED", None),
            };
            end["status"] = status.into();
            if let Some((text, code)) = told {
                end["failure"] = text.into();
                end["failureCode"] = code.into();
            }
            if fate == Fate::Made {
                let files = if fault == Some(Fault::Empty) { Vec::new() } else { job.files() };
                end["output"] = files.iter().map(|name| format!("{base}/{name}")).collect();
            }
            end
        }
    };
    task.as_object_mut().into_iter().for_each(|task| task.extend(more.as_object().cloned().unwrap_or_default()));
    Json(task).into_response()
}

/// Gives up what is not finished. A finished task would be deleted; here it stays.
async fn remove(State(queue): State<Arc<Queue>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    if let Err(refusal) = identify(&headers) {
        return refusal.into_response();
    }
    match queue.cancel(&id, true) {
        Some(_) => StatusCode::NO_CONTENT.into_response(),
        None => refuse(404, "The task was not found.").into_response(),
    }
}

async fn file(State(queue): State<Arc<Queue>>, Path(name): Path<String>) -> Response {
    queue.file(&name).await
}
