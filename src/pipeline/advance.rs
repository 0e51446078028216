//! Brings one stored job forward until it has to wait. The order in which things are written down is the point of this
//! file: the intent before the submit, the ticket right after it, what was made before it is told.

use super::background::read_view;
use super::drive::Pause;
use super::ending::End;
use super::exchange::{Came, Frame, failed};
use super::failover::split;
use super::fit::{Adjustment, fit};
use super::gateway::{self, Gateway};
use super::papers::{Made, Request, Stage, State, Track, View};
use super::plan::{Candidate, Plan};
use super::trail::Attempt;
use super::worker::Desk;
use crate::base::{Timestamp, id};
use crate::fault::{Accepted, Fault, FaultKind, Verdict};
use crate::job::{Input, Modality};
use crate::store::{JobRow, JobSave, JobStatus, LeasedJob, NewDelivery};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::time::Duration;
use tokio::sync::OnceCell;

/// A job in this process's hands.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) id: String,
    pub(super) created_at: Timestamp,
    pub(super) deadline_at: Timestamp,
    pub(super) state: State,
    /// Whether it is a video.
    pub(super) video: bool,
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
pub(super) struct Papers {
    pub(super) row: JobRow,
    pub(super) request: Request,
    pub(super) view: View,
    /// The planned routes that still are in the catalog, by their place in the plan.
    candidates: Vec<(usize, Candidate)>,
}

impl Held {
    /// Takes a leased job. A state that cannot be read is not worked on.
    pub(super) fn take(leased: LeasedJob, inherited: bool) -> Option<Self> {
        let state = serde_json::from_str(&leased.state)
            .inspect_err(|error| tracing::error!(%error, job.id = %leased.id, "the state of a job cannot be read"))
            .ok()?;
        let video = leased.kind == Modality::Video;
        let LeasedJob { id, created_at, deadline_at, cancel, .. } = leased;
        Some(Self { id, created_at, deadline_at, state, video, cancel, inherited })
    }
}

impl Desk {
    /// Brings a job forward until it has to wait (`false`) or is over (`true`).
    pub(super) async fn work(&self, held: &mut Held) -> Result<bool, Halt> {
        if std::mem::take(&mut held.inherited) {
            self.take_up_interrupted(held).await.inspect_err(|_| held.inherited = true)?;
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

    /// A creating call that a process died over is not made again. Where the provider knows the job, it goes on;
    /// otherwise it counts as possibly bought, and the plan goes on.
    async fn take_up_interrupted(&self, held: &mut Held) -> Result<(), Halt> {
        let unsure = held.state.interrupted();
        if unsure.is_empty() {
            return Ok(());
        }
        let papers = self.papers(&held.id).await?;
        let inputs = self.inputs(&papers.request).await?;
        for index in unsure {
            if let Some(course) = self.look_up(&papers, held.state.position, &held.state.tracks[index], &inputs).await {
                held.state.tracks[index].stage = Stage::Running(course);
                continue;
            }
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
            order: String::new(),
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
        let video = held.video;
        let frame = Frame { id: held.id.clone(), created_at: held.created_at, position: held.state.position, video };
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
            track.order = id::uuid();
            track.started = now;
            // Simulators do not take as long as what they simulate.
            track.hold = if self.gateway.sandbox { now } else { now.plus((typical / 8).min(HOLD)) };
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

    pub(super) async fn save(
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

    pub(super) async fn papers(&self, id: &str) -> Result<Papers, Halt> {
        let read = self.gateway.jobs.store.jobs().find(id, None).await;
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

impl Papers {
    pub(super) fn candidate(&self, position: usize) -> Option<&Candidate> {
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

    pub(super) fn over(
        &mut self,
        index: usize,
        attempt: Attempt,
        outcome: Result<(Vec<Made>, Vec<Adjustment>), Fault>,
    ) {
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

/// Polls begin after an eighth of what is typical for a route, and after this at the latest.
const HOLD: Duration = Duration::from_secs(10);

/// From one moment to a later one; nothing when it is not later.
pub(super) fn span(from: Timestamp, to: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(to.millis().saturating_sub(from.millis())).unwrap_or(0))
}

pub(super) fn millis(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(span(from, to).as_millis()).unwrap_or(u64::MAX)
}
