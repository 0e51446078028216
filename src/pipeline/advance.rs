//! Brings one stored job forward until it has to wait. The order in which things are written down is the point of this
//! file: the intent before the submit, the ticket right after it, what was made before it is told.

use super::background::read_view;
use super::drive::{Course, Driver, PATIENT_READS, Pause, Step};
use super::failover::{bill_fault, split};
use super::finish::Finisher;
use super::fit::{Adjustment, fit};
use super::gateway::Gateway;
use super::inputs::prepare;
use super::keep::{Unkept, keep};
use super::ledger::Settlement;
use super::papers::{Made, Request, Stage, State, Track, View};
use super::plan::{Candidate, Plan};
use super::trail::{Attempt, AttemptError, Bill};
use super::upstream::Wire;
use super::webhooks::event_of;
use super::worker::Desk;
use super::{Timing, gateway};
use crate::base::{Timestamp, Usd};
use crate::catalog::{self, Charge, Route};
use crate::error::{Error, ErrorKind};
use crate::fault::{Accepted, Fault, FaultKind, Verdict};
use crate::job::{Brief, Input, Job, Usage};
use crate::outbound::Leg;
use crate::store::{JobRow, JobSave, JobStatus, LeasedJob, NewDelivery, Status};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use rust_decimal::Decimal;
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::time::Instant;

/// A job in this process's hands.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) id: String,
    pub(super) created_at: Timestamp,
    pub(super) deadline_at: Timestamp,
    pub(super) state: State,
    /// Whether its owner asked to stop it.
    pub(super) cancel: bool,
    /// What was being done when it was left (by another process, or by this one in trouble) is not known.
    pub(super) inherited: bool,
}

/// Why a job is not brought forward now.
pub(super) enum Halt {
    /// It is another process's, or over.
    Lost,
    /// The database or the media store is away.
    Trouble,
}

/// Everything about a job; read when it is needed, not kept while it waits.
struct Papers {
    row: JobRow,
    request: Request,
    view: View,
    /// The planned routes that still are in the catalog, by their place in the plan.
    candidates: Vec<(usize, Candidate)>,
}

/// How a job ends.
enum End {
    Completed,
    Failed(Error),
    Cancelled,
}

/// What became of one exchange.
enum Came {
    /// It goes on.
    On(Course, Pause),
    /// A rate limit: it is submitted again after a pause.
    Again(Duration, Attempt),
    /// It is over.
    Over(Box<Attempt>, Result<(Vec<Made>, Vec<Adjustment>), Fault>),
}

impl Held {
    /// Takes a leased job. A state that cannot be read is not worked on.
    pub(super) fn take(leased: LeasedJob, inherited: bool) -> Option<Self> {
        let state = serde_json::from_str(&leased.state)
            .inspect_err(|error| tracing::error!(%error, job.id = %leased.id, "the state of a job cannot be read"))
            .ok()?;
        let LeasedJob { id, created_at, deadline_at, cancel, .. } = leased;
        Some(Self { id, created_at, deadline_at, state, cancel, inherited })
    }
}

impl Desk {
    /// Brings a job forward until it has to wait (`false`) or is over (`true`).
    pub(super) async fn work(&self, held: &mut Held) -> Result<bool, Halt> {
        if std::mem::take(&mut held.inherited) {
            self.bury_interrupted(held).await.inspect_err(|_| held.inherited = true)?;
        }
        loop {
            let now = Timestamp::now();
            let over = !held.state.tracks.is_empty() && held.state.due().is_none();
            if !over && (held.cancel || now >= held.deadline_at) {
                return self.wind_up(held).await.map(|()| true);
            }
            match held.state.due() {
                None if over => {
                    if self.settle_round(held).await? {
                        return Ok(true);
                    }
                }
                None => {
                    if self.begin_round(held).await? {
                        return Ok(true);
                    }
                }
                Some(due) if due > now => return Ok(false),
                Some(_) => self.exchange(held).await?,
            }
        }
    }

