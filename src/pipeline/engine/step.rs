//! One step of a provider's job: one call, and what follows from its answer. Requests that wait and stored jobs make the
//! same steps.

use crate::base::Backoff;
use crate::fault::{Accepted, Fault, FaultKind};
use crate::job::{Brief, Event, Output, Partial, Usage};
use crate::outbound::{Call, Client, Destination, Leg, Reply, Until, Watch};
use crate::providers::{Adapter, Site, Turn};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// Sends a call with its credential; the tests put scripts behind it.
pub(in crate::pipeline) trait Transport: Sync {
    /// One exchange, over in time. `watch` sees the events of an answer that is streamed.
    fn send(
        &self,
        call: &Call,
        until: Until,
        watch: &mut Watch<'_>,
    ) -> impl Future<Output = Result<Reply, Fault>> + Send;
}

/// The real transport: our client with one of the provider's keys.
pub(super) struct Wire<'a> {
    pub client: &'a Client,
    pub to: &'a Destination,
}

impl Transport for Wire<'_> {
    async fn send(&self, call: &Call, until: Until, watch: &mut Watch<'_>) -> Result<Reply, Fault> {
        self.client.send(call, self.to, until, watch).await
    }
}

/// Where unfinished pictures go.
pub type Partials = mpsc::Sender<Partial>;

/// What a provider's job made.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::pipeline) struct ProviderResult {
    /// The outputs, perhaps none.
    pub outputs: Vec<Output>,
    /// What the provider said of the bill.
    pub usage: Usage,
}

/// How polls are spaced: by this part of the time waited so far, between a floor and a ceiling. A job that ends somewhere
/// between two polls is noticed half a pause later: within 250 ms or 5 % of its duration, whichever is larger. Each pause is
/// shorter or longer by up to `POLL_JITTER` of it: jobs begun together that take the same time would otherwise all be asked for at
/// the same moments, and all be noticed late together.
const MIN_POLL_DELAY: Duration = Duration::from_millis(400);
const MAX_POLL_DELAY: Duration = Duration::from_secs(15);
const POLL_DIVISOR: u32 = 14;
const POLL_JITTER: f64 = 0.3;
/// The delays after failed reads.
const READ_BACKOFF: Backoff = Backoff::new(Duration::from_millis(200), MAX_POLL_DELAY);
/// The time limit of a single read. One that hangs proves nothing about the job.
const READ_LIMIT: Duration = Duration::from_secs(90);
/// Polls and downloads that may fail in a row; repeating them buys nothing.
pub(in crate::pipeline) const READ_TRIES: u32 = 4;
/// The same for a stored job, which has the time to outlast an outage of some minutes.
pub(in crate::pipeline) const STORED_READ_TRIES: u32 = 24;

/// What a streamed answer has brought so far.
#[derive(Default)]
struct Streamed {
    begun: bool,
    outputs: Vec<Output>,
    usage: Usage,
}

impl Streamed {
    /// Takes one event. Whoever watches unfinished pictures too slowly misses some.
    fn take(&mut self, event: Event, partials: Option<&Partials>) {
        self.outputs.extend(event.outputs);
        self.usage = self.usage.plus(&event.usage);
        if let (Some(partial), Some(partials)) = (event.partial, partials) {
            let _ = partials.try_send(partial);
        }
    }
}

/// The position of a job between two calls. Plain data: any process can go on from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::pipeline) struct JobCursor {
    /// The call to make next.
    pub call: Call,
    /// Whether the creating call was answered: from then on the provider has the job.
    pub submitted: bool,
    /// Reads that failed in a row.
    #[serde(default)]
    pub failures: u32,
    /// The provider's id of the job, once it has one.
    #[serde(default)]
    pub job: Option<String>,
}

/// What follows a step.
#[derive(Debug)]
pub(in crate::pipeline) enum Step {
    /// Finished.
    Done(ProviderResult),
    /// Go on from there, after the pause.
    On(JobCursor, Delay),
    /// Over.
    Failed(Fault),
}

/// How long to wait before the next call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pipeline) enum Delay {
    /// Not at all.
    No,
    /// As polls are spaced.
    Poll,
    /// Just so long.
    For(Duration),
}

