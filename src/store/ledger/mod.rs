//! The request log and the money: how rows are written, and everything that is read from them.

pub(crate) mod export;
pub(crate) mod journal;
pub(crate) mod limits;
pub(crate) mod payloads;
pub(crate) mod record;
pub(crate) mod requests;
pub(crate) mod rollup;
pub(crate) mod summary;
pub(crate) mod transaction;
pub(crate) mod write_loop;
pub(crate) mod writer;
