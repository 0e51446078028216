//! Works on stored jobs: leases what nobody holds, keeps what waits in a queue by time, and prolongs its leases. Ten
//! thousand jobs in flight are ten thousand small entries here, not as many tasks; a task runs only while a provider is
//! being asked.

use super::advance::{Halt, Held};
use super::background::Arrivals;
use super::gateway::Gateway;
use crate::base::Timestamp;
use crate::store::{JobSave, LeasedJob, Store, StoreError};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

/// How often the store is asked for jobs that nobody holds, and for those that are to be stopped.
const LOOK: Duration = Duration::from_secs(1);
/// Jobs leased in one go.
const BATCH: u32 = 256;
/// Writes in one transaction.
const WRITES: usize = 256;
/// How long a job rests when the database is away.
const REST: Duration = Duration::from_secs(1);
/// How long exchanges that run are waited for at a stop. Those that are cut off are found by their intents.
const GOODBYE: Duration = Duration::from_secs(10);
/// How long jobs that are over are swept after, at most.
const SWEEP: Duration = Duration::from_mins(10);

/// A write that waits for its transaction.
type Writing = (JobSave, oneshot::Sender<Result<bool, StoreError>>);

/// What the steps of jobs share.
pub(super) struct Desk {
    pub(super) gateway: Arc<Gateway>,
    writes: mpsc::Sender<Writing>,
    /// Until when this process's leases hold, by its own clock.
    held_until: Mutex<Instant>,
}

impl Desk {
    /// Whether this process may still act on its jobs: some time is left for a call to be sent.
    pub(super) fn lease_holds(&self) -> bool {
        let until = *self.held_until.lock().unwrap_or_else(PoisonError::into_inner);
        Instant::now() + self.gateway.jobs.settings.lease() / 4 < until
    }

    /// Writes a job down. Goes on trying while the database is away and the lease may hold.
    pub(super) async fn write(&self, save: JobSave) -> Result<(), Halt> {
        for pause in [100, 300, 600] {
            let (done, told) = oneshot::channel();
            self.writes.send((save.clone(), done)).await.map_err(|_| Halt::Lost)?;
            match told.await {
                Ok(Ok(true)) => return Ok(()),
                Ok(Ok(false)) | Err(_) => return Err(Halt::Lost),
                Ok(Err(error)) => tracing::warn!(%error, job.id = %save.id, "a job could not be written; trying again"),
            }
            sleep(Duration::from_millis(pause)).await;
        }
        Err(Halt::Trouble)
    }
}

/// What a step leaves: the job, unless it is over or lost, and how long it has to rest.
type Left = Option<(Held, Option<Duration>)>;

/// The worker of this process.
pub struct Worker {
    desk: Arc<Desk>,
    held: HashMap<String, Held>,
    queue: BinaryHeap<Reverse<(Instant, String)>>,
    /// Jobs that a step has in hand, and whether they were asked to stop meanwhile.
    busy: HashMap<String, bool>,
    steps: JoinSet<Left>,
    /// Whose step a task is.
    names: HashMap<Id, String>,
}

impl Worker {
    /// Starts working, until `stopped`. The future ends when its leases are given back.
    pub async fn run(gateway: Arc<Gateway>, arrivals: Arrivals, stopped: watch::Receiver<bool>) {
        let (writes, waiting) = mpsc::channel(WRITES * 4);
        let writer = tokio::spawn(write(gateway.jobs.store.clone(), waiting));
        let held_until = Mutex::new(Instant::now() + gateway.jobs.settings.lease());
        let desk = Arc::new(Desk { gateway, writes, held_until });
        let worker = Self {
            desk: Arc::clone(&desk),
            held: HashMap::new(),
            queue: BinaryHeap::new(),
            busy: HashMap::new(),
            steps: JoinSet::new(),
            names: HashMap::new(),
        };
        worker.work(arrivals, stopped).await;
        if let Err(error) = desk.gateway.jobs.store.jobs().release_leases(&desk.gateway.jobs.owner).await {
            tracing::warn!(%error, "leases could not be given back; others take the jobs over when they run out");
        }
        drop(desk);
        // It ends with the last handle on the desk.
        let _ = timeout(GOODBYE, writer).await;
    }

