//! The request log and the money. Rows are written by the writer only, and with them, in the same transaction, what they
//! change about balances and sums. Everything else here reads.
//!
//! From the bottom up: `record`; `limits`, `rollup` and `row`; `balances`; `transaction`; `journal`, `offline_balances` and
//! `queue`; `write_loop`; `writer`. `requests`, `summary`, `export` and `payloads` read.

pub(crate) mod balances;
pub(crate) mod export;
pub(crate) mod journal;
pub(crate) mod limits;
pub(crate) mod offline_balances;
pub(crate) mod payloads;
mod queue;
pub(crate) mod record;
pub(crate) mod requests;
mod rollup;
mod row;
pub(crate) mod summary;
mod transaction;
pub(crate) mod write_loop;
pub(crate) mod writer;
