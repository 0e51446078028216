//! The books: a row before anything is spent, the final row before the answer ends.

use super::fit::Adjustment;
use super::plan::Plan;
use super::trail::{Attempt, Bill};
use super::{Answer, Preferences, Timing};
use crate::base::{Timestamp, Usd};
use crate::error::{Error, ErrorKind};
use crate::job::{Job, Modality};
use crate::store::{Record, Status, Store};
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Who asks, and what for.
#[derive(Debug, Clone)]
pub struct Asker {
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

/// How a stored job ended.
#[derive(Debug)]
pub(super) struct Settlement {
    /// Its final status.
    pub status: Status,
    /// Who made it: provider and `provider/upstream`.
    pub served: Option<(String, String)>,
    /// Pixels of what was made.
    pub size: Option<String>,
    /// The format of what was made.
    pub format: Option<String>,
    /// Links of what was made.
    pub outputs: Vec<String>,
    /// What was changed or dropped.
    pub adjustments: Vec<Adjustment>,
    /// Code and message, when it failed.
    pub error: Option<(String, String)>,
}

/// Keeps the books.
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
        asker: &Asker,
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
            ..self.blank(asker)
        };
        self.store.writer().open(record.clone()).await?;
        Ok(OpenRecord(record))
    }

    /// The final row of a success. An error means that it is not durable; the answer must not go out as if it were.
    pub async fn close(&self, answer: Answer, response_bytes: usize) -> Result<(), Error> {
        let record = Record {
            status: Status::Completed,
            executed_model: Some(answer.executed_model),
            provider: Some(answer.provider),
            size: Some(answer.size.to_string()),
            output_format: Some(answer.format.name().to_owned()),
            response_size_bytes: Some(bytes(response_bytes)),
            adjustments: text(&answer.adjustments),
            image_count: i64::try_from(answer.deliveries.len()).unwrap_or(i64::MAX),
            ..with_bill(answer.record.0, &answer.attempts, answer.timing, &[])
        };
        self.write(record).await
    }

    /// The final row of a request that failed after it was opened.
    pub async fn fail(
        &self,
        record: OpenRecord,
        trail: &[Attempt],
        timing: Timing,
        outputs: Vec<String>,
        error: &Error,
    ) {
        let status = match error.kind {
            ErrorKind::InvalidRequest | ErrorKind::ContentPolicy => Status::Rejected,
            ErrorKind::Cancelled => Status::Cancelled,
            _ => Status::UpstreamFailure,
        };
        let made = i64::try_from(outputs.len()).unwrap_or(i64::MAX);
        let last = trail.last();
        let record = Record {
            status,
            provider: last.map(|attempt| attempt.provider.clone()),
            executed_model: last.map(|attempt| attempt.route.clone()),
            error_code: Some(error.kind.code().to_owned()),
            error_message: Some(error.message.clone()),
            image_count: made,
            ..with_bill(record.0, trail, timing, &outputs)
        };
        // The answer is an error either way; the row was tried for as long as the writer tries.
        let _ = self.write(record).await;
    }

    /// The open row of a stored job, in whichever process it is finished. `None`: the log has no such row.
    pub(super) async fn resume(&self, id: &str) -> Result<Option<OpenRecord>, Error> {
        Ok(self.store.requests().find(id, None).await?.map(OpenRecord))
    }

    /// The final row of a stored job. Writing it twice is writing it once: a process that died right after it left the
    /// job open, and the next one comes here again.
    pub(super) async fn settle(
        &self,
        record: OpenRecord,
        trail: &[Attempt],
        timing: Timing,
        end: Settlement,
    ) -> Result<(), Error> {
        let last = trail.last();
        let (provider, executed) =
            end.served.or_else(|| last.map(|one| (one.provider.clone(), one.route.clone()))).unzip();
        let (error_code, error_message) = end.error.unzip();
        let record = Record {
            status: end.status,
            provider,
            executed_model: executed,
            size: end.size,
            output_format: end.format,
            error_code,
            error_message,
            image_count: i64::try_from(end.outputs.len()).unwrap_or(i64::MAX),
            adjustments: text(&end.adjustments),
            ..with_bill(record.0, trail, timing, &end.outputs)
        };
        self.write(record).await
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
    pub async fn reject(&self, asker: &Asker, model: &str, error: &Error) -> Error {
        let elapsed = i64::try_from(asker.arrived.elapsed().as_millis()).unwrap_or(i64::MAX);
        let record = Record {
            model: model.chars().take(200).collect(),
            status: Status::Rejected,
            cost: Some(Usd::ZERO),
            duration_ms: Some(elapsed),
            gateway_ms: Some(elapsed),
            error_code: Some(error.kind.code().to_owned()),
            error_message: Some(error.message.clone()),
            ..self.blank(asker)
        };
        let _ = self.write(record).await;
        error.clone()
    }

    /// The writer tries for half a minute and puts a row that is lost all the same into the program's log, whole.
    async fn write(&self, record: Record) -> Result<(), Error> {
        Ok(self.store.writer().close(record).await?)
    }

    fn blank(&self, asker: &Asker) -> Record {
        Record {
            id: asker.request_id.clone(),
            created_at: asker.created_at,
            account_id: asker.account_id.clone(),
            key_id: asker.key_id.clone(),
            endpoint: asker.endpoint.clone(),
            model: String::new(),
            modality: if asker.endpoint.contains("/videos") { Modality::Video } else { Modality::Image },
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
            session_id: asker.session_id.clone(),
            trace_id: asker.trace_id.clone(),
            user: asker.user.clone(),
            request_size_bytes: bytes(asker.request_bytes),
            response_size_bytes: None,
            attempts: "[]".to_owned(),
            timeline: "{}".to_owned(),
            adjustments: "[]".to_owned(),
            sandbox: self.sandbox,
        }
    }
}

fn with_bill(record: Record, trail: &[Attempt], timing: Timing, outputs: &[String]) -> Record {
    let bill = Bill::of(trail);
    let millis = |span: u64| Some(i64::try_from(span).unwrap_or(i64::MAX));
    let mut timeline = json!(timing);
    if !outputs.is_empty() {
        timeline["outputs"] = json!(outputs);
    }
    Record {
        cost: bill.cost,
        cost_source: (!bill.source.is_empty()).then_some(bill.source),
        cost_note: bill.note,
        cost_uncertain: bill.uncertain,
        duration_ms: millis(timing.total_ms),
        gateway_ms: millis(timing.gateway_ms),
        provider_ms: millis(timing.provider_ms),
        response_ms: millis(timing.response_ms),
        attempts: text(&trail),
        timeline: timeline.to_string(),
        ..record
    }
}

fn text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn bytes(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
