//! fal.ai's queue, after its documentation, both SDKs and the generated model schemas as read in 2026-11
//! (<https://docs.fal.ai/model-apis/model-endpoints/queue>).
//!
//! Simulated: `Key` authorization, submit, status, result and cancel with the two-segment path rule, result files on a
//! public CDN, data URIs in `sync_mode`, pydantic's complaints, both ways of refusing, billable units. Bad input is
//! found by the runner, so it is accepted, `COMPLETED`, and told by the result (as the live API was seen to do in
//! TanStack/ai pull request 396, 2026-03). Input pictures are looked at when they are data URIs; links are taken on
//! trust, since nothing here goes out. Not simulated: webhooks (ignored), status streams, the blocking host, uploads,
//! per-request headers, retries by the platform, and most fields that do not change what is made. The second half of a
//! job's polls finds it running, the first half in the queue; an early fetch counts as a poll.

mod endpoint;
mod error;
mod inputs;
mod job;
mod meter;
mod request;
mod result;

use super::book::{Entry, Operation};
use super::identity::{Key, read_key};
use super::mischief;
use super::sale::{Sale, turn_away};
use super::world::World;
use crate::base::Usd;
use crate::catalog::Route;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use error::Refusal;
use job::{Fate, Job, Jobs, Phase};
use request::Order;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The provider's id.
pub(super) const ID: &str = "fal";

/// The queue.
struct Queue {
    world: Arc<World>,
    jobs: Jobs,
}

pub(super) fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/files/{name}", get(result::file))
        .route("/{*path}", post(submit).get(follow).put(cancel))
        .with_state(Arc::new(Queue { world, jobs: Jobs::default() }))
}

async fn submit(
    State(queue): State<Arc<Queue>>,
    Path(endpoint): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let world = &queue.world;
    let (route, input) = match admit(world, &endpoint, &headers, &body) {
        Ok(admitted) => admitted,
        Err(refusal) => return turn_away(world, ID, Some(&endpoint), refusal.into_response()),
    };
    let sale = Sale::of_job(world, ID, &route);
    let refusal = sale.refusal(Refusal::of_status, || Refusal::no_app(&endpoint));
    let job = enqueue(route, &input, &sale);
    let accepted = describe(&job, &base(&queue, &headers), &Phase::Queued);
    if sale.take(refusal.as_ref(), &job.id, job.billed) {
        queue.jobs.add(job);
    }
    sale.instead(refusal).await.unwrap_or_else(|| Json(accepted).into_response())
}

