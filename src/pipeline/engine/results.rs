//! What the state takes in of a submission that ended: its attempt, its cost, its outputs, and what routing learns of it.

use super::attempts::{Attempt, AttemptError, AttemptStatus};
use super::billing::{self, Cost};
use super::calls::{Failure, Production, Reaction};
use super::state::{JobState, Stage, Submission};
use super::work::{Interrupt, Persistence, Run, Work, millis, span};
use super::{Engine, metrics};
use crate::base::Timestamp;
use crate::fault::{Accepted, Fault, FaultKind};
use crate::pipeline::planning::{Adjustment, Candidate};

impl Engine {
    /// Records a call that failed.
    pub(super) async fn record_failure<P: Persistence>(
        &self,
        run: &Run<'_, P>,
        state: &mut JobState,
        index: usize,
        failure: Failure,
    ) -> Result<Reaction, Interrupt> {
        let work = run.persistence.work().await?;
        let Failure { fault, upstream_id, provider_done } = failure;
        let submission = state.submissions[index].clone();
        self.learn(work, &submission, Some(&fault), provider_done);
        let cost = failed_cost(work, &submission, &fault);
        let attempt = Entry { run, work, submission: &submission, upstream_id, cost, fault: Some(&fault) }.attempt();
        state.submissions[index].attempts.push(attempt);
        state.provider_done = state.provider_done.max(Some(provider_done));
        let submitting = submission.stage == Stage::Submitting && run.clock.now() < run.deadline;
        if !submitting || fault.accepted != Accepted::No {
            return Ok(Reaction::GiveUp);
        }
        let credentials = self.upstreams.get(&submission.provider).map_or(0, |upstream| upstream.credentials.len());
        let retries = &mut state.submissions[index].retries;
        let again = match fault.kind {
            FaultKind::RateLimited => {
                retries.rate_limited += 1;
                retries.rate_limited < credentials + self.settings.rate_limit_retries as usize
            }
            FaultKind::Auth => {
                retries.refused.push(submission.credential);
                retries.refused.len() < credentials
            }
            _ => false,
        };
        Ok(if again { Reaction::Resubmit } else { Reaction::GiveUp })
    }

    /// Records a call that ran: its cost, whatever of its outputs can be used, and those that can.
    pub(super) async fn record_production<P: Persistence>(
        &self,
        run: &Run<'_, P>,
        state: &mut JobState,
        index: usize,
        production: Production,
    ) -> Result<(), Interrupt> {
        let work = run.persistence.work().await?;
        let submission = state.submissions[index].clone();
        let Some(candidate) = work.candidate(submission.route) else { return Err(Interrupt::StorageUnavailable) };
        let Production { files, usage, upstream_id, provider_done } = production;
        let cost = billing::of_outputs(candidate, &work.job, &submission, &files, usage);
        let empty = files.is_empty();
        let (mut made, mut error) = (Vec::new(), None);
        for file in files {
            match file {
                Ok(file) => made.push(file),
                Err(one) => error = error.or(Some(one.into_fault().accepted(Accepted::Yes))),
            }
        }
        let none = || Fault::new(FaultKind::Empty, "the provider answered without a result").accepted(Accepted::Maybe);
        let fault = if empty { Some(none()) } else { error.filter(|_| made.is_empty()) };
        self.learn(work, &submission, fault.as_ref(), provider_done);
        let entry = Entry { run, work, submission: &submission, upstream_id, cost, fault: fault.as_ref() };
        let attempt = entry.attempt();
        state.provider_done = state.provider_done.max(Some(provider_done));
        match fault {
            Some(fault) => {
                state.submissions[index].attempts.push(attempt);
                state.fail(index, fault);
            }
            None => {
                let fit = &candidate.fit;
                let sizes = made.iter().filter_map(|file| file.provider_size.or(file.size));
                let surprises = sizes.flat_map(|size| [fit.size_surprise(size), fit.scale_surprise(size)]).flatten();
                let notes = made.iter().flat_map(|file| &file.notes).map(|note| Adjustment::of_conversion(note));
                let changed = submission.conversions.iter().chain(&fit.adjustments).cloned();
                state.adjust(changed.chain(surprises).chain(notes).collect::<Vec<_>>());
                state.served = Some((attempt.provider.clone(), attempt.route.clone()));
                let submission = &mut state.submissions[index];
                submission.attempts.push(attempt);
                submission.outputs = made;
                submission.stage = Stage::Over;
            }
        }
        Ok(())
    }

