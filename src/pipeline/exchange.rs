//! One exchange of one track of a stored job: what is sent, what comes of it, what it costs.

use super::advance::{Halt, Held, Papers, millis, span};
use super::drive::{Course, Driver, PATIENT_READS, Pause, Step};
use super::failover::bill_fault;
use super::finish::Finisher;
use super::fit::{Adjustment, fit};
use super::inputs::prepare;
use super::keep::{Unkept, keep};
use super::papers::{Made, Request, Stage, Track};
use super::plan::Candidate;
use super::trail::{Attempt, AttemptError};
use super::upstream::Wire;
use super::worker::Desk;
use crate::base::{Timestamp, Usd};
use crate::catalog::{self, Charge, Route};
use crate::fault::{Accepted, Fault, FaultKind, Verdict};
use crate::job::{Brief, Input, Job, Usage};
use crate::outbound::Leg;
use rust_decimal::Decimal;
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::time::Instant;

/// What became of one exchange.
pub(super) enum Came {
    /// It goes on.
    On(Course, Pause),
    /// A rate limit: it is submitted again after a pause.
    Again(Duration, Attempt),
    /// It is over.
    Over(Box<Attempt>, Result<(Vec<Made>, Vec<Adjustment>), Fault>),
}

/// What a track needs to know of its job.
pub(super) struct Frame {
    pub(super) id: String,
    pub(super) created_at: Timestamp,
    pub(super) position: usize,
    /// Whether it is a video: then a creating call is answered with a ticket.
    pub(super) video: bool,
}

/// How long a finished job may still be fetched after its time.
const LAST_FETCH: Duration = Duration::from_mins(2);

impl Desk {
    /// One exchange of one track.
    pub(super) async fn track(
        &self,
        frame: &Frame,
        track: &Track,
        cell: &OnceCell<Papers>,
        inputs: &[(Input, bool)],
    ) -> Result<Came, Halt> {
        let papers = || cell.get_or_try_init(|| self.papers(&frame.id));
        let runner = &self.gateway.runner;
        let Some(upstream) = runner.upstreams.get(&track.provider) else {
            let text = format!("'{}' is not configured any more", track.provider);
            let fault = Fault::new(FaultKind::Gone, text).accepted(Accepted::Maybe);
            return Ok(over(papers().await?, frame, track, fault));
        };
        let Some((at, credential)) = upstream.marked(&track.credential) else {
            let fault = Fault::new(FaultKind::Auth, format!("'{}' has no credential any more", track.provider));
            return Ok(over(papers().await?, frame, track, fault.accepted(Accepted::Maybe)));
        };
        let wire = Wire { client: &runner.finisher.client, to: &credential.destination };
        // A provider that answers at once with what it made takes as long as that takes.
        let first_byte = if frame.video { runner.ticket_patience() } else { span(track.started, track.until) };
        let (adapter, site) = (upstream.adapter, &upstream.site);
        let driver = Driver { adapter, site, wire: &wire, reads: PATIENT_READS, first_byte, partials: None };
        let now = Timestamp::now();
        let deadline = Instant::now() + span(now, track.until);
        let (mut step, course) = match &track.stage {
            Stage::Running(course) if now >= track.until => (Step::Failed(driver.give_up(&course.call).await), None),
            Stage::Running(course) => (driver.step(course.clone(), deadline).await, Some(course)),
            _ => {
                let papers = papers().await?;
                let candidate = papers.candidate(frame.position).ok_or(Halt::Trouble)?;
                let brief = brief(&papers.request, &candidate.route, track, inputs, &runner.finisher).await;
                let opened = brief.and_then(|brief| driver.open(&brief));
                (opened.unwrap_or_else(Step::Failed), None)
            }
        };
        // Up to the ticket in one go: what lies before it cannot be taken up by anybody else.
        while let Step::On(course, _) = &step
            && course.call.leg == Leg::Submit
        {
            step = driver.step(course.clone(), deadline).await;
        }
        match step {
            Step::On(course, pause) => Ok(Came::On(course, pause)),
            Step::Failed(fault) => {
                let tries = track.tries.saturating_sub(1) as usize;
                let waits = fault.kind.verdict(runner.policy()) == Verdict::WaitThenRetry;
                let wait = if waits { runner.rate_limit_wait(&fault, tries) } else { None };
                let papers = papers().await?;
                if let Some(candidate) = papers.candidate(frame.position) {
                    runner.heard(&candidate.route, at, Some(&fault), span(track.started, Timestamp::now()), true);
                }
                match wait.filter(|_| course.is_none()) {
                    Some(wait) => Ok(Came::Again(wait, failed_in(papers, frame, track, &fault))),
                    None => Ok(over(papers, frame, track, fault)),
                }
            }
            Step::Done(driven) => {
                let papers = papers().await?;
                let Some(candidate) = papers.candidate(frame.position) else {
                    let fault = Fault::new(FaultKind::Gone, "the route left the catalog while it was running");
                    return Ok(over(papers, frame, track, fault.accepted(Accepted::Yes)));
                };
                runner.heard(&candidate.route, at, None, span(track.started, Timestamp::now()), true);
                let storage = &self.gateway.storage;
                let ends = Instant::now() + span(now, track.until.max(now.plus(LAST_FETCH)));
                let debts = &candidate.fit.debts;
                let keeping =
                    driven.outputs.into_iter().map(|output| keep(runner, storage, output, debts, frame.video, ends));
                let kept = futures::future::join_all(keeping).await;
                let later = kept.iter().any(|one| matches!(one, Err(Unkept::Later(_))));
                if let Some(course) = course.filter(|course| later && course.failures + 1 < PATIENT_READS) {
                    // It was bought and is there; it only did not arrive. The last call is made again.
                    let failures = course.failures + 1;
                    let wait = Duration::from_millis(500).saturating_mul(failures.min(30));
                    return Ok(Came::On(Course { failures, ..course.clone() }, Pause::For(wait)));
                }
                Ok(bill(papers, candidate, frame, track, kept, driven.usage))
            }
        }
    }
}

