//! Advances the submissions of a route side by side: chooses a credential, stores the intent, submits, polls, and takes in
//! the result of each.

use super::Engine;
use super::calls::{Event, Reaction};
use super::state::{JobState, Stage};
use super::step::{Delay, JobCursor};
use super::work::{Change, Interrupt, Persistence, Run, span};
use crate::base::{Timestamp, id};
use crate::fault::{Accepted, Fault, FaultKind};
use crate::job::Job;
use crate::pipeline::planning::{Candidate, PreparedInputs, convert_inputs};
use crate::pipeline::routing::Pick;
use crate::pipeline::upstream::Upstream;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use std::time::Duration;

/// Polls begin after an eighth of the typical time of a route, and after this at the latest.
const MAX_FIRST_POLL_DELAY: Duration = Duration::from_secs(10);

/// The calls under way.
type Running<'f> = FuturesUnordered<BoxFuture<'f, (usize, Event)>>;

/// Advances the submissions of one request.
pub(super) struct Submissions<'a, 'r, P> {
    engine: &'a Engine,
    run: &'a Run<'r, P>,
    /// The submissions with a call or a wait under way, by index.
    busy: Vec<bool>,
    /// Submissions that may go out now, and with which credential.
    granted: Vec<(usize, usize)>,
    /// The job with its inputs as the route takes them.
    prepared: Option<PreparedInputs>,
}

impl<'a, P: Persistence> Submissions<'a, '_, P> {
    pub(super) const fn new(engine: &'a Engine, run: &'a Run<'_, P>) -> Submissions<'a, 'a, P> {
        Submissions { engine, run, busy: Vec::new(), granted: Vec::new(), prepared: None }
    }
}