impl Delay {
    /// The delay for a job that has been waited for so long.
    pub(in crate::pipeline) fn after(self, waited: Duration) -> Duration {
        match self {
            Self::No => Duration::ZERO,
            Self::Poll => (waited / POLL_DIVISOR)
                .clamp(MIN_POLL_DELAY, MAX_POLL_DELAY)
                .mul_f64(rand::random_range(1.0 - POLL_JITTER..1.0 + POLL_JITTER)),
            Self::For(delay) => delay,
        }
    }
}

/// Makes the calls of one job at one provider.
pub(in crate::pipeline) struct Driver<'a, T> {
    pub(in crate::pipeline) adapter: &'a dyn Adapter,
    pub(in crate::pipeline) site: &'a Site,
    pub(in crate::pipeline) wire: &'a T,
    /// How often in a row a read may fail.
    pub(in crate::pipeline) reads: u32,
    /// Who sees unfinished pictures.
    pub(in crate::pipeline) partials: Option<&'a Partials>,
    /// How long the creating call may take to begin its answer.
    pub(in crate::pipeline) first_byte: Duration,
}

impl<T: Transport> Driver<'_, T> {
    /// The first step: what to call, or the outputs at once. Nothing is sent yet.
    pub(in crate::pipeline) fn open(&self, brief: &Brief) -> Result<Step, Fault> {
        Ok(self.follow(self.adapter.open(brief, self.site)?, false, None))
    }

    fn follow(&self, turn: Turn, submitted: bool, job: Option<String>) -> Step {
        let cursor = |call, job| JobCursor { call, submitted, failures: 0, job };
        match turn {
            Turn::Done(outputs, usage) => Step::Done(ProviderResult { outputs, usage }),
            Turn::Next(call) => Step::On(cursor(call, job), Delay::No),
            Turn::Wait(call) => {
                // The first call that waits asks after the job; those that follow may ask for its files.
                let job = job.or_else(|| self.adapter.job(&call));
                Step::On(cursor(call, job), Delay::Poll)
            }
        }
    }

    /// One exchange and what follows from it. A creating call is never repeated; reads are, while it is worth it.
    pub(in crate::pipeline) async fn step(&self, cursor: JobCursor, deadline: Instant) -> Step {
        let JobCursor { call, submitted, failures, job } = cursor;
        let mut answered = false;
        let limit = if matches!(call.leg, Leg::Poll | Leg::Fetch) {
            deadline.min(Instant::now() + READ_LIMIT)
        } else {
            deadline
        };
        let mut streamed = Streamed::default();
        let mut watch = |data: Bytes| {
            streamed.begun = true;
            let event = Reply { status: 200, headers: Vec::new(), retry_after: None, body: data };
            streamed.take(self.adapter.event(&call, &event)?, self.partials);
            Ok(())
        };
        let first_byte = if call.leg == Leg::Submit { limit.min(Instant::now() + self.first_byte) } else { limit };
        let sent = self.wire.send(&call, Until { first_byte, whole: limit }, &mut watch).await;
        // What is finished was bought: a stream that breaks after its pictures has brought them all the same.
        if !streamed.outputs.is_empty() || sent.as_ref().is_ok_and(Reply::streamed) {
            return Step::Done(ProviderResult { outputs: streamed.outputs, usage: streamed.usage });
        }
        let outcome = sent.and_then(|reply| {
            answered = reply.ok();
            if answered { self.adapter.read(&call, &reply, self.site) } else { Err(self.adapter.fault(&call, &reply)) }
        });
        match outcome {
            Ok(turn) => self.follow(turn, submitted || call.leg == Leg::Submit, job),
            Err(fault)
                if may_repeat(&call, &fault, answered) && failures + 1 < self.reads && Instant::now() < deadline =>
            {
                let failures = failures + 1;
                let wait = fault.retry_after.unwrap_or_else(|| READ_BACKOFF.delay(failures)).min(MAX_POLL_DELAY);
                Step::On(JobCursor { call, submitted, failures, job }, Delay::For(wait))
            }
            Err(fault) if fault.kind == FaultKind::Timeout && submitted => Step::Failed(self.give_up(&call).await),
            Err(fault) => {
                let fault = after_submit(fault, submitted || streamed.begun);
                let lost = call.leg == Leg::Submit && fault.accepted == Accepted::Maybe && Instant::now() < deadline;
                match if lost { self.look_up(&call).await } else { None } {
                    Some(found) => Step::On(found, Delay::Poll),
                    None => Step::Failed(fault),
                }
            }
        }
    }

    /// The cursor of a job whose creating call was not answered, when the provider says that it has it. What it does not
    /// say proves nothing: the call may be on its way still.
    pub(in crate::pipeline) async fn look_up(&self, submit: &Call) -> Option<JobCursor> {
        let call = self.adapter.look_up(submit, self.site)?;
        sleep(LOOK_UP_DELAY).await;
        let reply = self.wire.send(&call, (Instant::now() + SIDE_CALL_LIMIT).into(), &mut |_| Ok(())).await.ok()?;
        let there = reply.ok() && self.adapter.read(&call, &reply, self.site).is_ok();
        there.then(|| JobCursor { job: self.adapter.job(&call), call, submitted: true, failures: 0 })
    }

    /// Time is up: stop the job upstream, and say that it may be billed all the same.
    pub(in crate::pipeline) async fn give_up(&self, call: &Call) -> Fault {
        self.cancel(call).await;
        Fault::new(FaultKind::Timeout, "the provider did not finish in time").accepted(Accepted::Maybe)
    }

    /// Waits before the next step. A caller who hangs up meanwhile cancels the job upstream, where the provider lets us;
    /// where it does not, the job is waited for: it is paid for, and its row shall hold the result.
    pub(in crate::pipeline) async fn wait(
        &self,
        cursor: &JobCursor,
        delay: Duration,
        hung_up: Option<&CancellationToken>,
    ) -> Result<(), Fault> {
        let polls = cursor.call.leg == Leg::Poll && self.adapter.cancel(&cursor.call, self.site).is_some();
        match hung_up.filter(|_| polls) {
            Some(hung_up) if hung_up.run_until_cancelled(sleep(delay)).await.is_none() => {
                self.cancel(&cursor.call).await;
                let text = "the caller closed the connection, and the job was cancelled";
                Err(Fault::new(FaultKind::Cancelled, text).accepted(Accepted::Maybe))
            }
            Some(_) => Ok(()),
            None => {
                sleep(delay).await;
                Ok(())
            }
        }
    }

    /// Cancels a job upstream, where the provider lets us.
    async fn cancel(&self, call: &Call) {
        if let Some(cancel) = self.adapter.cancel(call, self.site)
            && let Err(fault) =
                self.wire.send(&cancel, (Instant::now() + SIDE_CALL_LIMIT).into(), &mut |_| Ok(())).await
        {
            tracing::debug!(%fault, "a job could not be cancelled upstream");
        }
    }
}

