//! Errors of the store, in words that are safe in a log: no password, no row, no secret.

use crate::error::{Error, ErrorKind};
use std::fmt;
use std::time::Duration;

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database could not be opened: at start, so the text is for the operator.
    #[error("cannot open the database {database}: {cause}. {advice}")]
    Open {
        /// Which database, without its password.
        database: String,
        /// What the driver or the file system said.
        cause: String,
        /// What to do about it.
        advice: String,
    },
    /// A query failed.
    #[error("the database failed: {0}")]
    Query(#[from] sqlx::Error),
    /// The database did not answer in time, or is taken for unavailable.
    #[error("the database is unavailable")]
    Unavailable,
    /// A row of the request log was refused, or could not be written in the time that its caller has.
    #[error("the request log could not be written: {0}")]
    Unwritten(String),
    /// More rows wait to be written than the queue holds.
    #[error("the request log is behind: its queue is full")]
    Full,
    /// Balance, budget or a limit of the key forbids it.
    #[error("{0}")]
    Denied(Denial),
    /// The journal's directory cannot be used: at start, so the text is for the operator.
    #[error(
        "cannot use {0} for the journal: {1}. Make it writable, or set database.journal (LUMENFALL_DATABASE__JOURNAL)"
    )]
    Journal(String, std::io::Error),
    /// The store is closing or closed.
    #[error("the request log is closed")]
    Closed,
    /// A stored value is not one that this version writes.
    #[error("the database holds a {what} that this version does not know: {value}")]
    Unknown {
        /// What sort of value.
        what: &'static str,
        /// The value itself.
        value: String,
    },
    /// A key was asked for an account that does not exist.
    #[error("there is no account {0:?}")]
    UnknownAccount(String),
    /// A key that an operator configured does not have the shape of a key.
    #[error(
        "the key does not have the shape lmnfl_<id>.<secret>: an id of 1 to 64 letters, digits, `_` or `-`, a dot, \
         a secret of printable characters without spaces, 200 characters at most together"
    )]
    KeyShape,
}

/// Why a request is not admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// The account's balance does not cover the estimate.
    Balance,
    /// A budget of the key does not cover the estimate: `total`, `daily` or `monthly`.
    Budget(&'static str),
    /// The key's requests of this minute are used up.
    Rate {
        /// Requests a minute.
        limit: i64,
        /// Until the next minute.
        wait: Duration,
    },
    /// The key has as many requests running as it may.
    Concurrency(i64),
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Balance => f.write_str("Insufficient balance"),
            Self::Budget(which) => write!(f, "The key's {which} budget does not cover this request."),
            Self::Rate { limit, .. } => write!(f, "This key may begin {limit} requests a minute."),
            Self::Concurrency(limit) => write!(f, "This key may run {limit} requests at once."),
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        if let StoreError::UnknownAccount(_) = error {
            return Self::invalid("account", error.to_string());
        }
        if let StoreError::Denied(denial) = error {
            return denied(&denial);
        }
        tracing::error!(cause = %error, "the store failed");
        Self::new(ErrorKind::Unavailable, "The gateway's database is not reachable. Try again shortly.")
    }
}

fn denied(denial: &Denial) -> Error {
    let kind = match denial {
        Denial::Balance | Denial::Budget(_) => ErrorKind::InsufficientBalance,
        Denial::Rate { .. } | Denial::Concurrency(_) => ErrorKind::RateLimited,
    };
    let retry_after = match denial {
        Denial::Rate { wait, .. } => Some(*wait),
        Denial::Concurrency(_) => Some(Duration::from_secs(1)),
        Denial::Balance | Denial::Budget(_) => None,
    };
    Error { retry_after, ..Error::new(kind, denial.to_string()) }
}

/// Whether the database refused what a statement carried (a value too large, a broken constraint), so that the same
/// rows would be refused again. Everything else may pass: connections, restarts, locks, full disks.
pub(crate) fn is_refusal(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Encode(_) => true,
        sqlx::Error::Database(cause) => cause.code().is_some_and(|code| match code.len() {
            // SQLSTATE classes: data exception, integrity constraint violation, program limit exceeded.
            5 => ["22", "23", "54"].iter().any(|class| code.starts_with(class)),
            // SQLite's low byte: TOOBIG, CONSTRAINT, MISMATCH, RANGE.
            _ => code.parse::<i32>().is_ok_and(|number| [18, 19, 20, 25].contains(&(number & 0xff))),
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_learn_nothing_of_the_inside() {
        let error = Error::from(StoreError::Query(sqlx::Error::PoolTimedOut));
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert!(!error.message.contains("pool"));
        assert_eq!(Error::from(StoreError::UnknownAccount("acme".into())).kind, ErrorKind::InvalidRequest);
    }

    #[test]
    fn only_refused_values_are_refusals() {
        assert!(!is_refusal(&sqlx::Error::PoolTimedOut));
        assert!(!is_refusal(&sqlx::Error::WorkerCrashed));
        assert!(is_refusal(&sqlx::Error::Encode("too long".into())));
    }
}
