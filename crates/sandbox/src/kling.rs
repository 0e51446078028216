//! Kling, after its API reference (<https://app.klingai.com/global/dev/document-api>) as read through public mirrors in
//! 2026-11.
//!
//! Simulated: keys and tokens (algorithm and times; the secret is not known here, so a signature is taken on trust),
//! text, picture and omni endpoints of both generations with the fields that our catalog uses, codes under their
//! statuses, states in order, queries by path and by `task_ids`, unit deductions, links. Not simulated: elements,
//! voices, shots, video references, motion control, effects, masks, callbacks, lists, limits of its own.

mod first;
mod second;

use super::body::{Flaw, Refusal};
use super::identity::{Key, fresh_uuid, read_key};
use super::mischief;
use super::queue::{Fate, Job, Phase, Queue, Work};
use super::sale::Why;
use super::steering::Fault;
use super::world::World;
use crate::base::{Timestamp, Usd};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The provider's id.
pub(super) const ID: &str = "kling";

pub(super) fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/files/{name}", get(file))
        .route("/tasks", get(query))
        .route("/{*path}", get(show).post(create))
        .with_state(Arc::new(Queue::new(world, ID)))
}

/// A legal call.
struct Order {
    prompt: String,
    work: Work,
    price: Usd,
}

fn refuse(code: u16, message: &str) -> Refusal {
    let status = match code {
        1000..=1004 => 401,
        1100..=1102 | 1302..=1304 => 429,
        1103 => 403,
        1202 | 1203 => 404,
        1200..=1301 => 400,
        5001 => 503,
        5002 => 504,
        _ => 500,
    };
    told(status, code, message)
}

fn told(status: u16, code: u16, message: &str) -> Refusal {
    Refusal(status, json!({"code": code, "message": message, "request_id": fresh_uuid()}))
}

/// A status of its own, with the code nearest to it.
fn of_status(status: u16) -> Refusal {
    let (code, message) = match status {
        401 => (1002, "access key not found"),
        402 => (1102, "resource pack exhausted or expired"),
        403 => (1103, "no permission"),
        404 => (1203, "the requested resource does not exist"),
        429 => (1302, "request too fast"),
        503 => (5001, "under maintenance"),
        408 | 504 | 524 => (5002, "internal timeout"),
        400..=499 => (1201, "invalid parameter"),
        _ => (5000, "internal error"),
    };
    told(status, code, message)
}

fn invalid(flaw: &Flaw) -> Refusal {
    refuse(1201, &format!("{} {}", flaw.field, flaw.message))
}

/// Whether the key's account is out of money, when the key is known at all. A token says whose it is.
fn identify(headers: &HeaderMap) -> Result<bool, Refusal> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    if let Some(claims) = bearer.and_then(claims_of) {
        let now = Timestamp::now().seconds();
        if claims["nbf"].as_i64().is_some_and(|from| from > now) {
            return Err(refuse(1003, "authorization is not yet valid"));
        }
        if claims["exp"].as_i64().is_none_or(|until| until <= now) {
            return Err(refuse(1004, "authorization has expired"));
        }
        let access = claims["iss"].as_str().unwrap_or_default();
        return match access {
            _ if access.contains("bad") || access.contains("invalid") => Err(refuse(1002, "access key not found")),
            _ => Ok(access.contains("broke")),
        };
    }
    match read_key(headers, "bearer") {
        Key::Missing => Err(refuse(1001, "authorization is empty")),
        Key::Unknown(_) => Err(refuse(1002, "access key not found")),
        Key::Broke => Ok(true),
        Key::Good => Ok(false),
    }
}

/// The claims of a token that says it is signed as Kling wants it.
fn claims_of(token: &str) -> Option<Value> {
    let mut parts = token.split('.').map(|part| base64_simd::URL_SAFE_NO_PAD.decode_to_vec(part).ok());
    let head: Value = serde_json::from_slice(&parts.next()??).ok()?;
    let claims = serde_json::from_slice(&parts.next()??).ok()?;
    let signature = parts.next()??;
    (head["alg"] == "HS256" && signature.len() == 32).then_some(claims)
}

