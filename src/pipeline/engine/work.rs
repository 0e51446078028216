//! What the engine is given besides the state: the request, its bounds, and who keeps the state.

use super::state::JobState;
use super::step::Partials;
use super::store_output::OutputTarget;
use crate::base::Timestamp;
use crate::job::Job;
use crate::pipeline::planning::{Candidate, Plan};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A planned request. The bytes of the inputs of a stored job are not in it; see [`Persistence::inputs`].
#[derive(Debug)]
pub(in crate::pipeline) struct Work {
    pub job: Job,
    /// The caller's key: rate limits are waited for in turn.
    pub key_id: String,
    /// The planned routes: provider and upstream.
    pub routes: Vec<(String, String)>,
    /// Those that are in the catalog still, by their index in `routes`.
    pub candidates: Vec<(usize, Candidate)>,
}

impl Work {
    /// A request as it was planned just now.
    pub(in crate::pipeline) fn planned(plan: &Plan, job: &Job, key_id: &str) -> Self {
        Self {
            job: job.clone(),
            key_id: key_id.to_owned(),
            routes: plan.candidates.iter().map(Candidate::names).collect(),
            candidates: plan.candidates.iter().cloned().enumerate().collect(),
        }
    }

    pub(in crate::pipeline) fn candidate(&self, route: usize) -> Option<&Candidate> {
        self.candidates.iter().find(|one| one.0 == route).map(|one| &one.1)
    }

    /// `provider/upstream` of a planned route.
    pub(super) fn route_name(&self, route: usize) -> String {
        self.routes.get(route).map(|(provider, upstream)| format!("{provider}/{upstream}")).unwrap_or_default()
    }
}

/// Why a run ended before its time. Whatever was sent has been waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pipeline) enum Interrupt {
    /// Another process has the job, or it is over.
    LeaseLost,
    /// The database or the media store is unavailable.
    StorageUnavailable,
}

/// What is about to happen, or has happened, when the state is saved.
#[derive(Clone, Copy)]
pub(in crate::pipeline) enum Change<'a> {
    /// Creating calls of this route are about to be made.
    Intent(&'a Candidate),
    /// A provider has the job, or a submission is over.
    Progress,
}

/// Who keeps the state of a request between its steps.
pub(in crate::pipeline) trait Persistence: Sync {
    /// The request.
    fn work(&self) -> impl Future<Output = Result<&Work, Interrupt>> + Send;

    /// The job with the bytes of its inputs.
    fn inputs(&self) -> impl Future<Output = Result<Job, Interrupt>> + Send;

    /// Makes a change durable. After an error, an intent counts as not stored, and nothing is sent.
    fn save(&self, state: &JobState, change: Change<'_>) -> impl Future<Output = Result<(), Interrupt>> + Send;
}

/// The present, by a clock that does not jump while a request runs.
#[derive(Debug, Clone, Copy)]
pub(in crate::pipeline) struct Clock {
    at: Timestamp,
    instant: Instant,
}

impl Clock {
    /// A clock that showed `at` at that instant.
    pub(in crate::pipeline) const fn new(at: Timestamp, instant: Instant) -> Self {
        Self { at, instant }
    }

    pub(in crate::pipeline) fn now(self) -> Timestamp {
        self.at.plus(self.instant.elapsed())
    }

    /// The instant of a moment; now, when it has passed.
    pub(super) fn instant(self, at: Timestamp) -> Instant {
        Instant::now() + span(self.now(), at)
    }
}

/// One request's run.
pub(in crate::pipeline) struct Run<'a, P> {
    pub persistence: &'a P,
    /// The request's id, for the log.
    pub id: &'a str,
    pub clock: Clock,
    /// When the request arrived.
    pub created_at: Timestamp,
    /// When it is given up.
    pub deadline: Timestamp,
    /// Whether to wait for what is not due yet. A stored job is put back into the queue instead.
    pub waits: bool,
    /// Reads that may fail in a row.
    pub reads: u32,
    /// Whether polls begin at once: simulators are faster than what they simulate.
    pub sandbox: bool,
    pub target: OutputTarget<'a>,
    /// Receives unfinished pictures.
    pub partials: Option<&'a Partials>,
    /// Cancelled when the caller closes the connection.
    pub hung_up: Option<&'a CancellationToken>,
}

/// From one moment to a later one; zero when it is not later.
pub(in crate::pipeline) fn span(from: Timestamp, to: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(to.millis().saturating_sub(from.millis())).unwrap_or(0))
}

/// The same in milliseconds.
pub(in crate::pipeline) fn millis(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(span(from, to).as_millis()).unwrap_or(u64::MAX)
}
