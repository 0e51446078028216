//! The calls of one submission: submit, poll, fetch, look up, cancel.

use super::Engine;
use super::state::{OutputFile, Stage, Submission};
use super::step::{Delay, Driver, JobCursor, Step, Wire};
use super::store_output::{OutputError, OutputReader};
use super::work::{Interrupt, Persistence, Run, span};
use crate::base::{Backoff, Timestamp};
use crate::fault::{Accepted, Fault, FaultKind};
use crate::job::{Brief, Usage};
use crate::outbound::Leg;
use crate::pipeline::planning::convert_inputs;
use crate::pipeline::upstream::Upstream;
use futures::future::join_all;
use std::time::Duration;

/// The time that a finished stored job may still be fetched after its deadline.
const LAST_FETCH: Duration = Duration::from_mins(2);
/// The delays before outputs that did not arrive are fetched again.
const REFETCH_BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15));
/// The time that a provider may take to answer a cancellation.
const CANCEL_LIMIT: Duration = Duration::from_secs(30);

/// What became of a call or a wait.
pub(super) enum Event {
    /// A rate limit is over, and this credential may be used; or the time that the limit still lasts.
    Turn(Result<usize, Duration>),
    /// It goes on after a delay.
    Continue(JobCursor, Delay),
    Failed(Failure),
    Produced(Production),
    /// The request could not be read.
    Interrupted(Interrupt),
}

/// A submission that failed.
pub(super) struct Failure {
    pub fault: Fault,
    pub upstream_id: Option<String>,
    pub provider_done: Timestamp,
}

/// A submission that was answered with outputs.
pub(super) struct Production {
    pub files: Vec<Result<OutputFile, OutputError>>,
    pub usage: Usage,
    pub upstream_id: Option<String>,
    pub provider_done: Timestamp,
}

/// What follows a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reaction {
    /// It was surely not accepted: it is submitted again, with another credential or after a rate limit.
    Resubmit,
    GiveUp,
}

impl Engine {
    /// Makes the creating call. What lies before the provider's job id is done in one go: nobody else could take it up.
    pub(super) async fn submit<P: Persistence>(
        &self,
        run: &Run<'_, P>,
        submission: Submission,
        upstream: &Upstream,
        credential: usize,
        request: Brief,
        first_byte: Duration,
    ) -> Event {
        let wire = Wire { client: self.upstreams.client(), to: &upstream.credentials[credential].destination };
        let driver = Driver {
            adapter: upstream.adapter,
            site: &upstream.site,
            wire: &wire,
            reads: run.reads,
            first_byte,
            partials: run.partials,
        };
        let deadline = run.clock.instant(submission.deadline);
        let mut step = driver.open(&request).unwrap_or_else(Step::Failed);
        while let Step::On(cursor, _) = &step
            && cursor.call.leg == Leg::Submit
        {
            step = driver.step(cursor.clone(), deadline).await;
        }
        self.conclude(run, &submission, None, step).await
    }

    /// Makes the next call of a job that the provider has, when it is due.
    pub(super) async fn poll<P: Persistence>(&self, run: &Run<'_, P>, submission: Submission) -> Event {
        let Stage::Running(cursor) = &submission.stage else {
            return Event::Interrupted(Interrupt::StorageUnavailable);
        };
        let step = match self.credential(&submission) {
            Err(fault) => Step::Failed(fault),
            Ok((upstream, wire)) => {
                let driver = Driver {
                    adapter: upstream.adapter,
                    site: &upstream.site,
                    wire: &wire,
                    reads: run.reads,
                    first_byte: span(submission.started, submission.deadline),
                    partials: run.partials,
                };
                let waited = driver.wait(cursor, span(run.clock.now(), submission.due), run.hung_up).await;
                match waited {
                    Err(fault) => Step::Failed(fault),
                    Ok(()) if run.clock.now() >= submission.deadline => {
                        Step::Failed(driver.give_up(&cursor.call).await)
                    }
                    Ok(()) => driver.step(cursor.clone(), run.clock.instant(submission.deadline)).await,
                }
            }
        };
        self.conclude(run, &submission, Some(cursor), step).await
    }

    /// The provider of a submission, and the connection with the credential that it was made with.
    fn credential(&self, submission: &Submission) -> Result<(&Upstream, Wire<'_>), Fault> {
        let provider = &submission.provider;
        let missing = |kind, text: String| Fault::new(kind, text).accepted(Accepted::Maybe);
        let upstream = self.upstreams.get(provider);
        let upstream =
            upstream.ok_or_else(|| missing(FaultKind::Gone, format!("'{provider}' is not configured any more")))?;
        let credential = upstream.marked(&submission.credential);
        let (_, credential) =
            credential.ok_or_else(|| missing(FaultKind::Auth, format!("'{provider}' has no credential any more")))?;
        Ok((upstream, Wire { client: self.upstreams.client(), to: &credential.destination }))
    }

