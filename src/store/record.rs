//! One row of the request log: what was asked, what ran, what it cost. People bill from it.

use super::StoreError;
use super::page::moment;
use super::sql::Sql;
use crate::base::{Timestamp, Usd};
use serde::Serialize;
use sqlx::Row;
use sqlx::any::AnyRow;

/// A request, as the log keeps it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Record {
    /// `req_…`
    pub id: String,
    /// When it came in. The same in the opening and the closing row.
    pub created_at: Timestamp,
    /// Whose it is.
    pub account_id: String,
    /// The key that asked.
    pub key_id: String,
    /// The path that was called.
    pub endpoint: String,
    /// The model, as it was asked for.
    pub model: String,
    /// `image`, `video`, …
    pub modality: String,
    /// How far it got.
    pub status: Status,
    /// `text-to-image`, `image-edit`, …
    pub mode: Option<String>,
    /// The model that ran.
    pub executed_model: Option<String>,
    /// The provider that ran it.
    pub provider: Option<String>,
    /// What it cost; absent when that is not known.
    pub cost: Option<Usd>,
    /// `provider`, `tokens`, `price_table`, `free`, or why the cost is not known.
    pub cost_source: Option<String>,
    /// What else there is to say about the cost.
    pub cost_note: Option<String>,
    /// What it was expected to cost.
    pub cost_estimate: Option<Usd>,
    /// Possibly spent besides, on attempts whose end is not known.
    pub cost_uncertain: Usd,
    /// From the first byte in to the last byte out.
    pub duration_ms: Option<i64>,
    /// Spent in the gateway before the provider was asked.
    pub gateway_ms: Option<i64>,
    /// Spent waiting for providers.
    pub provider_ms: Option<i64>,
    /// Spent making the answer.
    pub response_ms: Option<i64>,
    /// How many pictures were delivered.
    pub image_count: i64,
    /// The size delivered.
    pub size: Option<String>,
    /// The format delivered.
    pub output_format: Option<String>,
    /// The code of the error answered.
    pub error_code: Option<String>,
    /// The message of the error answered.
    pub error_message: Option<String>,
    /// The caller's grouping id.
    pub session_id: Option<String>,
    /// From `traceparent`.
    pub trace_id: Option<String>,
    /// The caller's end user.
    pub user: Option<String>,
    /// Size of the request's body.
    pub request_size_bytes: i64,
    /// Size of the answer's body.
    pub response_size_bytes: Option<i64>,
    /// JSON array: each attempt.
    pub attempts: String,
    /// JSON: what happened when.
    pub timeline: String,
    /// JSON array: what was changed or dropped on the way.
    pub adjustments: String,
    /// Whether simulators answered.
    pub sandbox: bool,
}

/// How far a request got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Taken, not begun.
    Pending,
    /// Providers are being asked.
    Processing,
    /// Delivered.
    Completed,
    /// No provider delivered.
    UpstreamFailure,
    /// Refused, by us or by a provider for its content.
    Rejected,
    /// Given up before its end.
    Cancelled,
}

