//! Luma's Dream Machine API, after <https://docs.lumalabs.ai/docs/api> and the types of its SDK 1.21.0, as read in
//! 2026-11.
//!
//! Simulated: bearer keys, `POST /generations/image` and `/generations/video` from text, 201, states in order, the
//! request told back, failures with a reason, links. Not simulated: pictures and videos to work from (links are taken
//! on trust and change nothing), `sync`, upscaling, sound, reframing, concepts, credits.

use super::bill;
use super::body::{Fields, Flaw, Refusal};
use super::easel::Motif;
use super::identity::{Key, fresh_uuid, read_key};
use super::mischief;
use super::queue::{Fate, Job, Phase, Queue, Work};
use super::sale::Why;
use super::steering::Fault;
use super::world::World;
use crate::job::Mode;
use crate::media::{Format, Ratio, Size};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The provider's id.
pub(super) const ID: &str = "luma-dream-machine";

const SHAPES: [&str; 7] = ["1:1", "16:9", "9:16", "4:3", "3:4", "21:9", "9:21"];

pub(super) fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/generations/{id}", post(create).get(show))
        .route("/files/{name}", get(file))
        .with_state(Arc::new(Queue::new(world, ID)))
}

fn refuse(status: u16, detail: &str) -> Refusal {
    Refusal(status, json!({"detail": detail}))
}

/// Pydantic's complaint.
fn invalid(flaw: &Flaw) -> Refusal {
    let detail = json!([{"type": "value_error", "loc": ["body", flaw.field], "msg": flaw.message, "input": null}]);
    Refusal(400, json!({"detail": detail}))
}

/// Whether the key's account is out of money, when the key is known at all.
fn identify(headers: &HeaderMap) -> Result<bool, Refusal> {
    match read_key(headers, "bearer") {
        Key::Missing | Key::Unknown(_) => Err(refuse(403, "Not authenticated")),
        Key::Broke => Ok(true),
        Key::Good => Ok(false),
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
        Why::Status(status) => Some(refuse(status, "An error was asked for").into_response()),
        Why::Gone => Some(refuse(404, "Model not found").into_response()),
        Why::Refused | Why::Failed => None,
    });
    match taken.await {
        Ok(job) => (StatusCode::CREATED, Json(describe(&job, "", None))).into_response(),
        Err(answer) => answer,
    }
}

fn admit(queue: &Queue, kind: &str, headers: &HeaderMap, body: &[u8]) -> Result<(Job, String), Refusal> {
    let mode = match kind {
        "image" => Mode::TextToImage,
        "video" => Mode::TextToVideo,
        _ => return Err(refuse(404, "Not Found")),
    };
    let broke = identify(headers)?;
    let body: Map<String, Value> = serde_json::from_slice(body).map_err(|_| refuse(400, "Invalid JSON"))?;
    let fields = Fields(&body);
    let read = || -> Result<(Job, String), Flaw> {
        let model = fields.required("model", 100)?;
        let route = queue.route(model, mode).ok_or_else(|| Flaw::new("model", "Input should be a known model"))?;
        let prompt = fields.required("prompt", 5_000)?.to_owned();
        let shape = fields.one_of("aspect_ratio", &SHAPES)?.unwrap_or("16:9");
        let (work, price) = if mode == Mode::TextToImage {
            let format = match fields.one_of("format", &["jpg", "png"])? {
                Some("png") => Format::Png,
                _ => Format::Jpeg,
            };
            let size = Size::of_ratio(Ratio::parse(shape).map_or(1.0, |ratio| ratio.value()), 1024.0);
            let motif = Motif { prompt: prompt.as_str().into(), index: 0, size, format, black: false };
            (Work::Pictures(vec![motif]), bill::price(&route.price, &body, size, 1))
        } else {
            fields.one_of("resolution", &["540p", "720p", "1080p", "4k"])?;
            fields.flag("loop")?;
            let seconds = if fields.one_of("duration", &["5s", "9s"])? == Some("9s") { 9 } else { 5 };
            (Work::Video(seconds), bill::video(&route.price, &body, seconds))
        };
        Ok((Job::new(fresh_uuid(), route, work, price), prompt))
    };
    let read = read().map_err(|flaw| invalid(&flaw))?;
    if broke { Err(refuse(402, "Insufficient credits")) } else { Ok(read) }
}

fn describe(job: &Job, base: &str, fault: Option<Fault>) -> Value {
    let kind = if matches!(job.work, Work::Video(_)) { "video" } else { "image" };
    let mut object = json!({
        "id": job.id, "generation_type": kind, "model": job.route.upstream, "created_at": job.created.rfc3339(),
        "assets": null, "failure_reason": null, "request": {"generation_type": kind, "model": job.route.upstream},
    });
    object["state"] = match (job.phase(), job.fate) {
        (Phase::Queued, _) => "queued",
        (Phase::Running, _) => "dreaming",
        (Phase::Done, Fate::Made) => "completed",
        (Phase::Done, _) => "failed",
    }
    .into();
    match (job.phase(), job.fate) {
        (Phase::Done, Fate::Made) => {
            let link = job.files().first().map(|name| format!("{base}/{name}")).filter(|_| fault.is_none());
            object["assets"] = json!({"image": null, "video": null, "progress_video": null});
            object["assets"][kind] = link.into();
        }
        (Phase::Done, Fate::Refused) => object["failure_reason"] = "400: prompt not allowed by moderation".into(),
        (Phase::Done, Fate::Failed) => object["failure_reason"] = "500: internal error".into(),
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
    Json(describe(&job, &base, fault)).into_response()
}

async fn file(State(queue): State<Arc<Queue>>, Path(name): Path<String>) -> Response {
    queue.file(&name).await
}
