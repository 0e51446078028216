//! The write loop: batches log rows into transactions; writes them to the journal during database outages, and replays the
//! journal into the database when it is back.

use super::journal::Journal;
use super::offline_balances::OfflineBalances;
use super::queue::{Counters, QueuedWrite};
use super::record::Record;
use super::transaction::{Committed, LedgerEntry, RowEvent, WriteError, commit};
use crate::base::Backoff;
use crate::store::db::StoreError;
use crate::store::db::availability::Availability;
use crate::store::db::connect::Target;
use sqlx::{AnyConnection, Connection};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Rows in one transaction, at most.
const BATCH: usize = 512;
/// How long one transaction may take before its connection is given up as dead.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
/// The same where rows can go to the journal instead: less than a request waits to be admitted.
const TRANSACTION_TIMEOUT_WITH_JOURNAL: Duration = Duration::from_secs(1);
/// How long a closing loop waits for callers that are about to queue a row.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// Between attempts to write while the database is unavailable and there is no journal.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(500));
/// Between attempts to replay the journal.
const REPLAY_DELAY: Duration = Duration::from_millis(500);

/// Has a connection of its own, so that the log never queues behind reports.
pub(crate) struct WriteLoop {
    target: Target,
    /// This process. Rows that it opens carry the name until they are closed.
    owner: String,
    /// Where rows go while the database is unavailable. Without one they wait.
    journal: Option<Journal>,
    balances: OfflineBalances,
    availability: Availability,
    connection: Option<AnyConnection>,
    pub(crate) counters: Arc<Counters>,
    /// Opening rows that became durable after their callers had left: nothing was spent, so they are voided.
    to_void: Vec<Record>,
    /// Final rows that neither the database nor the disk accepted; they are tried until their deadline.
    deferred: Vec<QueuedWrite>,
    /// When the journal is replayed, or deferred rows are tried, again.
    retry_at: Instant,
}

impl WriteLoop {
    pub(crate) fn new(
        target: Target,
        owner: String,
        journal: Option<Journal>,
        balances: OfflineBalances,
        availability: Availability,
    ) -> Self {
        let counters = Arc::new(Counters::default());
        counters.journal_has_room.store(journal.is_some(), Ordering::Relaxed);
        Self {
            target,
            owner,
            journal,
            balances,
            availability,
            connection: None,
            counters,
            to_void: Vec::new(),
            deferred: Vec::new(),
            retry_at: Instant::now(),
        }
    }

    /// Replays what a process left behind into the database, and removes its file.
    pub(crate) async fn recover(mut self) -> Result<(), StoreError> {
        while self.has_backlog() {
            if !self.replay().await {
                return Err(StoreError::Unavailable);
            }
        }
        if let Some(Err(error)) = self.journal.take().map(Journal::remove) {
            tracing::warn!(cause = %error, "an emptied journal could not be removed");
        }
        Ok(())
    }

    pub(crate) async fn run(mut self, mut queue: mpsc::Receiver<QueuedWrite>, mut stopped: watch::Receiver<bool>) {
        let mut stopping = false;
        loop {
            let mut batch = Vec::new();
            let must_retry = self.has_backlog() || !self.deferred.is_empty();
            tokio::select! {
                count = queue.recv_many(&mut batch, BATCH) => if count == 0 { break },
                // A caller may hold a place in the queue and never use it.
                () = sleep(DRAIN_TIMEOUT), if stopping => break,
                () = sleep_until(self.retry_at), if must_retry => {}
                // Also when every handle is gone: then nothing can arrive any more.
                _ = stopped.wait_for(|stop| *stop), if !stopping => {
                    stopping = true;
                    queue.close();
                }
            }
            // Deferred rows are older. They are taken out only here, so that none is lost when the loop ends.
            batch.splice(0..0, self.deferred.drain(..));
            if !batch.is_empty() {
                self.write(batch).await;
            }
            if self.has_backlog() && self.retry_at <= Instant::now() {
                self.replay().await;
            }
        }
        self.end().await;
    }

    /// The journal is replayed once more, and otherwise waits for the next start.
    async fn end(mut self) {
        let batch = std::mem::take(&mut self.deferred);
        self.write(batch).await;
        while self.has_backlog() && self.replay().await {}
        if let Some(connection) = self.connection.take() {
            let _ = connection.close().await;
        }
        match self.journal.take() {
            Some(journal) if journal.has_rows() => {
                tracing::warn!("rows of the request log stay in the journal until the next start");
            }
            // A file that stays is empty, and the next start removes it.
            Some(journal) => drop(journal.remove()),
            None => {}
        }
    }

