//! The result of a request: outputs handed over, cost, timing, and adjustments.

use super::engine::{Attempt, CostSummary};
use super::ledger::{Closing, OpenRecord, Timing};
use super::planning::Adjustment;
use crate::base::Usd;
use crate::catalog::Charge;
use crate::media::{Format, Size};
use crate::providers;
use crate::store::Status;
use bytes::Bytes;

/// A picture as it is handed over.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub output: OutputRef,
    /// The prompt as the provider rewrote it.
    pub revised_prompt: Option<String>,
}

/// A picture's place in the answer.
#[derive(Debug, Clone)]
pub enum OutputRef {
    /// A link of ours.
    Url(String),
    /// Base64 text.
    Base64(Bytes),
}

/// A successful request, before its row is closed with [`super::Gateway::close`].
#[derive(Debug)]
pub struct GenerationResult {
    pub deliveries: Vec<Delivery>,
    /// The size of the pictures, as verified.
    pub size: Size,
    /// Their format, as verified.
    pub format: Format,
    /// The canonical model.
    pub model: String,
    /// The provider that served.
    pub provider: String,
    /// `provider/upstream`.
    pub executed_model: String,
    pub attempts: Vec<Attempt>,
    pub costs: CostSummary,
    pub adjustments: Vec<Adjustment>,
    pub timing: Timing,
    /// The row, complete but for the size of the answer.
    pub record: OpenRecord,
}

impl GenerationResult {
    /// The open row, and what closes it.
    pub(super) fn closing(self, response_bytes: usize) -> (OpenRecord, Closing) {
        let closing = Closing {
            served: Some((self.provider, self.executed_model)),
            size: Some(self.size.to_string()),
            format: Some(self.format.name().to_owned()),
            count: self.deliveries.len(),
            adjustments: self.adjustments,
            response_bytes: Some(response_bytes),
            ..Closing::new(Status::Completed, self.attempts, self.timing)
        };
        (self.record, closing)
    }
}

/// The result of a dry run.
#[derive(Debug)]
pub struct Estimate {
    /// The canonical model.
    pub model: String,
    /// The provider that would be tried first.
    pub provider: String,
    pub charge: Charge,
}

/// The display name of a provider; a deployment is called by its own name.
pub fn provider_name(id: &str) -> &str {
    providers::find(id).map_or(id, |adapter| adapter.card().name)
}

/// An amount as the public JSON shows it: a number of dollars, or null.
pub fn dollars(amount: Option<Usd>) -> serde_json::Value {
    amount.map_or(serde_json::Value::Null, |usd| usd.as_number().into())
}
