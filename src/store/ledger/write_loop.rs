//! The writer's desk: batches into transactions, into the journal while the database is away, and from the journal into the
//! database when it is back.

use super::journal::Journal;
use super::record::Record;
use super::transaction::{Act, Failure, Posted, Step, post};
use super::writer::{Counters, Entry};
use crate::store::StoreError;
use crate::store::db::connect::Target;
use crate::store::keys::offline_cache::Known;
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
const ATTEMPT: Duration = Duration::from_secs(10);
/// The same where rows can go to the journal instead: less than a request waits to be let in.
const LIVE_ATTEMPT: Duration = Duration::from_secs(1);
/// How long a closing writer waits for callers that are about to queue a row.
const STRAGGLERS: Duration = Duration::from_secs(1);
/// Pauses between attempts while the database is away.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// Where the writing happens. One connection of its own, so that the log never queues behind reports.
pub(crate) struct Desk {
    target: Target,
    /// This process. Rows that it opens carry the name until they are closed.
    owner: String,
    /// Where rows go while the database is away. Without one they wait.
    journal: Option<Journal>,
    known: Known,
    connection: Option<AnyConnection>,
    pub(crate) counters: Arc<Counters>,
    /// Opening rows that became durable after their callers had left: nothing was spent, so they are crossed out.
    abandoned: Vec<Record>,
    /// Final rows that neither the database nor the disk would take; they are tried until their time is over.
    kept: Vec<Entry>,
    /// When the database is tried again.
    next_try: Instant,
}

impl Desk {
    pub(crate) fn new(target: Target, owner: String, journal: Option<Journal>, known: Known) -> Self {
        let counters = Arc::new(Counters::default());
        counters.journal_has_room.store(journal.is_some(), Ordering::Relaxed);
        let (connection, abandoned, kept) = (None, Vec::new(), Vec::new());
        Self { target, owner, journal, known, connection, counters, abandoned, kept, next_try: Instant::now() }
    }

    /// Brings what a process left behind into the database, and removes its file.
    pub(crate) async fn recover(mut self) -> Result<(), StoreError> {
        while self.owes() {
            if !self.catch_up().await {
                return Err(StoreError::Silent);
            }
        }
        if let Some(Err(error)) = self.journal.take().map(Journal::remove) {
            tracing::warn!(cause = %error, "an emptied journal could not be removed");
        }
        Ok(())
    }

    pub(crate) async fn work(mut self, mut queue: mpsc::Receiver<Entry>, mut stopped: watch::Receiver<bool>) {
        let mut stopping = false;
        loop {
            let mut batch = std::mem::take(&mut self.kept);
            let owing = self.owes() || !batch.is_empty();
            tokio::select! {
                count = queue.recv_many(&mut batch, BATCH) => if count == 0 { break },
                // A caller may hold a place in the queue and never use it.
                () = sleep(STRAGGLERS), if stopping => break,
                () = sleep_until(self.next_try), if owing => {}
                // Also when every handle is gone: then nothing can arrive any more.
                _ = stopped.wait_for(|stop| *stop), if !stopping => {
                    stopping = true;
                    queue.close();
                }
            }
            if !batch.is_empty() {
                self.settle(batch).await;
            }
            if self.owes() && self.next_try <= Instant::now() {
                self.catch_up().await;
            }
        }
        self.end().await;
    }

    /// What is left in the journal is tried once more, and otherwise waits there for the next start.
    async fn end(mut self) {
        let batch = std::mem::take(&mut self.kept);
        self.settle(batch).await;
        while self.owes() && self.catch_up().await {}
        if let Some(connection) = self.connection.take() {
            let _ = connection.close().await;
        }
        match self.journal.take() {
            Some(journal) if journal.has_rows() => {
                tracing::warn!("rows of the request log wait in the journal for the next start");
            }
            // A file that stays is empty, and the next start removes it.
            Some(journal) => drop(journal.remove()),
            None => {}
        }
    }

