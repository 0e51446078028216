//! Videos, in both versions of the API. The older one tells failures as HTTP 200 with a `base_resp`, names a file and
//! has its link fetched; the newer one has statuses, says the link itself, and can be cancelled while a task waits.

use super::super::bill;
use super::super::body::{Fields, Flaw, address};
use super::super::identity::{Key, fresh_hex, read_key};
use super::super::mischief;
use super::super::queue::{Fate, Job, Phase, Queue, Work};
use super::super::sale::Why;
use super::super::steering::Fault;
use super::super::world::World;
use super::{ID, Refusal};
use crate::job::Mode;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub(super) fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/v1/video_generation", post(create))
        .route("/v1/query/video_generation", get(show))
        .route("/v1/files/retrieve", get(retrieve))
        .route("/v2/video_generation", post(create_newer))
        .route("/v2/query/video_generation/{id}", get(show_newer))
        .route("/v2/video_generation/{id}", delete(cancel))
        .route("/videos/{name}", get(file))
        .with_state(Arc::new(Queue::new(world, ID)))
}

/// The code that the key deserves; whether its account is out of money.
fn identify(headers: &HeaderMap) -> Result<bool, Refusal> {
    match read_key(headers, "bearer") {
        Key::Missing => Err(Refusal { status: StatusCode::OK, ..Refusal::of_status(401) }),
        Key::Unknown(_) => Err(Refusal::new(2049, "invalid api key")),
        Key::Broke => Ok(true),
        Key::Good => Ok(false),
    }
}

fn invalid(flaw: &Flaw) -> Refusal {
    Refusal::new(2013, format!("invalid params, {} {}", flaw.field, flaw.message))
}

/// Key, body, then what `read` makes of it, then money.
fn admit(
    headers: &HeaderMap,
    body: &[u8],
    read: impl Fn(&Map<String, Value>) -> Result<(Job, String), Flaw>,
) -> Result<(Job, String), Refusal> {
    let broke = identify(headers)?;
    let body: Map<String, Value> =
        serde_json::from_slice(body).map_err(|_| Refusal::new(2013, "invalid params, not a JSON object"))?;
    let read = read(&body).map_err(|flaw| invalid(&flaw))?;
    if broke { Err(Refusal::new(1008, "insufficient balance")) } else { Ok(read) }
}

/// Tasks are numbers, written as texts.
fn fresh_number() -> String {
    u64::from_str_radix(&fresh_hex()[..12], 16).unwrap_or_default().to_string()
}

fn success(more: Value) -> Response {
    let mut answer = more;
    answer["base_resp"] = json!({"status_code": 0, "status_msg": "success"});
    Json(answer).into_response()
}

// --- the older version ---------------------------------------------------------------------------------------------

async fn create(State(queue): State<Arc<Queue>>, headers: HeaderMap, body: Bytes) -> Response {
    let (job, prompt) = match admit(&headers, &body, |body| read(&queue, body)) {
        Ok(admitted) => admitted,
        Err(refusal) => return queue.turn_away(refusal.into_response()),
    };
    let taken = queue.submit(job, &prompt, |why| match why {
        Why::Status(status) => Some(Refusal::of_status(status).into_response()),
        Why::Gone => Some(Refusal::new(2013, "invalid params, unknown model").into_response()),
        Why::Refused => Some(Refusal::new(1026, "video description contains sensitive content").into_response()),
        Why::Failed => None,
    });
    match taken.await {
        Ok(job) => success(json!({"task_id": job.id})),
        Err(answer) => answer,
    }
}

