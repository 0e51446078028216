//! The rows that wait to be written, and the writer's counters: what its handles and its loop share.

use super::record::Record;
use super::transaction::{LedgerEntry, RowEvent};
use crate::store::db::StoreError;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

#[derive(Default)]
pub(crate) struct Counters {
    /// Rows written durably, to the database or to the journal.
    pub(crate) rows: AtomicU64,
    pub(crate) transactions: AtomicU64,
    /// Rows that went to the journal.
    pub(crate) journaled: AtomicU64,
    /// Whether there is a journal that takes new requests.
    pub(crate) journal_has_room: AtomicBool,
}

/// A row that waits to be written.
pub(crate) struct QueuedWrite {
    pub(crate) entry: LedgerEntry,
    pub(crate) deadline: Instant,
    /// The caller who waits; taken when the write has ended.
    done: Option<oneshot::Sender<Result<(), StoreError>>>,
}

impl QueuedWrite {
    pub(crate) fn new(
        event: RowEvent,
        record: Record,
        timeout: Duration,
    ) -> (Self, oneshot::Receiver<Result<(), StoreError>>) {
        let (done, wait) = oneshot::channel();
        let entry = LedgerEntry { event, record: record.storable() };
        (Self { entry, deadline: Instant::now() + timeout, done: Some(done) }, wait)
    }

    pub(crate) fn is_final(&self) -> bool {
        self.entry.event == RowEvent::Close
    }

    /// Whether it should still be written: it is not late, and its caller still waits if it is an opening row.
    pub(crate) fn is_wanted(&self) -> bool {
        let caller_left = self.done.as_ref().is_none_or(oneshot::Sender::is_closed);
        Instant::now() < self.deadline && (self.is_final() || !caller_left)
    }

    /// It is durable. Whether its caller still waited.
    pub(crate) fn acknowledge(&mut self) -> bool {
        self.done.take().is_some_and(|done| done.send(Ok(())).is_ok())
    }

    /// It will not be written. A final row goes to the process log whole, so that it can be entered by hand.
    pub(crate) fn refuse(&mut self, error: StoreError) {
        let Some(done) = self.done.take() else { return };
        if self.is_final() {
            let row = serde_json::to_string(&self.entry.record).unwrap_or_default();
            tracing::error!(cause = %error, row, "a final row of the request log was not written");
        }
        // The caller may have left.
        let _ = done.send(Err(error));
    }
}

/// A write that is dropped (a closed queue, a loop that was stopped half-way) is refused, and so logged.
impl Drop for QueuedWrite {
    fn drop(&mut self) {
        self.refuse(StoreError::Closed);
    }
}