impl Desk {
    /// The course of a creating call whose answer was lost with the process that made it, when the provider knows the job.
    pub(super) async fn look_up(
        &self,
        papers: &Papers,
        position: usize,
        track: &Track,
        inputs: &[(Input, bool)],
    ) -> Option<Course> {
        // Without an id of ours a provider may answer about somebody else's job.
        if track.order.is_empty() {
            return None;
        }
        let runner = &self.gateway.runner;
        let candidate = papers.candidate(position)?;
        let (upstream, credential) = runner.marked(&track.provider, &track.credential)?;
        let wire = Wire { client: &runner.finisher.client, to: &credential.destination };
        let (adapter, site) = (upstream.adapter, &upstream.site);
        let driver = Driver { adapter, site, wire: &wire, reads: 1, first_byte: Duration::ZERO, partials: None };
        let brief = brief(&papers.request, &candidate.route, track, inputs, &runner.finisher).await.ok()?;
        match driver.open(&brief).ok()? {
            Step::On(course, _) => driver.look_up(&course.call).await,
            Step::Done(_) | Step::Failed(_) => None,
        }
    }
}

/// What the provider is asked, its inputs put in.
async fn brief(
    request: &Request,
    route: &Route,
    track: &Track,
    inputs: &[(Input, bool)],
    finisher: &Finisher,
) -> Result<Brief, Fault> {
    let of = |mask: bool| inputs.iter().filter(move |input| input.1 == mask).map(|input| input.0.clone());
    let job = Job { images: of(false).collect(), mask: of(true).next(), ..request.job.clone() };
    let fit = fit(&job, route).map_err(|misfit| Fault::new(FaultKind::BadRequest, misfit.0))?;
    let cut = prepare(&job, route, finisher).await?;
    let brief = fit.brief(cut.job.as_ref().unwrap_or(&job), route, track.n);
    Ok(Brief { id: track.order.clone(), ..brief })
}

fn over(papers: &Papers, frame: &Frame, track: &Track, fault: Fault) -> Came {
    Came::Over(Box::new(failed_in(papers, frame, track, &fault)), Err(fault))
}

