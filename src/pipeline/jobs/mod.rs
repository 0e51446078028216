//! Stored jobs: videos, and images in the background. They outlive their request and the process that took them.

mod completion;
mod context;
mod leased_row;
mod run;
mod state;
mod submit;
mod webhooks;
mod worker;

pub use state::{JobView, read_view};
pub use submit::{JobOptions, JobReceivers, JobSettings, Jobs};
pub use webhooks::{WebhookDispatcher, WebhookSettings};
pub use worker::Worker;
