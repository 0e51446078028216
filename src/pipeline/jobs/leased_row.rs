//! The row of a leased job as the place where the engine's state is kept.

use super::context::WorkerContext;
use super::state::{JobRequest, JobView, read_view};
use super::submit::Jobs;
use crate::base::Timestamp;
use crate::job::Job;
use crate::pipeline::engine::{Change, Interrupt, JobState, Persistence, Work};
use crate::pipeline::planning::{Candidate, Plan, fit};
use crate::store::{JobRow, JobSave, JobStatus, LeasedJob, NewDelivery};
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// A leased job.
#[derive(Debug)]
pub(super) struct ActiveJob {
    pub id: String,
    pub created_at: Timestamp,
    pub deadline_at: Timestamp,
    pub state: JobState,
    /// Whether its owner asked to cancel it.
    pub cancel: bool,
    /// Whether another process, or this one before a failure, left it in an unknown state.
    pub inherited: bool,
}

/// The row of a job with its columns taken apart; read when it is needed, not kept while the job waits.
pub(super) struct LoadedJob {
    pub row: JobRow,
    pub request: JobRequest,
    pub view: JobView,
    pub work: Work,
}

/// The row of a leased job as the place where its state is kept.
pub(super) struct LeasedRow<'a> {
    context: &'a WorkerContext,
    id: &'a str,
    loaded: OnceCell<LoadedJob>,
}

impl ActiveJob {
    /// Takes a leased job. A state that cannot be read is not worked on.
    pub(super) fn take(leased: LeasedJob, inherited: bool) -> Option<Self> {
        let state = serde_json::from_str(&leased.state)
            .inspect_err(|error| tracing::error!(%error, job.id = %leased.id, "the state of a job cannot be read"))
            .ok()?;
        let LeasedJob { id, created_at, deadline_at, cancel, .. } = leased;
        Some(Self { id, created_at, deadline_at, state, cancel, inherited })
    }
}

impl WorkerContext {
    /// Writes a job's state, and with it its view, its end and its webhook.
    pub(super) async fn save(
        &self,
        id: &str,
        state: &JobState,
        status: JobStatus,
        view: Option<&JobView>,
        end: Option<JobEnd>,
    ) -> Result<(), Interrupt> {
        let write = |text: Result<String, serde_json::Error>| {
            text.map_err(|error| {
                tracing::error!(%error, job.id = %id, "the state of a job cannot be serialised");
                Interrupt::StorageUnavailable
            })
        };
        let (ended, webhook) = end.map(|end| ((end.at, end.expires), end.webhook)).unzip();
        let save = JobSave {
            id: id.to_owned(),
            owner: self.jobs.owner.clone(),
            status,
            state: write(serde_json::to_string(state))?,
            view: view.map(|view| write(serde_json::to_string(view))).transpose()?,
            ended,
            webhook: webhook.flatten(),
        };
        self.write(save).await
    }
}

/// The end of a job, as its row holds it.
pub(super) struct JobEnd {
    pub at: Timestamp,
    /// When its files expire, if it has any.
    pub expires: Option<Timestamp>,
    pub webhook: Option<NewDelivery>,
}

impl<'a> LeasedRow<'a> {
    pub(super) const fn new(context: &'a WorkerContext, id: &'a str) -> Self {
        Self { context, id, loaded: OnceCell::const_new() }
    }

    /// The row and what is in it.
    pub(super) async fn load(&self) -> Result<&LoadedJob, Interrupt> {
        self.loaded.get_or_try_init(|| self.context.jobs.load(self.id)).await
    }
}

impl Persistence for LeasedRow<'_> {
    async fn work(&self) -> Result<&Work, Interrupt> {
        Ok(&self.load().await?.work)
    }

    async fn inputs(&self) -> Result<Job, Interrupt> {
        let request = &self.load().await?.request;
        let storage = &self.context.jobs.gateway.storage;
        let mut files = Vec::new();
        for file in request.inputs.iter().chain(&request.mask) {
            let bytes = storage.read_answer(&file.name).await.map_err(|error| {
                tracing::warn!(%error, job.id = %self.id, "an input of a job could not be read; will retry");
                Interrupt::StorageUnavailable
            })?;
            // Without it the provider says what is wrong with the request.
            files.push(file.with(bytes.unwrap_or_default()));
        }
        let mask = request.mask.as_ref().and_then(|_| files.pop());
        Ok(Job { images: files, mask, ..request.job.clone() })
    }

    async fn save(&self, state: &JobState, change: Change<'_>) -> Result<(), Interrupt> {
        let view = match change {
            Change::Progress => None,
            Change::Intent(candidate) => {
                let mut view = self.load().await?.view.clone();
                view.provider.clone_from(&candidate.route.provider);
                view.executed_model = candidate.route.executed_model();
                Some(view)
            }
        };
        self.context.save(self.id, state, JobStatus::InProgress, view.as_ref(), None).await?;
        // A process that was asleep for as long as its lease may find the job in other hands.
        match change {
            Change::Intent(_) if !self.context.lease_holds() => Err(Interrupt::LeaseLost),
            Change::Intent(_) | Change::Progress => Ok(()),
        }
    }
}

impl Jobs {
    async fn load(&self, id: &str) -> Result<LoadedJob, Interrupt> {
        let read = self.store.jobs().find(id, None).await;
        let row = read.map_err(|error| {
            tracing::warn!(%error, job.id = %id, "a job could not be read; will retry");
            Interrupt::StorageUnavailable
        })?;
        let row = row.ok_or(Interrupt::LeaseLost)?;
        let mut request: JobRequest = serde_json::from_str(&row.request).map_err(|error| {
            tracing::error!(%error, job.id = %row.id, "the request of a job cannot be read");
            Interrupt::LeaseLost
        })?;
        request.job.images = request.inputs.iter().map(|file| file.with(Bytes::new())).collect();
        request.job.mask = request.mask.as_ref().map(|file| file.with(Bytes::new()));
        let view = read_view(&row).map_err(|_| Interrupt::LeaseLost)?;
        let candidates = self.candidates(&request);
        let work =
            Work { job: request.job.clone(), key_id: row.key_id.clone(), routes: request.routes.clone(), candidates };
        Ok(LoadedJob { row, request, view, work })
    }

    /// The planned routes that the catalog still has, with the job mapped to each again.
    fn candidates(&self, request: &JobRequest) -> Vec<(usize, Candidate)> {
        let catalog = self.gateway.catalog.get();
        let Ok(named) = catalog.find(&request.model) else { return Vec::new() };
        let routes = catalog.routes(named.model);
        let planned = request.routes.iter().enumerate().filter_map(|(position, (provider, upstream))| {
            let mut alike = routes.iter().filter(|route| route.provider == *provider && route.upstream == *upstream);
            let route = alike.find(|route| route.modes.contains(&request.job.mode))?;
            let fit = fit(&request.job, route).ok()?;
            Some((position, Candidate { route: Arc::clone(route), fit }))
        });
        planned.collect()
    }
}

impl LoadedJob {
    /// The plan, for messages.
    pub(super) fn plan(&self) -> Plan {
        let candidates = self.work.candidates.iter().map(|one| one.1.clone()).collect();
        Plan { model: self.request.model.clone(), forced: self.request.forced, candidates }
    }
}
