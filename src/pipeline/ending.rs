//! How a stored job ends: stopped, out of time, failed or made; in the log first, then for its owner.

use super::Timing;
use super::advance::{Halt, Held, Papers, millis};
use super::drive::Driver;
use super::exchange::failed;
use super::ledger::Settlement;
use super::papers::{Made, Stage};
use super::trail::Bill;
use super::upstream::Wire;
use super::webhooks::event_of;
use super::worker::Desk;
use crate::base::Timestamp;
use crate::error::{Error, ErrorKind};
use crate::fault::{Accepted, Fault, FaultKind};
use crate::store::{JobStatus, Status};
use std::time::Duration;

/// How a job ends.
pub(super) enum End {
    Completed,
    Failed(Error),
    Cancelled,
}

impl Desk {
    /// The owner asked to stop it, or its time is up: what runs upstream is stopped, and may be billed all the same.
    pub(super) async fn wind_up(&self, held: &mut Held) -> Result<(), Halt> {
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
                            Driver { adapter, site, wire: &wire, reads: 1, first_byte: LAST_WORD, partials: None };
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
    pub(super) async fn end(&self, held: &mut Held, papers: &Papers, end: End) -> Result<(), Halt> {
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
}

/// How long a provider may take to hear that a job is given up.
const LAST_WORD: Duration = Duration::from_secs(30);

fn given_up() -> Fault {
    Fault::new(FaultKind::Timeout, "the job was given up").accepted(Accepted::Maybe)
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
