//! One row of the request log: what was asked, what ran, what it cost. People bill from it.

use crate::base::{Timestamp, Usd};
use crate::job::{Modality, Mode};
use crate::store::db::sql::Kind;
use crate::store::db::text::{MAX_NAME_CHARS, clean};
use crate::store::db::{FromColumn, FromRow, StoreError, column, enum_column};
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;

/// A request in the log. Serialised, it has the columns of the table: this is how it is sent to the database, and how it is
/// written to the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// `req_…`
    pub id: String,
    /// When it arrived. The same in the opening and the final row.
    pub created_at: Timestamp,
    pub account_id: String,
    pub key_id: String,
    /// The path that was called.
    pub endpoint: String,
    /// The model as requested.
    pub model: String,
    pub modality: Modality,
    pub status: Status,
    pub mode: Option<Mode>,
    /// The model that ran.
    pub executed_model: Option<String>,
    /// The provider that ran it.
    pub provider: Option<String>,
    /// Absent when it is not known.
    #[serde(with = "maybe_micros")]
    pub cost: Option<Usd>,
    /// `provider`, `tokens`, `price_table`, `free`, or why the cost is not known.
    pub cost_source: Option<String>,
    /// A remark on the cost.
    pub cost_note: Option<String>,
    #[serde(with = "maybe_micros")]
    pub cost_estimate: Option<Usd>,
    /// Possibly spent besides, on attempts whose result is not known.
    #[serde(with = "micros")]
    pub cost_uncertain: Usd,
    /// From the first byte in to the last byte out.
    pub duration_ms: Option<i64>,
    /// In the gateway, before a provider was called.
    pub gateway_ms: Option<i64>,
    /// Waiting for providers.
    pub provider_ms: Option<i64>,
    /// Preparing the response.
    pub response_ms: Option<i64>,
    /// Images delivered.
    pub image_count: i64,
    /// The size delivered.
    pub size: Option<String>,
    /// The format delivered.
    pub output_format: Option<String>,
    pub error_code: Option<String>,
    pub error_message: Option<String>,
    pub session_id: Option<String>,
    /// From `traceparent`.
    pub trace_id: Option<String>,
    /// The caller's end user.
    #[serde(rename = "end_user")]
    pub user: Option<String>,
    pub request_size_bytes: i64,
    pub response_size_bytes: Option<i64>,
    /// JSON array.
    pub attempts: String,
    /// JSON: what happened when.
    pub timeline: String,
    /// JSON array: what was changed or dropped from the request.
    pub adjustments: String,
    /// Whether simulated providers answered.
    #[serde(with = "digit")]
    pub sandbox: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Accepted, not started.
    Pending,
    /// Started: providers may have been called.
    Processing,
    /// Delivered.
    Completed,
    /// No provider delivered.
    UpstreamFailure,
    /// Refused, by the gateway or by a provider for its content.
    Rejected,
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

    /// Whether the request is still running, so that its money is reserved and not spent.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Processing)
    }

    pub fn parse(text: &str) -> Option<Self> {
        use Status::{Cancelled, Completed, Pending, Processing, Rejected, UpstreamFailure};
        [Pending, Processing, Completed, UpstreamFailure, Rejected, Cancelled].into_iter().find(|s| s.as_str() == text)
    }
}

impl FromColumn for Status {
    type Stored = String;

    fn from_column(stored: String) -> Result<Self, StoreError> {
        enum_column("status", stored)
    }
}

/// The columns of a record. The first two are the primary key.
pub(crate) const COLUMNS: [(&str, Kind); 34] = [
    ("id", Kind::Text),
    ("created_at", Kind::Number),
    ("account_id", Kind::Text),
    ("key_id", Kind::Text),
    ("endpoint", Kind::Text),
    ("model", Kind::Text),
    ("modality", Kind::Text),
    ("status", Kind::Text),
    ("mode", Kind::Text),
    ("executed_model", Kind::Text),
    ("provider", Kind::Text),
    ("cost", Kind::Number),
    ("cost_source", Kind::Text),
    ("cost_note", Kind::Text),
    ("cost_estimate", Kind::Number),
    ("cost_uncertain", Kind::Number),
    ("duration_ms", Kind::Number),
    ("gateway_ms", Kind::Number),
    ("provider_ms", Kind::Number),
    ("response_ms", Kind::Number),
    ("image_count", Kind::Number),
    ("size", Kind::Text),
    ("output_format", Kind::Text),
    ("error_code", Kind::Text),
    ("error_message", Kind::Text),
    ("session_id", Kind::Text),
    ("trace_id", Kind::Text),
    ("end_user", Kind::Text),
    ("request_size_bytes", Kind::Number),
    ("response_size_bytes", Kind::Number),
    ("attempts", Kind::Text),
    ("timeline", Kind::Text),
    ("adjustments", Kind::Text),
    ("sandbox", Kind::Number),
];

/// How many characters of an error message are kept.
const MAX_MESSAGE_CHARS: usize = 2000;
/// How many bytes of a list (attempts, timeline, adjustments) are kept.
const MAX_LIST_BYTES: usize = 64 * 1024;

