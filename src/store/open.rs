//! The open database: how it is opened, and the ways to ask it.

use super::db::connect::{Engine, Target};
use super::db::sql::Sql;
use super::keys::offline_cache::Known;
use super::ledger::journal::Journal;
use super::ledger::write_loop::Desk;
use super::ledger::writer::Writer;
use super::{Settings, StoreError};
use crate::base::{Timestamp, id};
use sqlx::any::AnyRow;
use sqlx::{AnyPool, AssertSqlSafe, Connection};
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::timeout;

/// An open database.
#[derive(Clone)]
pub struct Store {
    pub(crate) engine: Engine,
    pub(crate) pool: AnyPool,
    writer: Writer,
    pub(crate) known: Known,
    statement_timeout: u64,
}

impl Store {
    /// Connects, brings the tables to this version, takes in what an earlier process left in its journal, and starts the
    /// writer. Errors say what an operator can do.
    pub async fn open(settings: &Settings) -> Result<Self, StoreError> {
        let target = Target::parse(&settings.url)?;
        target.ready().await?;
        tracing::info!(database = target.label(), "the database is open");
        let owner = id::fresh(Timestamp::now());
        let known = Known::default();
        let directory = PathBuf::from(&settings.journal);
        let (mut journal, mut left) = (None, Vec::new());
        if !settings.journal.is_empty() {
            let refused = |error| StoreError::Journal(settings.journal.clone(), error);
            left = Journal::abandoned(&directory).map_err(refused)?;
            journal = Some(Journal::create(&directory, &owner, settings.journal_max_bytes).map_err(refused)?);
        }
        let store = Self {
            engine: target.engine(),
            pool: target.pool(settings.max_connections.saturating_sub(1).max(1)),
            writer: Writer::start(Desk::new(target.clone(), owner, journal, known.clone())),
            known: known.clone(),
            statement_timeout: settings.statement_timeout_seconds.max(1),
        };
        for journal in left {
            store.recover(&target, journal).await?;
        }
        store.maintain_log(Timestamp::now(), settings.retention_months).await?;
        Ok(store)
    }

    /// Takes in what a process left behind, and settles what it was running.
    async fn recover(&self, target: &Target, journal: Journal) -> Result<(), StoreError> {
        let owner = journal.owner();
        Desk::new(target.clone(), owner.clone(), Some(journal), self.known.clone()).recover().await?;
        let settled = self.settle_owner(&owner).await?;
        if settled > 0 {
            tracing::warn!(
                settled,
                "requests that a crash interrupted were closed; their estimates are marked uncertain"
            );
        }
        Ok(())
    }

    /// Whether requests can be served, for readiness checks: the database answers, or there is room to do without.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let question = self.row(Sql::new("SELECT 1"));
        let answer = timeout(Duration::from_secs(2), question).await.unwrap_or(Err(StoreError::Silent));
        if answer.is_ok() || self.writer.can_do_without() { Ok(()) } else { answer.map(drop) }
    }

    /// What lets replicas that lease at the same time pass each other by. SQLite lets one writer in at a time anyway.
    pub(crate) const fn skip_locked(&self) -> &'static str {
        match self.engine {
            Engine::Sqlite => "",
            Engine::Postgres => " FOR UPDATE SKIP LOCKED",
        }
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

    /// Asks for rows.
    pub(crate) async fn rows(&self, sql: Sql) -> Result<Vec<AnyRow>, StoreError> {
        let mut connection = self.pool.acquire().await?;
        if self.engine == Engine::Sqlite {
            return Ok(sql.query().fetch_all(&mut *connection).await?);
        }
        // In a transaction, because only there two messages surely reach the same server through a pooler.
        let begin = AssertSqlSafe(self.engine.begin_read(self.statement_timeout));
        let mut transaction = connection.begin_with(begin).await?;
        let rows = sql.query().fetch_all(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(rows)
    }

    /// Asks for one row.
    pub(crate) async fn row(&self, sql: Sql) -> Result<Option<AnyRow>, StoreError> {
        Ok(self.rows(sql).await?.into_iter().next())
    }

    /// Changes rows outside the log and returns them.
    pub(crate) async fn changed(&self, sql: Sql) -> Result<Vec<AnyRow>, StoreError> {
        let mut connection = self.pool.acquire().await?;
        let mut transaction = connection.begin_with(self.engine.begin_write()).await?;
        let rows = sql.query().fetch_all(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(rows)
    }

    /// Changes something outside the log; how many rows it was.
    pub(crate) async fn run(&self, sql: Sql) -> Result<u64, StoreError> {
        let mut connection = self.pool.acquire().await?;
        let mut transaction = connection.begin_with(self.engine.begin_write()).await?;
        let done = sql.query().execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(done.rows_affected())
    }
}
