//! Endpoints that create something and may cost money. [`images`] and [`videos`] each show the order of their calls.

mod call_context;
mod execution;
mod fingerprint;
mod idempotency;
mod image_response;
mod image_stream;
pub(super) mod images;
mod input_sources;
mod submit_job;
pub(super) mod videos;
