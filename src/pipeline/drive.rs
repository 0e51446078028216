//! The one loop that sleeps: an adapter's turns, call by call, until there are outputs, a fault, or no time.

use crate::fault::{Accepted, Fault, FaultKind};
use crate::job::{Brief, Output, Partial, Usage};
use crate::outbound::{Call, Leg, Reply, Watch};
use crate::providers::{Adapter, Event, Site, Turn};
use bytes::Bytes;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Sends a call with its credential; the tests put scripts behind it.
pub(super) trait Transport: Sync {
    /// One exchange, over before `deadline`. `watch` sees the events of an answer that is streamed.
    fn send(
        &self,
        call: &Call,
        deadline: Instant,
        watch: &mut Watch<'_>,
    ) -> impl Future<Output = Result<Reply, Fault>> + Send;
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

/// How polls are spaced: every `SHARE` of the time waited so far, between a floor and a ceiling. A finished job is
/// noticed within 250 ms or 5 % of its duration, whichever is larger.
const FLOOR: Duration = Duration::from_millis(200);
const CEILING: Duration = Duration::from_secs(5);
const SHARE: u32 = 25;
/// A poll or fetch that fails is repeated so many times in a row; it buys nothing.
const READ_TRIES: u32 = 4;

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

/// Drives one job to its end. A creating call is made once; reads are repeated. A job that is given up is cancelled
/// upstream where that can be.
pub(super) async fn drive<T: Transport>(
    adapter: &dyn Adapter,
    site: &Site,
    brief: &Brief,
    wire: &T,
    deadline: Instant,
    partials: Option<&Partials>,
) -> Result<Driven, Fault> {
    let started = Instant::now();
    let mut failures = 0;
    let mut submitted = false;
    let mut turn = adapter.open(brief, site)?;
    loop {
        let call = match turn {
            Turn::Done(outputs, usage) => return Ok(Driven { outputs, usage }),
            Turn::Next(call) => call,
            Turn::Wait(call) => {
                let until = Instant::now() + pause(started.elapsed());
                if until >= deadline {
                    return Err(give_up(adapter, site, &call, wire).await);
                }
                sleep_until(until).await;
                call
            }
        };
        let mut answered = false;
        let mut streamed = Streamed::default();
        let mut watch = |data: Bytes| {
            streamed.begun = true;
            let event = Reply { status: 200, headers: Vec::new(), retry_after: None, body: data };
            streamed.take(adapter.event(&call, &event)?, partials);
            Ok(())
        };
        let sent = wire.send(&call, deadline, &mut watch).await;
        // What is finished was bought: a stream that breaks after its pictures has brought them all the same.
        if !streamed.outputs.is_empty() || sent.as_ref().is_ok_and(Reply::streamed) {
            return Ok(Driven { outputs: streamed.outputs, usage: streamed.usage });
        }
        let outcome = sent.and_then(|reply| {
            answered = reply.ok();
            if answered { adapter.read(&call, &reply, site) } else { Err(adapter.fault(&call, &reply)) }
        });
        turn = match outcome {
            Ok(next) => {
                failures = 0;
                submitted |= call.leg == Leg::Submit;
                next
            }
            Err(fault)
                if may_repeat(&call, &fault, answered) && failures + 1 < READ_TRIES && Instant::now() < deadline =>
            {
                failures += 1;
                let wait = FLOOR * failures;
                sleep_until((Instant::now() + fault.retry_after.unwrap_or(wait).min(CEILING)).min(deadline)).await;
                Turn::Next(call)
            }
            Err(fault) => {
                if fault.kind == FaultKind::Timeout && submitted {
                    return Err(give_up(adapter, site, &call, wire).await);
                }
                return Err(after_submit(fault, submitted || streamed.begun));
            }
        };
    }
}

/// Reads may be repeated when the trouble is on the way. What a provider says in its own words, in an answer or about a
/// result, is the outcome of the job; a poll that is refused merely found it busy.
fn may_repeat(call: &Call, fault: &Fault, answered: bool) -> bool {
    let passing = matches!(fault.kind, FaultKind::Unavailable | FaultKind::RateLimited | FaultKind::Malformed);
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

/// Time is up: stop the job upstream, and say that it may be billed all the same.
async fn give_up<T: Transport>(adapter: &dyn Adapter, site: &Site, call: &Call, wire: &T) -> Fault {
    if let Some(cancel) = adapter.cancel(call, site)
        && let Err(fault) = wire.send(&cancel, Instant::now() + CEILING, &mut |_| Ok(())).await
    {
        tracing::debug!(%fault, "a job could not be cancelled upstream");
    }
    Fault::new(FaultKind::Timeout, "the provider did not finish in time").accepted(Accepted::Maybe)
}

fn pause(waited: Duration) -> Duration {
    (waited / SHARE).clamp(FLOOR, CEILING)
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
    }

    impl Script {
        fn new(replies: Vec<Result<Reply, Fault>>) -> Self {
            Self { replies: Mutex::new(replies.into()), asked: Mutex::new(Vec::new()) }
        }

        fn asked(&self) -> Vec<String> {
            self.asked.lock().unwrap().clone()
        }
    }

    impl Transport for Script {
        async fn send(&self, call: &Call, _deadline: Instant, _watch: &mut Watch<'_>) -> Result<Reply, Fault> {
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
        let brief = Brief {
            id: "6f1c1f0e-8f1d-4b52-9c37-0d1d3c1f7a11".to_owned(),
            model: "m".into(),
            mode: Mode::TextToImage,
            n: 1,
            format: None,
            input: Map::new(),
            images: Vec::new(),
            mask: None,
        };
        let site = Site { base_url: "https://q".into() };
        drive(find("fal").unwrap(), &site, &brief, script, Instant::now() + Duration::from_secs(seconds), None).await
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