/// Key, endpoint, money, JSON: what the ingress looks at. It does not look at the input.
fn admit(
    world: &World,
    endpoint: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(Arc<Route>, Map<String, Value>), Refusal> {
    let broke = identify(headers)?;
    let route = world.route(ID, endpoint).ok_or_else(|| Refusal::no_app(endpoint))?;
    if broke {
        return Err(Refusal::no_money());
    }
    let input = serde_json::from_slice(body).map_err(|_| Refusal::not_json())?;
    Ok((route, input))
}

/// Whether the key's account is out of money, when the key is known at all.
fn identify(headers: &HeaderMap) -> Result<bool, Refusal> {
    match read_key(headers, "key") {
        Key::Missing => Err(Refusal::no_key()),
        Key::Unknown(_) => Err(Refusal::wrong_key()),
        Key::Broke => Ok(true),
        Key::Good => Ok(false),
    }
}

/// The job, its fate and its bill. 5xx, refusals before the model ran and bad input cost nothing; a picture that the
/// safety checker blackened was made.
fn enqueue(route: Arc<Route>, input: &Map<String, Value>, sale: &Sale<'_>) -> Job {
    let (order, fate) = match Order::read(input, &route) {
        Err(complaints) => (Order::default(), Fate::Invalid(complaints)),
        Ok(order) => {
            let fate = match (sale.refuses(&order.prompt), order.prompt.contains("[fail]")) {
                (true, _) if endpoint::open_weights(&route) && order.seconds.is_none() => Fate::Blackened,
                (true, _) => Fate::Refused,
                (false, true) => Fate::Failed,
                (false, false) => Fate::Made,
            };
            (order, fate)
        }
    };
    let runs = matches!(fate, Fate::Made | Fate::Blackened);
    let mut job = Job::new(route, order, fate);
    if runs {
        (job.units, job.billed) = meter::read(&job.route, input, &job.order);
    }
    (job.polls, job.latency) = sale.pace();
    job
}

/// Where the queue is, as this client calls it.
fn base(queue: &Queue, headers: &HeaderMap) -> String {
    format!("{}/{ID}", queue.world.base_url(headers))
}

/// A queue object.
fn describe(job: &Job, base: &str, phase: &Phase) -> Value {
    let url = format!("{base}/{}/requests/{}", job.app(), job.id);
    let mut object = json!({
        "status": phase.name(),
        "request_id": job.id,
        "response_url": url,
        "status_url": format!("{url}/status"),
        "cancel_url": format!("{url}/cancel"),
    });
    if *phase == Phase::Queued {
        object["queue_position"] = 0.into();
    }
    object
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    logs: Option<String>,
}

/// `GET {owner}/{app}/requests/{id}[/status]`
async fn follow(
    State(queue): State<Arc<Queue>>,
    Path(path): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Response {
    let Some((app, id, what)) = split(&path) else { return Refusal::no_path().into_response() };
    let operation = match what {
        "" | "response" => Operation::Fetch,
        "status" => Operation::Poll,
        _ => return Refusal::no_path().into_response(),
    };
    let found = match identify(&headers) {
        Err(refusal) => Err(refusal),
        Ok(_) => queue.jobs.advance(id, app).ok_or_else(Refusal::no_request),
    };
    let (job, phase) = match found {
        Ok(found) => found,
        Err(refusal) => {
            queue.world.book.write(Entry::new(ID, operation, refusal.status.as_u16()).job(id));
            return refusal.into_response();
        }
    };
    let base = base(&queue, &headers);
    let response = match operation {
        Operation::Poll => status(
            &job,
            &phase,
            &base,
            asked.logs.is_some_and(|logs| !matches!(logs.as_str(), "0" | "false" | "False")),
        ),
        _ => result::tell(&queue.world, &job, &phase, &base).await,
    };
    write(&queue, operation, &job, response.status());
    sign(response, &job)
}

/// `(owner/app, id, rest)`
fn split(path: &str) -> Option<(&str, &str, &str)> {
    let (app, rest) = path.split_once("/requests/")?;
    let (id, what) = rest.split_once('/').unwrap_or((rest, ""));
    Some((app, id, what))
}

fn write(queue: &Queue, operation: Operation, job: &Job, status: StatusCode) {
    queue.world.book.write(Entry::new(ID, operation, status.as_u16()).model(&job.route.upstream).job(&job.id));
}

fn sign(mut response: Response, job: &Job) -> Response {
    mischief::put(&mut response, "x-fal-request-id", &job.id);
    response
}

fn status(job: &Job, phase: &Phase, base: &str, logs: bool) -> Response {
    let mut object = describe(job, base, phase);
    object["logs"] = if logs { json!([]) } else { Value::Null };
    if *phase != Phase::Done {
        return (StatusCode::ACCEPTED, Json(object)).into_response();
    }
    object["metrics"] = json!({"inference_time": job.seconds()});
    if let Some((error, kind)) = job.fate.complaint() {
        object["error"] = error.into();
        object["error_type"] = kind.into();
    }
    Json(object).into_response()
}

/// `PUT {owner}/{app}/requests/{id}/cancel`. A job in the queue is given up and not billed; a running one finishes.
async fn cancel(State(queue): State<Arc<Queue>>, Path(path): Path<String>, headers: HeaderMap) -> Response {
    let Some((app, id, "cancel")) = split(&path) else { return Refusal::no_path().into_response() };
    if let Err(refusal) = identify(&headers) {
        queue.world.book.write(Entry::new(ID, Operation::Cancel, refusal.status.as_u16()).job(id));
        return refusal.into_response();
    }
    let (status, text, refund) = match queue.jobs.cancel(id, app) {
        None => (StatusCode::NOT_FOUND, "NOT_FOUND", Usd::ZERO),
        Some((Phase::Done, _)) => (StatusCode::BAD_REQUEST, "ALREADY_COMPLETED", Usd::ZERO),
        Some((_, refund)) => (StatusCode::ACCEPTED, "CANCELLATION_REQUESTED", refund),
    };
    let billed = Usd::from_micros(-refund.micros());
    queue.world.book.write(Entry::new(ID, Operation::Cancel, status.as_u16()).job(id).billed(billed));
    (status, Json(json!({"status": text}))).into_response()
}