fn read(queue: &Queue, body: &Map<String, Value>) -> Result<(Job, String), Flaw> {
    let fields = Fields(body);
    let framed = body.contains_key("first_frame_image");
    let mode = if framed { Mode::ImageToVideo } else { Mode::TextToVideo };
    let model = fields.text("model")?.unwrap_or_default();
    let route = queue.route(model, mode).ok_or_else(|| Flaw::new("model", "is unknown or wants a first frame"))?;
    let prompt = fields.required("prompt", 2_000)?;
    for field in ["first_frame_image", "last_frame_image"] {
        body.get(field).map_or(Ok(()), |image| address(field, image))?;
    }
    if body.contains_key("last_frame_image") && !model.contains("Hailuo-02") {
        return Err(Flaw::new("last_frame_image", "is not supported by this model"));
    }
    let tiers: &[&str] =
        if model.contains("Hailuo-02") && framed { &["512P", "768P", "1080P"] } else { &["768P", "1080P"] };
    let resolution = fields.one_of("resolution", tiers)?.unwrap_or("768P");
    let seconds = fields.whole("duration", 6..=10)?.unwrap_or(6);
    if ![6, 10].contains(&seconds) || (resolution == "1080P" && seconds == 10) {
        return Err(Flaw::new("duration", "is not supported in this resolution"));
    }
    let price = bill::video(&route.price, body, seconds);
    Ok((Job::new(fresh_number(), route, Work::Video(seconds), price), prompt.to_owned()))
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    task_id: String,
    #[serde(default)]
    file_id: String,
}

async fn show(State(queue): State<Arc<Queue>>, Query(asked): Query<Asked>, headers: HeaderMap) -> Response {
    if let Err(refusal) = identify(&headers) {
        return refusal.into_response();
    }
    let Some((job, fault)) = queue.poll(&asked.task_id) else {
        return Refusal::new(2013, "invalid params, task_id not found").into_response();
    };
    if fault == Some(Fault::Garbage) {
        return mischief::garbage();
    }
    let status = match (job.phase(), job.fate) {
        (Phase::Queued, _) => "Queueing",
        (Phase::Running, _) => "Processing",
        (Phase::Done, Fate::Made) => "Success",
        (Phase::Done, _) => "Fail",
    };
    let made = status == "Success" && fault != Some(Fault::Empty);
    let file = if made { job.id.as_str() } else { "" };
    success(json!({"task_id": job.id, "status": status, "file_id": file, "video_width": 1366, "video_height": 768}))
}

/// The link of a finished file.
async fn retrieve(State(queue): State<Arc<Queue>>, Query(asked): Query<Asked>, headers: HeaderMap) -> Response {
    if let Err(refusal) = identify(&headers) {
        return refusal.into_response();
    }
    let Some(job) = queue.look(&asked.file_id) else {
        return Refusal::new(2013, "invalid params, file_id not found").into_response();
    };
    let link = link(&queue, &job, &headers);
    success(json!({"file": {"file_id": job.id, "bytes": 0, "purpose": "video_generation", "download_url": link}}))
}

fn link(queue: &Queue, job: &Job, headers: &HeaderMap) -> Option<String> {
    let base = format!("{}/{ID}/videos", queue.world.base_url(headers));
    job.files().first().map(|name| format!("{base}/{name}"))
}

async fn file(State(queue): State<Arc<Queue>>, Path(name): Path<String>) -> Response {
    queue.file(&name).await
}

// --- the newer version ---------------------------------------------------------------------------------------------

/// The newer envelope: a status, a kind of it, and the code at the end of the text.
fn newer(refusal: &Refusal) -> Response {
    let (status, kind) = match (refusal.code, refusal.status.as_u16()) {
        (1004 | 2049, _) => (401, "authorized_error"),
        (1008, _) => (402, "insufficient_balance_error"),
        (1026 | 1027, _) => (422, "unprocessable_entity_error"),
        (1002, _) => (429, "rate_limit_error"),
        (2013, 200 | 400) => (400, "bad_request_error"),
        (_, 200) => (500, "server_error"),
        (_, told) => (told, "server_error"),
    };
    let error = json!({"type": kind, "message": format!("{} ({})", refusal.message, refusal.code),
        "http_code": status.to_string()});
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(json!({"type": "error", "error": error, "request_id": fresh_hex()}))).into_response()
}

async fn create_newer(State(queue): State<Arc<Queue>>, headers: HeaderMap, body: Bytes) -> Response {
    let (job, prompt) = match admit(&headers, &body, |body| read_newer(&queue, body)) {
        Ok(admitted) => admitted,
        Err(refusal) => return queue.turn_away(newer(&refusal)),
    };
    let taken = queue.submit(job, &prompt, |why| match why {
        Why::Status(status) => Some(newer(&Refusal::of_status(status))),
        Why::Gone => Some(newer(&Refusal::new(2013, "invalid params, unknown model"))),
        Why::Refused => Some(newer(&Refusal::new(1026, "video description contains sensitive content"))),
        Why::Failed => None,
    });
    match taken.await {
        Ok(job) => Json(json!({"task_id": job.id})).into_response(),
        Err(answer) => answer,
    }
}

