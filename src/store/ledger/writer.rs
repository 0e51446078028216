//! The only writer of the request log. Rows that arrive together are written in one transaction, and each caller goes on
//! when its row is durable: a call that takes seconds pays a millisecond or two, and throughput is bound by
//! transactions, not by round trips. While the database is away, rows go to the journal, and into the database in their
//! order when it is back.

use super::record::Record;
use super::transaction::{Act, Step};
use super::write_loop::Desk;
use crate::store::StoreError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// Rows that may wait. Beyond them, new requests are refused rather than run unrecorded.
const QUEUE: usize = 8192;
/// How long a request waits to be let in. Nothing is spent yet, so giving up is cheap.
const OPEN_PATIENCE: Duration = Duration::from_secs(2);
/// How long a final row is tried. Money was spent, so giving up is not cheap.
const CLOSE_PATIENCE: Duration = Duration::from_secs(30);

/// A handle on the writer; clones share it.
#[derive(Clone)]
pub struct Writer {
    queue: mpsc::Sender<Entry>,
    stop: watch::Sender<bool>,
    task: Arc<Mutex<Option<JoinHandle<()>>>>,
    counters: Arc<Counters>,
}

/// What the writer has done so far.
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

/// What the writer counts.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) rows: AtomicU64,
    pub(crate) transactions: AtomicU64,
    pub(crate) journaled: AtomicU64,
    /// Whether rows could go to a journal now.
    pub(crate) journal_has_room: AtomicBool,
}

/// A row that waits to be written.
pub(crate) struct Entry {
    pub(crate) step: Step,
    deadline: Instant,
    /// Who waits. Taken when the entry has come to its end.
    done: Option<oneshot::Sender<Result<(), StoreError>>>,
}

impl Writer {
    /// Starts writing at that desk.
    pub(crate) fn start(desk: Desk) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let (stop, stopped) = watch::channel(false);
        let counters = Arc::clone(&desk.counters);
        let task = tokio::spawn(desk.work(waiting, stopped));
        Self { queue, stop, task: Arc::new(Mutex::new(Some(task))), counters }
    }

    /// Writes the row that announces a request, and reserves its estimate on the account and the key. When this returns
    /// `Ok`, the row is durable and money may be spent; after an `Err` (within two seconds, at once when the queue is
    /// full, `Denied` when balance, budget or a limit forbids it) nothing may be.
    pub async fn open(&self, record: Record) -> Result<(), StoreError> {
        let (entry, done) = entry(Act::Open, record, OPEN_PATIENCE);
        let deadline = entry.deadline;
        self.queue.try_send(entry).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Full,
            mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
        })?;
        timeout_at(deadline, done).await.map_err(|_| StoreError::Silent)?.map_err(|_| StoreError::Closed)?
    }

    /// Writes the final row, over the opening one if that exists, and settles what was reserved to what it cost. Tries for
    /// 30 seconds; a row that still cannot be written is put into the log of the process, whole. Dropping the future does
    /// not stop a row that is queued.
    pub async fn close(&self, record: Record) -> Result<(), StoreError> {
        let (entry, done) = entry(Act::Close, record, CLOSE_PATIENCE);
        let deadline = entry.deadline;
        match timeout_at(deadline, self.queue.reserve()).await {
            Ok(Ok(place)) => place.send(entry),
            Ok(Err(_)) => return Err(StoreError::Closed),
            Err(_) => return Err(StoreError::Full),
        }
        // The writer keeps to the deadline, and it alone knows whether the row was lost.
        done.await.map_err(|_| StoreError::Closed)?
    }

    /// What the writer has done so far.
    pub fn stats(&self) -> Stats {
        Stats {
            rows: self.counters.rows.load(Ordering::Relaxed),
            transactions: self.counters.transactions.load(Ordering::Relaxed),
            waiting: self.queue.max_capacity() - self.queue.capacity(),
            journaled: self.counters.journaled.load(Ordering::Relaxed),
        }
    }

    /// Whether requests can be served although the database does not answer.
    pub fn can_do_without(&self) -> bool {
        self.counters.journal_has_room.load(Ordering::Relaxed)
    }

    /// Takes nothing more, writes what waits, ends.
    pub(crate) async fn stop(&self) {
        self.stop.send_replace(true);
        if let Some(task) = self.task.lock().await.take()
            && let Err(error) = task.await
        {
            tracing::error!(cause = %error, "the writer of the request log ended badly");
        }
    }
}

fn entry(act: Act, record: Record, patience: Duration) -> (Entry, oneshot::Receiver<Result<(), StoreError>>) {
    let (done, wait) = oneshot::channel();
    let step = Step { act, record: record.storable() };
    (Entry { step, deadline: Instant::now() + patience, done: Some(done) }, wait)
}

impl Entry {
    /// Whether writing it still makes sense.
    pub(crate) fn is_wanted(&self) -> bool {
        let left = self.done.as_ref().is_none_or(oneshot::Sender::is_closed);
        Instant::now() < self.deadline && (self.step.act == Act::Close || !left)
    }

    /// It is durable. Whether somebody was there to hear it.
    pub(crate) fn acknowledge(&mut self) -> bool {
        self.done.take().is_some_and(|done| done.send(Ok(())).is_ok())
    }

    /// It will not be written. A final row goes to the log of the process whole, so that it can be entered by hand.
    pub(crate) fn refuse(&mut self, error: StoreError) {
        let Some(done) = self.done.take() else { return };
        if self.step.act == Act::Close {
            let row = serde_json::to_string(&self.step.record).unwrap_or_default();
            tracing::error!(cause = %error, row, "a final row of the request log was not written");
        }
        // Nobody waiting is fine.
        let _ = done.send(Err(error));
    }
}

/// However an entry goes, it does not go unnoticed: a full or closed queue, a writer that was stopped half-way.
impl Drop for Entry {
    fn drop(&mut self) {
        self.refuse(StoreError::Closed);
    }
}
