//! Together's videos: jobs that are asked after, a link at the end.

use super::super::bill;
use super::super::body::{Fields, Flaw, picture};
use super::super::identity::fresh_uuid;
use super::super::mischief;
use super::super::queue::{Fate, Job, Phase, Queue, Work};
use super::super::sale::Why;
use super::super::steering::Fault;
use super::super::world::World;
use super::error::Refusal;
use super::{ID, is_broke};
use crate::catalog::{Route, SizeRule};
use crate::job::Mode;
use crate::media::Size;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub(super) fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/", post(create))
        .route("/{id}", get(show))
        .route("/{id}/file/{name}", get(file))
        .with_state(Arc::new(Queue::new(world, ID)))
}

fn complain(flaw: &Flaw) -> Refusal {
    Refusal::bad(Some(&flaw.field), format!("'{}' {}", flaw.field, flaw.message))
}

async fn create(State(queue): State<Arc<Queue>>, headers: HeaderMap, body: Bytes) -> Response {
    let (job, prompt) = match admit(&queue, &headers, &body) {
        Ok(admitted) => admitted,
        Err(refusal) => return queue.turn_away(refusal.into_response()),
    };
    let upstream = job.route.upstream.clone();
    let taken = queue.submit(job, &prompt, |why| match why {
        Why::Status(status) => Some(Refusal::of_status(status).into_response()),
        Why::Gone => Some(Refusal::no_model(&upstream).into_response()),
        Why::Refused | Why::Failed => None,
    });
    match taken.await {
        Ok(job) => Json(describe(&job, "", None)).into_response(),
        Err(answer) => answer,
    }
}

fn admit(queue: &Queue, headers: &HeaderMap, body: &[u8]) -> Result<(Job, String), Refusal> {
    let broke = is_broke(headers)?;
    let body: Map<String, Value> =
        serde_json::from_slice(body).map_err(|_| Refusal::bad(None, "The request body is not valid JSON."))?;
    let fields = Fields(&body);
    let model = fields.required("model", 200).map_err(|flaw| complain(&flaw))?;
    let mode = if body.contains_key("media") { Mode::ImageToVideo } else { Mode::TextToVideo };
    let route = queue.route(model, mode).ok_or_else(|| Refusal::no_model(model))?;
    if broke {
        return Err(Refusal::of_status(402));
    }
    let (prompt, seconds) = read(fields, &route).map_err(|flaw| complain(&flaw))?;
    let price = bill::video(&route.price, &body, seconds);
    Ok((Job::new(fresh_uuid(), route, Work::Video(seconds), price), prompt))
}

/// The prompt and the length.
fn read(fields: Fields<'_>, route: &Route) -> Result<(String, u32), Flaw> {
    let prompt = fields.required("prompt", route.max_prompt.unwrap_or(32_000))?.to_owned();
    check_frames(fields, route)?;
    check_size(fields, route)?;
    fields.whole("fps", 1..=60)?;
    fields.whole("steps", 10..=50)?;
    fields.one_of("output_format", &["MP4", "WEBM"])?;
    Ok((prompt, read_seconds(fields, route)?))
}

/// Pictures in base64, each at its end of the video.
fn check_frames(fields: Fields<'_>, route: &Route) -> Result<(), Flaw> {
    let Some(media) = fields.object("media")? else { return Ok(()) };
    let most = route.inputs.as_ref().map_or(0, |inputs| inputs.max);
    for frame in media.list("frame_images", most)? {
        let frame = frame.as_object().map(Fields).ok_or_else(|| Flaw::new("frame_images", "must hold objects"))?;
        picture("input_image", frame.required("input_image", usize::MAX)?)?;
        frame.one_of("frame", &["first", "last"])?;
    }
    Ok(())
}

/// One of the model's sizes, when one is said.
fn check_size(fields: Fields<'_>, route: &Route) -> Result<(), Flaw> {
    let (width, height) = (fields.whole("width", 1..=8_192)?, fields.whole("height", 1..=8_192)?);
    match (width, height, &route.size) {
        (Some(width), Some(height), SizeRule::List { sizes, .. }) if !sizes.contains(&Size::new(width, height)) => Err(
            Flaw::new("width", format!("and 'height' are {width}x{height}, which the selected model does not make")),
        ),
        _ => Ok(()),
    }
}

/// The length is a text, one of the model's.
fn read_seconds(fields: Fields<'_>, route: &Route) -> Result<u32, Flaw> {
    let video = route.video.as_ref();
    let lengths: Vec<String> = video.map_or(&[][..], |video| &video.seconds).iter().map(u32::to_string).collect();
    let names: Vec<&str> = lengths.iter().map(String::as_str).collect();
    let said = fields.one_of("seconds", &names)?.and_then(|text| text.parse().ok());
    Ok(said.unwrap_or_else(|| video.map_or(0, |video| video.default)))
}

fn describe(job: &Job, base: &str, fault: Option<Fault>) -> Value {
    let done = job.phase() == Phase::Done;
    let mut shown = json!({
        "id": job.id, "object": "video", "model": job.route.upstream, "created_at": job.created.seconds(),
        "status": match (job.phase(), job.fate) {
            (Phase::Queued, _) => "queued",
            (Phase::Running, _) => "in_progress",
            (Phase::Done, Fate::Made) => "completed",
            (Phase::Done, _) => "failed",
        },
    });
    match job.fate {
        Fate::Made if done => {
            let link = job.files().first().map(|name| format!("{base}/{}/file/{name}", job.id));
            let cost = job.billed.as_number();
            shown["outputs"] = json!({"cost": cost, "video_url": link.filter(|_| fault.is_none())});
        }
        Fate::Refused if done => {
            let text = "The request was rejected by the model provider's content policy.";
            shown["error"] = json!({"code": "content_policy_violation", "message": text});
        }
        _ if done => shown["error"] = json!({"code": "server_error", "message": "Video generation failed"}),
        _ => {}
    }
    shown
}

async fn show(State(queue): State<Arc<Queue>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    if let Err(refusal) = is_broke(&headers) {
        return refusal.into_response();
    }
    let Some((job, fault)) = queue.poll(&id) else { return Refusal::of_status(404).into_response() };
    if fault == Some(Fault::Garbage) {
        return mischief::garbage();
    }
    let base = format!("{}/{ID}/v2/videos", queue.world.base_url(&headers));
    Json(describe(&job, &base, fault)).into_response()
}

async fn file(State(queue): State<Arc<Queue>>, Path((_, name)): Path<(String, String)>) -> Response {
    queue.file(&name).await
}