    /// Fetches and verifies the outputs of a finished job.
    async fn conclude<P: Persistence>(
        &self,
        run: &Run<'_, P>,
        submission: &Submission,
        cursor: Option<&JobCursor>,
        step: Step,
    ) -> Event {
        let provider_done = run.clock.now();
        let upstream_id = cursor.and_then(|cursor| cursor.job.clone());
        let result = match step {
            Step::On(next, delay) => return Event::Continue(next, delay),
            Step::Failed(fault) => return Event::Failed(Failure { fault, upstream_id, provider_done }),
            Step::Done(result) => result,
        };
        let work = match run.persistence.work().await {
            Ok(work) => work,
            Err(interrupt) => return Event::Interrupted(interrupt),
        };
        let Some(candidate) = work.candidate(submission.route) else {
            let text = "the route left the catalog while it was running";
            let fault = Fault::new(FaultKind::Gone, text).accepted(Accepted::Yes);
            return Event::Failed(Failure { fault, upstream_id, provider_done });
        };
        let deadline = if run.waits { run.deadline } else { run.deadline.max(provider_done.plus(LAST_FETCH)) };
        let reader = OutputReader {
            client: self.upstreams.client(),
            post: &self.post,
            target: run.target,
            debts: &candidate.fit.debts,
            deadline: run.clock.instant(deadline),
        };
        let video = work.job.mode.makes_video();
        let reads = result
            .outputs
            .into_iter()
            .map(|output| async { if video { reader.video(output).await } else { reader.picture(output).await } });
        let files = join_all(reads).await;
        let retryable = files.iter().any(|file| matches!(file, Err(OutputError::Retryable(_))));
        // A caller who waits has no time for that: the download itself was tried several times.
        let again = retryable && !run.waits;
        if let Some(cursor) = cursor.filter(|cursor| again && cursor.failures + 1 < run.reads) {
            let failures = cursor.failures + 1;
            let delay = REFETCH_BACKOFF.delay(failures);
            // It was bought and is there; it only did not arrive. The last call is made again, as long as there is time.
            if run.clock.now().plus(delay) < submission.deadline {
                return Event::Continue(JobCursor { failures, ..cursor.clone() }, Delay::For(delay));
            }
        }
        Event::Produced(Production { files, usage: result.usage, upstream_id, provider_done })
    }
}

impl Engine {
    /// The position of a job whose creating call was lost with the process that made it, when the provider knows the job by
    /// our id.
    pub(in crate::pipeline) async fn look_up<P: Persistence>(
        &self,
        run: &Run<'_, P>,
        submission: &Submission,
    ) -> Result<Option<JobCursor>, Interrupt> {
        // Without an id of ours a provider may answer about somebody else's job.
        let Ok((upstream, wire)) = self.credential(submission) else { return Ok(None) };
        let work = run.persistence.work().await?;
        let Some(candidate) = work.candidate(submission.route).filter(|_| !submission.call_id.is_empty()) else {
            return Ok(None);
        };
        let job = run.persistence.inputs().await?;
        let Ok(prepared) = convert_inputs(job, &candidate.route, &self.post.workers, &self.post.limits).await else {
            return Ok(None);
        };
        let request = candidate.fit.brief(&prepared.job, &candidate.route, submission.n);
        let request = Brief { id: submission.call_id.clone(), ..request };
        let driver = Driver {
            adapter: upstream.adapter,
            site: &upstream.site,
            wire: &wire,
            reads: 1,
            first_byte: Duration::ZERO,
            partials: None,
        };
        match driver.open(&request) {
            Ok(Step::On(cursor, _)) => Ok(driver.look_up(&cursor.call).await),
            _ => Ok(None),
        }
    }

    /// Cancels a job upstream, where the provider lets us. The fault says that it may be billed all the same.
    pub(in crate::pipeline) async fn cancel(&self, submission: &Submission) -> Fault {
        let Stage::Running(cursor) = &submission.stage else { return given_up() };
        let Ok((upstream, wire)) = self.credential(submission) else { return given_up() };
        let driver = Driver {
            adapter: upstream.adapter,
            site: &upstream.site,
            wire: &wire,
            reads: 1,
            first_byte: CANCEL_LIMIT,
            partials: None,
        };
        driver.give_up(&cursor.call).await
    }
}

fn given_up() -> Fault {
    Fault::new(FaultKind::Timeout, "the job was given up").accepted(Accepted::Maybe)
}
