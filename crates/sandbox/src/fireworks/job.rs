//! Kontext's jobs: submitted, asked after, and delivered as a link.

use super::super::bill;
use super::super::book::{Entry, Operation};
use super::super::easel::Motif;
use super::super::identity::fresh_uuid;
use super::super::mischief;
use super::super::sale::{Sale, turn_away};
use super::super::steering::Fault;
use super::error::Refusal;
use super::request::Order;
use super::{Endpoint, ID, Works, admit, identify};
use crate::base::Usd;
use crate::catalog::Route;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// How many jobs are kept.
const KEPT: usize = 2_000;

/// One job.
#[derive(Debug, Clone)]
struct Job {
    id: String,
    route: Arc<Route>,
    order: Order,
    /// How it ends.
    end: &'static str,
    /// How many more polls find it unfinished.
    polls: u32,
    /// When it may be done.
    due: Instant,
}

impl Job {
    fn new(route: Arc<Route>, order: Order, sale: &Sale<'_>) -> Self {
        let told = |word: &str| order.prompt.contains(word);
        let end = if sale.refuses(&order.prompt) {
            "Request Moderated"
        } else if told("[refuse output]") {
            "Content Moderated"
        } else if told("[fail]") {
            "Error"
        } else {
            "Ready"
        };
        let (polls, latency) = sale.pace();
        Self { id: fresh_uuid(), route, order, end, polls, due: Instant::now() + latency }
    }

    /// Work that was done is paid for, refused or not.
    fn billed(&self) -> Usd {
        match self.end {
            "Ready" | "Content Moderated" => bill::price(&self.route.price, &self.order.input, self.order.size, 1),
            _ => Usd::ZERO,
        }
    }
}

/// All jobs, oldest first.
#[derive(Default)]
pub(super) struct Jobs(Mutex<VecDeque<Job>>);

impl Jobs {
    fn add(&self, job: Job) {
        let mut jobs = self.locked();
        jobs.push_back(job);
        if jobs.len() > KEPT {
            jobs.pop_front();
        }
    }

    /// Somebody asks after a job: it moves one step. Whether it is done, too.
    fn advance(&self, id: &str) -> Option<(Job, bool)> {
        let mut jobs = self.locked();
        let job = jobs.iter_mut().find(|job| job.id == id)?;
        let done = job.polls == 0 && Instant::now() >= job.due;
        job.polls = job.polls.saturating_sub(1);
        Some((job.clone(), done))
    }

    fn locked(&self) -> MutexGuard<'_, VecDeque<Job>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) async fn submit(
    State(works): State<Arc<Works>>,
    Path(model): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let world = &works.world;
    let upstream = format!("accounts/fireworks/models/{model}");
    let (order, route) = match admit(world, &upstream, Endpoint::Queued, &headers, &body) {
        Ok(admitted) => admitted,
        Err(refusal) => return turn_away(world, ID, Some(&upstream), refusal.into_response()),
    };
    let sale = Sale::of_job(world, ID, &route);
    let refusal = sale.refusal(Refusal::of_status, || Refusal::of_status(404));
    let job = Job::new(route, order, &sale);
    let ticket = json!({"request_id": job.id});
    if sale.take(refusal.as_ref(), &job.id, job.billed()) {
        works.jobs.add(job);
    }
    sale.instead(refusal).await.unwrap_or_else(|| Json(ticket).into_response())
}

pub(super) async fn follow(State(works): State<Arc<Works>>, headers: HeaderMap, body: Bytes) -> Response {
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let id = asked["id"].as_str().unwrap_or_default();
    let response = match identify(&headers) {
        Err(refusal) => refusal.into_response(),
        Ok(_) if id.is_empty() => Refusal::bad("id: field required").into_response(),
        Ok(_) => tell(&works, id, &headers),
    };
    works.world.book.write(Entry::new(ID, Operation::Poll, response.status().as_u16()).job(id));
    response
}

/// The answer to who asks after a job.
fn tell(works: &Works, id: &str, headers: &HeaderMap) -> Response {
    match works.jobs.advance(id) {
        None => Json(state(id, "Task not found")).into_response(),
        Some((_, false)) => Json(state(id, "Pending")).into_response(),
        Some((job, true)) if job.end == "Ready" => deliver(works, &job, headers),
        Some((job, true)) => Json(state(id, job.end)).into_response(),
    }
}

fn state(id: &str, status: &str) -> Value {
    json!({"id": id, "status": status, "result": null, "progress": null, "details": null})
}

/// The link, or what a fault leaves of it.
fn deliver(works: &Works, job: &Job, headers: &HeaderMap) -> Response {
    let world = &works.world;
    let spoils = |fault: Fault| fault.at_result() || fault.at_file();
    let rule = world.rules.pick(ID, &job.route, |fault| fault.is_some_and(spoils));
    let fault = rule.and_then(|rule| rule.fault);
    if fault == Some(Fault::Garbage) {
        return mischief::garbage();
    }
    let mut answer = state(&job.id, "Ready");
    if fault != Some(Fault::Empty) {
        let Order { size, format, .. } = job.order;
        let motif = Motif { prompt: Arc::clone(&job.order.prompt), index: 0, size, format, black: false };
        let motif = match fault {
            Some(Fault::WrongType) => motif.wrong_type(),
            Some(Fault::WrongSize) => motif.wrong_size(),
            _ => motif,
        };
        works.files.put(&job.id, motif, format.mime(), fault == Some(Fault::Truncate));
        answer["result"] = json!({"sample": format!("{}/{ID}/files/{}", world.base_url(headers), job.id)});
    }
    Json(answer).into_response()
}
