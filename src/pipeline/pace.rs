//! How long routes may take, with which credential they are asked, and who is told what came of it: the same for requests
//! that wait and for stored jobs.

use super::failover::Runner;
use super::metrics;
use super::plan::Candidate;
use super::routing::{Operator, Pick};
use super::upstream::{Credential, Upstream};
use crate::catalog::Route;
use crate::fault::{Accepted, Fault};
use std::time::Duration;

/// How long a route may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Until a creating call begins to answer.
    pub first_byte: Duration,
    /// Altogether.
    pub whole: Duration,
}

impl Runner {
    /// How long one route may take while another is waiting.
    pub(super) fn patience(&self, candidate: &Candidate) -> Patience {
        let known = Duration::from_secs(u64::from(candidate.route.typical_seconds));
        let typical = self.board.latency(&candidate.route.executed_model()).map_or(known, |seen| seen.max(known));
        let settings = &self.settings;
        let at_least = Duration::from_millis(settings.min_first_byte_ms);
        Patience {
            first_byte: (typical * settings.first_byte_factor).max(at_least),
            whole: (typical * settings.patience_factor).max(Duration::from_secs(settings.min_patience_seconds)),
        }
    }

    /// How long a creating call of a stored job may take to begin its answer: those are answered with a ticket.
    pub(super) const fn ticket_patience(&self) -> Duration {
        Duration::from_millis(self.settings.min_first_byte_ms)
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

    /// Whether a planned route can still be turned to: its provider is configured, and the operator has not switched it
    /// off since.
    pub(super) fn open(&self, candidate: &Candidate) -> bool {
        let upstream = self.upstreams.get(&candidate.route.provider);
        let view = |upstream| self.board.view(&candidate.route.executed_model(), upstream);
        upstream.map(view).is_some_and(|view| view.operator != Operator::Disabled)
    }

    /// A provider and the credential of that mark.
    pub(super) fn marked(&self, provider: &str, mark: &str) -> Option<(&Upstream, &Credential)> {
        let upstream = self.upstreams.get(provider)?;
        Some((upstream, upstream.marked(mark)?.1))
    }

    /// The mark of the credential that a stored job is submitted with.
    pub(super) fn draw(&self, candidate: &Candidate) -> String {
        let Some(upstream) = self.upstreams.get(&candidate.route.provider) else { return String::new() };
        match self.board.pick(&candidate.route.executed_model(), upstream, &[], &mut rand::random) {
            Pick::Ready(at) | Pick::Wait(at) => upstream.credentials.get(at).map(|one| one.mark.clone()),
            Pick::Nothing => None,
        }
        .unwrap_or_default()
    }

    /// Takes in what came of a call: the metrics count it, and the switchboard learns from it when it is `fair` to.
    pub(super) fn heard(&self, route: &Route, at: usize, fault: Option<&Fault>, took: Duration, fair: bool) {
        let name = route.executed_model();
        metrics::attempt(&name, fault.map(|fault| fault.kind), took);
        if fair {
            self.board.judge(&name, &route.provider, at, fault.map_or(Ok(took), Err));
        }
    }
}