    /// A creating call that a process died over is not made again: it counts as possibly bought, and the plan goes on.
    async fn bury_interrupted(&self, held: &mut Held) -> Result<(), Halt> {
        let unsure = held.state.interrupted();
        if unsure.is_empty() {
            return Ok(());
        }
        let papers = self.papers(&held.id).await?;
        for index in unsure {
            let text = "the gateway stopped while the provider was being asked, and what became of it is not known";
            let fault = Fault::new(FaultKind::Unavailable, text).accepted(Accepted::Maybe);
            let track = held.state.tracks[index].clone();
            let attempt = failed(&papers, held, &track, &fault);
            held.state.over(index, attempt, Err(fault));
        }
        self.save(held, JobStatus::InProgress, None, None, None).await
    }

    /// Turns to the next route of the plan that can be used. Whether the job is over, because there is none.
    async fn begin_round(&self, held: &mut Held) -> Result<bool, Halt> {
        let papers = self.papers(&held.id).await?;
        let usable = |one: &&(usize, Candidate)| one.0 >= held.state.position && self.gateway.runner.open(&one.1);
        let Some((position, candidate)) = papers.candidates.iter().find(usable) else {
            let gone = || Fault::new(FaultKind::Gone, "no route of the plan is available any more");
            let fault = held.state.last.clone().unwrap_or_else(gone);
            let error = gateway::refusal(&fault, &papers.plan());
            return self.end(held, &papers, End::Failed(error)).await.map(|()| true);
        };
        let more = papers.candidates.iter().any(|one| one.0 > *position);
        let now = Timestamp::now();
        let until = if more { now.plus(self.gateway.runner.patience(candidate).whole) } else { held.deadline_at };
        let made = u32::try_from(held.state.made.len()).unwrap_or(u32::MAX);
        let missing = papers.request.job.n.saturating_sub(made);
        let track = |n| Track {
            provider: candidate.route.provider.clone(),
            credential: String::new(),
            n,
            tries: 0,
            stage: Stage::Ready,
            started: now,
            due: now,
            until: until.min(held.deadline_at),
            hold: now,
        };
        held.state.tracks = split(missing, candidate.route.max_n).into_iter().map(track).collect();
        held.state.position = *position;
        Ok(false)
    }

    /// Every track of the route is over: is the job done, or is there another route?
    async fn settle_round(&self, held: &mut Held) -> Result<bool, Halt> {
        let papers = self.papers(&held.id).await?;
        let wanted = papers.request.job.n as usize;
        if held.state.made.len() >= wanted {
            held.state.made.truncate(wanted);
            return self.end(held, &papers, End::Completed).await.map(|()| true);
        }
        let policy = self.gateway.runner.policy();
        let faults = std::mem::take(&mut held.state.faults);
        let stop = faults.iter().position(|fault| fault.kind.verdict(policy) == Verdict::Stop);
        let short = || Fault::new(FaultKind::Empty, "the provider made less than it was asked for");
        let fault = faults.get(stop.unwrap_or(0)).cloned().unwrap_or_else(short);
        if stop.is_some() {
            let error = gateway::refusal(&fault, &papers.plan());
            held.state.faults = faults;
            return self.end(held, &papers, End::Failed(error)).await.map(|()| true);
        }
        held.state.last = Some(fault);
        held.state.tracks.clear();
        held.state.position += 1;
        Ok(false)
    }

