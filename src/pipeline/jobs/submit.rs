//! Submits jobs that outlive their request. When the caller has its answer, the log row and the job are durable, and any
//! replica can finish it.

use super::state::{JobRequest, JobView, StoredInput, read_view};
use crate::base::{Timestamp, Usd, id};
use crate::error::Error;
use crate::job::{Input, Job};
use crate::pipeline::engine::JobState;
use crate::pipeline::gateway::Gateway;
use crate::pipeline::ledger::RequestInfo;
use crate::pipeline::planning::{Adjustment, Candidate, Plan};
use crate::store::{JobRow, JobStatus, LeasedJob, Store};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::mpsc;

/// `[jobs]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobSettings {
    /// Seconds after which a job is given up.
    pub deadline_seconds: u64,
    /// Seconds after which another process takes over the jobs of one that has died.
    pub lease_seconds: u64,
    /// Exchanges with providers at once.
    pub max_concurrent: usize,
    /// Days for which a job that is over can be asked about.
    pub keep_days: u64,
}

impl JobSettings {
    /// How long a lease holds.
    pub(super) const fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_seconds)
    }
}

/// What a caller says about a stored job besides what it makes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobOptions {
    /// Receives a webhook at its end.
    pub webhook_url: Option<String>,
    /// The caller's own notes.
    pub metadata: Option<Value>,
    /// `media_retention` as sent. Its values are not documented, and the operator's setting decides, so it is only echoed as
    /// an adjustment.
    pub media_retention: Option<Value>,
    /// The video of ours that it is made from: it is a remix, an edit or an extension of that.
    pub remixed_from: Option<String>,
}

impl JobOptions {
    /// What of it is not done as asked. No reason to refuse the job.
    fn adjustment(&self, lifetime: Duration) -> Option<Adjustment> {
        self.media_retention.clone().map(|requested| Adjustment {
            param: "media_retention".to_owned(),
            requested,
            used: json!(format!("{} minutes", lifetime.as_secs() / 60)),
            reason: "how long files are kept is a setting of this gateway".to_owned(),
        })
    }
}

/// Takes jobs and hands them to the worker of this process.
#[derive(Clone)]
pub struct Jobs {
    pub(super) gateway: Gateway,
    pub(super) store: Store,
    pub(super) settings: JobSettings,
    /// This process, as leases name it. Another one after each start.
    pub(super) owner: String,
    pub(super) submitted: mpsc::UnboundedSender<LeasedJob>,
    pub(super) cancels: mpsc::UnboundedSender<String>,
    /// Whether callers' webhooks may lead anywhere; see `[webhooks]`.
    pub(super) free_webhooks: bool,
}

/// The worker's end of [`Jobs`].
pub struct JobReceivers {
    pub(super) submitted: mpsc::UnboundedReceiver<LeasedJob>,
    pub(super) cancels: mpsc::UnboundedReceiver<String>,
}

impl Jobs {
    /// Over that gateway and store, with the worker's end.
    pub fn new(gateway: Gateway, store: Store, settings: JobSettings, free_webhooks: bool) -> (Self, JobReceivers) {
        let (submitted, jobs) = mpsc::unbounded_channel();
        let (cancels, cancelled) = mpsc::unbounded_channel();
        let owner = id::fresh(Timestamp::now());
        let receivers = JobReceivers { submitted: jobs, cancels: cancelled };
        (Self { gateway, store, settings, owner, submitted, cancels, free_webhooks }, receivers)
    }

    /// Refuses a webhook address that we would not deliver to.
    pub fn check_webhook(&self, url: &str) -> Result<(), Error> {
        if url.len() > 2_000 {
            return Err(Error::invalid("webhook_url", "'webhook_url' has at most 2000 characters."));
        }
        if self.free_webhooks {
            return Ok(());
        }
        crate::outbound::check_webhook(url).map_err(|blocked| {
            Error::invalid("webhook_url", format!("{blocked}. It should be like https://example.com/hook."))
        })
    }

