//! Works on stored jobs: leases those that nobody holds, keeps waiting ones in a queue by time, and renews its leases. A
//! waiting job is a small entry here; a task runs only while a provider is being asked.

use super::context::WorkerContext;
use super::leased_row::ActiveJob;
use super::submit::{JobReceivers, Jobs};
use crate::base::Timestamp;
use crate::pipeline::engine::Interrupt;
use crate::store::LeasedJob;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

/// The interval between looks for jobs that nobody holds, and for those to be cancelled.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Jobs leased in one go.
const LEASE_BATCH: u32 = 256;
/// The delay before a job is tried again when the database is unavailable.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// The time limit for provider calls at shutdown. Those that are cut off are found by their intents.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);
/// The interval between sweeps of old jobs.
const SWEEP_INTERVAL: Duration = Duration::from_mins(10);

/// The job after its task, unless it is over or lost, and the delay before the next one if that is not its due time.
type StepResult = Option<(ActiveJob, Option<Duration>)>;

/// The worker of this process.
pub struct Worker {
    context: Arc<WorkerContext>,
    waiting: HashMap<String, ActiveJob>,
    queue: BinaryHeap<Reverse<(Instant, String)>>,
    /// Jobs with a running task, and whether they were cancelled meanwhile.
    busy: HashMap<String, bool>,
    tasks: JoinSet<StepResult>,
    /// The job of each task.
    names: HashMap<Id, String>,
}

impl Worker {
    /// Works until `stopped`. The future ends when its leases are released.
    pub async fn run(jobs: Jobs, receivers: JobReceivers, stopped: watch::Receiver<bool>) {
        let (context, writer) = WorkerContext::start(jobs);
        let context = Arc::new(context);
        let worker = Self {
            context: Arc::clone(&context),
            waiting: HashMap::new(),
            queue: BinaryHeap::new(),
            busy: HashMap::new(),
            tasks: JoinSet::new(),
            names: HashMap::new(),
        };
        worker.work(receivers, stopped).await;
        if let Err(error) = context.jobs.store.jobs().release_leases(&context.jobs.owner).await {
            tracing::warn!(%error, "job leases could not be released; other replicas take over when they expire");
        }
        drop(context);
        // The writer ends with the last handle on the context.
        let _ = timeout(SHUTDOWN_GRACE, writer).await;
    }

