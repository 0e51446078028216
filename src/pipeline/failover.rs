//! Walks the plan until every picture is there: calls in parallel within a route, short waits on a rate limit, then the
//! next route for what is missing. Every creating call leaves an entry in the trail.

use super::Settings;
use super::drive::{Partials, drive};
use super::finish::{Finished, Finisher};
use super::fit::Adjustment;
use super::inputs::prepare;
use super::plan::{Candidate, Plan};
use super::trail::{Attempt, AttemptError};
use super::upstream::{Upstream, Upstreams, Wire};
use crate::catalog::Charge;
use crate::fault::{Accepted, Fault, FaultKind, Policy, Verdict};
use crate::job::{Brief, Job, Output, Usage};
use crate::media::Size;
use futures::future::join_all;
use std::time::Duration;
use tokio::time::{Instant, sleep};

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
}

/// One creating call with its pictures.
struct Tried {
    attempt: Attempt,
    made: Result<Vec<Finished>, Fault>,
    provider_done: Instant,
}

/// One request's frame: its job and its times.
#[derive(Clone, Copy)]
struct Frame<'a> {
    job: &'a Job,
    arrived: Instant,
    deadline: Instant,
    partials: Option<&'a Partials>,
}

impl Runner {
    /// Runs a plan to its end. `arrived` is when the request came, `deadline` bounds everything; unfinished pictures go to
    /// `partials` where a route streams them.
    pub async fn run(
        &self,
        plan: &Plan,
        job: &Job,
        arrived: Instant,
        deadline: Instant,
        partials: Option<&Partials>,
    ) -> Outcome {
        let frame = Frame { job, arrived, deadline, partials };
        let mut outcome = Outcome::default();
        for (position, candidate) in plan.candidates.iter().enumerate() {
            let Some(upstream) = self.upstreams.get(&candidate.route.provider) else { continue };
            let more = position + 1 < plan.candidates.len();
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
            let batches = split(missing, most);
            let runs = batches.into_iter().map(|n| self.batch(candidate, upstream, frame, n, more));
            let mut faults = Vec::new();
            for tried in join_all(runs).await.into_iter().flatten() {
                outcome.absorb(tried, candidate, &mut faults);
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
            if stop.is_some() || Instant::now() >= deadline {
                return outcome;
            }
        }
        outcome
    }

    /// Drives one brief on one provider by hand: no plan, no row, no retry. What a video's worker will stand on, and how
    /// routes are tried one by one.
    pub async fn drive(&self, provider: &str, brief: &Brief, deadline: Instant) -> Result<Vec<Output>, Fault> {
        let unknown = || Fault::new(FaultKind::BadRequest, format!("'{provider}' is not configured"));
        let upstream = self.upstreams.get(provider).ok_or_else(unknown)?;
        let wire = Wire { client: &self.finisher.client, to: &upstream.destination };
        drive(upstream.adapter, &upstream.site, brief, &wire, deadline, None).await.map(|driven| driven.outputs)
    }

    pub(super) const fn policy(&self) -> Policy {
        Policy {
            failover_on_auth: self.settings.failover_on_auth,
            failover_on_moderation: self.settings.failover_on_moderation,
        }
    }

    /// One call of a route, repeated after a rate limit a bounded number of times.
    async fn batch(
        &self,
        candidate: &Candidate,
        upstream: &Upstream,
        frame: Frame<'_>,
        n: u32,
        more: bool,
    ) -> Vec<Tried> {
        let mut tries = Vec::new();
        loop {
            let tried = self.attempt(candidate, upstream, frame, n, more).await;
            let wait = match &tried.made {
                Err(fault) if fault.kind.verdict(self.policy()) == Verdict::WaitThenRetry => {
                    self.rate_limit_wait(fault, tries.len())
                }
                _ => None,
            };
            tries.push(tried);
            match wait {
                Some(wait) if Instant::now() + wait < frame.deadline => sleep(wait).await,
                _ => return tries,
            }
        }
    }

    /// How long to wait for a rate limit; `None` when it is too long or has been tried often enough.
    pub(super) fn rate_limit_wait(&self, fault: &Fault, tries: usize) -> Option<Duration> {
        let tries = u32::try_from(tries).unwrap_or(u32::MAX);
        let longest = Duration::from_secs(self.settings.rate_limit_max_wait_seconds);
        let usual = Duration::from_millis(500).saturating_mul(2u32.saturating_pow(tries));
        let jitter = Duration::from_millis(rand::random_range(0..50));
        let wait = fault.retry_after.unwrap_or(usual) + jitter;
        (tries < self.settings.rate_limit_retries && fault.accepted == Accepted::No && wait <= longest + jitter)
            .then_some(wait)
    }

    /// One creating call and the finishing of what it made.
    async fn attempt(&self, candidate: &Candidate, upstream: &Upstream, frame: Frame<'_>, n: u32, more: bool) -> Tried {
        let started = Instant::now();
        let deadline = if more { frame.deadline.min(started + self.patience(candidate)) } else { frame.deadline };
        let brief = candidate.fit.brief(frame.job, &candidate.route, n);
        let wire = Wire { client: &self.finisher.client, to: &upstream.destination };
        let driven = drive(upstream.adapter, &upstream.site, &brief, &wire, deadline, frame.partials).await;
        let provider_done = Instant::now();
        let (made, charge) = match driven {
            Ok(driven) => {
                let debts = &candidate.fit.debts;
                let count = driven.outputs.len();
                let finishing =
                    driven.outputs.into_iter().map(|output| self.finisher.finish(output, debts, frame.deadline));
                let finished = join_all(finishing).await;
                let charge = bill_outputs(candidate, frame.job, &finished, driven.usage);
                (gather(finished, count), charge)
            }
            Err(fault) => {
                let charge = bill_fault(candidate, frame.job, n, &fault);
                (Err(fault), charge)
            }
        };
        let since = |from: Instant, to: Instant| u64::try_from((to - from).as_millis()).unwrap_or(u64::MAX);
        let attempt = Attempt {
            index: 0,
            provider: candidate.route.provider.clone(),
            route: candidate.route.executed_model(),
            status: if made.is_ok() { "completed" } else { "failed" },
            n,
            started_ms: since(frame.arrived, started),
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

    /// How long one route may take while another is waiting.
    pub(super) fn patience(&self, candidate: &Candidate) -> Duration {
        let typical = Duration::from_secs(u64::from(candidate.route.typical_seconds));
        (typical * self.settings.patience_factor).max(Duration::from_secs(self.settings.min_patience_seconds))
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

    fn absorb(&mut self, mut tried: Tried, candidate: &Candidate, faults: &mut Vec<Fault>) {
        tried.attempt.index = self.trail.len();
        self.provider_done = self.provider_done.max(Some(tried.provider_done));
        match tried.made {
            Ok(pictures) => {
                let fit = &candidate.fit;
                let surprises = pictures
                    .iter()
                    .flat_map(|picture| [fit.size_surprise(picture.came), fit.scale_surprise(picture.came)])
                    .flatten();
                self.adjust(fit.adjustments.iter().cloned().chain(surprises));
                self.pictures.extend(pictures);
                self.served = Some((tried.attempt.provider.clone(), tried.attempt.route.clone()));
            }
            // A rate limit that was waited out left a later try of the same call behind it.
            Err(fault) => faults.push(fault),
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
    finished: &[Result<Finished, Fault>],
    usage: Usage,
) -> (Charge, Option<crate::base::Usd>) {
    let size_of = |one: &Result<Finished, Fault>| one.as_ref().map_or(candidate.fit.expect, |done| done.came);
    let sizes: Vec<Size> = finished.iter().map(size_of).collect();
    let silent = usage == Usage::default();
    if sizes.is_empty() && silent {
        // Nothing came and nothing was said of a bill: it may have been bought or not.
        return (Charge::nothing(), candidate.estimate(job, 1).amount);
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
