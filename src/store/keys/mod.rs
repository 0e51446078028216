//! API keys and the accounts that they belong to.

pub(crate) mod accounts;
pub(crate) mod credential;
pub(crate) mod offline_cache;
pub(crate) mod repository;
pub(crate) mod update;
