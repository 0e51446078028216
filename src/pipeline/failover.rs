//! Walks the plan until every picture is there: calls in parallel within a route, another credential or a short wait
//! after a rate limit, then the next route for what is missing. Every creating call leaves an entry in the trail.

use super::Settings;
use super::drive::{Bounds, Partials, drive};
use super::finish::{Finished, Finisher};
use super::fit::Adjustment;
use super::inputs::prepare;
use super::plan::{Candidate, Plan};
use super::routing::{Pick, Standing, Switchboard};
use super::trail::{Attempt, AttemptError};
use super::upstream::{Upstream, Upstreams, Wire};
use crate::catalog::Charge;
use crate::fault::{Accepted, Fault, FaultKind, Policy, Verdict};
use crate::job::{Job, Usage};
use crate::media::Size;
use futures::future::join_all;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What came of a plan.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The pictures that were made, at most as many as asked for.
    pub pictures: Vec<Finished>,
    /// Every creating call.
    pub trail: Vec<Attempt>,
    /// The last route that made a picture: provider and `provider/upstream`.
    pub served: Option<(String, String)>,
    /// What the routes that served changed.
    pub adjustments: Vec<Adjustment>,
    /// The fault that ended it, when pictures are missing.
    pub fault: Option<Fault>,
    /// When the last provider's part was over.
    pub provider_done: Option<Instant>,
}

/// Walks plans.
#[derive(Clone)]
pub struct Runner {
    /// The configured providers.
    pub upstreams: Upstreams,
    /// Pays debts.
    pub finisher: Finisher,
    /// How patient to be.
    pub settings: Settings,
    /// What is known of routes and credentials.
    pub board: Switchboard,
}

/// What a request brings along besides its job.
#[derive(Debug, Clone)]
pub struct Requester {
    /// When it came.
    pub arrived: Instant,
    /// When it should be over, whatever happens.
    pub deadline: Instant,
    /// Whose turn it takes in queues: the caller's key.
    pub key: String,
    /// Cancelled when the caller hangs up.
    pub hung_up: CancellationToken,
    /// Where unfinished pictures go, when somebody watches.
    pub partials: Option<Partials>,
}

/// One creating call with its pictures.
struct Tried {
    attempt: Attempt,
    made: Result<Vec<Finished>, Fault>,
    provider_done: Instant,
}

/// One request's frame: its job and its requester.
#[derive(Clone, Copy)]
struct Frame<'a> {
    job: &'a Job,
    requester: &'a Requester,
}

/// A route that is being asked.
#[derive(Clone, Copy)]
struct Stop<'a> {
    candidate: &'a Candidate,
    upstream: &'a Upstream,
    /// Whether another route is waiting.
    more: bool,
}

impl Runner {
    /// Runs a plan to its end.
    pub async fn run(&self, plan: &Plan, job: &Job, requester: &Requester) -> Outcome {
        let frame = Frame { job, requester };
        let mut outcome = Outcome::default();
        let mut waiting: VecDeque<(&Candidate, bool)> = plan.candidates.iter().map(|one| (one, false)).collect();
        while let Some((candidate, put_off)) = waiting.pop_front() {
            let Some(upstream) = self.upstreams.get(&candidate.route.provider) else { continue };
            let more = !waiting.is_empty();
            match self.board.begin(&candidate.route.executed_model(), upstream) {
                None => {
                    let off = || Fault::new(FaultKind::Unavailable, "the route was switched off by the operator");
                    outcome.fault.get_or_insert_with(off);
                    continue;
                }
                Some(Standing::Healthy | Standing::HalfOpen) => {}
                // It turned while this request was on its way: others first.
                Some(Standing::Unhealthy | Standing::Gone) if more && !put_off => {
                    waiting.push_back((candidate, true));
                    continue;
                }
                Some(Standing::Unhealthy | Standing::Gone) => {}
            }
            let missing = job.n - u32::try_from(outcome.pictures.len()).unwrap_or(job.n);
            let cut = match prepare(frame.job, &candidate.route, &self.finisher).await {
                Ok(cut) => cut,
                Err(fault) => {
                    outcome.fault = Some(fault);
                    return outcome;
                }
            };
            outcome.adjust(cut.told);
            let frame = Frame { job: cut.job.as_ref().unwrap_or(frame.job), ..frame };
            // One picture a call where they are streamed: events do not say which of several they belong to.
            let most = if job.stream.is_some() && candidate.route.streams { 1 } else { candidate.route.max_n };
            let stop = Stop { candidate, upstream, more };
            let runs = split(missing, most).into_iter().map(|n| self.batch(stop, frame, n));
            let mut faults = Vec::new();
            for (tries, fault) in join_all(runs).await {
                faults.extend(fault);
                for tried in tries {
                    outcome.absorb(tried, candidate);
                }
            }
            outcome.pictures.truncate(job.n as usize);
            if outcome.pictures.len() == job.n as usize {
                outcome.fault = None;
                return outcome;
            }
            let stop = faults.iter().position(|fault: &Fault| fault.kind.verdict(self.policy()) == Verdict::Stop);
            let short = || Fault::new(FaultKind::Empty, "the provider made fewer pictures than it was asked for");
            let fault = faults.into_iter().nth(stop.unwrap_or(0)).unwrap_or_else(short);
            outcome.fault = Some(fault);
            if stop.is_some() || Instant::now() >= requester.deadline {
                return outcome;
            }
        }
        outcome
    }

