//! `[server]`: addresses, limits and retention.

use serde::Deserialize;
use std::net::SocketAddr;

/// `[server]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The base of media links; from the request's Host header when empty.
    pub public_url: String,
    /// Largest request body, in bytes.
    pub max_body_bytes: usize,
    /// Bytes of request bodies in memory at once; a request beyond that gets 503.
    pub max_held_bytes: usize,
    /// Requests served at once; more get 503.
    pub max_concurrent: usize,
    /// Seconds that running requests have to finish at shutdown.
    pub drain_seconds: u64,
    /// Days for which request and answer (prompts and links, no pictures) are stored: 0, 7 or 30.
    pub payload_days: u32,
}