impl Status {
    /// As the database and the API spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::UpstreamFailure => "upstream_failure",
            Self::Rejected => "rejected",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads what [`Status::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        use Status::{Cancelled, Completed, Pending, Processing, Rejected, UpstreamFailure};
        [Pending, Processing, Completed, UpstreamFailure, Rejected, Cancelled].into_iter().find(|s| s.as_str() == text)
    }
}

/// The columns, in the order of [`Record::bind`].
pub(super) const COLUMNS: [&str; 34] = [
    "id",
    "created_at",
    "account_id",
    "key_id",
    "endpoint",
    "model",
    "modality",
    "status",
    "mode",
    "executed_model",
    "provider",
    "cost",
    "cost_source",
    "cost_note",
    "cost_estimate",
    "cost_uncertain",
    "duration_ms",
    "gateway_ms",
    "provider_ms",
    "response_ms",
    "image_count",
    "size",
    "output_format",
    "error_code",
    "error_message",
    "session_id",
    "trace_id",
    "end_user",
    "request_size_bytes",
    "response_size_bytes",
    "attempts",
    "timeline",
    "adjustments",
    "sandbox",
];

/// How many characters of a name are kept. Names are indexed, and PostgreSQL refuses index rows beyond 2.7 kB.
const NAME: usize = 256;
/// How many characters of an error's message are kept.
const MESSAGE: usize = 2000;

impl Record {
    /// Writes the row as `($1, $2, …)` into an INSERT.
    pub(super) fn bind(&self, sql: &mut Sql) -> Result<(), StoreError> {
        let name = |text: &str| clean(text, NAME);
        let maybe = |text: &Option<String>| text.as_deref().map(name);
        let whole = |text: &str| clean(text, usize::MAX);
        sql.push("(").bind(name(&self.id))?;
        sql.push(",").bind(self.created_at.millis())?;
        sql.push(",").bind(name(&self.account_id))?;
        sql.push(",").bind(name(&self.key_id))?;
        sql.push(",").bind(name(&self.endpoint))?;
        sql.push(",").bind(name(&self.model))?;
        sql.push(",").bind(name(&self.modality))?;
        sql.push(",").bind(self.status.as_str())?;
        sql.push(",").bind(maybe(&self.mode))?;
        sql.push(",").bind(maybe(&self.executed_model))?;
        sql.push(",").bind(maybe(&self.provider))?;
        sql.push(",").bind(self.cost.map(Usd::micros))?;
        sql.push(",").bind(maybe(&self.cost_source))?;
        sql.push(",").bind(self.cost_note.as_deref().map(|text| clean(text, MESSAGE)))?;
        sql.push(",").bind(self.cost_estimate.map(Usd::micros))?;
        sql.push(",").bind(self.cost_uncertain.micros())?;
        sql.push(",").bind(self.duration_ms)?;
        sql.push(",").bind(self.gateway_ms)?;
        sql.push(",").bind(self.provider_ms)?;
        sql.push(",").bind(self.response_ms)?;
        sql.push(",").bind(self.image_count)?;
        sql.push(",").bind(maybe(&self.size))?;
        sql.push(",").bind(maybe(&self.output_format))?;
        sql.push(",").bind(maybe(&self.error_code))?;
        sql.push(",").bind(self.error_message.as_deref().map(|text| clean(text, MESSAGE)))?;
        sql.push(",").bind(maybe(&self.session_id))?;
        sql.push(",").bind(maybe(&self.trace_id))?;
        sql.push(",").bind(maybe(&self.user))?;
        sql.push(",").bind(self.request_size_bytes)?;
        sql.push(",").bind(self.response_size_bytes)?;
        sql.push(",").bind(whole(&self.attempts))?;
        sql.push(",").bind(whole(&self.timeline))?;
        sql.push(",").bind(whole(&self.adjustments))?;
        sql.push(",").bind(i64::from(self.sandbox))?.push(")");
        Ok(())
    }

    /// Reads a row of [`COLUMNS`].
    pub(super) fn read(row: &AnyRow) -> Result<Self, StoreError> {
        let status: String = row.try_get("status")?;
        let money = |column: &str| row.try_get::<Option<i64>, _>(column).map(|micros| micros.map(Usd::from_micros));
        Ok(Self {
            id: row.try_get("id")?,
            created_at: moment(row, "created_at")?.unwrap_or(Timestamp::from_millis(0)),
            account_id: row.try_get("account_id")?,
            key_id: row.try_get("key_id")?,
            endpoint: row.try_get("endpoint")?,
            model: row.try_get("model")?,
            modality: row.try_get("modality")?,
            status: Status::parse(&status).ok_or(StoreError::Unknown { what: "status", value: status })?,
            mode: row.try_get("mode")?,
            executed_model: row.try_get("executed_model")?,
            provider: row.try_get("provider")?,
            cost: money("cost")?,
            cost_source: row.try_get("cost_source")?,
            cost_note: row.try_get("cost_note")?,
            cost_estimate: money("cost_estimate")?,
            cost_uncertain: money("cost_uncertain")?.unwrap_or_default(),
            duration_ms: row.try_get("duration_ms")?,
            gateway_ms: row.try_get("gateway_ms")?,
            provider_ms: row.try_get("provider_ms")?,
            response_ms: row.try_get("response_ms")?,
            image_count: row.try_get("image_count")?,
            size: row.try_get("size")?,
            output_format: row.try_get("output_format")?,
            error_code: row.try_get("error_code")?,
            error_message: row.try_get("error_message")?,
            session_id: row.try_get("session_id")?,
            trace_id: row.try_get("trace_id")?,
            user: row.try_get("end_user")?,
            request_size_bytes: row.try_get("request_size_bytes")?,
            response_size_bytes: row.try_get("response_size_bytes")?,
            attempts: row.try_get("attempts")?,
            timeline: row.try_get("timeline")?,
            adjustments: row.try_get("adjustments")?,
            sandbox: row.try_get::<i64, _>("sandbox")? != 0,
        })
    }
}

/// A name as it is stored, for comparing with stored ones.
pub(super) fn stored_name(text: &str) -> String {
    clean(text, NAME)
}

/// Text that both databases take: no NUL (PostgreSQL knows none), at most so many characters.
fn clean(text: &str, limit: usize) -> String {
    text.chars().take(limit).map(|c| if c == '\0' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(clean("żółw\0", 3), "żół");
        assert_eq!(clean("a\0b", 9), "a\u{fffd}b");
    }

    #[test]
    fn statuses_read_what_they_wrote() {
        assert_eq!(Status::parse("upstream_failure"), Some(Status::UpstreamFailure));
        assert_eq!(Status::parse("lost"), None);
        assert_eq!(serde_json::to_string(&Status::UpstreamFailure).unwrap(), "\"upstream_failure\"");
    }
}
