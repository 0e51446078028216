//! Providers with a queue: a job is taken, waits, runs, and ends in files or not at all. What all of them share is
//! here: which rule acts, what is written in the book, how far a job is. How it is said is each simulator's own.
//!
//! The first half of a job's polls finds it waiting, the second half running.

use super::book::{Entry, Operation};
use super::clip::clip;
use super::easel::Motif;
use super::mischief;
use super::sale::{Sale, Why, turn_away};
use super::shelf::Shelf;
use super::steering::Fault;
use super::world::{World, today};
use crate::base::{Timestamp, Usd};
use crate::catalog::Route;
use crate::job::Mode;
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What becomes of a job. It is settled when the job is taken, and told when it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its files.
    Made,
    /// Refused by moderation.
    Refused,
    /// The model fell over.
    Failed,
    /// Given up in the queue.
    Cancelled,
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nobody works on it.
    Queued,
    /// It is being worked on.
    Running,
    /// Finished, one way or the other.
    Done,
}

/// What a job makes.
#[derive(Debug, Clone)]
pub(super) enum Work {
    /// Pictures.
    Pictures(Vec<Motif>),
    /// A video of so many seconds.
    Video(u32),
}

/// One job.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) id: String,
    /// The caller's own id of it, where the provider takes one.
    pub(super) order: Option<String>,
    pub(super) route: Arc<Route>,
    pub(super) work: Work,
    pub(super) fate: Fate,
    /// What is taken for it; only what succeeds is billed.
    pub(super) billed: Usd,
    /// When it was taken.
    pub(super) created: Timestamp,
    polls: u32,
    polled: u32,
    latency: Duration,
    born: Instant,
}

impl Job {
    /// A job that is to be taken, at that price if it succeeds.
    pub(super) fn new(id: String, route: Arc<Route>, work: Work, price: Usd) -> Self {
        Self {
            id,
            order: None,
            route,
            work,
            fate: Fate::Made,
            billed: price,
            created: Timestamp::now(),
            polls: 0,
            polled: 0,
            latency: Duration::ZERO,
            born: Instant::now(),
        }
    }

    /// Where it is.
    pub(super) fn phase(&self) -> Phase {
        let elapsed = self.born.elapsed();
        let polled = |beyond: u32| self.polls == 0 || self.polled > beyond;
        if self.fate == Fate::Cancelled || (polled(self.polls) && elapsed >= self.latency) {
            Phase::Done
        } else if polled(self.polls.div_ceil(2)) && elapsed * 4 >= self.latency {
            Phase::Running
        } else {
            Phase::Queued
        }
    }

    /// The names of its files, first to last.
    pub(super) fn files(&self) -> Vec<String> {
        match &self.work {
            Work::Video(_) => vec![format!("{}.mp4", self.id)],
            Work::Pictures(motifs) => {
                let name = |motif: &Motif| format!("{}_{}.{}", self.id, motif.index, motif.format.extension());
                motifs.iter().map(name).collect()
            }
        }
    }
}

/// The queue of one provider.
pub(super) struct Queue {
    pub(super) world: Arc<World>,
    provider: &'static str,
    jobs: Shelf<Job>,
}

impl Queue {
    pub(super) fn new(world: Arc<World>, provider: &'static str) -> Self {
        Self { world, provider, jobs: Shelf::default() }
    }

    /// The route of a model for that mode, as long as the provider serves it. One id may stand in several rows.
    pub(super) fn route(&self, upstream: &str, mode: Mode) -> Option<Arc<Route>> {
        let today = today();
        let mut routes = self.world.catalog.routes_of(self.provider);
        let fits = |route: &&Arc<Route>| route.upstream == upstream && route.modes.contains(&mode);
        routes.find(|route| fits(route) && !route.retired(&today)).map(Arc::clone)
    }

    /// Takes a job, or gives the answer that comes instead. `refuse` says in the provider's words why nothing is made,
    /// or `None` when the provider takes the job all the same and tells it at the end.
    pub(super) async fn submit(
        &self,
        mut job: Job,
        prompt: &str,
        refuse: impl Fn(Why) -> Option<Response>,
    ) -> Result<Job, Response> {
        let sale = Sale::of_job(&self.world, self.provider, &job.route);
        let why = sale.why(prompt);
        let refusal = why.and_then(refuse);
        job.fate = match why {
            Some(Why::Refused) => Fate::Refused,
            Some(Why::Failed) => Fate::Failed,
            _ => Fate::Made,
        };
        if job.fate != Fate::Made {
            job.billed = Usd::ZERO;
        }
        (job.polls, job.latency) = sale.pace();
        if sale.take(refusal.as_ref(), &job.id, job.billed) {
            self.jobs.add(job.id.clone(), job.clone());
        }
        sale.instead(refusal).await.map_or(Ok(job), Err)
    }

