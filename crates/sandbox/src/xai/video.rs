//! Videos: a job that is asked for by its id. The first half of its polls may find nothing to say, as 202 without a body.

use super::super::book::{Entry, Operation};
use super::super::clip::clip;
use super::super::mischief;
use super::super::sale::Sale;
use super::super::steering::Fault;
use super::error::Refusal;
use super::request::Film;
use super::{Desk, ID, identify, price};
use crate::catalog::Route;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// One video in the making.
#[derive(Debug, Clone)]
pub(super) struct Job {
    film: Film,
    route: Arc<Route>,
    fate: Fate,
    pub(super) ticks: u64,
    polls: u32,
    polled: u32,
    latency: Duration,
    born: Instant,
}

impl Job {
    /// A failed one costs nothing.
    pub(super) fn new(film: Film, route: Arc<Route>, sale: &Sale<'_>) -> Self {
        let fate = match (sale.refuses(&film.prompt), film.prompt.contains("[fail]")) {
            (true, _) => Fate::Blocked,
            (_, true) => Fate::Failed,
            _ => Fate::Made,
        };
        let ticks = if fate == Fate::Failed {
            0
        } else {
            price::video(&route.upstream, &film.resolution, film.seconds, film.inputs)
        };
        let (polls, latency) = sale.pace();
        Self { film, route, fate, ticks, polls, polled: 0, latency, born: Instant::now() }
    }

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
        "video": {"url": shown, "duration": job.film.millis.div_ceil(1000), "respect_moderation": !blocked},
        "usage": {"cost_in_usd_ticks": job.ticks},
    }))
    .into_response()
}

/// The file of a finished job.
pub(super) fn file(desk: &Desk, id: &str) -> Option<Response> {
    let job = desk.jobs.find(id).filter(|job| job.fate == Fate::Made)?;
    let kind = [(header::CONTENT_TYPE, "video/mp4")];
    let millis = u32::try_from(job.film.millis).unwrap_or(u32::MAX);
    Some((kind, Body::from(clip(millis))).into_response())
}
