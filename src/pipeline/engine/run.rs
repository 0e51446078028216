//! Runs a request: route by route, until everything is made, nothing is left to try, or it has to wait.

use super::Engine;
use super::state::{JobState, Retries, Stage, Submission};
use super::submission::Submissions;
use super::work::{Interrupt, Persistence, Run, Work};
use crate::fault::{Fault, FaultKind, Policy, Verdict};
use crate::pipeline::routing::Standing;

/// How a request ended: everything was made, or the fault because of which something is missing.
pub(in crate::pipeline) type Outcome = Result<(), Fault>;

/// What follows a run.
pub(in crate::pipeline) enum Next {
    /// Nothing is due; see [`JobState::next_due`].
    Wait,
    Done(Outcome),
}

impl Engine {
    /// Runs a request as far as it goes now. Every change is saved before it is acted on: the intent before a submit, the
    /// provider's job id right after it, outputs before the end.
    pub(in crate::pipeline) async fn run<P: Persistence>(
        &self,
        state: &mut JobState,
        run: &Run<'_, P>,
    ) -> Result<Next, Interrupt> {
        loop {
            if state.submissions.is_empty()
                && let Err(fault) = self.begin_route(state, run).await?
            {
                return Ok(Next::Done(Err(fault)));
            }
            Submissions::new(self, run).advance(state).await?;
            if state.next_due().is_some() {
                return Ok(Next::Wait);
            }
            if let Some(outcome) = self.end_route(state, run).await? {
                return Ok(Next::Done(outcome));
            }
        }
    }

    pub(in crate::pipeline) const fn policy(&self) -> Policy {
        Policy {
            failover_on_auth: self.settings.failover_on_auth,
            failover_on_moderation: self.settings.failover_on_moderation,
        }
    }

    /// Turns to the next route that can be used. The error is the fault that ends the request, when there is none.
    async fn begin_route<P: Persistence>(
        &self,
        state: &mut JobState,
        run: &Run<'_, P>,
    ) -> Result<Result<(), Fault>, Interrupt> {
        let work = run.persistence.work().await?;
        while let Some((route, more)) = next_route(state, work) {
            let Some(candidate) = work.candidate(route) else { break };
            let Some(upstream) = self.upstreams.get(&candidate.route.provider) else {
                state.tried.push(route);
                continue;
            };
            match self.board.begin(&candidate.route.executed_model(), upstream) {
                None => {
                    let off = || Fault::new(FaultKind::Unavailable, "the route was switched off by the operator");
                    state.last_fault.get_or_insert_with(off);
                    state.tried.push(route);
                    continue;
                }
                // It became unhealthy after planning: try the others first.
                Some(Standing::Unhealthy | Standing::Gone) if more && !state.postponed.contains(&route) => {
                    state.postponed.push(route);
                    continue;
                }
                Some(_) => {}
            }
            // One picture a call where they are streamed: events do not say which of several they belong to.
            let streamed = work.job.stream.is_some() && candidate.route.streams;
            let most = if streamed { 1 } else { candidate.route.max_n };
            let now = run.clock.now();
            let missing = work.job.n.saturating_sub(u32::try_from(state.outputs.len()).unwrap_or(u32::MAX));
            let submission = |n| Submission {
                route,
                provider: candidate.route.provider.clone(),
                credential: String::new(),
                call_id: String::new(),
                n,
                stage: Stage::Ready,
                started: now,
                due: now,
                deadline: run.deadline,
                first_poll: now,
                input_sizes: Vec::new(),
                conversions: Vec::new(),
                retries: Retries::default(),
                attempts: Vec::new(),
                outputs: Vec::new(),
            };
            state.submissions = split(missing, most).into_iter().map(submission).collect();
            state.route = route;
            return Ok(Ok(()));
        }
        let none = || Fault::new(FaultKind::Gone, "no route of the plan is available any more");
        Ok(Err(state.last_fault.clone().unwrap_or_else(none)))
    }

    /// Every submission of the route is over: the end of the request, unless there is something left to try.
    async fn end_route<P: Persistence>(
        &self,
        state: &mut JobState,
        run: &Run<'_, P>,
    ) -> Result<Option<Outcome>, Interrupt> {
        let wanted = run.persistence.work().await?.job.n as usize;
        state.collect();
        if state.outputs.len() >= wanted {
            state.outputs.truncate(wanted);
            return Ok(Some(Ok(())));
        }
        let stop = state.faults.iter().position(|fault| fault.kind.verdict(self.policy()) == Verdict::Stop);
        let short = || Fault::new(FaultKind::Empty, "the provider made fewer outputs than it was asked for");
        let fault = state.faults.get(stop.unwrap_or(0)).cloned().unwrap_or_else(short);
        if stop.is_some() || run.clock.now() >= run.deadline {
            return Ok(Some(Err(fault)));
        }
        state.last_fault = Some(fault);
        state.faults.clear();
        state.submissions.clear();
        state.tried.push(state.route);
        Ok(None)
    }
}

/// The next route to try, and whether there is another one after it.
fn next_route(state: &JobState, work: &Work) -> Option<(usize, bool)> {
    let left = || work.candidates.iter().map(|one| one.0).filter(|route| !state.tried.contains(route));
    let route = left().find(|route| !state.postponed.contains(route)).or_else(|| left().next())?;
    Some((route, left().count() > 1))
}

/// `missing` outputs in calls of at most `most`.
fn split(missing: u32, most: u32) -> Vec<u32> {
    let most = most.max(1);
    let full = (0..missing / most).map(|_| most);
    full.chain((!missing.is_multiple_of(most)).then_some(missing % most)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_split_into_calls() {
        assert_eq!(split(10, 4), [4, 4, 2]);
        assert_eq!(split(3, 1), [1, 1, 1]);
        assert_eq!(split(3, 10), [3]);
        assert_eq!(split(4, 4), [4]);
        assert!(split(0, 4).is_empty());
    }
}
