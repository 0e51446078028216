//! Videos: a job that is asked for by its id. The first half of its polls may find nothing to say, as 202 without a body.

use super::super::book::{Entry, Operation};
use super::super::clip::clip;
use super::super::identity::fresh_uuid;
use super::super::mischief;
use super::super::steering::{Fault, Rule};
use super::error::Refusal;
use super::request::Film;
use super::{Desk, ID, identify, price};
use crate::catalog::Route;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How many polls find a job unfinished unless a rule says otherwise.
const POLLS: u32 = 2;

/// One video in the making.
#[derive(Debug, Clone)]
pub(super) struct Job {
    film: Film,
    route: Arc<Route>,
    fate: Fate,
    ticks: u64,
    polls: u32,
    polled: u32,
    latency: Duration,
    born: Instant,
}

impl Job {
    /// Somebody asks after it.
    fn look(&mut self) -> Self {
        self.polled = self.polled.saturating_add(1);
        self.clone()
    }
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Made,
    /// Made, and then held back: a relay says that it is billed all the same.
    Blocked,
    Failed,
}

/// Takes a job and says its id. A failed one costs nothing.
pub(super) fn enqueue(desk: &Desk, film: Film, route: &Arc<Route>, rule: Option<&Rule>) -> (String, u64) {
    let refused = film.prompt.contains("[refuse]") || rule.and_then(|rule| rule.fault) == Some(Fault::Refuse);
    let fate = match (refused, film.prompt.contains("[fail]")) {
        (true, _) => Fate::Blocked,
        (_, true) => Fate::Failed,
        _ => Fate::Made,
    };
    let ticks = if fate == Fate::Failed {
        0
    } else {
        price::video(&route.upstream, &film.resolution, film.seconds, film.inputs)
    };
    let (latency, polls) = (rule.and_then(Rule::latency), rule.and_then(|rule| rule.job_polls));
    let id = fresh_uuid();
    let job = Job {
        film,
        route: Arc::clone(route),
        fate,
        ticks,
        polls: polls.unwrap_or(if latency.is_some() { 0 } else { POLLS }),
        polled: 0,
        latency: latency.unwrap_or_default(),
        born: Instant::now(),
    };
    desk.jobs.add(id.clone(), job);
    (id, ticks)
}

/// `GET /videos/{request_id}`
pub(super) async fn poll(State(desk): State<Arc<Desk>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let found = identify(&headers).and_then(|_| desk.jobs.change(&id, Job::look).ok_or_else(Refusal::no_path));
    let entry = |status: StatusCode| Entry::new(ID, Operation::Poll, status.as_u16()).job(&id);
    match found {
        Err(refusal) => {
            desk.world.book.write(entry(refusal.status));
            refusal.into_response()
        }
        Ok(job) => {
            let url = format!("{}/{ID}/files/{id}.mp4", desk.world.base_url(&headers));
            let response = tell(&desk, &job, &url);
            desk.world.book.write(entry(response.status()).model(&job.route.upstream));
            response
        }
    }
}

fn tell(desk: &Desk, job: &Job, url: &str) -> Response {
    if job.polled <= job.polls || job.born.elapsed() < job.latency {
        return match job.polled {
            0 | 1 => StatusCode::ACCEPTED.into_response(),
            _ => (StatusCode::ACCEPTED, Json(json!({"status": "pending", "progress": 50}))).into_response(),
        };
    }
    if job.fate == Fate::Failed {
        let error = json!({"code": "internal_error", "message": "The video could not be generated."});
        return Json(json!({"status": "failed", "error": error})).into_response();
    }
    let rule = desk.world.rules.pick(ID, &job.route, |fault| fault.is_some_and(Fault::at_result));
    let fault = rule.and_then(|rule| rule.fault);
    if fault == Some(Fault::Garbage) {
        return mischief::garbage();
    }
    let blocked = job.fate == Fate::Blocked;
    let shown = if blocked || fault == Some(Fault::Empty) { "" } else { url };
    Json(json!({
        "status": "done",
        "progress": 100,
        "model": job.route.upstream,
        "video": {"url": shown, "duration": job.film.seconds, "respect_moderation": !blocked},
        "usage": {"cost_in_usd_ticks": job.ticks},
    }))
    .into_response()
}

/// The file of a finished job.
pub(super) fn file(desk: &Desk, id: &str) -> Option<Response> {
    let job = desk.jobs.find(id).filter(|job| job.fate == Fate::Made)?;
    let kind = [(header::CONTENT_TYPE, "video/mp4")];
    Some((kind, Body::from(clip(job.film.seconds * 1000))).into_response())
}

/// The answer to a submit.
pub(super) fn ticket(id: &str) -> Value {
    json!({"request_id": id})
}