async fn create(
    State(queue): State<Arc<Queue>>,
    Path(path): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (job, prompt) = match admit(&queue, &path, &headers, &body) {
        Ok(admitted) => admitted,
        Err(refusal) => return queue.turn_away(refusal.into_response()),
    };
    let taken = queue.submit(job, &prompt, |why| match why {
        Why::Status(status) => Some(of_status(status).into_response()),
        Why::Gone => Some(refuse(1203, "the requested model does not exist").into_response()),
        Why::Refused => Some(refuse(1301, "the request triggered the content security policy").into_response()),
        Why::Failed => None,
    });
    let show = if path.starts_with("v1/") { first::show } else { second::show };
    match taken.await {
        Ok(job) => succeed(&show(&job, "", None)),
        Err(answer) => answer,
    }
}

fn admit(queue: &Queue, path: &str, headers: &HeaderMap, body: &[u8]) -> Result<(Job, String), Refusal> {
    let broke = identify(headers)?;
    let body: Map<String, Value> =
        serde_json::from_slice(body).map_err(|_| refuse(1200, "the body is not a JSON object"))?;
    let read = if path.starts_with("v1/") { first::read } else { second::read };
    let Some((order, route)) = read(path, &body, queue).map_err(|flaw| invalid(&flaw))? else {
        return Err(refuse(1203, "the requested resource does not exist"));
    };
    if broke {
        return Err(refuse(1102, "resource pack exhausted or expired"));
    }
    let own = body.get("external_task_id").or_else(|| body.get("options")?.get("external_task_id"));
    let mut job = Job::new(fresh_uuid(), route, order.work, order.price);
    job.order = own.and_then(Value::as_str).map(str::to_owned);
    Ok((job, order.prompt))
}

fn succeed(data: &Value) -> Response {
    Json(json!({"code": 0, "message": "SUCCEED", "request_id": fresh_uuid(), "data": data})).into_response()
}

/// `GET /v1/…/{task_id}`, or with the caller's own id
async fn show(State(queue): State<Arc<Queue>>, Path(path): Path<String>, headers: HeaderMap) -> Response {
    let id = path.rsplit('/').next().unwrap_or_default();
    tell(&queue, id, &headers, first::show)
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    task_ids: String,
    #[serde(default)]
    external_task_ids: String,
}

/// `GET /tasks?task_ids=`, or `external_task_ids`
async fn query(State(queue): State<Arc<Queue>>, Query(asked): Query<Asked>, headers: HeaderMap) -> Response {
    let id = if asked.task_ids.is_empty() { asked.external_task_ids } else { asked.task_ids };
    tell(&queue, &id, &headers, |job, base, fault| json!([second::show(job, base, fault)]))
}

fn tell(queue: &Queue, id: &str, headers: &HeaderMap, show: impl Fn(&Job, &str, Option<Fault>) -> Value) -> Response {
    if let Err(refusal) = identify(headers) {
        return refusal.into_response();
    }
    let Some((job, fault)) = queue.poll(id) else { return refuse(1203, "the task does not exist").into_response() };
    if fault == Some(Fault::Garbage) {
        return mischief::garbage();
    }
    let base = format!("{}/{ID}/files", queue.world.base_url(headers));
    succeed(&show(&job, &base, fault))
}

/// The links of a finished job.
fn links(job: &Job, base: &str, fault: Option<Fault>) -> Vec<String> {
    let made = job.fate == Fate::Made && job.phase() == Phase::Done && fault != Some(Fault::Empty);
    if made { job.files().iter().map(|name| format!("{base}/{name}")).collect() } else { Vec::new() }
}

async fn file(State(queue): State<Arc<Queue>>, Path(name): Path<String>) -> Response {
    queue.file(&name).await
}