fn read_newer(queue: &Queue, body: &Map<String, Value>) -> Result<(Job, String), Flaw> {
    let fields = Fields(body);
    let (mut prompt, mut frames) = ("", 0);
    for part in fields.list("content", 16)? {
        match part["type"].as_str() {
            Some("text") => prompt = part["text"].as_str().unwrap_or_default(),
            Some("image_url") if ["first_frame", "last_frame"].iter().any(|role| part["role"] == *role) => {
                address("content", &part["image_url"]["url"])?;
                frames += 1;
            }
            _ => return Err(Flaw::new("content", "has an item that is not simulated")),
        }
    }
    if prompt.is_empty() {
        return Err(Flaw::new("content", "must include a non-empty text item (prompt is required)"));
    }
    let mode = if frames == 0 { Mode::TextToVideo } else { Mode::ImageToVideo };
    let model = fields.text("model")?.unwrap_or_default();
    let route = queue.route(model, mode).ok_or_else(|| Flaw::new("model", "is unknown"))?;
    let (tiers, least): (&[&str], u32) =
        if model == "MiniMax-H3" { (&["768P", "2K"], 4) } else { (&["480P", "768P"], 5) };
    fields.one_of("resolution", tiers)?;
    let ratio = fields.one_of("ratio", &["adaptive", "21:9", "16:9", "4:3", "1:1", "3:4", "9:16"])?;
    if frames == 0 && ratio.is_none_or(|ratio| ratio == "adaptive") {
        return Err(Flaw::new("ratio", "is required for text-to-video, and not adaptive"));
    }
    let seconds = fields.whole("duration", least..=15)?.unwrap_or(5);
    let price = bill::video(&route.price, body, seconds);
    Ok((Job::new(fresh_number(), route, Work::Video(seconds), price), prompt.to_owned()))
}

async fn show_newer(State(queue): State<Arc<Queue>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    if let Err(refusal) = identify(&headers) {
        return newer(&refusal);
    }
    let Some((job, fault)) = queue.poll(&id) else { return newer(&Refusal::new(2013, "record not found")) };
    if fault == Some(Fault::Garbage) {
        return mischief::garbage();
    }
    let seconds = if let Work::Video(seconds) = job.work { seconds } else { 0 };
    let mut task = json!({"id": job.id, "model": job.route.upstream, "duration": seconds});
    task["status"] = match (job.phase(), job.fate) {
        (Phase::Queued, _) => "queued",
        (Phase::Running, _) => "running",
        (Phase::Done, Fate::Made) => "succeeded",
        (Phase::Done, Fate::Cancelled) => "cancelled",
        (Phase::Done, _) => "failed",
    }
    .into();
    match (job.phase(), job.fate) {
        (Phase::Done, Fate::Made) => {
            let link = link(&queue, &job, &headers).filter(|_| fault != Some(Fault::Empty));
            task["content"] = json!({"url": link});
            task["usage"] = json!({"total_seconds": seconds, "input_seconds": 0, "output_seconds": seconds});
        }
        (Phase::Done, Fate::Failed) => task["error"] = json!({"code": "1000", "message": "internal error"}),
        _ => {}
    }
    Json(json!({"task": task})).into_response()
}

/// Gives up a task that waits, without a charge; a running one cannot be stopped.
async fn cancel(State(queue): State<Arc<Queue>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    if let Err(refusal) = identify(&headers) {
        return newer(&refusal);
    }
    match queue.cancel(&id, false) {
        None => newer(&Refusal::new(2013, "record not found")),
        Some(Phase::Running) => newer(&Refusal::new(2013, "a running task cannot be cancelled")),
        Some(phase) => {
            let action = if phase == Phase::Queued { "cancelled" } else { "deleted" };
            Json(json!({"task_id": id, "action": action})).into_response()
        }
    }
}
