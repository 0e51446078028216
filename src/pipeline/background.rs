//! Takes jobs that outlive their request: videos, and images asked for in the background. When the caller has its
//! answer, the row of the log and the job are durable, and any replica can finish it.

use super::fit::Adjustment;
use super::gateway::Gateway;
use super::ledger::Asker;
use super::papers::{KeptInput, Request, State, View};
use super::plan::Plan;
use crate::base::{Timestamp, Usd, id};
use crate::error::Error;
use crate::job::{Input, Job};
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

/// How a caller wants a job to be kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Terms {
    /// Who is told of its end.
    pub webhook_url: Option<String>,
    /// The caller's own notes.
    pub metadata: Option<Value>,
    /// How long files should be kept, in words of which only the name is known. The operator's setting decides.
    pub media_retention: Option<Value>,
    /// The video of ours that it is made from: it is a remix, an edit or an extension of that.
    pub remixed_from: Option<String>,
}

impl Terms {
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

/// The way from the API to this process's worker.
#[derive(Clone)]
pub struct Jobs {
    pub(super) store: Store,
    pub(super) settings: JobSettings,
    /// This process, as leases name it. Another one after each start.
    pub(super) owner: String,
    pub(super) arrivals: mpsc::UnboundedSender<LeasedJob>,
    pub(super) cancels: mpsc::UnboundedSender<String>,
    /// Whether callers' webhooks may lead anywhere; see `[webhooks]`.
    pub(super) free_webhooks: bool,
}

/// What the worker takes from the other end.
pub struct Arrivals {
    pub(super) jobs: mpsc::UnboundedReceiver<LeasedJob>,
    pub(super) cancels: mpsc::UnboundedReceiver<String>,
}

impl Jobs {
    /// On that store, with the end for the worker.
    pub fn new(store: Store, settings: JobSettings, free_webhooks: bool) -> (Self, Arrivals) {
        let (arrivals, jobs) = mpsc::unbounded_channel();
        let (cancels, stopped) = mpsc::unbounded_channel();
        let owner = id::fresh(Timestamp::now());
        (Self { store, settings, owner, arrivals, cancels, free_webhooks }, Arrivals { jobs, cancels: stopped })
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
}

impl Gateway {
    /// Takes a job. The answer is its row.
    pub async fn background(&self, job: Job, asker: Asker, terms: Terms) -> Result<JobRow, Error> {
        if let Some(url) = &terms.webhook_url
            && let Err(error) = self.jobs.check_webhook(url)
        {
            return Err(self.ledger.reject(&asker, &job.model, &error).await);
        }
        let (plan, record) = self.admit(&job, &asker).await?;
        // What it would cost as planned, as a dry run says; the row reserves what failover may lead to.
        let estimate = plan.first().estimate(&job, job.n).amount;
        let row = match self.store_job(&job, &plan, &asker, &terms, estimate).await {
            Ok(row) => row,
            Err(error) => {
                // Whether it was stored may be unknown. Then whoever finds it stops it before anything is bought.
                let _ = self.jobs.store.jobs().request_cancel(&asker.request_id, None).await;
                self.ledger.withdraw(record).await;
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
        let _ = self.jobs.arrivals.send(leased);
        Ok(row)
    }

    async fn store_job(
        &self,
        job: &Job,
        plan: &Plan,
        asker: &Asker,
        terms: &Terms,
        estimate: Option<Usd>,
    ) -> Result<JobRow, Error> {
        let state =
            State { adjustments: terms.adjustment(self.storage.lifetime()).into_iter().collect(), ..State::default() };
        let mut inputs = Vec::with_capacity(job.images.len());
        for input in &job.images {
            inputs.push(self.keep_input(input).await?);
        }
        let mask = match &job.mask {
            Some(mask) => Some(self.keep_input(mask).await?),
            None => None,
        };
        let routes = plan.candidates.iter().map(|one| (one.route.provider.clone(), one.route.upstream.clone()));
        let request = Request {
            job: job.clone(),
            inputs,
            mask,
            model: plan.model.clone(),
            forced: plan.forced,
            routes: routes.collect(),
            origin: asker.origin.clone(),
            webhook_url: terms.webhook_url.clone(),
        };
        let row = JobRow {
            id: asker.request_id.clone(),
            created_at: asker.created_at,
            account_id: asker.account_id.clone(),
            key_id: asker.key_id.clone(),
            kind: job.mode.modality(),
            status: JobStatus::Queued,
            request: text(&request)?,
            state: text(&state)?,
            view: text(&self.first_view(job, plan, terms, estimate, &state.adjustments))?,
            deadline_at: asker.created_at.plus(Duration::from_secs(self.jobs.settings.deadline_seconds)),
            completed_at: None,
            expires_at: None,
            cancel: false,
        };
        let lease = Timestamp::now().plus(self.jobs.settings.lease());
        self.jobs.store.jobs().insert(&row, &self.jobs.owner, lease).await?;
        Ok(row)
    }

    fn first_view(
        &self,
        job: &Job,
        plan: &Plan,
        terms: &Terms,
        estimate: Option<Usd>,
        adjustments: &[Adjustment],
    ) -> View {
        let first = plan.first();
        View {
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
            metadata: terms.metadata.clone(),
            user: job.user.clone(),
            remixed_from: terms.remixed_from.clone(),
            sandbox: self.sandbox,
        }
    }

    /// Keeps an input beside the media, where every replica finds it and no link leads.
    async fn keep_input(&self, input: &Input) -> Result<KeptInput, Error> {
        let name = self.storage.put_answer(std::slice::from_ref(&input.bytes)).await.map_err(Error::internal)?;
        Ok(KeptInput { name, mime: input.mime.clone(), size: input.size })
    }

    /// Asks to stop a job that runs, or deletes one that is over, with what it made. `false`: there is no such job.
    pub async fn discard(&self, row: &JobRow) -> Result<bool, Error> {
        let store = &self.jobs.store;
        if !row.status.is_final() && store.jobs().request_cancel(&row.id, Some(&row.account_id)).await? {
            // If it is another process's job, that one looks for such wishes every second.
            let _ = self.jobs.cancels.send(row.id.clone());
            return Ok(true);
        }
        let view = read_view(row)?;
        for (_, made) in view.outputs {
            self.storage.delete(&made.name).await.map_err(Error::internal)?;
        }
        Ok(store.jobs().delete(&row.id, Some(&row.account_id)).await?)
    }
}

/// What the API shows of a row.
pub fn read_view(row: &JobRow) -> Result<View, Error> {
    serde_json::from_str(&row.view).map_err(Error::internal)
}

fn text(value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(Error::internal)
}
