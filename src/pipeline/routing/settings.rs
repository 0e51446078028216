//! `[routing]`

use super::health::Thresholds;
use super::rules::Rule;
use serde::Deserialize;
use std::time::Duration;

/// How requests are routed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Seconds a caller waits at most.
    pub deadline_seconds: u64,
    /// Try other routes when a provider refuses our credential.
    pub failover_on_auth: bool,
    /// Try other routes when a provider's moderation refuses.
    pub failover_on_moderation: bool,
    /// How often one route is asked again after a rate limit.
    pub rate_limit_retries: u32,
    /// Seconds to wait for a rate limit at most; longer, and the next route is tried at once.
    pub rate_limit_max_wait_seconds: u64,
    /// While another route is waiting, one may take so many times its typical duration.
    pub patience_factor: u32,
    /// And at least so many seconds.
    pub min_patience_seconds: u64,
    /// While another route is waiting, the first byte of a creating call may take so many times the typical duration.
    pub first_byte_factor: u32,
    /// And at least so many milliseconds.
    pub min_first_byte_ms: u64,
    /// Requests that may wait for the rate limits of one credential; more go to the next route at once.
    pub rate_limit_queue: usize,
    /// So many failures in a row make a route the last resort.
    pub breaker_failures: u32,
    /// Milliseconds until such a route is tried again by one request; doubled after each trial that fails.
    pub breaker_ms: u64,
    /// The half-life of what is remembered of a route, in seconds.
    pub failure_window_seconds: u64,
    /// A share of failures in that window, in percent, that makes a route the last resort too.
    pub failure_percent: u32,
    /// Seconds for which a route is left out whose model the provider no longer has.
    pub gone_seconds: u64,
    /// Which routes serve which models, in which order and share.
    #[serde(deserialize_with = "super::rules::read_rules")]
    pub rules: Vec<Rule>,
}

impl Settings {
    pub(super) fn thresholds(&self) -> Thresholds {
        let pause = Duration::from_millis(self.breaker_ms);
        Thresholds {
            row: self.breaker_failures,
            half_life: Duration::from_secs(self.failure_window_seconds),
            share: f64::from(self.failure_percent) / 100.0,
            calls: 10.0,
            pause,
            longest_pause: pause * 10,
            gone: Duration::from_secs(self.gone_seconds),
        }
    }
}
