//! What a request comes to: pictures handed over, the bill, the time, and what was changed on the way.

use super::fit::Adjustment;
use super::ledger::OpenRecord;
use super::trail::{Attempt, Bill};
use crate::base::Usd;
use crate::catalog::Charge;
use crate::media::{Format, Size};
use crate::providers;
use bytes::Bytes;
use serde::Serialize;

/// A picture as it is handed over.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Where it is.
    pub handle: Handle,
    /// The prompt as the provider rewrote it.
    pub revised_prompt: Option<String>,
}

/// A picture's place in the answer.
#[derive(Debug, Clone)]
pub enum Handle {
    /// A link of ours.
    Url(String),
    /// Base64 text.
    Base64(Bytes),
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
    /// All of it.
    pub total_ms: u64,
}

/// A successful request, before its row is closed with `Ledger::close`.
#[derive(Debug)]
pub struct Answer {
    /// The pictures.
    pub deliveries: Vec<Delivery>,
    /// Their size, as verified.
    pub size: Size,
    /// Their format, as verified.
    pub format: Format,
    /// The canonical model.
    pub model: String,
    /// Who served.
    pub provider: String,
    /// `provider/upstream`.
    pub executed_model: String,
    /// The trail.
    pub attempts: Vec<Attempt>,
    /// What it cost.
    pub bill: Bill,
    /// What was changed or dropped.
    pub adjustments: Vec<Adjustment>,
    /// Where the time went.
    pub timing: Timing,
    /// The row, complete but for the size of the answer.
    pub record: OpenRecord,
}

/// What a dry run tells.
#[derive(Debug)]
pub struct Estimate {
    /// The canonical model.
    pub model: String,
    /// The provider that would be tried first.
    pub provider: String,
    /// The bill foreseen.
    pub charge: Charge,
}

/// The display name of a provider; a deployment is called by its own name.
pub fn provider_name(id: &str) -> &str {
    providers::find(id).map_or(id, |adapter| adapter.card().name)
}

/// Amount as the public JSON shows it: a number of dollars, or null.
pub fn dollars(amount: Option<Usd>) -> serde_json::Value {
    amount.map_or(serde_json::Value::Null, |usd| usd.as_number().into())
}
