//! What the tasks of jobs share: the lease of this process, and the writes of job rows, many in one transaction.

use super::submit::Jobs;
use crate::base::Backoff;
use crate::pipeline::engine::Interrupt;
use crate::store::{JobSave, Store, StoreError};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// Writes in one transaction.
const WRITE_BATCH: usize = 256;
/// A write is tried so often before its job is put back into the queue.
const WRITE_TRIES: u32 = 3;
const WRITE_BACKOFF: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(1));

/// A write that waits for its transaction.
type Writing = (JobSave, oneshot::Sender<Result<bool, StoreError>>);

/// What the tasks of jobs share.
pub(super) struct WorkerContext {
    pub(super) jobs: Jobs,
    writes: mpsc::Sender<Writing>,
    /// Until when this process's leases hold, by its own clock.
    held_until: Mutex<Instant>,
}

impl WorkerContext {
    /// The context, and the task that writes; it ends when the context is dropped.
    pub(super) fn start(jobs: Jobs) -> (Self, JoinHandle<()>) {
        let (writes, waiting) = mpsc::channel(WRITE_BATCH * 4);
        let writer = tokio::spawn(write(jobs.store.clone(), waiting));
        let held_until = Mutex::new(Instant::now() + jobs.settings.lease());
        (Self { jobs, writes, held_until }, writer)
    }

    /// The leases of this process hold until then.
    pub(super) fn extend_lease(&self, until: Instant) {
        *self.held_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// Whether this process may still act on its jobs: some time is left for a call to be sent.
    pub(super) fn lease_holds(&self) -> bool {
        let until = *self.held_until.lock().unwrap_or_else(PoisonError::into_inner);
        Instant::now() + self.jobs.settings.lease() / 4 < until
    }

    /// Writes a job. Retries while the database is unavailable and the lease may hold.
    pub(super) async fn write(&self, save: JobSave) -> Result<(), Interrupt> {
        for failures in 1..=WRITE_TRIES {
            let (done, told) = oneshot::channel();
            self.writes.send((save.clone(), done)).await.map_err(|_| Interrupt::LeaseLost)?;
            match told.await {
                Ok(Ok(true)) => return Ok(()),
                Ok(Ok(false)) | Err(_) => return Err(Interrupt::LeaseLost),
                Ok(Err(error)) => tracing::warn!(%error, job.id = %save.id, "a job could not be written; will retry"),
            }
            sleep(WRITE_BACKOFF.delay(failures)).await;
        }
        Err(Interrupt::StorageUnavailable)
    }
}

/// Writes what arrives together in one transaction. A write that the database refuses does not take others with it.
async fn write(store: Store, mut waiting: mpsc::Receiver<Writing>) {
    let mut batch: Vec<Writing> = Vec::with_capacity(WRITE_BATCH);
    while waiting.recv_many(&mut batch, WRITE_BATCH).await > 0 {
        let saves: Vec<JobSave> = batch.iter().map(|(save, _)| save.clone()).collect();
        match store.jobs().save(&saves).await {
            Ok(held) => {
                for ((_, done), held) in batch.drain(..).zip(held) {
                    // Nobody waiting is fine: the step was cut off by a stop.
                    let _ = done.send(Ok(held));
                }
            }
            Err(error) if batch.len() == 1 => {
                for (_, done) in batch.drain(..) {
                    let _ = done.send(Err(StoreError::Unwritten(error.to_string())));
                }
            }
            Err(_) => {
                for (save, done) in batch.drain(..) {
                    let alone = store.jobs().save(std::slice::from_ref(&save)).await;
                    let _ = done.send(alone.map(|held| held.first().copied().unwrap_or(false)));
                }
            }
        }
    }
}