    /// Whether the journal holds rows that the database does not have.
    fn has_backlog(&self) -> bool {
        self.journal.as_ref().is_some_and(Journal::has_rows)
    }

    /// Brings every row to its end: written, refused, or past its deadline.
    async fn write(&mut self, batch: Vec<QueuedWrite>) {
        let mut batches = vec![batch];
        let mut failures = 0;
        while let Some(batch) = batches.pop() {
            let mut batch = refuse_unwanted(batch);
            if batch.is_empty() {
                continue;
            }
            // Rows stay in their order: while some wait in the journal, all others go behind them.
            if self.has_backlog() {
                self.write_to_journal(batch).await;
                continue;
            }
            match self.commit_batch(&batch).await {
                Ok(committed) => {
                    failures = 0;
                    self.acknowledge(batch, committed);
                }
                // Some row is bad. Halving finds it in a few transactions, and all others get through.
                Err(WriteError::Refused(_)) if batch.len() > 1 => {
                    let rest = batch.split_off(batch.len() / 2);
                    batches.push(rest);
                    batches.push(batch);
                }
                Err(WriteError::Refused(cause)) => {
                    for write in &mut batch {
                        write.refuse(StoreError::Unwritten(cause.clone()));
                    }
                }
                Err(WriteError::Unavailable(cause)) if self.journal.is_some() => {
                    tracing::warn!(cause, rows = batch.len(), "the database is unavailable; rows go to the journal");
                    self.mark_unavailable();
                    self.write_to_journal(batch).await;
                }
                Err(WriteError::Unavailable(cause)) => {
                    tracing::warn!(cause, rows = batch.len(), "the database is unavailable; will retry");
                    self.mark_unavailable();
                    batches.push(batch);
                    failures += 1;
                    sleep(BACKOFF.delay(failures)).await;
                }
            }
        }
        if !self.to_void.is_empty() && !self.has_backlog() && self.commit_batch(&[]).await.is_err() {
            // They stay on the list for the next transaction.
            self.mark_unavailable();
        }
    }

    fn mark_unavailable(&mut self) {
        self.connection = None;
        self.availability.record(false);
        self.retry_at = Instant::now() + REPLAY_DELAY;
    }

    fn acknowledge(&mut self, batch: Vec<QueuedWrite>, committed: Committed) {
        self.counters.rows.fetch_add(batch.len() as u64, Ordering::Relaxed);
        for (mut write, admission) in batch.into_iter().zip(committed.admissions) {
            match admission {
                Ok(()) => self.confirm(write),
                Err(denial) => write.refuse(StoreError::Denied(denial)),
            }
        }
    }

    fn confirm(&mut self, mut write: QueuedWrite) {
        if !write.acknowledge() && !write.is_final() {
            self.to_void.push(write.entry.record.clone());
        }
    }

    /// Writes a batch, and voids what is to be voided, in one transaction. Safe to repeat when its end is not known.
    async fn commit_batch(&mut self, batch: &[QueuedWrite]) -> Result<Committed, WriteError> {
        let entries = self.entries(batch);
        let limit = if self.journal.is_some() { TRANSACTION_TIMEOUT_WITH_JOURNAL } else { TRANSACTION_TIMEOUT };
        let committed = self.commit(&entries, limit).await?;
        self.to_void.clear();
        Ok(committed)
    }

    fn entries(&self, batch: &[QueuedWrite]) -> Vec<LedgerEntry> {
        let void = |record: &Record| LedgerEntry { event: RowEvent::Void, record: record.clone() };
        batch.iter().map(|write| write.entry.clone()).chain(self.to_void.iter().map(void)).collect()
    }

    async fn commit(&mut self, entries: &[LedgerEntry], limit: Duration) -> Result<Committed, WriteError> {
        let transaction = async {
            let connection = match &mut self.connection {
                Some(connection) => connection,
                empty => empty.insert(self.target.connect().await?),
            };
            commit(connection, self.target.engine(), &self.owner, entries).await
        };
        let late = |_| WriteError::Unavailable("no answer in time".to_owned());
        let mut committed = timeout(limit, transaction).await.map_err(late)??;
        self.counters.transactions.fetch_add(1, Ordering::Relaxed);
        self.availability.record(true);
        self.balances.insert(std::mem::take(&mut committed.balances));
        for event in std::mem::take(&mut committed.events) {
            tracing::warn!(
                account = event.account_id, key = event.key_id, limit = event.limit, percent = event.percent,
                used = %event.used, of = %event.of, "80 or 100 percent of a limit is used"
            );
        }
        Ok(committed)
    }

