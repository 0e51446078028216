//! An adapter's turns, call by call. One step function for all: the loop here sleeps between steps for callers who wait,
//! the worker stores the job between them.

use crate::fault::{Accepted, Fault, FaultKind};
use crate::job::{Brief, Event, Output, Partial, Usage};
use crate::outbound::{Call, Leg, Reply, Until, Watch};
use crate::providers::{Adapter, Site, Turn};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// Sends a call with its credential; the tests put scripts behind it.
pub(super) trait Transport: Sync {
    /// One exchange, over in time. `watch` sees the events of an answer that is streamed.
    fn send(
        &self,
        call: &Call,
        until: Until,
        watch: &mut Watch<'_>,
    ) -> impl Future<Output = Result<Reply, Fault>> + Send;
}

/// What bounds a driven job, and who watches it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds<'a> {
    /// How long the creating call may take to begin its answer.
    pub first_byte: Duration,
    /// When everything should be over.
    pub deadline: Instant,
    /// Says that the caller has hung up.
    pub hung_up: &'a CancellationToken,
    /// Who sees unfinished pictures.
    pub partials: Option<&'a Partials>,
}

/// Where unfinished pictures go.
pub type Partials = mpsc::Sender<Partial>;

/// What a driven job made.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Driven {
    /// The outputs, perhaps none.
    pub outputs: Vec<Output>,
    /// What the provider said of the bill.
    pub usage: Usage,
}

/// How polls are spaced: by this part of the time waited so far, between a floor and a ceiling. A job that ends somewhere
/// between two polls is noticed half a pause later: within 250 ms or 5 % of its duration, whichever is larger. Each pause is
/// shorter or longer by up to `JITTER` of it: jobs begun together that take the same time would otherwise all be asked for at
/// the same moments, and all be noticed late together.
const FLOOR: Duration = Duration::from_millis(400);
const CEILING: Duration = Duration::from_secs(15);
const SHARE: u32 = 14;
const JITTER: f64 = 0.3;
/// How soon after a failed read the next is tried, at first.
const AGAIN: Duration = Duration::from_millis(200);
/// How long a single read may take. One that hangs says nothing about the job.
const READ_LIMIT: Duration = Duration::from_secs(90);
/// A poll or fetch that fails is repeated so many times in a row; it buys nothing.
const READ_TRIES: u32 = 4;
/// And a read of a stored job, which has the time to see an outage of some minutes through.
pub(super) const PATIENT_READS: u32 = 24;

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

/// Where a job stands between two calls. Plain data: a stored job goes on from it, in any process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Course {
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
pub(super) enum Step {
    /// Finished.
    Done(Driven),
    /// Go on from there, after the pause.
    On(Course, Pause),
    /// Over.
    Failed(Fault),
}

/// How long to wait before the next call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    /// Not at all.
    No,
    /// As polls are spaced.
    Poll,
    /// Just so long.
    For(Duration),
}

impl Pause {
    /// In time, for a job that has been waited for so long.
    pub(super) fn after(self, waited: Duration) -> Duration {
        match self {
            Self::No => Duration::ZERO,
            Self::Poll => {
                (waited / SHARE).clamp(FLOOR, CEILING).mul_f64(rand::random_range(1.0 - JITTER..1.0 + JITTER))
            }
            Self::For(pause) => pause,
        }
    }
}

/// One provider's side of a job. Synchronous requests and stored jobs make the same steps; who waits between them is the
/// only difference.
pub(super) struct Driver<'a, T> {
    pub(super) adapter: &'a dyn Adapter,
    pub(super) site: &'a Site,
    pub(super) wire: &'a T,
    /// How often in a row a read may fail.
    pub(super) reads: u32,
    /// Who sees unfinished pictures.
    pub(super) partials: Option<&'a Partials>,
    /// How long the creating call may take to begin its answer.
    pub(super) first_byte: Duration,
}

