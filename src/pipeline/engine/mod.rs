//! The engine: takes the state of a request, makes its next steps, and says when to go on. Requests that wait and stored
//! jobs differ only in who keeps the state between steps ([`Persistence`]) and who is told at the end.

mod attempts;
mod billing;
mod calls;
mod metrics;
mod postprocess;
mod results;
mod run;
mod state;
mod step;
mod store_output;
mod submission;
mod timeouts;
mod work;

pub use attempts::{Attempt, AttemptStatus, CostSummary};
pub use postprocess::{Body, PostProcessor};
pub use state::OutputFile;
pub use step::Partials;

pub(super) use run::Next;
pub(super) use state::{JobState, Stage};
pub(super) use step::{READ_TRIES, STORED_READ_TRIES};
pub(super) use store_output::OutputTarget;
pub(super) use work::{Change, Clock, Interrupt, Persistence, Run, Work, millis};

use super::Settings;
use super::routing::Switchboard;
use super::upstream::Upstreams;

/// Runs requests.
#[derive(Clone)]
pub struct Engine {
    /// The configured providers.
    pub upstreams: Upstreams,
    pub post: PostProcessor,
    pub settings: Settings,
    /// What is known of routes and credentials.
    pub board: Switchboard,
}
