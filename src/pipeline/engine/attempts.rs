//! The attempts of a request: one entry for every creating call, as answers show it and the log keeps it.

use crate::base::Usd;
use crate::fault::{Accepted, Fault, FaultKind};
use serde::{Deserialize, Deserializer, Serialize};

/// One of a few words of ours. An alias, so that a stored trail can be read back.
type Word = &'static str;

/// Reads a word of ours back.
fn word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Word, D::Error> {
    let text = String::deserialize(deserializer)?;
    let known = ["provider", "tokens", "price_table", "free"];
    Ok(known.into_iter().find(|word| *word == text).unwrap_or_default())
}

/// How a creating call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptStatus {
    Completed,
    Failed,
}

/// One creating call and its result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Counting from 0, in the order of their starts.
    pub index: usize,
    /// The provider's id.
    pub provider: String,
    /// `provider/upstream`.
    pub route: String,
    /// The provider's id of the job, where it gives one: what its invoice and its support know it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_id: Option<String>,
    pub status: AttemptStatus,
    /// Pictures asked of it.
    pub n: u32,
    /// Milliseconds from the request's arrival to this call.
    pub started_ms: u64,
    /// How long it took, downloads and finishing included.
    pub duration_ms: u64,
    /// What it cost; `null` when it is unknown or nothing was bought.
    pub cost: Option<Usd>,
    /// Where the cost comes from.
    #[serde(default, skip_serializing_if = "str::is_empty", deserialize_with = "word")]
    pub cost_source: Word,
    /// What it may have cost, when nobody knows whether it was bought.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_uncertain: Option<Usd>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<AttemptError>,
    /// Why the cost is unknown or estimated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_note: Option<String>,
}

/// What went wrong with an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptError {
    /// The kind.
    pub kind: FaultKind,
    /// Whether the provider may have taken it.
    pub accepted: Accepted,
    /// The provider's words, or ours.
    pub message: String,
    /// The provider's status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_status: Option<u16>,
    /// The provider's code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_code: Option<String>,
}

impl From<&Fault> for AttemptError {
    fn from(fault: &Fault) -> Self {
        Self {
            kind: fault.kind,
            accepted: fault.accepted,
            message: fault.message.clone(),
            upstream_status: fault.upstream_status,
            upstream_code: fault.upstream_code.clone(),
        }
    }
}

/// The costs of all attempts of a request.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CostSummary {
    /// The sum of what is known; `None` when something was bought at an unknown price.
    pub cost: Option<Usd>,
    /// The sources of it, joined by `+` when they differ.
    pub source: String,
    /// Why it is unknown or partly estimated.
    pub note: Option<String>,
    /// What ambiguous attempts may have cost besides.
    pub uncertain: Usd,
}

impl CostSummary {
    /// Adds up the attempts. A request that bought nothing cost nothing.
    pub fn of(attempts: &[Attempt]) -> Self {
        let mut summary = Self { cost: Some(Usd::ZERO), ..Self::default() };
        let mut sources: Vec<&str> = Vec::new();
        for attempt in attempts {
            summary.uncertain += attempt.cost_uncertain.unwrap_or_default();
            if summary.note.is_none() {
                summary.note.clone_from(&attempt.cost_note);
            }
            let ran = attempt.error.as_ref().is_some_and(|error| error.accepted == Accepted::Yes);
            let bought = ran || attempt.cost.is_some() || attempt.status == AttemptStatus::Completed;
            if !bought {
                continue;
            }
            match (attempt.cost, summary.cost) {
                (Some(cost), Some(sum)) => summary.cost = Some(sum + cost),
                _ => summary.cost = None,
            }
            if !attempt.cost_source.is_empty() && !sources.contains(&attempt.cost_source) {
                sources.push(attempt.cost_source);
            }
        }
        summary.source = sources.join("+");
        summary
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(status: AttemptStatus, cost: Option<i64>, uncertain: Option<i64>) -> Attempt {
        Attempt {
            index: 0,
            provider: "fal".into(),
            route: "fal/x".into(),
            upstream_id: None,
            status,
            n: 1,
            started_ms: 0,
            duration_ms: 0,
            cost: cost.map(Usd::from_micros),
            cost_source: if cost.is_some() { "provider" } else { "" },
            cost_uncertain: uncertain.map(Usd::from_micros),
            error: None,
            cost_note: (cost.is_none() && status == AttemptStatus::Completed).then(|| "no price".to_owned()),
        }
    }

    #[test]
    fn every_purchase_is_in_the_sum() {
        let summary = CostSummary::of(&[
            attempt(AttemptStatus::Completed, Some(5), None),
            attempt(AttemptStatus::Failed, Some(7), None),
            attempt(AttemptStatus::Failed, None, Some(9)),
        ]);
        assert_eq!((summary.cost, summary.uncertain), (Some(Usd::from_micros(12)), Usd::from_micros(9)));
        assert_eq!(summary.source, "provider");
    }

    #[test]
    fn a_failure_that_ran_at_an_unknown_price_is_not_free() {
        let fault = Fault::new(FaultKind::Moderated, "refused").accepted(Accepted::Yes);
        let ran = Attempt { error: Some(AttemptError::from(&fault)), ..attempt(AttemptStatus::Failed, None, None) };
        assert_eq!(CostSummary::of(&[ran]).cost, None);
    }

    #[test]
    fn an_unknown_price_makes_the_sum_unknown() {
        let summary = CostSummary::of(&[
            attempt(AttemptStatus::Completed, Some(5), None),
            attempt(AttemptStatus::Completed, None, None),
        ]);
        assert_eq!((summary.cost, summary.note.as_deref()), (None, Some("no price")));
        assert_eq!(CostSummary::of(&[attempt(AttemptStatus::Failed, None, None)]).cost, Some(Usd::ZERO));
    }
}
