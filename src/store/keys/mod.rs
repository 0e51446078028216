//! API keys and the accounts that they belong to.

pub(crate) mod accounts;
mod credential;
pub(crate) mod key;
pub(crate) mod offline_cache;
pub(crate) mod repository;
pub(crate) mod update;
