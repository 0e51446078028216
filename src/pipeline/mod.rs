//! The story of a request: plan it, note what it may cost, run it, account for it.

mod advance;
mod answer;
mod background;
mod drive;
mod ending;
mod exchange;
mod failover;
mod finish;
mod fit;
mod gateway;
mod keep;
mod ledger;
mod papers;
mod plan;
mod trail;
mod upstream;
mod webhooks;
mod worker;

pub use answer::{Answer, Delivery, Estimate, Handle, Timing, dollars, provider_name};
pub use background::{Arrivals, JobSettings, Jobs, Terms, read_view};
pub use failover::Runner;
pub use finish::{Body, Finished, Finisher};
pub use fit::{Adjustment, brief_for};
pub use gateway::Gateway;
pub use ledger::{Asker, Ledger};
pub use papers::{Made, View};
pub use plan::Plan;
pub use trail::{Attempt, Bill};
pub use upstream::{Upstream, Upstreams};
pub use webhooks::{Courier, WebhookSettings};
pub use worker::Worker;

use serde::Deserialize;

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
}
