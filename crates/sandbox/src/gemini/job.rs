//! Videos in the making, on either host. They are small: a clip is written when somebody asks for it.

use super::super::clip::clip;
use super::super::sale::Sale;
use super::super::world::World;
use super::error::Refusal;
use super::{Host, fresh_token};
use crate::base::Usd;
use crate::catalog::Route;
use axum::response::Response;
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Jobs that are kept; older ones are forgotten, with their files.
const KEPT: usize = 2_000;

/// What is to be filmed.
#[derive(Debug, Clone)]
pub(crate) struct Film {
    pub(crate) prompt: String,
    pub(crate) millis: u32,
    /// Videos of one job.
    pub(crate) count: u32,
    /// What it costs, and the tokens that say so.
    pub(crate) bill: Usd,
    pub(crate) tokens: (u64, u64),
}

/// What becomes of a job. It is settled when the job is taken, and told when it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Made,
    Refused,
    Failed,
    Cancelled,
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Queued,
    Running,
    Done,
}

/// One job.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) route: Arc<Route>,
    pub(crate) film: Film,
    pub(crate) fate: Fate,
    polls: u32,
    latency: Duration,
    born: Instant,
    polled: u32,
}

impl Job {
    pub(crate) fn clip(&self) -> Bytes {
        clip(self.film.millis)
    }

    fn phase(&self) -> Phase {
        let polled = |beyond: u32| self.polls == 0 || self.polled > beyond;
        if self.fate == Fate::Cancelled || (polled(self.polls) && self.born.elapsed() >= self.latency) {
            Phase::Done
        } else if polled(self.polls.div_ceil(2)) {
            Phase::Running
        } else {
            Phase::Queued
        }
    }
}

#[derive(Default)]
struct Shelf {
    by_id: HashMap<String, Job>,
    oldest_first: VecDeque<String>,
}

/// All jobs of one host.
#[derive(Default)]
pub(crate) struct Jobs(Mutex<Shelf>);

impl Jobs {
    /// Takes a job, or does to it what a rule says. `Err` is the whole answer.
    pub(crate) async fn start(
        &self,
        world: &World,
        host: Host,
        route: Arc<Route>,
        film: Film,
    ) -> Result<Job, Response> {
        let mut sale = Sale::of_job(world, host.id(), &route);
        let after = sale.take_retry_after();
        let refusal = sale.refusal(
            |status| Refusal::of_status(status, host).after(after),
            || Refusal::no_model(host, &route.upstream, "video generation"),
        );
        let job = new(route, film, &sale);
        // Google charges for videos that were made.
        let bill = if job.fate == Fate::Made { job.film.bill } else { Usd::ZERO };
        if sale.take(refusal.as_ref(), &job.id, bill) {
            self.add(job.clone());
        }
        sale.instead(refusal).await.map_or(Ok(job), Err)
    }

    fn add(&self, job: Job) {
        let mut jobs = self.locked();
        jobs.oldest_first.push_back(job.id.clone());
        jobs.by_id.insert(job.id.clone(), job);
        while jobs.oldest_first.len() > KEPT {
            let Some(oldest) = jobs.oldest_first.pop_front() else { break };
            jobs.by_id.remove(&oldest);
        }
    }

    pub(crate) fn find(&self, id: &str) -> Option<Job> {
        self.locked().by_id.get(id).cloned()
    }

    /// Somebody asks after a job: it moves one step.
    pub(crate) fn advance(&self, id: &str) -> Option<(Job, Phase)> {
        let mut jobs = self.locked();
        let job = jobs.by_id.get_mut(id)?;
        job.polled = job.polled.saturating_add(1);
        Some((job.clone(), job.phase()))
    }

    /// Gives a job up unless it is done: the job, and what is no longer billed.
    pub(crate) fn cancel(&self, id: &str) -> Option<(Job, Usd)> {
        let mut jobs = self.locked();
        let job = jobs.by_id.get_mut(id)?;
        let refund = if job.phase() != Phase::Done && job.fate == Fate::Made { job.film.bill } else { Usd::ZERO };
        if job.phase() != Phase::Done {
            job.fate = Fate::Cancelled;
        }
        Some((job.clone(), refund))
    }

    fn locked(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn new(route: Arc<Route>, film: Film, sale: &Sale<'_>) -> Job {
    let fate = match (sale.refuses(&film.prompt), film.prompt.contains("[fail]")) {
        (true, _) => Fate::Refused,
        (false, true) => Fate::Failed,
        (false, false) => Fate::Made,
    };
    let (polls, latency) = sale.pace();
    Job { id: fresh_token(32), route, film, fate, polls, latency, born: Instant::now(), polled: 0 }
}
