//! What went wrong upstream, and what happens next. The failover policy on one page.

use crate::job::Usage;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// The kinds of upstream failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The provider found the request wrong; it would be wrong everywhere.
    BadRequest,
    /// Our credential is refused, or our account there is out of credit.
    Auth,
    /// Refused by the provider's moderation.
    Moderated,
    /// Too many requests, surely not accepted.
    RateLimited,
    /// Server errors and broken connections.
    Unavailable,
    /// An answer without a usable picture.
    Empty,
    /// No answer, or no finished job, in time.
    Timeout,
    /// The provider no longer has the model.
    Gone,
    /// An answer that does not parse.
    Malformed,
    /// The caller hung up, and the job was stopped or not begun.
    Cancelled,
}

/// Whether the provider may have taken the job, and so may bill it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Accepted {
    /// Surely not: asking again is not buying again.
    No,
    /// The request left us and no answer says what became of it.
    Maybe,
    /// Yes: it ran, whatever came of it.
    Yes,
}

/// What to do after a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Tell the caller; another route would not help or is not wanted.
    Stop,
    /// The same route again after a pause, a bounded number of times; then the next.
    WaitThenRetry,
    /// The next route, at once.
    TryNext,
}

/// The two verdicts that an operator may change.
#[derive(Debug, Clone, Copy, Default)]
pub struct Policy {
    /// Try other routes when our credential is refused.
    pub failover_on_auth: bool,
    /// Try other routes when moderation refuses.
    pub failover_on_moderation: bool,
}

impl FaultKind {
    /// The policy.
    pub const fn verdict(self, policy: Policy) -> Verdict {
        match self {
            Self::BadRequest | Self::Cancelled => Verdict::Stop,
            Self::Auth if policy.failover_on_auth => Verdict::TryNext,
            Self::Moderated if policy.failover_on_moderation => Verdict::TryNext,
            Self::Auth | Self::Moderated => Verdict::Stop,
            Self::RateLimited => Verdict::WaitThenRetry,
            Self::Unavailable | Self::Empty | Self::Timeout | Self::Gone | Self::Malformed => Verdict::TryNext,
        }
    }

    /// As logs, rows and metrics spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Auth => "auth",
            Self::Moderated => "moderated",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::Empty => "empty",
            Self::Timeout => "timeout",
            Self::Gone => "gone",
            Self::Malformed => "malformed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// One upstream failure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// What went wrong.
    pub kind: FaultKind,
    /// Whether it may be billed.
    pub accepted: Accepted,
    /// The provider's words where it had any, else ours. Bounded to 1,000 characters, never media.
    pub message: String,
    /// When the provider wants to be asked again.
    pub retry_after: Option<Duration>,
    /// The provider's HTTP status.
    pub upstream_status: Option<u16>,
    /// The provider's own error code.
    pub upstream_code: Option<String>,
    /// What the provider said of the bill of a call that it failed or refused.
    pub usage: Option<Box<Usage>>,
}

impl Fault {
    /// A fault of that kind that surely was not accepted; see [`Fault::accepted`] to say otherwise.
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        let mut message: String = message.into();
        if let Some((cut, _)) = message.char_indices().nth(1_000) {
            message.truncate(cut);
            message.push('…');
        }
        Self {
            kind,
            accepted: Accepted::No,
            message,
            retry_after: None,
            upstream_status: None,
            upstream_code: None,
            usage: None,
        }
    }

    /// The same, with another acceptance.
    #[must_use]
    pub fn accepted(mut self, accepted: Accepted) -> Self {
        self.accepted = accepted;
        self
    }

    /// The same, with the provider's status.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.upstream_status = Some(status);
        self
    }

    /// The same, with the provider's code.
    #[must_use]
    pub fn code(mut self, code: Option<String>) -> Self {
        self.upstream_code = code;
        self
    }

    /// The same, with what the provider said of its bill: then that is what it costs.
    #[must_use]
    pub fn usage(mut self, usage: Usage) -> Self {
        self.usage = (usage != Usage::default()).then(|| Box::new(usage));
        self
    }

    /// The same, with a time to come back.
    #[must_use]
    pub fn retry_after(mut self, after: Option<Duration>) -> Self {
        self.retry_after = after;
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_own_mistakes_never_fail_over() {
        let eager = Policy { failover_on_auth: true, failover_on_moderation: true };
        assert_eq!(FaultKind::BadRequest.verdict(eager), Verdict::Stop);
        assert_eq!(FaultKind::Auth.verdict(Policy::default()), Verdict::Stop);
        assert_eq!(FaultKind::Auth.verdict(eager), Verdict::TryNext);
        assert_eq!(FaultKind::RateLimited.verdict(Policy::default()), Verdict::WaitThenRetry);
        assert_eq!(FaultKind::Empty.verdict(Policy::default()), Verdict::TryNext);
    }

    #[test]
    fn messages_are_bounded_on_a_character() {
        assert_eq!(Fault::new(FaultKind::Empty, "ü".repeat(5_000)).message.chars().count(), 1_001);
    }
}
