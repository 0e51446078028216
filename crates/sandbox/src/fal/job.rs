//! The jobs of the queue. They are small: their pictures are drawn when somebody asks for them.

use super::super::identity::fresh_uuid;
use super::request::Order;
use crate::base::Usd;
use crate::catalog::Route;
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Jobs that are kept; older ones are forgotten, with their files.
const KEPT: usize = 2_000;

/// How long a result can be fetched.
const RESULT_LIFE: Duration = Duration::from_hours(1);

/// What becomes of a job. It is settled when the job is taken, and told when it is done.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fate {
    /// Pictures.
    Made,
    /// Pictures that the safety checker made black.
    Blackened,
    /// Refused by the model's maker.
    Refused,
    /// The model fell over.
    Failed,
    /// The runner did not like the input.
    Invalid(Vec<Value>),
    /// Given up while it was in the queue.
    Cancelled,
}

impl Fate {
    /// What the status says of a job that did not end well: `error` and `error_type`.
    pub(super) fn complaint(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Failed => Some(("Internal server error", "internal_server_error")),
            Self::Cancelled => Some(("Request was cancelled by the client", "client_cancelled")),
            Self::Made | Self::Blackened | Self::Refused | Self::Invalid(_) => None,
        }
    }
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nobody works on it.
    Queued,
    /// A runner has it.
    Running,
    /// Finished, one way or the other.
    Done,
}

impl Phase {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Queued => "IN_QUEUE",
            Self::Running => "IN_PROGRESS",
            Self::Done => "COMPLETED",
        }
    }
}

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) route: Arc<Route>,
    pub(super) order: Order,
    pub(super) fate: Fate,
    pub(super) billed: Usd,
    /// The billed quantity.
    pub(super) units: u64,
    /// How many polls find it unfinished.
    pub(super) polls: u32,
    /// How long it takes at least.
    pub(super) latency: Duration,
    born: Instant,
    polled: u32,
}

impl Job {
    /// A job that is done already, and free.
    pub(super) fn new(route: Arc<Route>, order: Order, fate: Fate) -> Self {
        Self {
            id: fresh_uuid(),
            route,
            order,
            fate,
            billed: Usd::ZERO,
            units: 0,
            polls: 0,
            latency: Duration::ZERO,
            born: Instant::now(),
            polled: 0,
        }
    }

    /// The part of the endpoint id that follow-up paths carry: two segments, or three of a workflow.
    pub(super) fn app(&self) -> &str {
        let id = self.route.upstream.as_str();
        let segments = if id.starts_with("workflows/") || id.starts_with("comfy/") { 3 } else { 2 };
        id.match_indices('/').nth(segments - 1).map_or(id, |(end, _)| &id[..end])
    }

    /// How long the model is said to have run.
    pub(super) fn seconds(&self) -> f64 {
        if self.latency.is_zero() { 0.5 } else { self.latency.as_secs_f64() }
    }

    fn phase(&self) -> Phase {
        let elapsed = self.born.elapsed();
        let polled = |beyond: u32| self.polls == 0 || self.polled > beyond;
        if self.fate == Fate::Cancelled || (polled(self.polls) && elapsed >= self.latency) {
            Phase::Done
        } else if polled(self.polls.div_ceil(2)) && elapsed * 4 >= self.latency {
            Phase::Running
        } else {
            Phase::Queued
        }
    }
}

#[derive(Default)]
struct Shelf {
    by_id: HashMap<String, Arc<Job>>,
    oldest_first: VecDeque<String>,
}

/// All jobs.
#[derive(Default)]
pub(super) struct Jobs(Mutex<Shelf>);

impl Jobs {
    pub(super) fn add(&self, job: Job) {
        let mut jobs = self.locked();
        jobs.oldest_first.push_back(job.id.clone());
        jobs.by_id.insert(job.id.clone(), Arc::new(job));
        while jobs.oldest_first.len() > KEPT {
            let Some(oldest) = jobs.oldest_first.pop_front() else { break };
            jobs.by_id.remove(&oldest);
        }
    }

    /// The job as its files know it.
    pub(super) fn find(&self, id: &str) -> Option<Arc<Job>> {
        self.locked().by_id.get(id).map(Arc::clone)
    }

    /// Somebody asks after a job of that app: it moves one step.
    pub(super) fn advance(&self, id: &str, app: &str) -> Option<(Arc<Job>, Phase)> {
        self.with(id, app, |job| job.polled = job.polled.saturating_add(1))
    }

    /// Gives a job up when it is still in the queue: where it was, and what is no longer billed.
    pub(super) fn cancel(&self, id: &str, app: &str) -> Option<(Phase, Usd)> {
        let mut before = (Phase::Done, Usd::ZERO);
        self.with(id, app, |job| {
            before.0 = job.phase();
            if before.0 == Phase::Queued {
                before.1 = std::mem::take(&mut job.billed);
                job.fate = Fate::Cancelled;
            }
        })?;
        Some(before)
    }

    fn with(&self, id: &str, app: &str, change: impl FnOnce(&mut Job)) -> Option<(Arc<Job>, Phase)> {
        let mut jobs = self.locked();
        let held = jobs.by_id.get_mut(id).filter(|job| job.app() == app && job.born.elapsed() < RESULT_LIFE)?;
        let job = Arc::make_mut(held);
        change(job);
        let phase = job.phase();
        Some((Arc::clone(held), phase))
    }

    fn locked(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
