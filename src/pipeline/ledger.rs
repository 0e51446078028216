//! The request log: an open row before anything is spent, the final row before the answer ends.

use super::engine::{Attempt, CostSummary, JobState, millis};
use super::planning::{Adjustment, Plan};
use super::routing::Preferences;
use crate::base::{Timestamp, Usd};
use crate::error::Error;
use crate::job::{Job, Modality};
use crate::store::{Record, Status, Store};
use serde::Serialize;
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Who asks, and what for.
#[derive(Debug, Clone)]
pub struct RequestInfo {
    /// The request's id.
    pub request_id: String,
    /// The account that pays.
    pub account_id: String,
    /// The key that asked.
    pub key_id: String,
    /// The path.
    pub endpoint: String,
    /// Where the caller reaches us, for media links: scheme and host.
    pub origin: String,
    /// When it came, by the clock.
    pub created_at: Timestamp,
    /// When it came, for durations.
    pub arrived: Instant,
    /// The caller's grouping id.
    pub session_id: Option<String>,
    /// From `traceparent`.
    pub trace_id: Option<String>,
    /// The caller's end user.
    pub user: Option<String>,
    /// Bytes of the request's body.
    pub request_bytes: usize,
    /// What they want of the routes.
    pub preferences: Preferences,
    /// How long they wait, when they said so.
    pub timeout: Option<Duration>,
    /// Cancelled when they hang up.
    pub hung_up: CancellationToken,
}

/// A row that is open: durable, `processing`, not yet closed.
#[derive(Debug)]
pub struct OpenRecord(Record);

/// The end of a request.
#[derive(Debug)]
pub(super) struct Closing {
    pub status: Status,
    /// Who made the outputs: provider and `provider/upstream`. The last attempt when nobody did.
    pub served: Option<(String, String)>,
    /// Pixels of the outputs.
    pub size: Option<String>,
    /// Format of the outputs.
    pub format: Option<String>,
    /// How many outputs there are.
    pub count: usize,
    /// Links of the outputs, where the row keeps them.
    pub links: Vec<String>,
    pub adjustments: Vec<Adjustment>,
    /// Code and message of a failure.
    pub error: Option<(String, String)>,
    pub response_bytes: Option<usize>,
    pub attempts: Vec<Attempt>,
    pub timing: Timing,
}

impl Closing {
    /// An end without outputs.
    pub(super) const fn new(status: Status, attempts: Vec<Attempt>, timing: Timing) -> Self {
        Self {
            status,
            served: None,
            size: None,
            format: None,
            count: 0,
            links: Vec::new(),
            adjustments: Vec::new(),
            error: None,
            response_bytes: None,
            attempts,
            timing,
        }
    }
}

/// Where the time went, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Timing {
    /// Before the first provider was called.
    pub gateway_ms: u64,
    /// Until the last provider was done.
    pub provider_ms: u64,
    /// Downloads, conversion and hand-over after that.
    pub response_ms: u64,
    pub total_ms: u64,
}

impl Timing {
    /// The phases of a request that ends now.
    pub(super) fn of(state: &JobState, created_at: Timestamp, now: Timestamp) -> Self {
        let called = state.called.unwrap_or(now);
        let done = state.provider_done.unwrap_or(called);
        Self {
            gateway_ms: millis(created_at, called),
            provider_ms: millis(called, done),
            response_ms: millis(done, now),
            total_ms: millis(created_at, now),
        }
    }
}

/// Writes the request log.
#[derive(Clone)]
pub struct Ledger {
    store: Store,
    sandbox: bool,
}

impl Ledger {
    /// On that store.
    pub const fn new(store: Store, sandbox: bool) -> Self {
        Self { store, sandbox }
    }

    /// The intent: durable when this returns, so that nothing is ever spent unrecorded.
    pub async fn open(
        &self,
        info: &RequestInfo,
        plan: &Plan,
        job: &Job,
        estimate: Option<Usd>,
    ) -> Result<OpenRecord, Error> {
        let record = Record {
            model: plan.model.clone(),
            mode: Some(job.mode),
            status: Status::Processing,
            cost_estimate: estimate,
            image_count: i64::from(job.n),
            ..self.blank(info)
        };
        self.store.writer().open(record.clone()).await?;
        Ok(OpenRecord(record))
    }

    /// The open row of a stored job, in whichever process it is finished. `None`: the log has no such row.
    pub(super) async fn resume(&self, id: &str) -> Result<Option<OpenRecord>, Error> {
        Ok(self.store.requests().find(id, None).await?.map(OpenRecord))
    }

