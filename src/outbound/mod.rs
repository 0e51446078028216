//! The door to the world: the one place that sends, and the guard in front of it.

mod auth;
pub mod client;
mod events;
mod google;
pub mod guard;
mod jwt;

pub use client::{Client, Destination, Download, Until, Watch};
pub use guard::{Guard, check_webhook};
pub use lumenfall_providers::auth::AuthScheme;
pub use lumenfall_providers::call::{self, Call, Content, Leg, Part, Payload, Reply, Verb};

use serde::Deserialize;

/// How we reach providers.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Lets provider addresses and result links be private ones. Callers' links never profit from it.
    pub allow_private: bool,
    /// Seconds to wait for a connection.
    pub connect_timeout_seconds: u64,
    /// Largest answer of a provider, in bytes.
    pub max_reply_bytes: usize,
    /// Largest result file, in bytes.
    pub max_file_bytes: usize,
}