impl<T: Transport> Driver<'_, T> {
    /// The first step: what to call, or the outputs at once. Nothing is sent yet.
    pub(super) fn open(&self, brief: &Brief) -> Result<Step, Fault> {
        Ok(self.follow(self.adapter.open(brief, self.site)?, false, None))
    }

    fn follow(&self, turn: Turn, submitted: bool, job: Option<String>) -> Step {
        let course = |call, job| Course { call, submitted, failures: 0, job };
        match turn {
            Turn::Done(outputs, usage) => Step::Done(Driven { outputs, usage }),
            Turn::Next(call) => Step::On(course(call, job), Pause::No),
            Turn::Wait(call) => {
                // The first call that waits asks after the job; those that follow may ask for its files.
                let job = job.or_else(|| self.adapter.job(&call));
                Step::On(course(call, job), Pause::Poll)
            }
        }
    }

    /// One exchange and what follows from it. A creating call is never repeated; reads are, while it is worth it.
    pub(super) async fn step(&self, course: Course, deadline: Instant) -> Step {
        let Course { call, submitted, failures, job } = course;
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
            return Step::Done(Driven { outputs: streamed.outputs, usage: streamed.usage });
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
                let usual = AGAIN.saturating_mul(2u32.saturating_pow(failures - 1));
                let wait = fault.retry_after.unwrap_or(usual).min(CEILING);
                Step::On(Course { call, submitted, failures, job }, Pause::For(wait))
            }
            Err(fault) if fault.kind == FaultKind::Timeout && submitted => Step::Failed(self.give_up(&call).await),
            Err(fault) => {
                let fault = after_submit(fault, submitted || streamed.begun);
                let lost = call.leg == Leg::Submit && fault.accepted == Accepted::Maybe && Instant::now() < deadline;
                match if lost { self.look_up(&call).await } else { None } {
                    Some(found) => Step::On(found, Pause::Poll),
                    None => Step::Failed(fault),
                }
            }
        }
    }

    /// The course of a job whose creating call was not answered, when the provider says that it has it. What it does not
    /// say proves nothing: the call may be on its way still.
    pub(super) async fn look_up(&self, submit: &Call) -> Option<Course> {
        let call = self.adapter.look_up(submit, self.site)?;
        sleep(UNTIL_LISTED).await;
        let reply = self.wire.send(&call, (Instant::now() + GOODBYE).into(), &mut |_| Ok(())).await.ok()?;
        let there = reply.ok() && self.adapter.read(&call, &reply, self.site).is_ok();
        there.then(|| Course { job: self.adapter.job(&call), call, submitted: true, failures: 0 })
    }

    /// Time is up: stop the job upstream, and say that it may be billed all the same.
    pub(super) async fn give_up(&self, call: &Call) -> Fault {
        self.stop(call).await;
        Fault::new(FaultKind::Timeout, "the provider did not finish in time").accepted(Accepted::Maybe)
    }

    /// Stops a job upstream, where the provider lets us.
    async fn stop(&self, call: &Call) {
        if let Some(cancel) = self.adapter.cancel(call, self.site)
            && let Err(fault) = self.wire.send(&cancel, (Instant::now() + GOODBYE).into(), &mut |_| Ok(())).await
        {
            tracing::debug!(%fault, "a job could not be cancelled upstream");
        }
    }
}

/// How long a provider has to list a job that it may have taken.
const UNTIL_LISTED: Duration = Duration::from_secs(1);
/// How long a call may take that cancels a job, or looks for one.
const GOODBYE: Duration = Duration::from_secs(5);

/// Drives one job to its end, waiting between its steps. A job that is given up is cancelled upstream where that can be;
/// so is one whose caller hung up. Where it cannot be, it is driven to its end: it is paid for, and its row shall say what
/// came of it. With the outcome comes the provider's id of the job, if it got one.
pub(super) async fn drive<T: Transport>(
    adapter: &dyn Adapter,
    site: &Site,
    brief: &Brief,
    wire: &T,
    bounds: Bounds<'_>,
) -> (Result<Driven, Fault>, Option<String>) {
    if bounds.hung_up.is_cancelled() {
        let fault = Fault::new(FaultKind::Cancelled, "the caller hung up before the provider was asked");
        return (Err(fault), None);
    }
    let driver =
        Driver { adapter, site, wire, reads: READ_TRIES, first_byte: bounds.first_byte, partials: bounds.partials };
    let mut job = None;
    let driven = driver.run(brief, bounds, &mut job).await;
    (driven, job)
}

