//! The database: the request log that people bill from, and the keys. One code path for SQLite and PostgreSQL.
//!
//! Rows of the log are written by [`Writer`] only, many in one transaction. Everything is read through a pool, so that a
//! slow report never holds up the log.

mod connect;
mod credential;
mod error;
pub mod idempotency;
pub mod keys;
pub mod page;
pub mod record;
pub mod requests;
mod sql;
pub mod writer;

pub use error::StoreError;
pub use idempotency::{Claim, Claimed, Kept, KeptBody};
pub use keys::{Key, KeyStatus, ListedKeys, NewKey};
pub use page::{Cursor, Page};
pub use record::{Record, Status};
pub use requests::{Filter, Group, GroupBy, Listed, Summary};
pub use writer::{Stats, Writer};

use connect::Target;
use serde::Deserialize;
use sqlx::AnyPool;
use std::fmt;
use std::time::Duration;
use tokio::time::timeout;

/// Where the data is.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `sqlite://path/to/file.db` or `postgres://user:password@host/database`.
    pub url: String,
    /// How many connections this process opens at most; one of them belongs to the writer.
    pub max_connections: u32,
}

/// The address can hold a password, so it is not shown.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("max_connections", &self.max_connections).finish_non_exhaustive()
    }
}

/// An open database.
#[derive(Clone)]
pub struct Store {
    pool: AnyPool,
    writer: Writer,
}

impl Store {
    /// Connects, brings the tables to this version and starts the writer. Errors say what an operator can do.
    pub async fn open(settings: &Settings) -> Result<Self, StoreError> {
        let target = Target::parse(&settings.url)?;
        target.ready().await?;
        tracing::info!(database = target.label(), "the database is open");
        let pool = target.pool(settings.max_connections.saturating_sub(1).max(1));
        Ok(Self { pool, writer: Writer::start(target) })
    }

    /// Whether the database answers, for readiness checks.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let question = sqlx::query("SELECT 1").execute(&self.pool);
        timeout(Duration::from_secs(2), question).await.map_err(|_| StoreError::Silent)??;
        Ok(())
    }

    /// The one place that writes the request log.
    pub fn writer(&self) -> &Writer {
        &self.writer
    }

    /// Writes what waits to be written and hangs up. Later writes through other handles are refused.
    pub async fn close(self) {
        self.writer.stop().await;
        self.pool.close().await;
    }
}