    /// Whether the journal holds rows that the database does not have.
    fn owes(&self) -> bool {
        self.journal.as_ref().is_some_and(Journal::has_rows)
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
            // Rows stay in their order: while some wait in the journal, all others go behind them.
            if self.owes() {
                self.divert(pile).await;
                continue;
            }
            match self.attempt(&pile).await {
                Ok(posted) => {
                    pause = PAUSE.0;
                    self.acknowledge(pile, posted);
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
                Err(Failure::Away(cause)) if self.journal.is_some() => {
                    tracing::warn!(cause, rows = pile.len(), "the database is away; rows go to the journal");
                    self.miss();
                    self.divert(pile).await;
                }
                Err(Failure::Away(cause)) => {
                    tracing::warn!(cause, rows = pile.len(), "the request log cannot be written; trying again");
                    self.miss();
                    piles.push(pile);
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE.1);
                }
            }
        }
        if !self.abandoned.is_empty() && !self.owes() && self.attempt(&[]).await.is_err() {
            // They stay on the list for the next transaction.
            self.miss();
        }
    }

    /// The database did not answer.
    fn miss(&mut self) {
        self.connection = None;
        self.known.note(false);
        self.next_try = Instant::now() + PAUSE.1;
    }

    fn acknowledge(&mut self, pile: Vec<Entry>, posted: Posted) {
        self.counters.rows.fetch_add(pile.len() as u64, Ordering::Relaxed);
        for (mut entry, verdict) in pile.into_iter().zip(posted.verdicts) {
            match verdict {
                Ok(()) => self.confirm(entry),
                Err(denial) => entry.refuse(StoreError::Denied(denial)),
            }
        }
    }

    fn confirm(&mut self, mut entry: Entry) {
        if !entry.acknowledge() && entry.step.act != Act::Close {
            self.abandoned.push(entry.step.record.clone());
        }
    }

    /// One transaction. Safe to repeat when its end is not known.
    async fn attempt(&mut self, pile: &[Entry]) -> Result<Posted, Failure> {
        let crossed_out = self.abandoned.iter().map(|record| Step { act: Act::Void, record: record.clone() });
        let steps: Vec<Step> = pile.iter().map(|entry| entry.step.clone()).chain(crossed_out).collect();
        let patience = if self.journal.is_some() { LIVE_ATTEMPT } else { ATTEMPT };
        let posted = self.transact(&steps, patience).await?;
        self.abandoned.clear();
        Ok(posted)
    }

    async fn transact(&mut self, steps: &[Step], patience: Duration) -> Result<Posted, Failure> {
        let transaction = async {
            let connection = match &mut self.connection {
                Some(connection) => connection,
                empty => empty.insert(self.target.connect().await?),
            };
            post(connection, self.target.engine(), &self.owner, steps).await
        };
        let away = |_| Failure::Away("no answer in time".to_owned());
        let mut posted = timeout(patience, transaction).await.map_err(away)??;
        self.counters.transactions.fetch_add(1, Ordering::Relaxed);
        self.known.note(true);
        self.known.learn(std::mem::take(&mut posted.books));
        for event in std::mem::take(&mut posted.events) {
            tracing::warn!(
                account = event.account_id, key = event.key_id, limit = event.limit, percent = event.percent,
                used = %event.used, of = %event.of, "a limit is nearly or wholly used"
            );
        }
        Ok(posted)
    }

    /// Puts a pile into the journal instead.
    async fn divert(&mut self, pile: Vec<Entry>) {
        let Some(mut journal) = self.journal.take() else { return };
        let mut taken = Vec::new();
        for mut entry in pile {
            match self.admit(&journal, &mut entry) {
                Ok(()) => taken.push(entry),
                Err(error) => entry.refuse(error),
            }
        }
        let crossed_out = self.abandoned.iter().map(|record| Step { act: Act::Void, record: record.clone() });
        let steps: Vec<Step> = taken.iter().map(|entry| entry.step.clone()).chain(crossed_out).collect();
        let appended = spawn_blocking(move || {
            let done = journal.append(&steps);
            (journal, done)
        });
        match appended.await {
            Ok((journal, done)) => {
                self.counters.journal_has_room.store(done.is_ok() && journal.has_room(), Ordering::Relaxed);
                self.journal = Some(journal);
                self.diverted(taken, done);
            }
            // Dropped entries put their rows into the log of the process.
            Err(error) => tracing::error!(cause = %error, "the journal is lost"),
        }
    }

    fn admit(&self, journal: &Journal, entry: &mut Entry) -> Result<(), StoreError> {
        if entry.step.act == Act::Close {
            // What is not known cannot be released, and need not be.
            let _ = self.known.hold(&entry.step);
            return Ok(());
        }
        if !journal.has_room() {
            return Err(StoreError::Full);
        }
        self.known.hold(&entry.step)?;
        entry.step.act = Act::Admitted;
        Ok(())
    }

    fn diverted(&mut self, taken: Vec<Entry>, done: std::io::Result<()>) {
        match done {
            Ok(()) => {
                self.abandoned.clear();
                self.counters.rows.fetch_add(taken.len() as u64, Ordering::Relaxed);
                self.counters.journaled.fetch_add(taken.len() as u64, Ordering::Relaxed);
                for entry in taken {
                    self.confirm(entry);
                }
            }
            Err(error) => {
                tracing::error!(cause = %error, rows = taken.len(), "the journal cannot be written");
                for mut entry in taken {
                    if entry.step.act == Act::Close {
                        self.kept.push(entry);
                    } else {
                        entry.refuse(StoreError::Full);
                    }
                }
                self.next_try = Instant::now() + PAUSE.1;
            }
        }
    }

    /// Brings the next rows of the journal into the database. Whether that went well.
    async fn catch_up(&mut self) -> bool {
        let Some(mut journal) = self.journal.take() else { return false };
        let done = self.replay(&mut journal).await;
        self.counters.journal_has_room.store(journal.has_room(), Ordering::Relaxed);
        self.journal = Some(journal);
        match done {
            Ok(()) => {
                if !self.owes() {
                    tracing::info!("the database is back, and has every row of the journal");
                }
                true
            }
            Err(cause) => {
                tracing::debug!(cause, "the database is still away");
                self.miss();
                false
            }
        }
    }

    async fn replay(&mut self, journal: &mut Journal) -> Result<(), String> {
        let chunk = journal.read(BATCH).map_err(|error| error.to_string())?;
        match self.transact(&chunk.steps, ATTEMPT).await {
            Ok(_) => {}
            Err(Failure::Away(cause)) => return Err(cause),
            Err(Failure::Refused(_)) => self.replay_one_by_one(&chunk.steps).await?,
        }
        journal.finish(&chunk).map_err(|error| error.to_string())
    }

    async fn replay_one_by_one(&mut self, steps: &[Step]) -> Result<(), String> {
        for step in steps {
            match self.transact(std::slice::from_ref(step), ATTEMPT).await {
                Ok(_) => {}
                Err(Failure::Away(cause)) => return Err(cause),
                Err(Failure::Refused(cause)) => {
                    let row = serde_json::to_string(&step.record).unwrap_or_default();
                    tracing::error!(cause, row, "a row of the journal was refused by the database");
                }
            }
        }
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