    async fn write_to_journal(&mut self, batch: Vec<QueuedWrite>) {
        let Some(mut journal) = self.journal.take() else { return };
        let mut accepted = Vec::new();
        for mut write in batch {
            match self.admit_offline(&journal, &mut write.entry) {
                Ok(()) => accepted.push(write),
                Err(error) => write.refuse(error),
            }
        }
        let entries = self.entries(&accepted);
        let appended = spawn_blocking(move || {
            let done = journal.append(&entries);
            (journal, done)
        });
        match appended.await {
            Ok((journal, done)) => {
                self.counters.journal_has_room.store(done.is_ok() && journal.has_room(), Ordering::Relaxed);
                self.journal = Some(journal);
                self.journaled(accepted, done);
            }
            // Dropped writes put their rows into the process log.
            Err(error) => tracing::error!(cause = %error, "the journal is lost"),
        }
    }

    fn admit_offline(&self, journal: &Journal, entry: &mut LedgerEntry) -> Result<(), StoreError> {
        if entry.event == RowEvent::Close {
            // What is not known cannot be released, and need not be.
            let _ = self.balances.apply(entry);
            return Ok(());
        }
        if !journal.has_room() {
            return Err(StoreError::Full);
        }
        self.balances.apply(entry)?;
        entry.event = RowEvent::Admitted;
        Ok(())
    }

    fn journaled(&mut self, accepted: Vec<QueuedWrite>, done: std::io::Result<()>) {
        match done {
            Ok(()) => {
                self.to_void.clear();
                self.counters.rows.fetch_add(accepted.len() as u64, Ordering::Relaxed);
                self.counters.journaled.fetch_add(accepted.len() as u64, Ordering::Relaxed);
                for write in accepted {
                    self.confirm(write);
                }
            }
            Err(error) => {
                tracing::error!(cause = %error, rows = accepted.len(), "the journal cannot be written");
                for mut write in accepted {
                    if write.is_final() {
                        self.deferred.push(write);
                    } else {
                        write.refuse(StoreError::Full);
                    }
                }
                self.retry_at = Instant::now() + REPLAY_DELAY;
            }
        }
    }

    /// Writes the next rows of the journal into the database. Whether that succeeded.
    async fn replay(&mut self) -> bool {
        let Some(mut journal) = self.journal.take() else { return false };
        let done = self.replay_chunk(&mut journal).await;
        self.counters.journal_has_room.store(journal.has_room(), Ordering::Relaxed);
        self.journal = Some(journal);
        match done {
            Ok(()) => {
                if !self.has_backlog() {
                    tracing::info!("the database is available again and has every row of the journal");
                }
                true
            }
            Err(cause) => {
                tracing::debug!(cause, "the database is still unavailable; will retry");
                self.mark_unavailable();
                false
            }
        }
    }

    async fn replay_chunk(&mut self, journal: &mut Journal) -> Result<(), String> {
        let chunk = journal.read(BATCH).map_err(|error| error.to_string())?;
        match self.commit(&chunk.entries, TRANSACTION_TIMEOUT).await {
            Ok(_) => {}
            Err(WriteError::Unavailable(cause)) => return Err(cause),
            Err(WriteError::Refused(_)) => self.replay_one_by_one(&chunk.entries).await?,
        }
        journal.finish(&chunk).map_err(|error| error.to_string())
    }

    async fn replay_one_by_one(&mut self, entries: &[LedgerEntry]) -> Result<(), String> {
        for entry in entries {
            match self.commit(std::slice::from_ref(entry), TRANSACTION_TIMEOUT).await {
                Ok(_) => {}
                Err(WriteError::Unavailable(cause)) => return Err(cause),
                Err(WriteError::Refused(cause)) => {
                    let row = serde_json::to_string(&entry.record).unwrap_or_default();
                    tracing::error!(cause, row, "the database refused a row of the journal");
                }
            }
        }
        Ok(())
    }
}

/// Refuses writes that are late or whose callers have left.
fn refuse_unwanted(batch: Vec<QueuedWrite>) -> Vec<QueuedWrite> {
    let (wanted, unwanted): (Vec<_>, Vec<_>) = batch.into_iter().partition(QueuedWrite::is_wanted);
    for mut write in unwanted {
        write.refuse(StoreError::Unwritten("it took too long".to_owned()));
    }
    wanted
}