pub(super) fn failed(papers: &Papers, held: &Held, track: &Track, fault: &Fault) -> Attempt {
    let video = papers.request.job.mode.makes_video();
    let frame = Frame { id: held.id.clone(), created_at: held.created_at, position: held.state.position, video };
    failed_in(papers, &frame, track, fault)
}

/// The entry of a creating call that came to nothing, with what it cost or may have cost.
fn failed_in(papers: &Papers, frame: &Frame, track: &Track, fault: &Fault) -> Attempt {
    let note = || Some("the route is no longer in the catalog".to_owned());
    let unknown = || (Charge { note: note(), ..Charge::nothing() }, None);
    let candidate = papers.candidate(frame.position);
    let bill = candidate.map_or_else(unknown, |one| bill_fault(one, &papers.request.job, track.n, fault));
    let attempt = entry(papers, frame, track, bill, Some(fault));
    tracing::warn!(
        job.id = %frame.id, route = %attempt.route, kind = fault.kind.as_str(), status = fault.upstream_status,
        "attempt failed: {fault}"
    );
    attempt
}

fn entry(papers: &Papers, frame: &Frame, track: &Track, bill: (Charge, Option<Usd>), fault: Option<&Fault>) -> Attempt {
    let (charge, uncertain) = bill;
    let route = papers.request.routes.get(frame.position).map(|(provider, upstream)| format!("{provider}/{upstream}"));
    let upstream_id = match &track.stage {
        Stage::Running(course) => course.job.clone(),
        Stage::Ready | Stage::Submitting | Stage::Over => None,
    };
    Attempt {
        index: 0,
        provider: track.provider.clone(),
        route: route.unwrap_or_default(),
        upstream_id,
        status: if fault.is_none() { "completed" } else { "failed" },
        n: track.n,
        started_ms: millis(frame.created_at, track.started),
        duration_ms: millis(track.started, Timestamp::now()),
        cost: charge.amount,
        cost_source: charge.source,
        cost_uncertain: uncertain,
        error: fault.map(AttemptError::from),
        cost_note: charge.note,
    }
}

/// What a call that ran costs, whatever of it could be kept.
fn bill(
    papers: &Papers,
    candidate: &Candidate,
    frame: &Frame,
    track: &Track,
    kept: Vec<Result<(Made, Vec<&'static str>), Unkept>>,
    usage: Usage,
) -> Came {
    if kept.is_empty() {
        let text = "the provider answered without a result";
        return over(papers, frame, track, Fault::new(FaultKind::Empty, text).accepted(Accepted::Maybe));
    }
    let told = |one: &Result<(Made, Vec<&'static str>), Unkept>| {
        one.as_ref().ok().map(|(made, _)| (made.came.or(made.size), made.millis))
    };
    let sizes = kept.iter().map(|one| told(one).and_then(|told| told.0).unwrap_or(candidate.fit.expect)).collect();
    let measured = kept.iter().find_map(|one| told(one)?.1).map(|millis| Decimal::from(millis) / Decimal::from(1000));
    let made = candidate.made(&papers.request.job, sizes, usage);
    let seconds = catalog::Made::seconds(measured, candidate.fit.seconds);
    let charge = candidate.route.price.charge(&catalog::Made { seconds, ..made });
    let mut adjustments = candidate.fit.adjustments.clone();
    let (mut made, mut flaw) = (Vec::new(), None);
    for one in kept {
        match one {
            Ok((one, notes)) => {
                adjustments.extend(one.came.or(one.size).and_then(|size| candidate.fit.size_surprise(size)));
                adjustments.extend(notes.into_iter().map(Adjustment::of_conversion));
                made.push(one);
            }
            Err(unkept) => flaw = Some(unkept.into_fault()),
        }
    }
    match flaw.filter(|_| made.is_empty()).map(|fault| fault.accepted(Accepted::Yes)) {
        Some(fault) => {
            let attempt = entry(papers, frame, track, (charge, None), Some(&fault));
            Came::Over(Box::new(attempt), Err(fault))
        }
        None => Came::Over(Box::new(entry(papers, frame, track, (charge, None), None)), Ok((made, adjustments))),
    }
}