    /// Takes a job and returns its row.
    pub async fn submit(&self, job: Job, info: RequestInfo, options: JobOptions) -> Result<JobRow, Error> {
        if let Some(url) = &options.webhook_url
            && let Err(error) = self.check_webhook(url)
        {
            return Err(self.gateway.ledger.reject(&info, &job.model, &error).await);
        }
        let (plan, record) = self.gateway.admit(&job, &info).await?;
        // What it would cost as planned, as a dry run says; the row reserves what failover may lead to.
        let estimate = plan.first().estimate(&job, job.n).amount;
        let row = match self.store_job(&job, &plan, &info, &options, estimate).await {
            Ok(row) => row,
            Err(error) => {
                // Whether it was stored may be unknown. Then whoever finds it stops it before anything is bought.
                let _ = self.store.jobs().request_cancel(&info.request_id, None).await;
                self.gateway.ledger.withdraw(record).await;
                return Err(error);
            }
        };
        let leased = LeasedJob {
            id: row.id.clone(),
            kind: row.kind,
            created_at: row.created_at,
            deadline_at: row.deadline_at,
            state: row.state.clone(),
            cancel: false,
        };
        // Without a worker (a stop has begun), the lease runs out and another process begins.
        let _ = self.submitted.send(leased);
        Ok(row)
    }

    async fn store_job(
        &self,
        job: &Job,
        plan: &Plan,
        info: &RequestInfo,
        options: &JobOptions,
        estimate: Option<Usd>,
    ) -> Result<JobRow, Error> {
        let state = JobState {
            adjustments: options.adjustment(self.gateway.storage.lifetime()).into_iter().collect(),
            ..JobState::default()
        };
        let mut inputs = Vec::with_capacity(job.images.len());
        for input in &job.images {
            inputs.push(self.store_input(input).await?);
        }
        let mask = match &job.mask {
            Some(mask) => Some(self.store_input(mask).await?),
            None => None,
        };
        let routes = plan.candidates.iter().map(Candidate::names);
        let request = JobRequest {
            job: job.clone(),
            inputs,
            mask,
            model: plan.model.clone(),
            forced: plan.forced,
            routes: routes.collect(),
            origin: info.origin.clone(),
            webhook_url: options.webhook_url.clone(),
        };
        let row = JobRow {
            id: info.request_id.clone(),
            created_at: info.created_at,
            account_id: info.account_id.clone(),
            key_id: info.key_id.clone(),
            kind: job.mode.modality(),
            status: JobStatus::Queued,
            request: text(&request)?,
            state: text(&state)?,
            view: text(&self.first_view(job, plan, options, estimate, &state.adjustments))?,
            deadline_at: info.created_at.plus(Duration::from_secs(self.settings.deadline_seconds)),
            completed_at: None,
            expires_at: None,
            cancel: false,
        };
        let lease = Timestamp::now().plus(self.settings.lease());
        self.store.jobs().insert(&row, &self.owner, lease).await?;
        Ok(row)
    }

    fn first_view(
        &self,
        job: &Job,
        plan: &Plan,
        options: &JobOptions,
        estimate: Option<Usd>,
        adjustments: &[Adjustment],
    ) -> JobView {
        let first = plan.first();
        JobView {
            prompt: job.prompt.clone(),
            model: plan.model.clone(),
            n: job.n,
            seconds: first.fit.seconds,
            size: first.fit.expect,
            form: job.form,
            provider: first.route.provider.clone(),
            executed_model: first.route.executed_model(),
            cost_estimate: estimate,
            cost: None,
            cost_source: String::new(),
            cost_note: None,
            cost_uncertain: Usd::ZERO,
            attempts: Vec::new(),
            adjustments: adjustments.iter().chain(&first.fit.adjustments).cloned().collect(),
            outputs: Vec::new(),
            error: None,
            metadata: options.metadata.clone(),
            user: job.user.clone(),
            remixed_from: options.remixed_from.clone(),
            sandbox: self.gateway.sandbox,
        }
    }

    /// Stores an input in the media store, where every replica finds it and no link leads.
    async fn store_input(&self, input: &Input) -> Result<StoredInput, Error> {
        let name =
            self.gateway.storage.put_answer(std::slice::from_ref(&input.bytes)).await.map_err(Error::internal)?;
        Ok(StoredInput { name, mime: input.mime.clone(), size: input.size })
    }

    /// Asks to stop a job that runs, or deletes one that is over, with what it made. `false`: there is no such job.
    pub async fn discard(&self, row: &JobRow) -> Result<bool, Error> {
        let store = &self.store;
        if !row.status.is_final() && store.jobs().request_cancel(&row.id, Some(&row.account_id)).await? {
            // If it is another process's job, that one looks for such wishes every second.
            let _ = self.cancels.send(row.id.clone());
            return Ok(true);
        }
        let view = read_view(row)?;
        for (_, file) in view.outputs {
            self.gateway.storage.delete(&file.name).await.map_err(Error::internal)?;
        }
        Ok(store.jobs().delete(&row.id, Some(&row.account_id)).await?)
    }
}

fn text(value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(Error::internal)
}
