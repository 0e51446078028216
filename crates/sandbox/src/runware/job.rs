//! Tasks that are polled for.

use super::error::Complaint;
use super::request::Order;
use crate::catalog::Route;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Tasks that are kept; older ones are forgotten.
const KEPT: usize = 2_000;

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// In neither list.
    Taken,
    /// `processing`
    Running,
    /// Finished, one way or the other.
    Done,
}

/// One task.
#[derive(Debug, Clone)]
pub(super) struct Job {
    id: String,
    pub(super) route: Arc<Route>,
    pub(super) order: Order,
    /// What goes wrong with it, when something does.
    pub(super) fate: Option<Complaint>,
    latency: Duration,
    polls: u32,
    polled: u32,
    born: Instant,
}

impl Job {
    pub(super) fn new(
        id: &str,
        route: Arc<Route>,
        order: Order,
        fate: Option<Complaint>,
        (polls, latency): (u32, Duration),
    ) -> Self {
        Self { id: id.to_owned(), route, order, fate, latency, polls, polled: 0, born: Instant::now() }
    }

    fn phase(&self) -> Phase {
        if self.polled > self.polls && self.born.elapsed() >= self.latency {
            Phase::Done
        } else if self.polled > 1 {
            Phase::Running
        } else {
            Phase::Taken
        }
    }
}

/// All of them.
#[derive(Default)]
pub(super) struct Jobs(Mutex<VecDeque<Job>>);

impl Jobs {
    pub(super) fn add(&self, job: Job) {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.push_back(job);
        if jobs.len() > KEPT {
            jobs.pop_front();
        }
    }

    /// Somebody asks after a task: it moves one step. Of two with one id, the younger counts.
    pub(super) fn advance(&self, id: &str) -> Option<(Job, Phase)> {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let job = jobs.iter_mut().rev().find(|job| job.id == id)?;
        job.polled = job.polled.saturating_add(1);
        Some((job.clone(), job.phase()))
    }
}
