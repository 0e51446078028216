//! One row of the request log: what was asked, what ran, what it cost. People bill from it.

use crate::base::{Timestamp, Usd};
use crate::store::StoreError;
use crate::store::db::page::moment;
use crate::store::db::sql::Kind;
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::any::AnyRow;

/// A request, as the log keeps it. Serialised, it has the columns of the table: so it is sent to the database, and so it
/// lies in the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    #[serde(with = "maybe_micros")]
    pub cost: Option<Usd>,
    /// `provider`, `tokens`, `price_table`, `free`, or why the cost is not known.
    pub cost_source: Option<String>,
    /// What else there is to say about the cost.
    pub cost_note: Option<String>,
    /// What it was expected to cost.
    #[serde(with = "maybe_micros")]
    pub cost_estimate: Option<Usd>,
    /// Possibly spent besides, on attempts whose end is not known.
    #[serde(with = "micros")]
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
    #[serde(rename = "end_user")]
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
    #[serde(with = "digit")]
    pub sandbox: bool,
}

/// How far a request got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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

    /// Whether the request is still running, so that its money is held and not spent.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Processing)
    }

    /// Reads what [`Status::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        use Status::{Cancelled, Completed, Pending, Processing, Rejected, UpstreamFailure};
        [Pending, Processing, Completed, UpstreamFailure, Rejected, Cancelled].into_iter().find(|s| s.as_str() == text)
    }
}

/// The columns of a record and what they hold. The first two are the key.
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

/// How many characters of a name are kept. Names are indexed, and PostgreSQL refuses index rows beyond 2.7 kB.
const NAME: usize = 256;
/// How many characters of an error's message are kept.
const MESSAGE: usize = 2000;
/// How many bytes of a list (attempts, timeline, adjustments) are kept.
const LIST: usize = 64 * 1024;

impl Record {
    /// As both databases take it: names and messages of bounded length, lists of bounded size, no NUL (PostgreSQL knows
    /// none).
    #[must_use]
    pub(crate) fn storable(mut self) -> Self {
        for name in [&mut self.id, &mut self.account_id, &mut self.key_id, &mut self.endpoint, &mut self.model] {
            clean(name, NAME);
        }
        clean(&mut self.modality, NAME);
        let names = [&mut self.mode, &mut self.executed_model, &mut self.provider, &mut self.cost_source];
        let more = [&mut self.size, &mut self.output_format, &mut self.error_code, &mut self.session_id];
        let last = [&mut self.trace_id, &mut self.user];
        for name in names.into_iter().chain(more).chain(last).flatten() {
            clean(name, NAME);
        }
        for message in [&mut self.cost_note, &mut self.error_message].into_iter().flatten() {
            clean(message, MESSAGE);
        }
        for list in [&mut self.attempts, &mut self.timeline, &mut self.adjustments] {
            clean(list, usize::MAX);
            bound(list);
        }
        self
    }

    /// Reads a row of [`COLUMNS`].
    pub(crate) fn read(row: &AnyRow) -> Result<Self, StoreError> {
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
pub(crate) fn stored_name(text: &str) -> String {
    let mut name = text.to_owned();
    clean(&mut name, NAME);
    name
}

fn clean(text: &mut String, limit: usize) {
    if let Some((end, _)) = text.char_indices().nth(limit) {
        text.truncate(end);
    }
    if text.contains('\0') {
        *text = text.replace('\0', "\u{fffd}");
    }
}

/// Cuts a JSON list to what a row holds: its last entries go, and the last that stays says so.
fn bound(list: &mut String) {
    if list.len() <= LIST {
        return;
    }
    let mut entries = serde_json::from_str::<Vec<serde_json::Value>>(list).unwrap_or_default();
    let whole = entries.len();
    let mut size = 0;
    entries.retain(|entry| {
        size += entry.to_string().len() + 1;
        size < LIST - 100
    });
    entries.push(serde_json::json!({"left_out": whole - entries.len()}));
    *list = serde_json::Value::Array(entries).to_string();
}

/// Money as the database counts it.
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

/// The same where it may be unknown.
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

/// Yes and no as 1 and 0.
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
    fn text_is_cut_between_characters() {
        let cleaned = |text: &str, limit| {
            let mut text = text.to_owned();
            clean(&mut text, limit);
            text
        };
        assert_eq!(cleaned("żółw\0", 3), "żół");
        assert_eq!(cleaned("a\0b", 9), "a\u{fffd}b");
    }

    #[test]
    fn lists_are_cut_between_entries() {
        let mut list = serde_json::to_string(&vec!["x".repeat(1000); 100]).unwrap();
        bound(&mut list);
        assert!(list.len() <= LIST);
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
