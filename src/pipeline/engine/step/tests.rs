//! The steps of a job against scripted answers.

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

async fn run(script: &Script, seconds: u64) -> Result<ProviderResult, Fault> {
    run_at("fal", Mode::TextToImage, script, seconds).await
}

async fn run_at(provider: &str, mode: Mode, script: &Script, seconds: u64) -> Result<ProviderResult, Fault> {
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
    let first_byte = Duration::from_secs(seconds);
    let adapter = find(provider).unwrap();
    let driver = Driver { adapter, site: &site, wire: script, reads: READ_TRIES, first_byte, partials: None };
    let started = Instant::now();
    let mut step = driver.open(&brief)?;
    loop {
        let (cursor, delay) = match step {
            Step::Done(result) => return Ok(result),
            Step::Failed(fault) => return Err(fault),
            Step::On(cursor, delay) => (cursor, delay),
        };
        let left = deadline.saturating_duration_since(Instant::now());
        driver.wait(&cursor, delay.after(started.elapsed()).min(left), Some(&hung_up)).await?;
        step = if delay == Delay::Poll && Instant::now() >= deadline {
            Step::Failed(driver.give_up(&cursor.call).await)
        } else {
            driver.step(cursor, deadline).await
        };
    }
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
