//! The only writer of the request log. Rows that arrive together are written in one transaction, and each caller continues
//! when its row is durable: a call that takes seconds pays a millisecond or two, and throughput is bound by transactions,
//! not by round trips. While the database is unavailable, rows go to the journal, and into the database in their order when
//! it is back.

use super::queue::{Counters, QueuedWrite};
use super::record::Record;
use super::transaction::RowEvent;
use super::write_loop::WriteLoop;
use crate::store::db::StoreError;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout_at;

/// Rows that may wait. With more, new requests are refused rather than run unrecorded.
const QUEUE_CAPACITY: usize = 8192;
/// How long an opening row is tried. Nothing is spent yet, so giving up is cheap.
const OPEN_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a final row is tried. Money was spent, so giving up is not cheap.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

/// Clones share the writer.
#[derive(Clone)]
pub struct Writer {
    queue: mpsc::Sender<QueuedWrite>,
    stop: watch::Sender<bool>,
    task: Arc<Mutex<Option<JoinHandle<()>>>>,
    counters: Arc<Counters>,
}

/// The writer's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Rows written durably, to the database or to the journal.
    pub rows: u64,
    /// Transactions that it took.
    pub transactions: u64,
    /// Rows that wait now.
    pub waiting: usize,
    /// Rows that went to the journal.
    pub journaled: u64,
}

impl Writer {
    pub(crate) fn start(write_loop: WriteLoop) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_CAPACITY);
        let (stop, stopped) = watch::channel(false);
        let counters = Arc::clone(&write_loop.counters);
        let task = tokio::spawn(write_loop.run(waiting, stopped));
        Self { queue, stop, task: Arc::new(Mutex::new(Some(task))), counters }
    }

    /// Writes the opening row of a request, and reserves its estimate on the account and the key. When this returns `Ok`, the
    /// row is durable and money may be spent; after an `Err` (within two seconds, at once when the queue is full, `Denied`
    /// when balance, budget or a limit forbids it) nothing may be.
    pub async fn open(&self, record: Record) -> Result<(), StoreError> {
        let (write, done) = QueuedWrite::new(RowEvent::Open, record, OPEN_TIMEOUT);
        let deadline = write.deadline;
        self.queue.try_send(write).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Full,
            mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
        })?;
        timeout_at(deadline, done).await.map_err(|_| StoreError::Unavailable)?.map_err(|_| StoreError::Closed)?
    }

    /// Writes the final row, over the opening one if that exists, and replaces what was reserved by what it cost. Tries for
    /// 30 seconds; a row that still cannot be written goes to the process log whole. Dropping the future does not stop a row
    /// that is queued.
    pub async fn close(&self, record: Record) -> Result<(), StoreError> {
        let (write, done) = QueuedWrite::new(RowEvent::Close, record, CLOSE_TIMEOUT);
        let deadline = write.deadline;
        match timeout_at(deadline, self.queue.reserve()).await {
            Ok(Ok(place)) => place.send(write),
            Ok(Err(_)) => return Err(StoreError::Closed),
            Err(_) => return Err(StoreError::Full),
        }
        // The loop keeps to the deadline, and it alone knows whether the row was lost.
        done.await.map_err(|_| StoreError::Closed)?
    }

    pub fn stats(&self) -> Stats {
        Stats {
            rows: self.counters.rows.load(Ordering::Relaxed),
            transactions: self.counters.transactions.load(Ordering::Relaxed),
            waiting: self.queue.max_capacity() - self.queue.capacity(),
            journaled: self.counters.journaled.load(Ordering::Relaxed),
        }
    }

    /// Whether requests can be served without the database.
    pub fn journal_has_room(&self) -> bool {
        self.counters.journal_has_room.load(Ordering::Relaxed)
    }

    /// Accepts nothing more, writes what waits, ends.
    pub(crate) async fn stop(&self) {
        self.stop.send_replace(true);
        if let Some(task) = self.task.lock().await.take()
            && let Err(error) = task.await
        {
            tracing::error!(cause = %error, "the writer of the request log panicked");
        }
    }
}