    /// Writes a creating call down that was not admitted.
    pub(super) fn turn_away(&self, refusal: Response) -> Response {
        turn_away(&self.world, self.provider, None, refusal)
    }

    /// Somebody asks after a job by either of its ids: it moves one step. With it comes the fault that spoils the result, when it is done.
    pub(super) fn poll(&self, id: &str) -> Option<(Job, Option<Fault>)> {
        let ordered = |job: &Job| job.order.as_deref() == Some(id);
        let named = self.jobs.all().into_iter().find(ordered).map(|job| job.id);
        let id = named.as_deref().unwrap_or(id);
        let job = self.jobs.change(id, |job| {
            job.polled = job.polled.saturating_add(1);
            job.clone()
        });
        let entry = Entry::new(self.provider, Operation::Poll, if job.is_some() { 200 } else { 404 }).job(id);
        let Some(job) = job else {
            self.world.book.write(entry);
            return None;
        };
        self.world.book.write(entry.model(&job.route.upstream));
        let made = job.phase() == Phase::Done && job.fate == Fate::Made;
        let rule =
            self.world.rules.pick(self.provider, &job.route, |fault| made && fault.is_some_and(Fault::at_result));
        Some((job, rule.and_then(|rule| rule.fault)))
    }

    /// A finished job, asked for by a call of its own that describes its result.
    pub(super) fn look(&self, id: &str) -> Option<Job> {
        let job = self.find(id);
        let entry = Entry::new(self.provider, Operation::Fetch, if job.is_some() { 200 } else { 404 });
        self.world.book.write(entry.job(id));
        job
    }

    /// A job that was made and is finished.
    fn find(&self, id: &str) -> Option<Job> {
        self.jobs.find(id).filter(|job| job.fate == Fate::Made && job.phase() == Phase::Done)
    }

    /// Gives a job up when it still waits, and takes nothing for it; `running`: also when it runs. Says where it was.
    pub(super) fn cancel(&self, id: &str, running: bool) -> Option<Phase> {
        let cancelled = self.jobs.change(id, |job| {
            let phase = job.phase();
            let stopped = phase == Phase::Queued || (running && phase == Phase::Running);
            if stopped {
                job.fate = Fate::Cancelled;
            }
            (phase, if stopped { std::mem::take(&mut job.billed) } else { Usd::ZERO })
        });
        let (phase, refund) = cancelled.map_or((None, Usd::ZERO), |(phase, refund)| (Some(phase), refund));
        let entry = Entry::new(self.provider, Operation::Cancel, if phase.is_some() { 200 } else { 404 }).job(id);
        self.world.book.write(entry.billed(Usd::from_micros(-refund.micros())));
        phase
    }

    /// A result file, for anybody who has its link.
    pub(super) async fn file(&self, name: &str) -> Response {
        let id = name.split(['_', '.']).next().unwrap_or_default();
        let found = self.find(id).and_then(|job| Some((job.files().iter().position(|known| known == name)?, job)));
        let Some((at, job)) = found else {
            self.world.book.write(Entry::new(self.provider, Operation::File, 404));
            return StatusCode::NOT_FOUND.into_response();
        };
        let rule = self.world.rules.pick(self.provider, &job.route, |fault| fault.is_some_and(Fault::at_file));
        let fault = rule.and_then(|rule| rule.fault);
        self.world.book.write(Entry::new(self.provider, Operation::File, 200).model(&job.route.upstream).job(id));
        let (mime, file) = match &job.work {
            Work::Video(seconds) => ("video/mp4", Some(clip(seconds.saturating_mul(1_000)))),
            Work::Pictures(motifs) => match motifs.get(at) {
                Some(motif) => (motif.format.mime(), self.world.easel.draw(&spoil(motif.clone(), fault)).await),
                None => ("", None),
            },
        };
        match (file, fault) {
            (None, _) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            (Some(file), Some(Fault::Truncate)) => mischief::truncate(mime, &file),
            (Some(file), _) => ([(header::CONTENT_TYPE, mime)], Body::from(file)).into_response(),
        }
    }
}

fn spoil(motif: Motif, fault: Option<Fault>) -> Motif {
    match fault {
        Some(Fault::WrongType) => motif.wrong_type(),
        Some(Fault::WrongSize) => motif.wrong_size(),
        _ => motif,
    }
}