impl Record {
    /// The record as both databases take it: names and messages of bounded length, lists of bounded size, no NUL.
    #[must_use]
    pub(crate) fn storable(mut self) -> Self {
        for name in [&mut self.id, &mut self.account_id, &mut self.key_id, &mut self.endpoint, &mut self.model] {
            clean(name, MAX_NAME_CHARS);
        }
        let names = [&mut self.executed_model, &mut self.provider, &mut self.cost_source, &mut self.size];
        let more = [&mut self.output_format, &mut self.error_code, &mut self.session_id];
        let last = [&mut self.trace_id, &mut self.user];
        for name in names.into_iter().chain(more).chain(last).flatten() {
            clean(name, MAX_NAME_CHARS);
        }
        for message in [&mut self.cost_note, &mut self.error_message].into_iter().flatten() {
            clean(message, MAX_MESSAGE_CHARS);
        }
        for list in [&mut self.attempts, &mut self.timeline, &mut self.adjustments] {
            clean(list, usize::MAX);
            truncate_list(list);
        }
        self
    }
}

impl FromRow for Record {
    fn from_row(row: &AnyRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: column(row, "id")?,
            created_at: column(row, "created_at")?,
            account_id: column(row, "account_id")?,
            key_id: column(row, "key_id")?,
            endpoint: column(row, "endpoint")?,
            model: column(row, "model")?,
            modality: column(row, "modality")?,
            status: column(row, "status")?,
            mode: column(row, "mode")?,
            executed_model: column(row, "executed_model")?,
            provider: column(row, "provider")?,
            cost: column(row, "cost")?,
            cost_source: column(row, "cost_source")?,
            cost_note: column(row, "cost_note")?,
            cost_estimate: column(row, "cost_estimate")?,
            cost_uncertain: column(row, "cost_uncertain")?,
            duration_ms: column(row, "duration_ms")?,
            gateway_ms: column(row, "gateway_ms")?,
            provider_ms: column(row, "provider_ms")?,
            response_ms: column(row, "response_ms")?,
            image_count: column(row, "image_count")?,
            size: column(row, "size")?,
            output_format: column(row, "output_format")?,
            error_code: column(row, "error_code")?,
            error_message: column(row, "error_message")?,
            session_id: column(row, "session_id")?,
            trace_id: column(row, "trace_id")?,
            user: column(row, "end_user")?,
            request_size_bytes: column(row, "request_size_bytes")?,
            response_size_bytes: column(row, "response_size_bytes")?,
            attempts: column(row, "attempts")?,
            timeline: column(row, "timeline")?,
            adjustments: column(row, "adjustments")?,
            sandbox: column(row, "sandbox")?,
        })
    }
}

/// Cuts a JSON list to what a row holds: the last entries are replaced by their number.
fn truncate_list(list: &mut String) {
    if list.len() <= MAX_LIST_BYTES {
        return;
    }
    let mut entries = serde_json::from_str::<Vec<serde_json::Value>>(list).unwrap_or_default();
    let whole = entries.len();
    let mut size = 0;
    entries.retain(|entry| {
        size += entry.to_string().len() + 1;
        size < MAX_LIST_BYTES - 100
    });
    entries.push(serde_json::json!({"left_out": whole - entries.len()}));
    *list = serde_json::Value::Array(entries).to_string();
}

/// Amounts as micro-dollars.
mod micros {
    use crate::base::Usd;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(amount: &Usd, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(amount.micros())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Usd, D::Error> {
        i64::deserialize(deserializer).map(Usd::from_micros)
    }
}

/// Optional amounts as micro-dollars.
mod maybe_micros {
    use crate::base::Usd;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde asks for a reference to the field")]
    pub(crate) fn serialize<S: Serializer>(amount: &Option<Usd>, serializer: S) -> Result<S::Ok, S::Error> {
        amount.map(Usd::micros).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Usd>, D::Error> {
        Ok(Option::<i64>::deserialize(deserializer)?.map(Usd::from_micros))
    }
}

/// Booleans as 1 and 0.
mod digit {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(yes: &bool, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(i64::from(*yes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
        i64::deserialize(deserializer).map(|digit| digit != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_cut_between_entries() {
        let mut list = serde_json::to_string(&vec!["x".repeat(1000); 100]).unwrap();
        truncate_list(&mut list);
        assert!(list.len() <= MAX_LIST_BYTES);
        let entries: Vec<serde_json::Value> = serde_json::from_str(&list).unwrap();
        assert_eq!(entries[0], "x".repeat(1000));
        assert_eq!(entries.last().unwrap()["left_out"], 100 - (entries.len() - 1));
    }

    #[test]
    fn statuses_read_what_they_wrote() {
        assert_eq!(Status::parse("upstream_failure"), Some(Status::UpstreamFailure));
        assert_eq!(Status::parse("lost"), None);
        assert_eq!(serde_json::to_string(&Status::UpstreamFailure).unwrap(), "\"upstream_failure\"");
    }
}
