//! The end of a stored job: completed, failed, cancelled or out of time. Written to the request log first, then to the job.

use super::context::WorkerContext;
use super::leased_row::{ActiveJob, JobEnd, LeasedRow};
use super::state::JobView;
use super::webhooks::event_of;
use crate::base::Timestamp;
use crate::error::{Error, ErrorKind};
use crate::job::ResponseForm;
use crate::pipeline::engine::{Change, CostSummary, Interrupt, OutputFile, Persistence, Run, Stage};
use crate::pipeline::ledger::{Closing, Timing};
use crate::pipeline::retention::Response;
use crate::store::{JobStatus, Status};
use serde_json::json;

pub(super) enum JobOutcome {
    Completed,
    Failed(Error),
    Cancelled,
}

impl WorkerContext {
    /// The owner cancelled the job, or its time is up: what runs upstream is cancelled, and may be billed all the same.
    pub(super) async fn wind_up(&self, run: &Run<'_, LeasedRow<'_>>, job: &mut ActiveJob) -> Result<(), Interrupt> {
        let engine = &self.jobs.gateway.engine;
        for index in 0..job.state.submissions.len() {
            match job.state.submissions[index].stage {
                Stage::Over => {}
                Stage::Ready => job.state.submissions[index].stage = Stage::Over,
                Stage::Submitting | Stage::Running(_) => {
                    let fault = engine.cancel(&job.state.submissions[index]).await;
                    engine.abandon(run, &mut job.state, index, fault).await?;
                }
            }
        }
        job.state.collect();
        run.persistence.save(&job.state, Change::Progress).await?;
        let complete = job.state.outputs.len() >= run.persistence.work().await?.job.n as usize;
        let outcome = match (complete, job.cancel) {
            (true, _) => JobOutcome::Completed,
            (false, true) => JobOutcome::Cancelled,
            (false, false) => {
                let late = "The providers did not finish this in time.";
                JobOutcome::Failed(Error::new(ErrorKind::Timeout, late))
            }
        };
        self.end(job, run.persistence, outcome).await
    }

    /// Ends a job: the final log row, then its own, and the webhook with it. A process that dies between the two leaves a
    /// job that is still open, and another one writes the same row again.
    pub(super) async fn end(
        &self,
        job: &mut ActiveJob,
        row: &LeasedRow<'_>,
        outcome: JobOutcome,
    ) -> Result<(), Interrupt> {
        let loaded = row.load().await?;
        let now = Timestamp::now();
        let (status, row_status) = match &outcome {
            JobOutcome::Completed => (JobStatus::Completed, Status::Completed),
            JobOutcome::Failed(error) if matches!(error.kind, ErrorKind::InvalidRequest | ErrorKind::ContentPolicy) => {
                (JobStatus::Failed, Status::Rejected)
            }
            JobOutcome::Failed(_) => (JobStatus::Failed, Status::UpstreamFailure),
            JobOutcome::Cancelled => (JobStatus::Cancelled, Status::Cancelled),
        };
        let error = match outcome {
            JobOutcome::Completed => None,
            JobOutcome::Failed(error) => Some((error.kind.code().to_owned(), error.message)),
            JobOutcome::Cancelled => Some(("CANCELLED".to_owned(), "This job was cancelled by its owner.".to_owned())),
        };
        let view = final_view(loaded.view.clone(), job, &loaded.request.origin, error);
        let gateway = &self.jobs.gateway;
        let unavailable = |_| Interrupt::StorageUnavailable;
        match gateway.ledger.resume(&job.id).await.map_err(unavailable)? {
            Some(record) => {
                let first = job.state.outputs.first();
                let end = Closing {
                    served: job.state.served.clone(),
                    size: first.and_then(|file| file.size).map(|size| size.to_string()),
                    format: first.and_then(|file| file.content_type.split('/').nth(1)).map(str::to_owned),
                    count: view.outputs.len(),
                    links: view.outputs.iter().map(|(link, _)| link.clone()).collect(),
                    adjustments: job.state.adjustments.clone(),
                    error: view.error.clone(),
                    ..Closing::new(row_status, job.state.attempts.clone(), Timing::of(&job.state, job.created_at, now))
                };
                gateway.ledger.close(record, end).await.map_err(unavailable)?;
            }
            None => tracing::error!(job.id = %job.id, "a job has no row in the request log"),
        }
        let asked = gateway.retention.note(&loaded.request.job, &job.id, &loaded.row.account_id);
        gateway.retention.keep(asked, response(&view)).await;
        let expires = job.state.outputs.first().map(|_| now.plus(gateway.storage.lifetime()));
        let url = loaded.request.webhook_url.as_deref();
        let webhook = url.map(|url| event_of(&loaded.row, status, &view, url, now));
        let end = JobEnd { at: now, expires, webhook };
        self.save(&job.id, &job.state, status, Some(&view), Some(end)).await?;
        for file in loaded.request.inputs.iter().chain(&loaded.request.mask) {
            if let Err(error) = gateway.storage.delete(&file.name).await {
                tracing::debug!(%error, "an input is left to the sweep");
            }
        }
        tracing::info!(job.id = %job.id, status = status.as_str(), "job ended");
        Ok(())
    }
}

/// What the API returns of a job that is over.
fn final_view(mut view: JobView, job: &ActiveJob, origin: &str, error: Option<(String, String)>) -> JobView {
    let state = &job.state;
    let costs = CostSummary::of(&state.attempts);
    view.cost_uncertain = costs.uncertain;
    view.cost = costs.cost;
    view.cost_source = costs.source;
    view.cost_note = costs.note;
    view.attempts.clone_from(&state.attempts);
    let link = |file: &OutputFile| (format!("{origin}/media/{}", file.name), file.clone());
    view.outputs = state.outputs.iter().map(link).collect();
    if let Some((provider, executed)) = &state.served {
        view.provider.clone_from(provider);
        view.executed_model.clone_from(executed);
        view.adjustments.clone_from(&state.adjustments);
    }
    if let Some(file) = state.outputs.first() {
        view.size = file.size.unwrap_or(view.size);
        let seconds = |millis: u64| u32::try_from((millis + 500) / 1000).unwrap_or(u32::MAX);
        view.seconds = file.millis.map_or(view.seconds, seconds);
    }
    view.error = error;
    view
}

/// What is kept of the answer, where payloads are kept. Files are listed, so that a purge deletes them.
fn response(view: &JobView) -> Response {
    let media = view.outputs.iter().map(|(_, file)| file.name.clone()).collect();
    let shown = match &view.error {
        Some((code, message)) => json!({"error": {"code": code, "message": message}}),
        None => {
            let output = |(link, file): &(String, OutputFile)| match view.form {
                ResponseForm::Url => json!({"url": link, "revised_prompt": file.revised_prompt}),
                ResponseForm::B64Json => {
                    let base64_bytes = file.size_bytes.div_ceil(3) * 4;
                    json!({"b64_json_bytes": base64_bytes, "revised_prompt": file.revised_prompt})
                }
            };
            view.outputs.iter().map(output).collect()
        }
    };
    Response { shown, media }
}