    async fn work(mut self, mut arrivals: Arrivals, mut stopped: watch::Receiver<bool>) {
        let (found, mut leased) = mpsc::channel(BATCH as usize);
        let (wishes, mut cancelled) = mpsc::channel(BATCH as usize);
        let mut errands = JoinSet::new();
        errands.spawn(lease(Arc::clone(&self.desk), found));
        errands.spawn(renew(Arc::clone(&self.desk)));
        errands.spawn(watch_wishes(Arc::clone(&self.desk), wishes));
        errands.spawn(sweep(Arc::clone(&self.desk)));
        loop {
            self.start_due();
            let room = self.steps.len() < self.desk.gateway.jobs.settings.max_concurrent;
            let next = self.queue.peek().filter(|_| room).map(|entry| entry.0.0);
            tokio::select! {
                biased;
                _ = stopped.changed() => break,
                Some(done) = self.steps.join_next_with_id() => self.put_back(done).await,
                Some(id) = arrivals.cancels.recv() => self.cancel(&id),
                Some(id) = cancelled.recv() => self.cancel(&id),
                Some(job) = arrivals.jobs.recv() => self.admit(job, false),
                Some(job) = leased.recv() => self.admit(job, true),
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
        }
        errands.shutdown().await;
        let last = async { while self.steps.join_next().await.is_some() {} };
        if timeout(GOODBYE, last).await.is_err() {
            tracing::info!("jobs were left in the middle of an exchange; whoever goes on with them is told");
        }
        self.steps.shutdown().await;
    }

    /// Takes a job in, unless it is here already: a lease that this very process let run out comes back to it.
    fn admit(&mut self, job: LeasedJob, inherited: bool) {
        if self.held.contains_key(&job.id) || self.busy.contains_key(&job.id) {
            return;
        }
        if let Some(held) = Held::take(job, inherited) {
            self.queue.push(Reverse((Instant::now(), held.id.clone())));
            self.held.insert(held.id.clone(), held);
        }
    }

    fn cancel(&mut self, id: &str) {
        if let Some(busy) = self.busy.get_mut(id) {
            *busy = true;
        } else if let Some(held) = self.held.get_mut(id)
            && !std::mem::replace(&mut held.cancel, true)
        {
            self.queue.push(Reverse((Instant::now(), id.to_owned())));
        }
    }

    /// Starts a step for every job whose time has come, as far as there is room.
    fn start_due(&mut self) {
        let most = self.desk.gateway.jobs.settings.max_concurrent;
        let now = Instant::now();
        while self.steps.len() < most
            && let Some(Reverse((due, _))) = self.queue.peek()
            && *due <= now
        {
            let Some(Reverse((_, id))) = self.queue.pop() else { break };
            // A job that was asked to stop is in the queue twice.
            let Some(mut held) = self.held.remove(&id) else { continue };
            self.busy.insert(id.clone(), false);
            let desk = Arc::clone(&self.desk);
            let step = self.steps.spawn(async move {
                let rest = match desk.work(&mut held).await {
                    Ok(true) | Err(Halt::Lost) => return None,
                    Ok(false) => None,
                    // A submit of which nothing came back is not made again, no more than another process's.
                    Err(Halt::Trouble) => {
                        held.inherited = true;
                        Some(REST)
                    }
                };
                Some((held, rest))
            });
            self.names.insert(step.id(), id);
        }
    }

    /// A step is over: the job waits for its next one.
    async fn put_back(&mut self, done: Result<(Id, Left), JoinError>) {
        let (task, left) = match done {
            Ok((task, left)) => (task, left),
            Err(error) => {
                let id = self.names.remove(&error.id()).unwrap_or_default();
                tracing::error!(%error, job.id = %id, "a step of a job ended badly");
                self.busy.remove(&id);
                // What it was doing is not known: the job is taken up again as one that another process left behind.
                let jobs = &self.desk.gateway.jobs;
                if let Err(error) = jobs.store.jobs().release_lease(&id, &jobs.owner).await {
                    tracing::warn!(%error, "a lease could not be given back");
                }
                return;
            }
        };
        let id = self.names.remove(&task).unwrap_or_default();
        let stop = self.busy.remove(&id).unwrap_or(false);
        let Some((mut held, rest)) = left else { return };
        held.cancel |= stop;
        let now = Timestamp::now();
        let wait = |due: Timestamp| Duration::from_millis(u64::try_from(due.millis() - now.millis()).unwrap_or(0));
        let due = if held.cancel { now } else { held.state.due().unwrap_or(now).min(held.deadline_at) };
        let at = Instant::now() + rest.unwrap_or_else(|| wait(due));
        self.queue.push(Reverse((at, id.clone())));
        self.held.insert(id, held);
    }
}

/// Leases what nobody holds: new jobs of processes that died, and those that were given back.
async fn lease(desk: Arc<Desk>, found: mpsc::Sender<LeasedJob>) {
    let jobs = &desk.gateway.jobs;
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        loop {
            let now = Timestamp::now();
            let leased = jobs.store.jobs().lease(&jobs.owner, now, now.plus(jobs.settings.lease()), BATCH).await;
            let Ok(leased) = leased.inspect_err(|error| tracing::warn!(%error, "no jobs can be leased")) else { break };
            let full = leased.len() == BATCH as usize;
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

/// Prolongs the leases. When that fails for too long, nothing is begun any more, and others take over.
async fn renew(desk: Arc<Desk>) {
    let jobs = &desk.gateway.jobs;
    let lease = jobs.settings.lease();
    let mut tick = interval(lease / 5);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let (begun, now) = (Instant::now(), Timestamp::now());
        match jobs.store.jobs().renew_leases(&jobs.owner, now, now.plus(lease)).await {
            Ok(_) => *desk.held_until.lock().unwrap_or_else(PoisonError::into_inner) = begun + lease,
            Err(error) => tracing::warn!(%error, "the leases of jobs could not be prolonged"),
        }
    }
}

/// Looks for jobs of this process that were asked to stop elsewhere.
async fn watch_wishes(desk: Arc<Desk>, wishes: mpsc::Sender<String>) {
    let jobs = &desk.gateway.jobs;
    let mut told: HashSet<String> = HashSet::new();
    loop {
        sleep(LOOK).await;
        let Ok(ids) = jobs.store.jobs().to_cancel(&jobs.owner).await else { continue };
        for id in &ids {
            if !told.contains(id) && wishes.send(id.clone()).await.is_err() {
                return;
            }
        }
        told = ids.into_iter().collect();
    }
}

/// Forgets jobs and deliveries that are long over.
async fn sweep(desk: Arc<Desk>) {
    let jobs = &desk.gateway.jobs;
    let keep = Duration::from_hours(24 * jobs.settings.keep_days);
    loop {
        sleep(SWEEP).await;
        let before = Timestamp::now().minus(keep);
        for swept in [jobs.store.jobs().remove_ended(before).await, jobs.store.webhooks().remove_ended(before).await] {
            if let Err(error) = swept {
                tracing::warn!(%error, "old jobs could not be forgotten");
            }
        }
    }
}

/// Writes what arrives together in one transaction. A write that the database refuses does not take others with it.
async fn write(store: Store, mut waiting: mpsc::Receiver<Writing>) {
    let mut batch: Vec<Writing> = Vec::with_capacity(WRITES);
    while waiting.recv_many(&mut batch, WRITES).await > 0 {
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