/// How long a provider has to list a job that it may have taken.
const LOOK_UP_DELAY: Duration = Duration::from_secs(1);
/// How long a call may take that cancels a job, or looks for one.
const SIDE_CALL_LIMIT: Duration = Duration::from_secs(5);

/// Reads may be repeated when the trouble is on the way. What a provider says in its own words, in an answer or about a
/// result, is the outcome of the job; a poll that is refused merely found it busy.
fn may_repeat(call: &Call, fault: &Fault, answered: bool) -> bool {
    let hung = fault.kind == FaultKind::Timeout && fault.upstream_status.is_none();
    let passing = hung || matches!(fault.kind, FaultKind::Unavailable | FaultKind::RateLimited | FaultKind::Malformed);
    let spoken = fault.upstream_code.is_some();
    match call.leg {
        Leg::Submit | Leg::Cancel => false,
        Leg::Poll => passing && !(spoken && (answered || fault.kind == FaultKind::Malformed)),
        Leg::Fetch => passing && !spoken,
    }
}

/// Once a job was taken, a fault of ours or of the network no longer proves that it is free.
fn after_submit(fault: Fault, submitted: bool) -> Fault {
    let from_provider = fault.upstream_code.is_some();
    if submitted && !from_provider { Fault { accepted: fault.accepted.max(Accepted::Maybe), ..fault } } else { fault }
}

#[cfg(test)]
mod tests;
