//! The only place that turns an [`Error`] into a status, headers and the error envelope.

use crate::error::{Error, ErrorKind};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::any::Any;
use std::time::Duration;

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = (status(&self), axum::Json(error_json(&self))).into_response();
        if let Some(after) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds(after));
        }
        response
    }
}

/// The body of an error, also in event streams.
pub(super) fn error_json(error: &Error) -> Value {
    json!({"error": {
        "message": error.message, "type": error_type(error.kind), "code": error.kind.code(), "param": error.param,
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
        // A forced route passes the provider's status on, but never a 401: the caller's key is good.
        ErrorKind::Upstream => match error.upstream_status {
            Some(429) => StatusCode::TOO_MANY_REQUESTS,
            Some(503) => StatusCode::SERVICE_UNAVAILABLE,
            Some(408 | 504 | 524) => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        },
        // The caller is gone; in logs and metrics 499 stands for a client that closed its request.
        ErrorKind::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        ErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Internal | ErrorKind::Interrupted => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

const fn error_type(kind: ErrorKind) -> &'static str {
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

pub(super) async fn path_not_found(method: Method, uri: Uri) -> Error {
    let path: String = uri.path().chars().take(200).collect();
    Error::new(ErrorKind::NotFound, format!("There is no endpoint {method} {path}."))
}

pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> Error {
    let path: String = uri.path().chars().take(200).collect();
    Error::new(ErrorKind::MethodNotAllowed, format!("{path} does not support {method}."))
}

/// A panic gets the same envelope as every other error.
#[expect(clippy::needless_pass_by_value, reason = "the signature that the layer calls")]
pub(super) fn after_panic(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    Error::internal(text.unwrap_or("a handler panicked")).into_response()
}