    async fn work(mut self, mut receivers: JobReceivers, mut stopped: watch::Receiver<bool>) {
        let (found, mut leased) = mpsc::channel(LEASE_BATCH as usize);
        let (cancellations, mut cancelled) = mpsc::channel(LEASE_BATCH as usize);
        let mut background_tasks = JoinSet::new();
        background_tasks.spawn(lease(Arc::clone(&self.context), found));
        background_tasks.spawn(renew(Arc::clone(&self.context)));
        background_tasks.spawn(watch_cancellations(Arc::clone(&self.context), cancellations));
        background_tasks.spawn(sweep(Arc::clone(&self.context)));
        loop {
            self.start_due();
            let room = self.tasks.len() < self.context.jobs.settings.max_concurrent;
            let next = self.queue.peek().filter(|_| room).map(|entry| entry.0.0);
            tokio::select! {
                biased;
                _ = stopped.changed() => break,
                Some(done) = self.tasks.join_next_with_id() => self.requeue(done).await,
                Some(id) = receivers.cancels.recv() => self.cancel(&id),
                Some(id) = cancelled.recv() => self.cancel(&id),
                Some(job) = receivers.submitted.recv() => self.admit(job, false),
                Some(job) = leased.recv() => self.admit(job, true),
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
        }
        background_tasks.shutdown().await;
        let last = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(SHUTDOWN_GRACE, last).await.is_err() {
            tracing::info!("shutdown interrupted provider calls; another replica will resume the jobs");
        }
        self.tasks.shutdown().await;
    }

    /// Takes a job in, unless it is here already: a lease that this very process let run out comes back to it.
    fn admit(&mut self, job: LeasedJob, inherited: bool) {
        if self.waiting.contains_key(&job.id) || self.busy.contains_key(&job.id) {
            return;
        }
        if let Some(job) = ActiveJob::take(job, inherited) {
            self.queue.push(Reverse((Instant::now(), job.id.clone())));
            self.waiting.insert(job.id.clone(), job);
        }
    }

    fn cancel(&mut self, id: &str) {
        if let Some(busy) = self.busy.get_mut(id) {
            *busy = true;
        } else if let Some(job) = self.waiting.get_mut(id)
            && !std::mem::replace(&mut job.cancel, true)
        {
            self.queue.push(Reverse((Instant::now(), id.to_owned())));
        }
    }

    /// Starts a task for every job that is due, as far as there is room.
    fn start_due(&mut self) {
        let most = self.context.jobs.settings.max_concurrent;
        let now = Instant::now();
        while self.tasks.len() < most
            && let Some(Reverse((due, _))) = self.queue.peek()
            && *due <= now
        {
            let Some(Reverse((_, id))) = self.queue.pop() else { break };
            // A cancelled job is in the queue twice.
            let Some(mut job) = self.waiting.remove(&id) else { continue };
            self.busy.insert(id.clone(), false);
            let context = Arc::clone(&self.context);
            let task = self.tasks.spawn(async move {
                let delay = match context.run(&mut job).await {
                    Ok(true) | Err(Interrupt::LeaseLost) => return None,
                    Ok(false) => None,
                    // A submit of which nothing came back is not made again, no more than another process's.
                    Err(Interrupt::StorageUnavailable) => {
                        job.inherited = true;
                        Some(RETRY_DELAY)
                    }
                };
                Some((job, delay))
            });
            self.names.insert(task.id(), id);
        }
    }

    /// A task is over: the job waits for its next one.
    async fn requeue(&mut self, done: Result<(Id, StepResult), JoinError>) {
        let (task, left) = match done {
            Ok((task, left)) => (task, left),
            Err(error) => {
                let id = self.names.remove(&error.id()).unwrap_or_default();
                tracing::error!(%error, job.id = %id, "a job's task panicked");
                self.busy.remove(&id);
                // What it was doing is not known: the job is resumed like one that another process left behind.
                let jobs = &self.context.jobs;
                if let Err(error) = jobs.store.jobs().release_lease(&id, &jobs.owner).await {
                    tracing::warn!(%error, "a job lease could not be released");
                }
                return;
            }
        };
        let id = self.names.remove(&task).unwrap_or_default();
        let stop = self.busy.remove(&id).unwrap_or(false);
        let Some((mut job, delay)) = left else { return };
        job.cancel |= stop;
        let now = Timestamp::now();
        let wait = |due: Timestamp| Duration::from_millis(u64::try_from(due.millis() - now.millis()).unwrap_or(0));
        let due = if job.cancel { now } else { job.state.next_due().unwrap_or(now).min(job.deadline_at) };
        let at = Instant::now() + delay.unwrap_or_else(|| wait(due));
        self.queue.push(Reverse((at, id.clone())));
        self.waiting.insert(id, job);
    }
}

/// Leases jobs that nobody holds: those of processes that died, and those that were released.
async fn lease(context: Arc<WorkerContext>, found: mpsc::Sender<LeasedJob>) {
    let jobs = &context.jobs;
    let mut tick = interval(POLL_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        loop {
            let now = Timestamp::now();
            let leased = jobs.store.jobs().lease(&jobs.owner, now, now.plus(jobs.settings.lease()), LEASE_BATCH).await;
            let Ok(leased) = leased.inspect_err(|error| tracing::warn!(%error, "jobs could not be leased; will retry"))
            else {
                break;
            };
            let full = leased.len() == LEASE_BATCH as usize;
            for job in leased {
                if found.send(job).await.is_err() {
                    return;
                }
            }
            if !full {
                break;
            }
        }
    }
}

/// Renews the leases. When that fails for too long, nothing more is submitted, and other replicas take over.
async fn renew(context: Arc<WorkerContext>) {
    let jobs = &context.jobs;
    let lease = jobs.settings.lease();
    let mut tick = interval(lease / 5);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let (begun, now) = (Instant::now(), Timestamp::now());
        match jobs.store.jobs().renew_leases(&jobs.owner, now, now.plus(lease)).await {
            Ok(_) => context.extend_lease(begun + lease),
            Err(error) => tracing::warn!(%error, "job leases could not be renewed; will retry"),
        }
    }
}

/// Looks for jobs of this process that were cancelled through another one.
async fn watch_cancellations(context: Arc<WorkerContext>, cancellations: mpsc::Sender<String>) {
    let jobs = &context.jobs;
    let mut told: HashSet<String> = HashSet::new();
    loop {
        sleep(POLL_INTERVAL).await;
        let Ok(ids) = jobs.store.jobs().to_cancel(&jobs.owner).await else { continue };
        for id in &ids {
            if !told.contains(id) && cancellations.send(id.clone()).await.is_err() {
                return;
            }
        }
        told = ids.into_iter().collect();
    }
}

/// Deletes jobs and deliveries that ended long ago.
async fn sweep(context: Arc<WorkerContext>) {
    let jobs = &context.jobs;
    let keep = Duration::from_hours(24 * jobs.settings.keep_days);
    loop {
        sleep(SWEEP_INTERVAL).await;
        let before = Timestamp::now().minus(keep);
        for swept in [jobs.store.jobs().remove_ended(before).await, jobs.store.webhooks().remove_ended(before).await] {
            if let Err(error) = swept {
                tracing::warn!(%error, "old jobs could not be deleted; will retry");
            }
        }
    }
}
