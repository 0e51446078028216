//! What a caller is told when something goes wrong. No HTTP here: `api/error.rs` alone knows statuses and envelopes.

use crate::catalog::UnknownModel;
use std::fmt;
use std::time::Duration;

/// The kinds of refusal in the public contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Missing, unknown, expired or revoked key.
    Authentication,
    /// A good key that may not do this.
    Forbidden,
    /// The balance or budget does not cover the estimate.
    InsufficientBalance,
    /// A parameter is missing, malformed or out of range.
    InvalidRequest,
    /// The prompt, an input or the output was refused by moderation.
    ContentPolicy,
    /// No model of that name.
    ModelNotFound,
    /// The model exists and cannot be used (retired, or no provider is configured for it).
    ModelDisabled,
    /// The idempotency key belongs to another request.
    Conflict,
    /// No such path or record.
    NotFound,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// The body is larger than the limit.
    TooLarge,
    /// The body is not in a format that the endpoint reads.
    UnsupportedMedia,
    /// Too many requests.
    RateLimited,
    /// Every route failed.
    Exhausted,
    /// The one route that was asked for failed.
    Upstream,
    /// The caller's deadline passed.
    Timeout,
    /// The first request with this idempotency key broke off, and what it bought is not known here.
    Interrupted,
    /// We cannot serve now: the log cannot be written, or we are shutting down. Nothing was bought.
    Unavailable,
    /// The caller hung up before the end.
    Cancelled,
    /// A fault of ours.
    Internal,
}

impl ErrorKind {
    /// The `code` of the envelope.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Authentication => "AUTHENTICATION_FAILED",
            Self::Forbidden => "FORBIDDEN",
            Self::InsufficientBalance => "INSUFFICIENT_BALANCE",
            Self::InvalidRequest => "INVALID_REQUEST",
            Self::ContentPolicy => "CONTENT_POLICY_VIOLATION",
            Self::ModelNotFound => "MODEL_NOT_FOUND",
            Self::ModelDisabled => "MODEL_DISABLED",
            Self::Conflict => "IDEMPOTENCY_CONFLICT",
            Self::NotFound => "NOT_FOUND",
            Self::MethodNotAllowed => "METHOD_NOT_ALLOWED",
            Self::TooLarge => "REQUEST_TOO_LARGE",
            Self::UnsupportedMedia => "UNSUPPORTED_MEDIA_TYPE",
            Self::RateLimited => "RATE_LIMITED",
            Self::Exhausted => "ALL_PROVIDERS_EXHAUSTED",
            Self::Upstream => "UPSTREAM_ERROR",
            Self::Timeout => "TIMEOUT",
            Self::Interrupted => "INTERRUPTED",
            Self::Unavailable => "SERVICE_UNAVAILABLE",
            Self::Cancelled => "CANCELLED",
            Self::Internal => "INTERNAL_ERROR",
        }
    }
}

/// A refusal: what is wrong, which field, and when to come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What sort of refusal.
    pub kind: ErrorKind,
    /// For the person who sees it: what is wrong and what would be right.
    pub message: String,
    /// The parameter at fault, by its public name.
    pub param: Option<String>,
    /// When trying again makes sense.
    pub retry_after: Option<Duration>,
    /// The provider's status when the refusal is a provider's own (a forced route).
    pub upstream_status: Option<u16>,
}

impl Error {
    /// A refusal of that kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), param: None, retry_after: None, upstream_status: None }
    }

    /// A bad parameter.
    pub fn invalid(param: &str, message: impl Into<String>) -> Self {
        Self { param: Some(param.to_owned()), ..Self::new(ErrorKind::InvalidRequest, message) }
    }

    /// A fault of ours; the cause goes to the log, not to the caller.
    pub fn internal(cause: impl fmt::Display) -> Self {
        tracing::error!(cause = %cause, "internal error");
        Self::new(ErrorKind::Internal, "Something went wrong on our side. The request id identifies it in the log.")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<UnknownModel> for Error {
    fn from(unknown: UnknownModel) -> Self {
        Self { param: Some("model".to_owned()), ..Self::new(ErrorKind::ModelNotFound, unknown.message) }
    }
}
