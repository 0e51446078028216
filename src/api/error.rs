//! The only place that turns an [`Error`] into a status, headers and the envelope of the contract.

use crate::error::{Error, ErrorKind};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::any::Any;
use std::time::Duration;

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = (status(&self), axum::Json(envelope(&self))).into_response();
        if let Some(after) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds(after));
        }
        response
    }
}

/// The body of an error, wherever it is told.
pub(super) fn envelope(error: &Error) -> Value {
    json!({"error": {
        "message": error.message, "type": kind_type(error.kind), "code": error.kind.code(), "param": error.param,
    }})
}

/// Whole seconds, at least one.
fn seconds(after: Duration) -> HeaderValue {
    let whole = after.as_secs() + u64::from(after.subsec_nanos() > 0);
    HeaderValue::from(whole.max(1))
}

fn status(error: &Error) -> StatusCode {
    match error.kind {
        ErrorKind::Authentication => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::InsufficientBalance => StatusCode::PAYMENT_REQUIRED,
        ErrorKind::InvalidRequest | ErrorKind::ContentPolicy => StatusCode::BAD_REQUEST,
        ErrorKind::ModelNotFound | ErrorKind::ModelDisabled | ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::UnsupportedMedia => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ErrorKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Exhausted => StatusCode::BAD_GATEWAY,
        // A forced route shows the provider's own trouble, but never a 401: the caller's key is good.
        ErrorKind::Upstream => match error.upstream_status {
            Some(429) => StatusCode::TOO_MANY_REQUESTS,
            Some(503) => StatusCode::SERVICE_UNAVAILABLE,
            Some(408 | 504 | 524) => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        },
        // Nobody reads it; logs and metrics know 499 as a caller who left.
        ErrorKind::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        ErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Internal | ErrorKind::Interrupted => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

const fn kind_type(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Authentication => "authentication_error",
        ErrorKind::Forbidden => "permission_error",
        ErrorKind::InsufficientBalance => "billing_error",
        ErrorKind::RateLimited => "rate_limit_error",
        ErrorKind::Exhausted | ErrorKind::Upstream | ErrorKind::Timeout => "upstream_error",
        ErrorKind::Unavailable | ErrorKind::Internal | ErrorKind::Interrupted => "server_error",
        _ => "invalid_request_error",
    }
}

/// No such path.
pub(super) async fn no_such_path(method: Method, uri: Uri) -> Error {
    let path: String = uri.path().chars().take(200).collect();
    Error::new(ErrorKind::NotFound, format!("There is nothing at {method} {path}."))
}

/// The path exists, the method does not.
pub(super) async fn no_such_method(method: Method, uri: Uri) -> Error {
    let path: String = uri.path().chars().take(200).collect();
    Error::new(ErrorKind::MethodNotAllowed, format!("{path} does not answer {method}."))
}

/// A panic is a fault of ours, in the same envelope as every other.
#[expect(clippy::needless_pass_by_value, reason = "the signature that the layer calls")]
pub(super) fn after_panic(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    Error::internal(text.unwrap_or("a handler panicked")).into_response()
}
