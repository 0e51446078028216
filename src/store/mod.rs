//! The database: the request log that people bill from, the accounts and the keys. One code path for SQLite and
//! PostgreSQL.
//!
//! Rows of the log are written by [`Writer`] only, many in one transaction, and with them whatever they change about
//! money. Everything is read through a pool, so that a slow report never holds up the log. No statement has a name and no
//! session has a state, so a pooler that lends connections by the transaction may stand in between.

mod db;
mod idempotency;
mod jobs;
mod keys;
mod ledger;
mod open;
mod routing;
mod webhooks;

pub use db::error::StoreError;
pub use db::page::{Cursor, Page};
pub use idempotency::{Claim, Claimed, Kept, KeptBody};
pub use jobs::{JobRow, JobSave, JobStatus, LeasedJob, ListedJobs};
pub use keys::accounts::{AccountTerm, NewAccount};
pub use keys::repository::{Key, KeyStatus, ListedKeys, NewKey};
pub use keys::update::KeyTerm;
pub use ledger::export::ExportFormat;
pub use ledger::limits::{Account, Billing, Denial, LimitEvent, Limits, Used};
pub use ledger::payloads::{NewPayload, Purged};
pub use ledger::record::{Record, Status};
pub use ledger::requests::{Filter, Listed};
pub use ledger::summary::{Group, GroupBy, Summary};
pub use ledger::writer::{Stats, Writer};
pub use open::Store;
pub use webhooks::{Delivery, ListedDeliveries, NewDelivery, Tried};

use serde::Deserialize;
use std::fmt;

/// Where the data is.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `sqlite://path/to/file.db` or `postgres://user:password@host/database`.
    pub url: String,
    /// How many connections this process opens at most; one of them belongs to the writer.
    pub max_connections: u32,
    /// Seconds that a question to PostgreSQL may take.
    pub statement_timeout_seconds: u64,
    /// Directory for rows while the database is away; empty for none, then rows wait in memory and requests are refused.
    pub journal: String,
    /// Bytes in the journal beyond which no request is let in.
    pub journal_max_bytes: u64,
    /// Months of the log that are kept besides the current one; 0 for all.
    pub retention_months: u32,
}

impl Settings {
    /// The same without a journal, for commands that only look or change something small.
    #[must_use]
    pub fn without_journal(&self) -> Self {
        Self { journal: String::new(), ..self.clone() }
    }
}

/// The address can hold a password, so it is not shown.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("max_connections", &self.max_connections).finish_non_exhaustive()
    }
}
