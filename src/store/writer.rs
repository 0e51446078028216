//! The only writer of the request log. Rows that arrive together are written in one transaction, and each caller goes on
//! when its row is durable: a call that takes seconds pays a millisecond or two, and throughput is bound by
//! transactions, not by round trips.

use super::StoreError;
use super::connect::Target;
use super::error::is_refusal;
use super::record::{COLUMNS, Record, stored_name};
use super::sql::Sql;
use sqlx::{AnyConnection, Connection};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Rows in one transaction, at most.
const BATCH: usize = 512;
/// Rows that may wait. Beyond them, new requests are refused rather than run unrecorded.
const QUEUE: usize = 8192;
/// Rows in one statement. Few different numbers, so that each statement is prepared once.
const CHUNKS: [usize; 4] = [64, 16, 4, 1];
/// How long a request waits to be let in. Nothing is spent yet, so giving up is cheap.
const OPEN_PATIENCE: Duration = Duration::from_secs(2);
/// How long a final row is tried. Money was spent, so giving up is not cheap.
const CLOSE_PATIENCE: Duration = Duration::from_secs(30);
/// How long one transaction may take before its connection is given up as dead.
const ATTEMPT: Duration = Duration::from_secs(10);
/// How long a closing writer waits for callers that are about to queue a row.
const STRAGGLERS: Duration = Duration::from_secs(1);
/// Pauses between attempts while the database is away.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

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
    /// Rows written durably.
    pub rows: u64,
    /// Transactions that it took.
    pub transactions: u64,
    /// Rows that wait now.
    pub waiting: usize,
}

#[derive(Default)]
struct Counters {
    rows: AtomicU64,
    transactions: AtomicU64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The row says that something is about to be spent.
    Open,
    /// The row says what came of it.
    Close,
}

struct Entry {
    kind: Kind,
    record: Record,
    deadline: Instant,
    /// Who waits. Taken when the entry has come to its end.
    done: Option<oneshot::Sender<Result<(), StoreError>>>,
}

impl Writer {
    pub(super) fn start(target: Target) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let (stop, stopped) = watch::channel(false);
        let counters = Arc::new(Counters::default());
        let desk = Desk { target, connection: None, counters: counters.clone(), abandoned: Vec::new() };
        let task = tokio::spawn(desk.work(waiting, stopped));
        Self { queue, stop, task: Arc::new(Mutex::new(Some(task))), counters }
    }

    /// Writes the row that announces a request. When this returns `Ok`, the row is durable and money may be spent; after
    /// an `Err` (within two seconds, at once when the queue is full) nothing may be.
    pub async fn open(&self, record: Record) -> Result<(), StoreError> {
        let (entry, done) = entry(Kind::Open, record, OPEN_PATIENCE);
        let deadline = entry.deadline;
        self.queue.try_send(entry).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Full,
            mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
        })?;
        timeout_at(deadline, done).await.map_err(|_| StoreError::Silent)?.map_err(|_| StoreError::Closed)?
    }

    /// Writes the final row, over the opening one if that exists. Tries for 30 seconds; a row that still cannot be
    /// written is put into the log of the process, whole. Dropping the future does not stop a row that is queued.
    pub async fn close(&self, record: Record) -> Result<(), StoreError> {
        let (entry, done) = entry(Kind::Close, record, CLOSE_PATIENCE);
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
        }
    }

    /// Takes nothing more, writes what waits, ends.
    pub(super) async fn stop(&self) {
        self.stop.send_replace(true);
        if let Some(task) = self.task.lock().await.take()
            && let Err(error) = task.await
        {
            tracing::error!(cause = %error, "the writer of the request log ended badly");
        }
    }
}

fn entry(kind: Kind, record: Record, patience: Duration) -> (Entry, oneshot::Receiver<Result<(), StoreError>>) {
    let (done, wait) = oneshot::channel();
    (Entry { kind, record, deadline: Instant::now() + patience, done: Some(done) }, wait)
}

impl Entry {
    /// Whether writing it still makes sense.
    fn is_wanted(&self) -> bool {
        let left = self.done.as_ref().is_none_or(oneshot::Sender::is_closed);
        Instant::now() < self.deadline && (self.kind == Kind::Close || !left)
    }

    /// It is durable. Whether somebody was there to hear it.
    fn acknowledge(&mut self) -> bool {
        self.done.take().is_some_and(|done| done.send(Ok(())).is_ok())
    }

