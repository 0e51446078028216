//! Faults on demand: the rules that `POST /_control` sets. The newest rule that matches a call wins, and counts down
//! when it has `times`.
//!
//! A rule acts where its fault makes sense: the making call by default; the fetch of a result or of a file for faults
//! that spoil what was made, when the provider hands results over in calls of their own.

use crate::catalog::Route;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// An HTTP status, with the provider's own error body for it.
    Status,
    /// The connection is accepted and nothing is ever answered.
    Hang,
    /// The connection closes without an answer.
    Reset,
    /// The answer, or the result file, breaks off half-way.
    Truncate,
    /// Refused by moderation, in the provider's own disguise.
    Refuse,
    /// A success without a picture.
    Empty,
    /// A success that does not parse.
    Garbage,
    /// A picture of another format than the one announced.
    WrongType,
    /// A picture of another size than the one announced.
    WrongSize,
    /// The model is no longer there.
    Gone,
}

impl Fault {
    /// What happens to the making call itself, before anything is made.
    pub(super) const fn at_creation(self) -> bool {
        matches!(self, Self::Status | Self::Hang | Self::Reset | Self::Refuse | Self::Gone)
    }

    /// What happens to the description of a result.
    pub(super) const fn at_result(self) -> bool {
        matches!(self, Self::Empty | Self::Garbage)
    }

    /// What happens to a result file.
    pub(super) const fn at_file(self) -> bool {
        matches!(self, Self::Truncate | Self::WrongType | Self::WrongSize)
    }
}

/// One rule, as it was sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// A provider, or `*` for all.
    pub provider: String,
    /// The provider's id of a model, or the canonical one; any when unsaid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How long the making call takes; for queues, how long the job takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u64>,
    /// How many polls of a queued job find it unfinished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_polls: Option<u32>,
    /// What goes wrong; nothing when unsaid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// The status of [`Fault::Status`]; 503 when unsaid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Seconds for the `retry-after` header of [`Fault::Status`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// Whether the job is taken and billed before the fault happens.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub after_accept: bool,
    /// How many calls it still acts on; any number when unsaid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// The chance that it acts on a call that it matches; certain when unsaid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
}

/// The fields of a rule.
const FIELDS: [&str; 10] = [
    "provider",
    "model",
    "latency_ms",
    "job_polls",
    "fault",
    "status",
    "retry_after",
    "after_accept",
    "times",
    "probability",
];

impl Rule {
    /// Reads a rule, or says what is wrong with it.
    pub fn read(fields: Map<String, Value>) -> Result<Self, String> {
        let unknown: Vec<&str> = fields.keys().map(String::as_str).filter(|name| !FIELDS.contains(name)).collect();
        if !unknown.is_empty() {
            return Err(format!("unknown fields: {}; known ones: {}", unknown.join(", "), FIELDS.join(", ")));
        }
        let rule: Self = serde_json::from_value(Value::Object(fields)).map_err(|fault| fault.to_string())?;
        if rule.status.is_some_and(|status| !(200..=599).contains(&status)) {
            return Err("status: must be 200 to 599".to_owned());
        }
        if rule.probability.is_some_and(|chance| !(0.0..=1.0).contains(&chance)) {
            return Err("probability: must be 0 to 1".to_owned());
        }
        Ok(rule)
    }

    /// The time that it asks for.
    pub(super) fn latency(&self) -> Option<Duration> {
        self.latency_ms.map(Duration::from_millis)
    }

    fn matches(&self, provider: &str, route: &Route) -> bool {
        (self.provider == "*" || self.provider == provider)
            && self.model.as_ref().is_none_or(|model| *model == route.upstream || *model == route.model)
            && self.times != Some(0)
    }

    fn happens(&self) -> bool {
        self.probability.is_none_or(|chance| rand::rng().random::<f64>() < chance)
    }
}

/// The rules in force, oldest first.
#[derive(Default)]
pub(super) struct Rules(Mutex<Vec<Rule>>);

impl Rules {
    pub(super) fn add(&self, rule: Rule) {
        self.locked().push(rule);
    }

    /// Forgets all rules and says how many there were.
    pub(super) fn clear(&self) -> usize {
        std::mem::take(&mut *self.locked()).len()
    }

    pub(super) fn list(&self) -> Vec<Rule> {
        self.locked().clone()
    }

    /// The newest rule for a call on that route whose fault `acts` there. It counts down.
    pub(super) fn pick(&self, provider: &str, route: &Route, acts: impl Fn(Option<Fault>) -> bool) -> Option<Rule> {
        let mut rules = self.locked();
        let found =
            rules.iter_mut().rev().find(|rule| acts(rule.fault) && rule.matches(provider, route) && rule.happens())?;
        let picked = found.clone();
        found.times = found.times.map(|left| left.saturating_sub(1));
        rules.retain(|rule| rule.times != Some(0));
        Some(picked)
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Rule>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