impl<'a, P: Persistence> Submissions<'a, 'a, P> {
    /// Advances every submission until it is over or has to wait. Trouble with one of them cuts no other off: whatever has
    /// been sent is waited for.
    pub(super) async fn advance(mut self, state: &mut JobState) -> Result<(), Interrupt> {
        self.busy = vec![false; state.submissions.len()];
        let mut running = Running::new();
        let mut halted = Ok(());
        loop {
            if halted.is_ok() {
                halted = self.start(state, &mut running).await;
            }
            let Some((index, event)) = running.next().await else { return halted };
            self.busy[index] = false;
            halted = halted.and(self.take(state, index, event).await);
        }
    }

    /// Starts a call for each submission that is due.
    async fn start(&mut self, state: &mut JobState, running: &mut Running<'a>) -> Result<(), Interrupt> {
        let now = self.run.clock.now();
        let mut ready = Vec::new();
        for (index, submission) in state.submissions.iter().enumerate() {
            if self.busy[index] || (submission.due > now && !self.run.waits) {
                continue;
            }
            match submission.stage {
                Stage::Ready if self.granted.iter().all(|granted| granted.0 != index) => ready.push(index),
                Stage::Running(_) => {
                    self.busy[index] = true;
                    let call = self.engine.poll(self.run, submission.clone());
                    running.push(Box::pin(async move { (index, call.await) }));
                }
                Stage::Ready | Stage::Submitting | Stage::Over => {}
            }
        }
        if ready.is_empty() && self.granted.is_empty() {
            return Ok(());
        }
        let work = self.run.persistence.work().await?;
        let route = work.candidate(state.route);
        let upstream = route.and_then(|candidate| self.engine.upstreams.get(&candidate.route.provider));
        let (Some(candidate), Some(upstream)) = (route, upstream) else {
            let gone = || Fault::new(FaultKind::Gone, "the route is not configured any more");
            self.refuse(state, &ready, gone);
            return Ok(());
        };
        if self.run.hung_up.is_some_and(tokio_util::sync::CancellationToken::is_cancelled) {
            let text = "the caller closed the connection before the provider was asked";
            self.refuse(state, &ready, || Fault::new(FaultKind::Cancelled, text));
            return Ok(());
        }
        if now >= self.run.deadline {
            let late = || Fault::new(FaultKind::Timeout, "time was up before the provider was asked");
            self.refuse(state, &ready, late);
            return Ok(());
        }
        if self.prepared.is_none() {
            let job = self.run.persistence.inputs().await?;
            let post = &self.engine.post;
            match convert_inputs(job, &candidate.route, &post.workers, &post.limits).await {
                Ok(prepared) => self.prepared = Some(prepared),
                Err(fault) => {
                    self.refuse(state, &ready, || fault.clone());
                    return Ok(());
                }
            }
        }
        for index in ready {
            self.choose_credential(state, index, &work.key_id, candidate, upstream, running);
        }
        self.submit(state, candidate, upstream, running).await
    }

    /// Ends submissions that were not made.
    fn refuse(&mut self, state: &mut JobState, ready: &[usize], fault: impl Fn() -> Fault) {
        let granted = self.granted.drain(..).map(|granted| granted.0);
        for index in ready.iter().copied().chain(granted) {
            let last = state.submissions[index].retries.last.clone();
            state.fail(index, last.unwrap_or_else(&fault));
        }
    }

    fn choose_credential(
        &mut self,
        state: &mut JobState,
        index: usize,
        key: &'a str,
        candidate: &'a Candidate,
        upstream: &'a Upstream,
        running: &mut Running<'a>,
    ) {
        let retries = &mut state.submissions[index].retries;
        let refused = |at: &usize| retries.refused.contains(&upstream.credentials[*at].mark);
        let refused: Vec<usize> = (0..upstream.credentials.len()).filter(refused).collect();
        let route = candidate.route.executed_model();
        match self.engine.board.pick(&route, upstream, &refused, &mut rand::random) {
            Pick::Ready(at) => self.granted.push((index, at)),
            Pick::Wait(_) if retries.waits >= self.engine.settings.rate_limit_retries && retries.last.is_some() => {
                let last = retries.last.clone();
                state.fail(index, last.unwrap_or_else(|| rate_limited(Duration::ZERO)));
            }
            Pick::Wait(at) => {
                retries.waits += 1;
                self.busy[index] = true;
                let board = &self.engine.board;
                let longest = Duration::from_secs(self.engine.settings.rate_limit_max_wait_seconds);
                let now = tokio::time::Instant::now();
                let latest = self.run.clock.instant(self.run.deadline).min(now + longest);
                running.push(Box::pin(async move {
                    let turn = board.turn(&route, &upstream.name, at, key, latest).await;
                    (index, Event::Turn(turn.map(|()| at)))
                }));
            }
            Pick::Nothing => {
                let none = || Fault::new(FaultKind::Auth, "the provider has no credential that it accepts");
                let last = retries.last.clone();
                state.fail(index, last.unwrap_or_else(none));
            }
        }
    }

    /// Sends the creating calls that have a credential, once their intent is durable: from then on, whoever finds the job
    /// without a provider's job id takes the purchase for possible.
    async fn submit(
        &mut self,
        state: &mut JobState,
        candidate: &'a Candidate,
        upstream: &'a Upstream,
        running: &mut Running<'a>,
    ) -> Result<(), Interrupt> {
        let Some(prepared) = self.prepared.as_ref().filter(|_| !self.granted.is_empty()) else { return Ok(()) };
        let work = self.run.persistence.work().await?;
        let more = work.candidates.iter().any(|one| one.0 != state.route && !state.tried.contains(&one.0));
        let now = self.run.clock.now();
        let timeouts = self.engine.route_timeouts(candidate);
        let before = state.submissions.clone();
        for (index, at) in &self.granted {
            let submission = &mut state.submissions[*index];
            submission.stage = Stage::Submitting;
            submission.credential.clone_from(&upstream.credentials[*at].mark);
            submission.call_id = id::uuid();
            submission.started = now;
            submission.deadline =
                if more { now.plus(timeouts.whole).min(self.run.deadline) } else { self.run.deadline };
            submission.first_poll = self.first_poll(candidate, now);
            submission.input_sizes = prepared.job.images.iter().filter_map(|image| image.size).collect();
            submission.conversions.clone_from(&prepared.adjustments);
        }
        state.called.get_or_insert(now);
        // Without a stored intent nothing is sent, so the submissions are as they were.
        let stored = self.run.persistence.save(state, Change::Intent(candidate)).await;
        stored.inspect_err(|_| state.submissions = before)?;
        for (index, at) in std::mem::take(&mut self.granted) {
            self.busy[index] = true;
            let submission = state.submissions[index].clone();
            let mut request = candidate.fit.brief(&prepared.job, &candidate.route, submission.n);
            request.id.clone_from(&submission.call_id);
            let first_byte = match &work.job {
                Job { mode, .. } if mode.makes_video() => self.engine.video_submit_timeout(),
                _ if more => timeouts.first_byte,
                _ => span(now, submission.deadline),
            };
            let call = self.engine.submit(self.run, submission, upstream, at, request, first_byte);
            running.push(Box::pin(async move { (index, call.await) }));
        }
        Ok(())
    }

    fn first_poll(&self, candidate: &Candidate, now: Timestamp) -> Timestamp {
        if self.run.waits || self.run.sandbox {
            return now;
        }
        let typical = Duration::from_secs(u64::from(candidate.route.typical_seconds));
        now.plus((typical / 8).min(MAX_FIRST_POLL_DELAY))
    }

    /// Takes in what became of a call.
    async fn take(&mut self, state: &mut JobState, index: usize, event: Event) -> Result<(), Interrupt> {
        match event {
            Event::Turn(Ok(at)) => {
                self.granted.push((index, at));
                return Ok(());
            }
            Event::Turn(Err(left)) => {
                let last = state.submissions[index].retries.last.clone();
                state.fail(index, last.unwrap_or_else(|| rate_limited(left)));
                return Ok(());
            }
            Event::Interrupted(interrupt) => return Err(interrupt),
            Event::Continue(cursor, delay) => {
                if !self.go_on(state, index, cursor, delay) {
                    return Ok(());
                }
            }
            Event::Failed(failure) => {
                let fault = failure.fault.clone();
                let again = self.engine.record_failure(self.run, state, index, failure).await?;
                match again {
                    Reaction::Resubmit => {
                        let now = self.run.clock.now();
                        let submission = &mut state.submissions[index];
                        submission.stage = Stage::Ready;
                        submission.due = now;
                        submission.retries.last = Some(fault);
                    }
                    Reaction::GiveUp => state.fail(index, fault),
                }
            }
            Event::Produced(production) => {
                self.engine.record_production(self.run, state, index, production).await?;
            }
        }
        self.run.persistence.save(state, Change::Progress).await
    }

    /// Sets the time of the next call. Returns whether that has to be stored: a poll that changes nothing has not.
    fn go_on(&self, state: &mut JobState, index: usize, cursor: JobCursor, delay: Delay) -> bool {
        let now = self.run.clock.now();
        let submission = &mut state.submissions[index];
        submission.due = now.plus(delay.after(span(submission.started, now)));
        if delay == Delay::Poll {
            submission.due = submission.due.max(submission.first_poll);
        }
        submission.due = submission.due.min(submission.deadline);
        let known = matches!(&submission.stage, Stage::Running(before) if before.call == cursor.call);
        submission.stage = Stage::Running(cursor);
        !known
    }
}

fn rate_limited(left: Duration) -> Fault {
    let fault = Fault::new(FaultKind::RateLimited, "the provider's rate limit is reached");
    fault.accepted(Accepted::No).retry_after(Some(left))
}