    /// One exchange for each track that is due, side by side. What each comes to is stored before it is acted on.
    async fn exchange(&self, held: &mut Held) -> Result<(), Halt> {
        let papers = OnceCell::new();
        let now = Timestamp::now();
        let due: Vec<usize> = (0..held.state.tracks.len())
            .filter(|index| held.state.tracks[*index].stage != Stage::Over && held.state.tracks[*index].due <= now)
            .collect();
        let fresh: Vec<usize> =
            due.iter().copied().filter(|index| held.state.tracks[*index].stage == Stage::Ready).collect();
        let inputs = if fresh.is_empty() { Vec::new() } else { self.intend(held, &papers, &fresh).await? };
        let tracks: Vec<(usize, Track)> =
            due.into_iter().map(|index| (index, held.state.tracks[index].clone())).collect();
        let frame = Frame { id: held.id.clone(), created_at: held.created_at, position: held.state.position };
        let frame = &frame;
        let (papers, inputs) = (&papers, &inputs);
        let mut running: FuturesUnordered<_> = tracks
            .iter()
            .map(|(index, track)| async move { (*index, self.track(frame, track, papers, inputs).await) })
            .collect();
        // Trouble with one of them cuts no other off: what has been sent is waited for.
        let mut halted = Ok(());
        while let Some((index, came)) = running.next().await {
            let stored = match came.map(|came| held.state.follow(index, came)) {
                Ok(true) => self.save(held, JobStatus::InProgress, None, None, None).await,
                Ok(false) => Ok(()),
                Err(halt) => Err(halt),
            };
            halted = halted.and(stored);
        }
        halted
    }

    /// The intent, durable before anything is sent. From here on, whoever finds the job without a ticket takes the
    /// purchase for possible. Returns the inputs.
    async fn intend(
        &self,
        held: &mut Held,
        cell: &OnceCell<Papers>,
        fresh: &[usize],
    ) -> Result<Vec<(Input, bool)>, Halt> {
        let papers = cell.get_or_try_init(|| self.papers(&held.id)).await?;
        let inputs = self.inputs(&papers.request).await?;
        let candidate = papers.candidate(held.state.position).ok_or(Halt::Trouble)?;
        let now = Timestamp::now();
        held.state.called.get_or_insert(now);
        let typical = Duration::from_secs(u64::from(candidate.route.typical_seconds));
        let mut view = papers.view.clone();
        view.provider.clone_from(&candidate.route.provider);
        view.executed_model = candidate.route.executed_model();
        let before = held.state.tracks.clone();
        for index in fresh {
            let track = &mut held.state.tracks[*index];
            track.stage = Stage::Submitting;
            track.tries += 1;
            track.credential = self.gateway.runner.draw(candidate);
            track.started = now;
            // Simulators do not take as long as what they simulate.
            track.hold = if self.gateway.sandbox { now } else { now.plus(typical / 4) };
        }
        // Without a stored intent nothing is sent, so the tracks are as they were.
        let stored = self.save(held, JobStatus::InProgress, Some(&view), None, None).await;
        stored.inspect_err(|_| held.state.tracks = before)?;
        // A process that was asleep for as long as its lease may find the job in other hands.
        if self.lease_holds() { Ok(inputs) } else { Err(Halt::Lost) }
    }

    /// The input files of a job, and whether each is the mask.
    async fn inputs(&self, request: &Request) -> Result<Vec<(Input, bool)>, Halt> {
        let mut inputs = Vec::new();
        let files = request.inputs.iter().map(|file| (file, false)).chain(request.mask.iter().map(|file| (file, true)));
        for (file, mask) in files {
            let bytes = self.gateway.storage.read_answer(&file.name).await.map_err(|error| {
                tracing::warn!(%error, "the input of a job cannot be read");
                Halt::Trouble
            })?;
            // Without it the provider says what is wrong with the request.
            inputs.push((file.with(bytes.unwrap_or_default()), mask));
        }
        Ok(inputs)
    }

