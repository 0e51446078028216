//! `[server]`: how we are reached, and how much at once.

use serde::Deserialize;
use std::net::SocketAddr;

/// How we are reached.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The address that callers see, for media links; each caller's own Host header when empty.
    pub public_url: String,
    /// Largest request body, in bytes.
    pub max_body_bytes: usize,
    /// Bytes of request bodies held at once; more are told to come back.
    pub max_held_bytes: usize,
    /// Requests served at once; more are told to come back.
    pub max_concurrent: usize,
    /// Seconds that running requests are given at a stop.
    pub drain_seconds: u64,
    /// Days for which prompts and answers (links, no pictures) are kept: 0, 7 or 30.
    pub payload_days: u32,
}
