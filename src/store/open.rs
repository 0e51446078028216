//! The open store: how it is opened and closed, and the repositories that it is asked through.

use super::Settings;
use super::db::connect::Target;
use super::db::{Database, Sql, StoreError};
use super::idempotency::IdempotencyRepository;
use super::jobs::JobRepository;
use super::keys::accounts::AccountRepository;
use super::keys::offline_cache::OfflineCache;
use super::keys::repository::KeyRepository;
use super::ledger::journal::Journal;
use super::ledger::offline_balances::OfflineBalances;
use super::ledger::payloads::PayloadRepository;
use super::ledger::requests::RequestRepository;
use super::ledger::write_loop::WriteLoop;
use super::ledger::writer::Writer;
use super::routing::RoutingRepository;
use super::webhooks::WebhookRepository;
use crate::base::{Timestamp, id};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;

const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// Clones share the connections and the writer.
#[derive(Clone)]
pub struct Store {
    database: Database,
    writer: Writer,
    offline: OfflineCache,
}

impl Store {
    /// Connects, brings the tables to this version, replays the journals of processes that are gone, and starts the writer.
    /// Errors say what an operator can do. Boxed, because several futures contain this one and each would compile it anew.
    pub fn open(settings: &Settings) -> BoxFuture<'_, Result<Self, StoreError>> {
        Self::open_unboxed(settings).boxed()
    }

    async fn open_unboxed(settings: &Settings) -> Result<Self, StoreError> {
        let target = Target::parse(&settings.url)?;
        target.prepare().await?;
        tracing::info!(database = target.label(), "the database is open");
        let owner = id::fresh(Timestamp::now());
        let (journal, abandoned) = open_journals(settings, &owner)?;
        // One connection belongs to the writer.
        let connections = settings.max_connections.saturating_sub(1);
        let database = Database::new(&target, connections, settings.statement_timeout_seconds);
        let balances = OfflineBalances::default();
        let write_loop = |owner, journal| {
            WriteLoop::new(target.clone(), owner, journal, balances.clone(), database.availability.clone())
        };
        let store = Self {
            writer: Writer::start(write_loop(owner, journal)),
            offline: OfflineCache::new(balances.clone()),
            database: database.clone(),
        };
        for journal in abandoned {
            let owner = journal.owner();
            write_loop(owner.clone(), Some(journal)).recover().await?;
            store.settle_owner(&owner).await?;
        }
        store.requests().maintain(Timestamp::now(), settings.retention_months).await?;
        Ok(store)
    }

    /// Closes the requests that a process was running when it ended.
    async fn settle_owner(&self, owner: &str) -> Result<(), StoreError> {
        let settled = self.requests().settle_owner(owner).await?;
        if settled > 0 {
            tracing::warn!(settled, "closed requests that a crash interrupted; their estimates are marked uncertain");
        }
        Ok(())
    }

    /// For readiness checks: the database answers, or the journal has room for requests without it.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let query = self.database.optional::<i64>(Sql::new("SELECT 1"));
        let answer = timeout(PING_TIMEOUT, query).await.unwrap_or(Err(StoreError::Unavailable));
        if answer.is_ok() || self.writer.journal_has_room() { Ok(()) } else { answer.map(drop) }
    }

    /// The only writer of the request log.
    pub const fn writer(&self) -> &Writer {
        &self.writer
    }

    /// The request log, for reading.
    pub const fn requests(&self) -> RequestRepository<'_> {
        RequestRepository::new(&self.database)
    }

    /// Requests and answers that the operator keeps.
    pub const fn payloads(&self) -> PayloadRepository<'_> {
        PayloadRepository::new(&self.database)
    }

    pub const fn keys(&self) -> KeyRepository<'_> {
        KeyRepository::new(&self.database, &self.offline)
    }

    pub const fn accounts(&self) -> AccountRepository<'_> {
        AccountRepository::new(&self.database)
    }

    pub const fn jobs(&self) -> JobRepository<'_> {
        JobRepository::new(&self.database)
    }

    pub const fn webhooks(&self) -> WebhookRepository<'_> {
        WebhookRepository::new(&self.database)
    }

    pub const fn idempotency(&self) -> IdempotencyRepository<'_> {
        IdempotencyRepository::new(&self.database)
    }

    pub const fn routing(&self) -> RoutingRepository<'_> {
        RoutingRepository::new(&self.database)
    }

    /// Writes what waits to be written and disconnects. Later writes through other clones are refused.
    pub async fn close(self) {
        self.writer.stop().await;
        self.database.pool.close().await;
    }
}

/// This process's journal, if journals are configured, and those of processes that are gone.
fn open_journals(settings: &Settings, owner: &str) -> Result<(Option<Journal>, Vec<Journal>), StoreError> {
    if settings.journal.is_empty() {
        return Ok((None, Vec::new()));
    }
    let directory = Path::new(&settings.journal);
    let error = |cause| StoreError::Journal(settings.journal.clone(), cause);
    let abandoned = Journal::abandoned(directory).map_err(error)?;
    let journal = Journal::create(directory, owner, settings.journal_max_bytes).map_err(error)?;
    Ok((Some(journal), abandoned))
}
