//! The gateway's own endpoints, under `/v1` only: keys, accounts, the request log, routing, webhooks.

pub(super) mod accounts;
mod changes;
pub(super) mod keys;
pub(super) mod payloads;
pub(super) mod requests;
pub(super) mod routing;
pub(super) mod webhooks;
