//! The database: the request log that people bill from, accounts, keys, jobs, webhooks. One code path for SQLite and
//! PostgreSQL. A [`Store`] is asked through small repositories, [`Store::keys`] and the like.
//!
//! Rows of the log are written by [`Writer`] only, many in one transaction, and with them whatever they change about
//! money. Everything is read through a pool, so that a slow report never holds up the log.
//!
//! The layers, from the bottom up: `db` knows no table; `webhooks`, `idempotency` and `routing` are tables of their own;
//! `jobs` and `ledger` queue webhooks in their transactions; `keys` builds on the ledger's limits; `open` puts all together.

mod db;
mod idempotency;
mod jobs;
mod keys;
mod ledger;
mod open;
mod routing;
mod webhooks;

pub use db::error::{Denial, StoreError};
pub use db::page::{Cursor, Listed, Page};
pub use idempotency::{Claim, ExistingClaim, IdempotencyRepository, OutcomeBody, StoredOutcome};
pub use jobs::{JobRepository, JobRow, JobSave, JobStatus, LeasedJob};
pub use keys::accounts::{AccountChange, AccountRepository, NewAccount};
pub use keys::key::{Key, KeyStatus, NewKey};
pub use keys::repository::KeyRepository;
pub use keys::update::KeyChange;
pub use ledger::export::ExportFormat;
pub use ledger::limits::{Account, Billing, KeyUsage, LimitEvent, Limits};
pub use ledger::payloads::{NewPayload, PayloadRepository, Purged};
pub use ledger::record::{Record, Status};
pub use ledger::requests::{Filter, RequestRepository};
pub use ledger::summary::{Group, GroupBy, Summary};
pub use ledger::writer::{Stats, Writer};
pub use open::Store;
pub use routing::RoutingRepository;
pub use webhooks::{Delivery, DeliveryAttempt, DeliveryStatus, NewDelivery, WebhookRepository};

use serde::Deserialize;
use std::fmt;

/// `[database]`
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `sqlite://path/to/file.db` or `postgres://user:password@host/database`.
    pub url: String,
    /// Connections that this process opens at most; one of them belongs to the writer.
    pub max_connections: u32,
    /// Time limit of a query on PostgreSQL.
    pub statement_timeout_seconds: u64,
    /// Directory for rows while the database is unavailable. Without one (empty), rows wait in memory and requests are refused.
    pub journal: String,
    /// Bytes in the journal beyond which no request is admitted.
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

/// The URL can hold a password, so it is not shown.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("max_connections", &self.max_connections).finish_non_exhaustive()
    }
}