    pub(super) const fn policy(&self) -> Policy {
        Policy {
            failover_on_auth: self.settings.failover_on_auth,
            failover_on_moderation: self.settings.failover_on_moderation,
        }
    }

    /// One call of a route. After an answer that proves that it was not taken, it goes out again: with another credential
    /// at once, with the same one after its rate limit, a bounded number of times. The fault is that of the last call.
    async fn batch(&self, stop: Stop<'_>, frame: Frame<'_>, n: u32) -> (Vec<Tried>, Option<Fault>) {
        let Stop { candidate, upstream, .. } = stop;
        let route = candidate.route.executed_model();
        let (mut tries, mut refused, mut limited, mut waits) = (Vec::new(), Vec::new(), 0, 0);
        let mut last = None;
        loop {
            let at = match self.board.pick(&route, upstream, &refused, &mut rand::random) {
                Pick::Ready(at) => at,
                Pick::Wait(at) => {
                    let longest = Duration::from_secs(self.settings.rate_limit_max_wait_seconds);
                    let latest = frame.requester.deadline.min(Instant::now() + longest);
                    if waits >= self.settings.rate_limit_retries && last.is_some() {
                        return (tries, last);
                    }
                    let (provider, key) = (upstream.name.as_str(), frame.requester.key.as_str());
                    if let Err(left) = self.board.turn(&route, provider, at, key, latest).await {
                        let text = "the provider's rate limit is reached";
                        let full = || Fault::new(FaultKind::RateLimited, text).retry_after(Some(left));
                        return (tries, last.or_else(|| Some(full())));
                    }
                    waits += 1;
                    at
                }
                Pick::Nothing => return (tries, last),
            };
            let tried = self.attempt(stop, frame, n, at).await;
            last = tried.made.as_ref().err().cloned();
            tries.push(tried);
            let again = match &last {
                Some(fault) if fault.accepted != Accepted::No => false,
                Some(fault) if fault.kind == FaultKind::RateLimited => {
                    limited += 1;
                    limited < upstream.credentials.len() + self.settings.rate_limit_retries as usize
                }
                Some(fault) if fault.kind == FaultKind::Auth => {
                    refused.push(at);
                    refused.len() < upstream.credentials.len()
                }
                _ => false,
            };
            if !again || Instant::now() >= frame.requester.deadline {
                return (tries, last);
            }
        }
    }

    /// One creating call and the finishing of what it made.
    async fn attempt(&self, stop: Stop<'_>, frame: Frame<'_>, n: u32, at: usize) -> Tried {
        let Stop { candidate, upstream, more } = stop;
        let started = Instant::now();
        let requester = frame.requester;
        let route = candidate.route.executed_model();
        let patience = self.patience(candidate);
        let deadline = if more { requester.deadline.min(started + patience.whole) } else { requester.deadline };
        let first_byte = if more { patience.first_byte } else { deadline.saturating_duration_since(started) };
        let brief = candidate.fit.brief(frame.job, &candidate.route, n);
        let (driven, upstream_id) = match upstream.credentials.get(at) {
            Some(credential) => {
                let wire = Wire { client: &self.finisher.client, to: &credential.destination };
                let bounds =
                    Bounds { first_byte, deadline, hung_up: &requester.hung_up, partials: requester.partials.as_ref() };
                drive(upstream.adapter, &upstream.site, &brief, &wire, bounds).await
            }
            None => (Err(Fault::new(FaultKind::Auth, "the provider has no credential")), None),
        };
        let provider_done = Instant::now();
        let (made, charge) = match driven {
            Ok(driven) => {
                let debts = &candidate.fit.debts;
                let count = driven.outputs.len();
                let finishing =
                    driven.outputs.into_iter().map(|output| self.finisher.finish(output, debts, requester.deadline));
                let finished = join_all(finishing).await;
                let charge = bill_outputs(candidate, frame.job, n, &finished, driven.usage);
                (gather(finished, count), charge)
            }
            Err(fault) => {
                let charge = bill_fault(candidate, frame.job, n, &fault);
                (Err(fault), charge)
            }
        };
        let took = provider_done - started;
        // A caller who gave it less time than it may take proves nothing against the route.
        let cut_short =
            |fault: &Fault| fault.kind == FaultKind::Timeout && took < patience.first_byte.min(patience.whole);
        let fair = !made.as_ref().is_err_and(cut_short);
        self.heard(&candidate.route, at, made.as_ref().err(), took, fair);
        let since = |from: Instant, to: Instant| u64::try_from((to - from).as_millis()).unwrap_or(u64::MAX);
        let attempt = Attempt {
            index: 0,
            provider: candidate.route.provider.clone(),
            route,
            upstream_id,
            status: if made.is_ok() { "completed" } else { "failed" },
            n,
            started_ms: since(requester.arrived, started),
            duration_ms: since(started, Instant::now()),
            cost: charge.0.amount,
            cost_source: charge.0.source,
            cost_uncertain: charge.1,
            error: made.as_ref().err().map(AttemptError::from),
            cost_note: charge.0.note,
        };
        if let Err(fault) = &made {
            tracing::warn!(
                provider.id = %attempt.provider, route = %attempt.route, kind = fault.kind.as_str(),
                status = fault.upstream_status, duration_ms = attempt.duration_ms, "attempt failed: {fault}"
            );
        }
        Tried { attempt, made, provider_done }
    }
}

