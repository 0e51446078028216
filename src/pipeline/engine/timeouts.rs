//! The time limits of a route.

use super::Engine;
use crate::pipeline::planning::Candidate;
use std::time::Duration;

#[derive(Debug, Clone, Copy)]
pub(super) struct RouteTimeouts {
    /// Until a creating call begins to answer.
    pub first_byte: Duration,
    /// Of all its calls together.
    pub whole: Duration,
}

impl Engine {
    /// The time limits of a route while another one could be tried.
    pub(super) fn route_timeouts(&self, candidate: &Candidate) -> RouteTimeouts {
        let known = Duration::from_secs(u64::from(candidate.route.typical_seconds));
        let typical = self.board.latency(&candidate.route.executed_model()).map_or(known, |seen| seen.max(known));
        let settings = &self.settings;
        let at_least = Duration::from_millis(settings.min_first_byte_ms);
        RouteTimeouts {
            first_byte: (typical * settings.first_byte_factor).max(at_least),
            whole: (typical * settings.patience_factor).max(Duration::from_secs(settings.min_patience_seconds)),
        }
    }

    /// How long the creating call of a video may take to begin its answer: it is answered with a job id.
    pub(super) const fn video_submit_timeout(&self) -> Duration {
        Duration::from_millis(self.settings.min_first_byte_ms)
    }
}
