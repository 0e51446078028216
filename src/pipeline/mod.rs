//! What happens to a request: it is planned, its intent is recorded, it is run, and its cost is booked.
//!
//! Layers, from the bottom: `upstream`, `routing`, `planning`, `engine`, `ledger`, `retention`, `response`, `gateway`,
//! `jobs`. `tests/architecture/` holds them apart.

mod engine;
mod gateway;
mod jobs;
mod ledger;
mod planning;
mod response;
mod retention;
mod routing;
mod upstream;

pub use engine::{Attempt, AttemptStatus, Body, CostSummary, Engine, OutputFile, Partials, PostProcessor};
pub use gateway::Gateway;
pub use jobs::{
    JobOptions, JobReceivers, JobSettings, JobView, Jobs, WebhookDispatcher, WebhookSettings, Worker, read_view,
};
pub use ledger::{Ledger, RequestInfo, Timing};
pub use planning::{Adjustment, Plan, brief_for};
pub use response::{Delivery, Estimate, GenerationResult, OutputRef, dollars, provider_name};
pub use retention::Retention;
pub use routing::{Operator, Preferences, Report, Rule, Rules, Settings, Sort, Standing, Switchboard};
pub use upstream::{Credential, Upstream, Upstreams};