    /// One exchange of one track.
    async fn track(
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
        let first_byte = runner.ticket_patience();
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
                let brief = brief(&papers.request, &candidate.route, track.n, inputs, &runner.finisher).await;
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
                let candidate = papers.candidate(frame.position).ok_or(Halt::Trouble)?;
                runner.heard(&candidate.route, at, None, span(track.started, Timestamp::now()), true);
                let video = papers.request.job.mode.is_video();
                let storage = &self.gateway.storage;
                let ends = Instant::now() + span(now, track.until.max(now.plus(LAST_FETCH)));
                let debts = &candidate.fit.debts;
                let keeping =
                    driven.outputs.into_iter().map(|output| keep(runner, storage, output, debts, video, ends));
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

    /// The owner asked to stop it, or its time is up: what runs upstream is stopped, and may be billed all the same.
    async fn wind_up(&self, held: &mut Held) -> Result<(), Halt> {
        let papers = self.papers(&held.id).await?;
        let runner = &self.gateway.runner;
        for index in 0..held.state.tracks.len() {
            let track = held.state.tracks[index].clone();
            let fault = match &track.stage {
                Stage::Over => continue,
                Stage::Ready => {
                    held.state.tracks[index].stage = Stage::Over;
                    continue;
                }
                Stage::Running(course) => match runner.marked(&track.provider, &track.credential) {
                    Some((upstream, credential)) => {
                        let wire = Wire { client: &runner.finisher.client, to: &credential.destination };
                        let (adapter, site) = (upstream.adapter, &upstream.site);
                        let driver =
                            Driver { adapter, site, wire: &wire, reads: 1, first_byte: LAST_FETCH, partials: None };
                        driver.give_up(&course.call).await
                    }
                    None => given_up(),
                },
                Stage::Submitting => given_up(),
            };
            let attempt = failed(&papers, held, &track, &fault);
            held.state.over(index, attempt, Err(fault));
        }
        self.save(held, JobStatus::InProgress, None, None, None).await?;
        let end = if held.cancel {
            End::Cancelled
        } else {
            End::Failed(Error::new(ErrorKind::Timeout, "The providers did not finish this in time."))
        };
        self.end(held, &papers, end).await
    }

    /// The end: the final row of the log, then the job's own, and the webhook with it. A process that dies between the
    /// two leaves a job that is still open, and another writes the same row again.
    async fn end(&self, held: &mut Held, papers: &Papers, end: End) -> Result<(), Halt> {
        let now = Timestamp::now();
        let bill = Bill::of(&held.state.trail);
        let mut view = papers.view.clone();
        view.cost_uncertain = bill.uncertain;
        view.cost = bill.cost;
        view.cost_source.clone_from(&bill.source);
        view.cost_note.clone_from(&bill.note);
        view.attempts.clone_from(&held.state.trail);
        let origin = &papers.request.origin;
        let link = |made: &Made| (format!("{origin}/media/{}", made.name), made.clone());
        view.outputs = held.state.made.iter().map(link).collect();
        if let Some((provider, executed)) = &held.state.served {
            view.provider.clone_from(provider);
            view.executed_model.clone_from(executed);
            view.adjustments.clone_from(&held.state.adjustments);
        }
        if let Some(made) = held.state.made.first() {
            view.size = made.size.unwrap_or(view.size);
            view.seconds =
                made.millis.map_or(view.seconds, |millis| u32::try_from((millis + 500) / 1000).unwrap_or(u32::MAX));
        }
        let (status, row) = match &end {
            End::Completed => (JobStatus::Completed, Status::Completed),
            End::Failed(error) if matches!(error.kind, ErrorKind::InvalidRequest | ErrorKind::ContentPolicy) => {
                (JobStatus::Failed, Status::Rejected)
            }
            End::Failed(_) => (JobStatus::Failed, Status::UpstreamFailure),
            End::Cancelled => (JobStatus::Cancelled, Status::Cancelled),
        };
        view.error = match end {
            End::Completed => None,
            End::Failed(error) => Some((error.kind.code().to_owned(), error.message)),
            End::Cancelled => Some(("CANCELLED".to_owned(), "This job was cancelled by its owner.".to_owned())),
        };
        let made = held.state.made.first();
        let settlement = Settlement {
            status: row,
            served: held.state.served.clone(),
            size: made.and_then(|made| made.size).map(|size| size.to_string()),
            format: made.and_then(|made| made.content_type.split('/').nth(1)).map(str::to_owned),
            outputs: view.outputs.iter().map(|(link, _)| link.clone()).collect(),
            adjustments: view.adjustments.clone(),
            error: view.error.clone(),
        };
        let record = self.gateway.ledger.resume(&held.id).await.map_err(|_| Halt::Trouble)?;
        match record {
            Some(record) => {
                let timing = timing(held, now);
                let ledger = &self.gateway.ledger;
                ledger.settle(record, &held.state.trail, timing, settlement).await.map_err(|_| Halt::Trouble)?;
            }
            None => tracing::error!(job.id = %held.id, "a job has no row in the request log"),
        }
        let expires = made.is_some().then(|| now.plus(self.gateway.storage.lifetime()));
        let webhook = papers.request.webhook_url.as_deref().map(|url| event_of(&papers.row, status, &view, url, now));
        self.save(held, status, Some(&view), Some((now, expires)), webhook).await?;
        for file in papers.request.inputs.iter().chain(&papers.request.mask) {
            if let Err(error) = self.gateway.storage.delete(&file.name).await {
                tracing::debug!(%error, "an input is left to the sweep");
            }
        }
        tracing::info!(job.id = %held.id, status = status.as_str(), "job ended");
        Ok(())
    }

    async fn save(
        &self,
        held: &Held,
        status: JobStatus,
        view: Option<&View>,
        ended: Option<(Timestamp, Option<Timestamp>)>,
        webhook: Option<NewDelivery>,
    ) -> Result<(), Halt> {
        let write = |text: Result<String, serde_json::Error>| {
            text.map_err(|error| {
                tracing::error!(%error, "the papers of a job cannot be written");
                Halt::Trouble
            })
        };
        let save = JobSave {
            id: held.id.clone(),
            owner: self.gateway.jobs.owner.clone(),
            status,
            state: write(serde_json::to_string(&held.state))?,
            view: view.map(|view| write(serde_json::to_string(view))).transpose()?,
            ended,
            webhook,
        };
        self.write(save).await
    }

    async fn papers(&self, id: &str) -> Result<Papers, Halt> {
        let read = self.gateway.jobs.store.job(id, None).await;
        let row = read.map_err(|error| {
            tracing::warn!(%error, "a job cannot be read");
            Halt::Trouble
        })?;
        let row = row.ok_or(Halt::Lost)?;
        let mut request: Request = serde_json::from_str(&row.request).map_err(|error| {
            tracing::error!(%error, job.id = %row.id, "what a job asks for cannot be read");
            Halt::Lost
        })?;
        request.job.images = request.inputs.iter().map(|file| file.with(Bytes::new())).collect();
        request.job.mask = request.mask.as_ref().map(|file| file.with(Bytes::new()));
        let view = read_view(&row).map_err(|_| Halt::Lost)?;
        let candidates = self.gateway.candidates(&request);
        Ok(Papers { row, request, view, candidates })
    }
}

impl Gateway {
    /// The planned routes that the catalog still has, cut to the job again.
    fn candidates(&self, request: &Request) -> Vec<(usize, Candidate)> {
        let catalog = self.catalog.get();
        let Ok(named) = catalog.find(&request.model) else { return Vec::new() };
        let routes = catalog.routes(named.model);
        let planned = request.routes.iter().enumerate().filter_map(|(position, (provider, upstream))| {
            let mut alike = routes.iter().filter(|route| route.provider == *provider && route.upstream == *upstream);
            let route = alike.find(|route| route.modes.contains(&request.job.mode))?;
            let fit = fit(&request.job, route).ok()?;
            Some((position, Candidate { route: std::sync::Arc::clone(route), fit }))
        });
        planned.collect()
    }
}

/// What the provider is asked, its inputs put in.
async fn brief(
    request: &Request,
    route: &Route,
    n: u32,
    inputs: &[(Input, bool)],
    finisher: &Finisher,
) -> Result<Brief, Fault> {
    let of = |mask: bool| inputs.iter().filter(move |input| input.1 == mask).map(|input| input.0.clone());
    let job = Job { images: of(false).collect(), mask: of(true).next(), ..request.job.clone() };
    let fit = fit(&job, route).map_err(|misfit| Fault::new(FaultKind::BadRequest, misfit.0))?;
    let cut = prepare(&job, route, finisher).await?;
    Ok(fit.brief(cut.job.as_ref().unwrap_or(&job), route, n))
}

/// What a track needs to know of its job.
struct Frame {
    id: String,
    created_at: Timestamp,
    position: usize,
}

impl Papers {
    fn candidate(&self, position: usize) -> Option<&Candidate> {
        self.candidates.iter().find(|one| one.0 == position).map(|one| &one.1)
    }