impl<T: Transport> Driver<'_, T> {
    async fn run(&self, brief: &Brief, bounds: Bounds<'_>, job: &mut Option<String>) -> Result<Driven, Fault> {
        let deadline = bounds.deadline;
        let started = Instant::now();
        let mut step = self.open(brief)?;
        loop {
            let (course, pause) = match step {
                Step::Done(driven) => return Ok(driven),
                Step::Failed(fault) => return Err(fault),
                Step::On(course, pause) => (course, pause),
            };
            job.clone_from(&course.job);
            let until = Instant::now() + pause.after(started.elapsed());
            if pause == Pause::Poll && until >= deadline {
                return Err(self.give_up(&course.call).await);
            }
            let rest = sleep_until(until.min(deadline));
            if pause != Pause::Poll || self.adapter.cancel(&course.call, self.site).is_none() {
                rest.await;
            } else if bounds.hung_up.run_until_cancelled(rest).await.is_none() {
                self.stop(&course.call).await;
                let fault = Fault::new(FaultKind::Cancelled, "the caller hung up, and the job was stopped");
                return Err(fault.accepted(Accepted::Maybe));
            }
            step = self.step(course, deadline).await;
        }
    }
}

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
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use crate::job::Mode;
    use crate::providers::find;
    use serde_json::{Map, Value, json};
    use std::collections::VecDeque;
    use std::sync::Mutex;

    /// Answers from a list; the last answer stays.
    struct Script {
        replies: Mutex<VecDeque<Result<Reply, Fault>>>,
        asked: Mutex<Vec<String>>,
        hang_up: Option<Duration>,
    }

    impl Script {
        fn new(replies: Vec<Result<Reply, Fault>>) -> Self {
            Self { replies: Mutex::new(replies.into()), asked: Mutex::new(Vec::new()), hang_up: None }
        }

        fn asked(&self) -> Vec<String> {
            self.asked.lock().unwrap().clone()
        }
    }

    impl Transport for Script {
        async fn send(&self, call: &Call, _until: Until, _watch: &mut Watch<'_>) -> Result<Reply, Fault> {
            self.asked.lock().unwrap().push(format!("{} {}", call.verb.as_str(), call.url));
            let mut replies = self.replies.lock().unwrap();
            if replies.len() > 1 { replies.pop_front().unwrap() } else { replies[0].clone() }
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "it stands in a list of outcomes")]
    fn reply(status: u16, body: &Value) -> Result<Reply, Fault> {
        Ok(Reply::new(status, Vec::new(), Bytes::from(body.to_string()), Timestamp::from_millis(0)))
    }

    fn ticket() -> Result<Reply, Fault> {
        reply(
            200,
            &json!({"status_url": "https://q/status", "response_url": "https://q/result", "cancel_url": "https://q/cancel"}),
        )
    }

    async fn run(script: &Script, seconds: u64) -> Result<Driven, Fault> {
        run_at("fal", Mode::TextToImage, script, seconds).await
    }

    async fn run_at(provider: &str, mode: Mode, script: &Script, seconds: u64) -> Result<Driven, Fault> {
        let brief = Brief {
            id: "6f1c1f0e-8f1d-4b52-9c37-0d1d3c1f7a11".to_owned(),
            model: "m".into(),
            mode,
            n: 1,
            format: None,
            input: Map::new(),
            images: Vec::new(),
            mask: None,
        };
        let site = Site { base_url: "https://q".into() };
        let deadline = Instant::now() + Duration::from_secs(seconds);
        let hung_up = CancellationToken::new();
        let later = hung_up.clone();
        if let Some(after) = script.hang_up {
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                later.cancel();
            });
        }
        let bounds = Bounds { first_byte: Duration::from_secs(seconds), deadline, hung_up: &hung_up, partials: None };
        drive(find(provider).unwrap(), &site, &brief, script, bounds).await.0
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_whose_caller_hung_up_is_stopped_and_may_be_billed() {
        let mut script = Script::new(vec![ticket(), reply(202, &json!({"status": "IN_PROGRESS"}))]);
        script.hang_up = Some(Duration::from_secs(5));
        let started = Instant::now();
        let fault = run(&script, 300).await.unwrap_err();
        assert_eq!((fault.kind, fault.accepted), (FaultKind::Cancelled, Accepted::Maybe));
        assert_eq!(started.elapsed().as_secs(), 5, "at once");
        assert_eq!(script.asked().last().unwrap(), "PUT https://q/cancel");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_ticket_is_found_where_the_id_is_ours() {
        let broke = || Err(Fault::new(FaultKind::Unavailable, "the connection broke").accepted(Accepted::Maybe));
        let done = json!({"data": [{"status": "success", "videoURL": "https://vm.runware.ai/a.mp4", "cost": 0.8}]});
        let script = Script::new(vec![
            broke(),
            reply(200, &json!({"data": []})),
            reply(200, &json!({"data": [{"status": "processing"}]})),
            reply(200, &done),
        ]);
        let driven = run_at("runware", Mode::TextToVideo, &script, 300).await.unwrap();
        assert_eq!((driven.outputs.len(), script.asked().len()), (1, 4));
        let taken = |status: &str| {
            reply(
                200,
                &json!({"code": 0, "data": {"task_id": "t", "task_status": status,
            "task_result": {"videos": [{"url": "https://cdn.klingai.com/a.mp4"}]}}}),
            )
        };
        let script = Script::new(vec![broke(), taken("processing"), taken("succeed")]);
        assert_eq!(run_at("kling", Mode::TextToVideo, &script, 300).await.unwrap().outputs.len(), 1);
        let order = "GET https://q/v1/videos/text2video/6f1c1f0e-8f1d-4b52-9c37-0d1d3c1f7a11";
        assert_eq!(script.asked()[1..], [order, order]);
        // What it does not know may still be on its way.
        let unknown = json!({"errors": [{"code": "taskNotFound", "message": "?"}]});
        let script = Script::new(vec![broke(), reply(404, &unknown)]);
        let fault = run_at("runware", Mode::TextToVideo, &script, 300).await.unwrap_err();
        assert_eq!((fault.kind, fault.accepted), (FaultKind::Unavailable, Accepted::Maybe));
        assert_eq!(script.asked().len(), 2);
        // Pictures come with the answer: there is nothing to look up.
        let script = Script::new(vec![broke()]);
        run_at("runware", Mode::TextToImage, &script, 300).await.unwrap_err();
        assert_eq!(script.asked().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn submits_once_polls_and_fetches() {
        let script = Script::new(vec![
            ticket(),
            reply(202, &json!({"status": "IN_QUEUE"})),
            Err(Fault::new(FaultKind::Unavailable, "connection broke")),
            reply(200, &json!({"status": "COMPLETED"})),
            reply(200, &json!({"images": [{"url": "https://fal.media/a.png"}]})),
        ]);
        assert_eq!(run(&script, 300).await.unwrap().outputs.len(), 1);
        let asked = script.asked();
        assert_eq!(asked.iter().filter(|line| line.starts_with("POST")).count(), 1);
        assert_eq!(asked.last().unwrap(), "GET https://q/result");
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_that_never_ends_is_cancelled_and_may_be_billed() {
        let script = Script::new(vec![ticket(), reply(202, &json!({"status": "IN_PROGRESS"}))]);
        let fault = run(&script, 300).await.unwrap_err();
        assert_eq!((fault.kind, fault.accepted), (FaultKind::Timeout, Accepted::Maybe));
        let asked = script.asked();
        assert_eq!(asked.last().unwrap(), "PUT https://q/cancel");
        assert!(asked.len() < 150, "{} polls in five minutes", asked.len());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_submit_is_never_repeated() {
        let fault = Fault::new(FaultKind::Unavailable, "reset").accepted(Accepted::Maybe);
        let script = Script::new(vec![Err(fault.clone())]);
        assert_eq!(run(&script, 300).await.unwrap_err(), fault);
        assert_eq!(script.asked().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_job_is_final_at_once() {
        let script = Script::new(vec![
            ticket(),
            reply(200, &json!({"status": "COMPLETED"})),
            reply(500, &json!({"detail": "boom", "error_type": "internal_error"})),
        ]);
        assert_eq!(run(&script, 300).await.unwrap_err().kind, FaultKind::Unavailable);
        assert_eq!(script.asked().len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn lost_polls_leave_the_bill_open() {
        let script = Script::new(vec![ticket(), Err(Fault::new(FaultKind::Unavailable, "connection broke"))]);
        let fault = run(&script, 300).await.unwrap_err();
        assert_eq!((fault.kind, fault.accepted), (FaultKind::Unavailable, Accepted::Maybe));
    }
}