    /// Ends a submission that is given up, and records what it may have cost.
    pub(in crate::pipeline) async fn abandon<P: Persistence>(
        &self,
        run: &Run<'_, P>,
        state: &mut JobState,
        index: usize,
        fault: Fault,
    ) -> Result<(), Interrupt> {
        let work = run.persistence.work().await?;
        let submission = state.submissions[index].clone();
        let upstream_id = match &submission.stage {
            Stage::Running(cursor) => cursor.job.clone(),
            Stage::Ready | Stage::Submitting | Stage::Over => None,
        };
        let cost = failed_cost(work, &submission, &fault);
        let attempt = Entry { run, work, submission: &submission, upstream_id, cost, fault: Some(&fault) }.attempt();
        state.submissions[index].attempts.push(attempt);
        state.provider_done = state.provider_done.max(Some(run.clock.now()));
        state.fail(index, fault);
        Ok(())
    }

    /// Counts a call in the metrics, and lets routing learn from it.
    fn learn(&self, work: &Work, submission: &Submission, fault: Option<&Fault>, done: Timestamp) {
        let Some(candidate) = work.candidate(submission.route) else { return };
        let route = candidate.route.executed_model();
        let took = span(submission.started, done);
        metrics::attempt(&route, fault.map(|fault| fault.kind), took);
        // A caller who gave it less time than it may take proves nothing against the route.
        let timeouts = self.route_timeouts(candidate);
        let cut_short = fault.is_some_and(|fault| fault.kind == FaultKind::Timeout)
            && took < timeouts.first_byte.min(timeouts.whole);
        let upstream = self.upstreams.get(&submission.provider);
        if let Some((at, _)) = upstream.and_then(|upstream| upstream.marked(&submission.credential))
            && !cut_short
        {
            self.board.judge(&route, &submission.provider, at, fault.map_or(Ok(took), Err));
        }
    }
}

fn failed_cost(work: &Work, submission: &Submission, fault: &Fault) -> Cost {
    let of = |candidate: &Candidate| billing::of_fault(candidate, &work.job, submission, fault);
    work.candidate(submission.route).map_or_else(billing::of_unknown_route, of)
}

/// What an attempt is made from.
struct Entry<'a, 'r, P> {
    run: &'a Run<'r, P>,
    work: &'a Work,
    submission: &'a Submission,
    upstream_id: Option<String>,
    cost: Cost,
    fault: Option<&'a Fault>,
}

impl<P> Entry<'_, '_, P> {
    fn attempt(self) -> Attempt {
        let Self { run, work, submission, upstream_id, cost, fault } = self;
        let attempt = Attempt {
            index: 0,
            provider: submission.provider.clone(),
            route: work.route_name(submission.route),
            upstream_id,
            status: if fault.is_none() { AttemptStatus::Completed } else { AttemptStatus::Failed },
            n: submission.n,
            started_ms: millis(run.created_at, submission.started),
            duration_ms: millis(submission.started, run.clock.now()),
            cost: cost.charge.amount,
            cost_source: cost.charge.source,
            cost_uncertain: cost.uncertain,
            error: fault.map(AttemptError::from),
            cost_note: cost.charge.note,
        };
        if let Some(fault) = fault {
            tracing::warn!(
                request.id = %run.id, provider.id = %attempt.provider, route = %attempt.route,
                kind = fault.kind.as_str(), status = fault.upstream_status, duration_ms = attempt.duration_ms,
                "attempt failed: {fault}"
            );
        }
        attempt
    }
}
