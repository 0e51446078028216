//! Videos: a job with a polling address, whose bytes lie behind the key.

use super::super::book::{Entry, Operation};
use super::super::clip::clip;
use super::super::mischief;
use super::super::sale::Sale;
use super::super::steering::Fault;
use super::error::Refusal;
use super::request::Film;
use super::{Desk, ID, dollars, identify};
use crate::base::Usd;
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

/// What a second costs here, whatever the model: the real prices are the makers'.
const SECOND: i64 = 40_000;

/// One video in the making.
#[derive(Debug, Clone)]
pub(super) struct Job {
    film: Film,
    route: Arc<Route>,
    refused: bool,
    polls: u32,
    polled: u32,
    latency: Duration,
    born: Instant,
}

impl Job {
    pub(super) fn new(film: Film, route: Arc<Route>, sale: &Sale<'_>) -> Self {
        let refused = sale.refuses(&film.prompt);
        let (polls, latency) = sale.pace();
        Self { film, route, refused, polls, polled: 0, latency, born: Instant::now() }
    }

    /// Somebody asks after it.
    fn look(&mut self) -> Self {
        self.polled = self.polled.saturating_add(1);
        self.clone()
    }

    fn failed(&self) -> Option<&'static str> {
        if self.refused {
            return Some("The request was blocked by content moderation.");
        }
        self.film.prompt.contains("[fail]").then_some("The provider failed to generate the video.")
    }

    /// A job that fails costs nothing.
    pub(super) fn bill(&self) -> Usd {
        let micros = if self.failed().is_some() { 0 } else { SECOND * i64::from(self.film.seconds) };
        Usd::from_micros(micros)
    }

    fn done(&self) -> bool {
        self.polled > self.polls && self.born.elapsed() >= self.latency
    }
}

/// The answer to a submit.
pub(super) fn ticket(id: &str, base: &str) -> Value {
    json!({"id": id, "generation_id": format!("gen-{id}"), "polling_url": format!("{base}/videos/{id}"), "status": "pending"})
}

/// `GET /videos/{id}`
pub(super) async fn poll(State(desk): State<Arc<Desk>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let base = format!("{}/{ID}", desk.world.base_url(&headers));
    let found =
        identify(&headers).and_then(|_| desk.jobs.change(&id, Job::look).ok_or_else(|| Refusal::not_found("Job")));
    let response = match found {
        Ok(job) => tell(&desk, &job, &id, &base),
        Err(refusal) => refusal.into_response(),
    };
    desk.world.book.write(Entry::new(ID, Operation::Poll, response.status().as_u16()).job(&id));
    response
}

fn tell(desk: &Desk, job: &Job, id: &str, base: &str) -> Response {
    let mut object = ticket(id, base);
    if !job.done() {
        object["status"] = if job.polled * 2 <= job.polls { "pending" } else { "in_progress" }.into();
        return Json(object).into_response();
    }
    if let Some(error) = job.failed() {
        object["status"] = "failed".into();
        object["error"] = error.into();
        return Json(object).into_response();
    }
    let rule = desk.world.rules.pick(ID, &job.route, |fault| fault.is_some_and(Fault::at_result));
    let fault = rule.and_then(|rule| rule.fault);
    if fault == Some(Fault::Garbage) {
        return mischief::garbage();
    }
    object["status"] = "completed".into();
    let urls =
        if fault == Some(Fault::Empty) { json!([]) } else { json!([format!("{base}/videos/{id}/content?index=0")]) };
    object["unsigned_urls"] = urls;
    object["usage"] = json!({"cost": dollars(job.bill()), "is_byok": false});
    Json(object).into_response()
}

/// `GET /videos/{id}/content`
pub(super) async fn content(State(desk): State<Arc<Desk>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let found = identify(&headers).and_then(|_| {
        let job = desk.jobs.find(&id).filter(|job| job.done() && job.failed().is_none());
        job.ok_or_else(|| Refusal::not_found("Video content"))
    });
    let response = match found {
        Ok(job) => {
            let rule = desk.world.rules.pick(ID, &job.route, |fault| fault == Some(Fault::Truncate));
            let file = clip(job.film.seconds * 1000);
            match rule {
                Some(_) => mischief::truncate("video/mp4", &file),
                None => (StatusCode::OK, [(header::CONTENT_TYPE, "video/mp4")], Body::from(file)).into_response(),
            }
        }
        Err(refusal) => refusal.into_response(),
    };
    desk.world.book.write(Entry::new(ID, Operation::Fetch, response.status().as_u16()).job(&id));
    response
}