    /// Writes the final row. An error means that it is not durable; the answer must not go out as if it were. Writing it
    /// twice is writing it once: a process that died right after it left its job open, and the next one comes here again.
    pub(super) async fn close(&self, record: OpenRecord, end: Closing) -> Result<(), Error> {
        let costs = CostSummary::of(&end.attempts);
        let last = end.attempts.last();
        let served = end.served.or_else(|| last.map(|one| (one.provider.clone(), one.route.clone())));
        let (provider, executed_model) = served.unzip();
        let (error_code, error_message) = end.error.unzip();
        let millis = |span: u64| Some(i64::try_from(span).unwrap_or(i64::MAX));
        let mut timeline = json!(end.timing);
        if !end.links.is_empty() {
            timeline["outputs"] = json!(end.links);
        }
        self.write(Record {
            status: end.status,
            provider,
            executed_model,
            size: end.size,
            output_format: end.format,
            error_code,
            error_message,
            image_count: i64::try_from(end.count).unwrap_or(i64::MAX),
            response_size_bytes: end.response_bytes.map(bytes),
            adjustments: text(&end.adjustments),
            cost: costs.cost,
            cost_source: (!costs.source.is_empty()).then_some(costs.source),
            cost_note: costs.note,
            cost_uncertain: costs.uncertain,
            duration_ms: millis(end.timing.total_ms),
            gateway_ms: millis(end.timing.gateway_ms),
            provider_ms: millis(end.timing.provider_ms),
            response_ms: millis(end.timing.response_ms),
            attempts: text(&end.attempts),
            timeline: timeline.to_string(),
            ..record.0
        })
        .await
    }

    /// The final row of a request that was opened and then not begun: nothing was spent.
    pub(super) async fn withdraw(&self, record: OpenRecord) {
        let record = Record {
            status: Status::Cancelled,
            cost: Some(Usd::ZERO),
            error_code: Some("NOT_STARTED".to_owned()),
            error_message: Some("The job could not be stored, so it was not begun. Nothing was spent.".to_owned()),
            ..record.0
        };
        // The caller gets an error either way; the row was tried for as long as the writer tries.
        let _ = self.write(record).await;
    }

    /// The row of a request that never got as far as spending. Returns the error for the caller.
    pub async fn reject(&self, info: &RequestInfo, model: &str, error: &Error) -> Error {
        let elapsed = i64::try_from(info.arrived.elapsed().as_millis()).unwrap_or(i64::MAX);
        let record = Record {
            model: model.chars().take(200).collect(),
            status: Status::Rejected,
            cost: Some(Usd::ZERO),
            duration_ms: Some(elapsed),
            gateway_ms: Some(elapsed),
            error_code: Some(error.kind.code().to_owned()),
            error_message: Some(error.message.clone()),
            ..self.blank(info)
        };
        let _ = self.write(record).await;
        error.clone()
    }

    /// The writer tries for half a minute and puts a row that is lost all the same into the program's log, whole.
    async fn write(&self, record: Record) -> Result<(), Error> {
        Ok(self.store.writer().close(record).await?)
    }

    fn blank(&self, info: &RequestInfo) -> Record {
        Record {
            id: info.request_id.clone(),
            created_at: info.created_at,
            account_id: info.account_id.clone(),
            key_id: info.key_id.clone(),
            endpoint: info.endpoint.clone(),
            model: String::new(),
            modality: if info.endpoint.contains("/videos") { Modality::Video } else { Modality::Image },
            status: Status::Pending,
            mode: None,
            executed_model: None,
            provider: None,
            cost: None,
            cost_source: None,
            cost_note: None,
            cost_estimate: None,
            cost_uncertain: Usd::ZERO,
            duration_ms: None,
            gateway_ms: None,
            provider_ms: None,
            response_ms: None,
            image_count: 0,
            size: None,
            output_format: None,
            error_code: None,
            error_message: None,
            session_id: info.session_id.clone(),
            trace_id: info.trace_id.clone(),
            user: info.user.clone(),
            request_size_bytes: bytes(info.request_bytes),
            response_size_bytes: None,
            attempts: "[]".to_owned(),
            timeline: "{}".to_owned(),
            adjustments: "[]".to_owned(),
            sandbox: self.sandbox,
        }
    }
}

fn text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn bytes(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