impl Outcome {
    /// Tells each thing once.
    fn adjust(&mut self, changed: impl IntoIterator<Item = Adjustment>) {
        for adjustment in changed {
            if !self.adjustments.contains(&adjustment) {
                self.adjustments.push(adjustment);
            }
        }
    }

    fn absorb(&mut self, mut tried: Tried, candidate: &Candidate) {
        tried.attempt.index = self.trail.len();
        self.provider_done = self.provider_done.max(Some(tried.provider_done));
        if let Ok(pictures) = tried.made {
            let fit = &candidate.fit;
            let surprises = pictures
                .iter()
                .flat_map(|picture| [fit.size_surprise(picture.came), fit.scale_surprise(picture.came)])
                .flatten();
            self.adjust(fit.adjustments.iter().cloned().chain(surprises));
            self.pictures.extend(pictures);
            self.served = Some((tried.attempt.provider.clone(), tried.attempt.route.clone()));
        }
        self.trail.push(tried.attempt);
    }
}

/// `missing` pictures in calls of at most `most`.
pub(super) fn split(missing: u32, most: u32) -> Vec<u32> {
    let most = most.max(1);
    let full = (0..missing / most).map(|_| most);
    full.chain((!missing.is_multiple_of(most)).then_some(missing % most)).collect()
}

/// All pictures that are sound; the first flaw when none is.
fn gather(finished: Vec<Result<Finished, Fault>>, count: usize) -> Result<Vec<Finished>, Fault> {
    let mut flaw = None;
    let sound: Vec<Finished> =
        finished.into_iter().filter_map(|one| one.map_err(|fault| flaw = Some(fault)).ok()).collect();
    if count == 0 {
        return Err(Fault::new(FaultKind::Empty, "the provider answered without a picture").accepted(Accepted::Maybe));
    }
    match flaw {
        Some(fault) if sound.is_empty() => Err(fault.accepted(Accepted::Yes)),
        _ => Ok(sound),
    }
}

/// What a call that ran costs, sound pictures or not, and what it may have cost.
fn bill_outputs(
    candidate: &Candidate,
    job: &Job,
    n: u32,
    finished: &[Result<Finished, Fault>],
    usage: Usage,
) -> (Charge, Option<crate::base::Usd>) {
    let size_of = |one: &Result<Finished, Fault>| one.as_ref().map_or(candidate.fit.expect, |done| done.came);
    let sizes: Vec<Size> = finished.iter().map(size_of).collect();
    let silent = usage == Usage::default();
    if sizes.is_empty() && silent {
        // Nothing came and nothing was said of a bill: it may have been bought or not.
        return (Charge::nothing(), candidate.estimate(job, n).amount);
    }
    (candidate.route.price.charge(&candidate.made(job, sizes, usage)), None)
}

/// What a failed call costs: what the provider says; else nothing when it was not taken, the estimate when it was, and
/// nobody knows in between.
pub(super) fn bill_fault(
    candidate: &Candidate,
    job: &Job,
    n: u32,
    fault: &Fault,
) -> (Charge, Option<crate::base::Usd>) {
    if let Some(usage) = &fault.usage {
        let charge = candidate.route.price.charge(&candidate.made(job, Vec::new(), Usage::clone(usage)));
        if charge.amount.is_some() {
            return (charge, None);
        }
    }
    let nothing = Charge::nothing();
    match fault.accepted {
        Accepted::No => (nothing, None),
        Accepted::Maybe => {
            let estimate = candidate.estimate(job, n).amount;
            let unknown = || "a failed call may have been billed, at a price that the catalog does not know".to_owned();
            let note = estimate.is_none().then(unknown);
            (Charge { note, ..nothing }, estimate)
        }
        Accepted::Yes => {
            let estimate = candidate.estimate(job, n);
            let listed = || "the provider ran this call and then failed it; the cost is the price list's".to_owned();
            let note = estimate.note.clone().or_else(|| Some(listed()));
            (Charge { note, ..estimate }, None)
        }
    }
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
