//! The HTTP API: paths, bodies, answers. Knows no provider.
//!
//! Its layers, from the top down; each uses only what stands below it.
//! - `router`: every path, and the middleware around them.
//! - `native`: the gateway's own endpoints (keys, accounts, request log, routing, webhooks).
//! - `calls`: endpoints that create something and may cost money; `calls/images.rs` and `calls/videos.rs` show the order.
//! - `jobs`: stored jobs: retrieve, list, cancel, delete, download.
//! - `models`, `media`, `health`: endpoints that only read.
//! - `middleware`, `caller`, `body`: request id and concurrency limit, authentication, reading bodies within bounds.
//! - `state`, `body_budget`: what all handlers share.
//! - `wire`: JSON bodies to domain types and back; `error`: the error envelope.

mod body;
mod body_budget;
mod caller;
mod calls;
mod error;
mod health;
mod jobs;
mod media;
mod middleware;
mod models;
mod native;
mod router;
mod settings;
mod state;
mod wire;

pub use settings::Settings;
pub use state::Api;