    /// The plan, for messages.
    fn plan(&self) -> Plan {
        let candidates = self.candidates.iter().map(|one| one.1.clone()).collect();
        Plan { model: self.request.model.clone(), forced: self.request.forced, candidates }
    }
}

impl State {
    /// Takes in what became of a track. Whether that has to be stored: a poll that changes nothing has not.
    fn follow(&mut self, index: usize, came: Came) -> bool {
        let now = Timestamp::now();
        match came {
            Came::On(course, pause) => {
                let track = &mut self.tracks[index];
                track.due = now.plus(pause.after(span(track.started, now)));
                if pause == Pause::Poll {
                    track.due = track.due.max(track.hold.min(track.until));
                }
                track.due = track.due.min(track.until);
                let known = matches!(&track.stage, Stage::Running(before) if before.call == course.call);
                track.stage = Stage::Running(course);
                !known
            }
            Came::Again(wait, attempt) => {
                let track = &mut self.tracks[index];
                track.stage = Stage::Ready;
                track.due = now.plus(wait);
                self.trail.push(Attempt { index: self.trail.len(), ..attempt });
                true
            }
            Came::Over(attempt, outcome) => {
                self.over(index, *attempt, outcome);
                true
            }
        }
    }

    fn over(&mut self, index: usize, attempt: Attempt, outcome: Result<(Vec<Made>, Vec<Adjustment>), Fault>) {
        self.tracks[index].stage = Stage::Over;
        self.provider_done = Some(Timestamp::now());
        match outcome {
            Ok((made, adjustments)) => {
                self.made.extend(made);
                self.served = Some((attempt.provider.clone(), attempt.route.clone()));
                for adjustment in adjustments {
                    if !self.adjustments.contains(&adjustment) {
                        self.adjustments.push(adjustment);
                    }
                }
            }
            Err(fault) => self.faults.push(fault),
        }
        self.trail.push(Attempt { index: self.trail.len(), ..attempt });
    }
}

fn given_up() -> Fault {
    Fault::new(FaultKind::Timeout, "the job was given up").accepted(Accepted::Maybe)
}

/// How long a finished job may still be fetched after its time.
const LAST_FETCH: Duration = Duration::from_mins(2);

/// From one moment to a later one; nothing when it is not later.
fn span(from: Timestamp, to: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(to.millis().saturating_sub(from.millis())).unwrap_or(0))
}

fn millis(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(span(from, to).as_millis()).unwrap_or(u64::MAX)
}

fn timing(held: &Held, now: Timestamp) -> Timing {
    let called = held.state.called.unwrap_or(now);
    let done = held.state.provider_done.unwrap_or(called);
    Timing {
        gateway_ms: millis(held.created_at, called),
        provider_ms: millis(called, done),
        response_ms: millis(done, now),
        total_ms: millis(held.created_at, now),
    }
}

fn over(papers: &Papers, frame: &Frame, track: &Track, fault: Fault) -> Came {
    Came::Over(Box::new(failed_in(papers, frame, track, &fault)), Err(fault))
}

fn failed(papers: &Papers, held: &Held, track: &Track, fault: &Fault) -> Attempt {
    let frame = Frame { id: held.id.clone(), created_at: held.created_at, position: held.state.position };
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
    Attempt {
        index: 0,
        provider: track.provider.clone(),
        route: route.unwrap_or_default(),
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