    /// It will not be written. A final row goes to the log of the process whole, so that it can be entered by hand.
    fn refuse(&mut self, error: StoreError) {
        let Some(done) = self.done.take() else { return };
        if self.kind == Kind::Close {
            let row = serde_json::to_string(&self.record).unwrap_or_default();
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

/// Where the writing happens. One connection of its own, so that the log never queues behind reports.
struct Desk {
    target: Target,
    connection: Option<AnyConnection>,
    counters: Arc<Counters>,
    /// Opening rows that became durable after their callers had left: nothing was spent, so they are crossed out.
    abandoned: Vec<String>,
}

/// Why a transaction did not happen.
enum Failure {
    /// A row was refused and would be again.
    Refused(String),
    /// The database is away, or busy, or full: it may take the same rows later.
    Away(String),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Query(cause) => cause.into(),
            other => Self::Away(other.to_string()),
        }
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        let text = error.to_string();
        if is_refusal(&error) { Self::Refused(text) } else { Self::Away(text) }
    }
}

impl Desk {
    async fn work(mut self, mut queue: mpsc::Receiver<Entry>, mut stopped: watch::Receiver<bool>) {
        let mut stopping = false;
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                count = queue.recv_many(&mut batch, BATCH) => if count == 0 { break },
                // A caller may hold a place in the queue and never use it.
                () = sleep(STRAGGLERS), if stopping => break,
                // Also when every handle is gone: then nothing can arrive any more.
                _ = stopped.wait_for(|stop| *stop), if !stopping => {
                    stopping = true;
                    queue.close();
                }
            }
            if !batch.is_empty() {
                self.settle(batch).await;
            }
        }
        if let Some(connection) = self.connection.take() {
            let _ = connection.close().await;
        }
    }

    /// Brings every entry to its end: written, refused, or out of time.
    async fn settle(&mut self, batch: Vec<Entry>) {
        let mut piles = vec![batch];
        let mut pause = PAUSE.0;
        while let Some(pile) = piles.pop() {
            let mut pile = keep_wanted(pile);
            if pile.is_empty() {
                continue;
            }
            match self.attempt(&pile).await {
                Ok(()) => {
                    pause = PAUSE.0;
                    self.acknowledge(pile);
                }
                // Some row is bad. Halving finds it in a few transactions, and all others get through.
                Err(Failure::Refused(_)) if pile.len() > 1 => {
                    let rest = pile.split_off(pile.len() / 2);
                    piles.push(rest);
                    piles.push(pile);
                }
                Err(Failure::Refused(cause)) => {
                    for entry in &mut pile {
                        entry.refuse(StoreError::Unwritten(cause.clone()));
                    }
                }
                Err(Failure::Away(cause)) => {
                    tracing::warn!(cause, rows = pile.len(), "the request log cannot be written; trying again");
                    self.connection = None;
                    piles.push(pile);
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE.1);
                }
            }
        }
        if !self.abandoned.is_empty() && self.attempt(&[]).await.is_err() {
            // They stay on the list for the next transaction.
            self.connection = None;
        }
    }

    fn acknowledge(&mut self, pile: Vec<Entry>) {
        self.counters.rows.fetch_add(pile.len() as u64, Ordering::Relaxed);
        for mut entry in pile {
            if !entry.acknowledge() && entry.kind == Kind::Open {
                self.abandoned.push(std::mem::take(&mut entry.record.id));
            }
        }
    }

    /// One transaction. Safe to repeat when its end is not known: opening rows are only added, final rows overwrite.
    async fn attempt(&mut self, pile: &[Entry]) -> Result<(), Failure> {
        let away = || Failure::Away("no answer in time".to_owned());
        timeout(ATTEMPT, self.transact(pile)).await.map_err(|_| away())??;
        self.abandoned.clear();
        self.counters.transactions.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn transact(&mut self, pile: &[Entry]) -> Result<(), Failure> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            empty => empty.insert(self.target.connect().await?),
        };
        let mut transaction = connection.begin().await?;
        for kind in [Kind::Open, Kind::Close] {
            let mut rest = &distinct(pile, kind)[..];
            while let Some(size) = CHUNKS.into_iter().find(|size| *size <= rest.len()) {
                let (chunk, later) = rest.split_at(size);
                insert(kind, chunk)?.query().execute(&mut *transaction).await?;
                rest = later;
            }
        }
        for id in &self.abandoned {
            cross_out(id)?.query().execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

/// Lets go of those whose time is over or whose callers have left.
fn keep_wanted(pile: Vec<Entry>) -> Vec<Entry> {
    let (wanted, late): (Vec<_>, Vec<_>) = pile.into_iter().partition(Entry::is_wanted);
    for mut entry in late {
        entry.refuse(StoreError::Unwritten("it took too long".to_owned()));
    }
    wanted
}

/// The rows of one kind, the last one of each id: a statement may not touch a row twice.
fn distinct(pile: &[Entry], kind: Kind) -> Vec<&Record> {
    let rows: BTreeMap<_, _> =
        pile.iter().filter(|e| e.kind == kind).map(|e| ((&e.record.id, e.record.created_at), &e.record)).collect();
    rows.into_values().collect()
}

/// The statement for one chunk. An opening row never overwrites anything, a final row always does.
fn insert(kind: Kind, chunk: &[&Record]) -> Result<Sql, StoreError> {
    let mut sql = Sql::new(&format!("INSERT INTO requests ({}) VALUES ", COLUMNS.join(", ")));
    for (number, record) in chunk.iter().enumerate() {
        sql.push(if number == 0 { "" } else { ", " });
        record.bind(&mut sql)?;
    }
    sql.push(" ON CONFLICT (id, created_at) DO ");
    match kind {
        Kind::Open => sql.push("NOTHING"),
        Kind::Close => {
            // The first two are the key.
            let changes: Vec<_> = COLUMNS[2..].iter().map(|column| format!("{column} = excluded.{column}")).collect();
            sql.push("UPDATE SET ").push(&changes.join(", "))
        }
    };
    Ok(sql)
}

/// For an opening row whose caller left before it was durable. A final row, should one exist, stays as it is.
fn cross_out(id: &str) -> Result<Sql, StoreError> {
    let mut sql = Sql::new(
        "UPDATE requests SET status = 'cancelled', error_code = 'NOT_STARTED', \
         error_message = 'The caller left before the request was begun. Nothing was spent.' \
         WHERE status IN ('pending', 'processing') AND id = ",
    );
    sql.bind(stored_name(id))?;
    Ok(sql)
}
