//! BFL's errors: a text in `detail`, or pydantic's list of complaints.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// An error answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    detail: Value,
}

/// One complaint about a field.
pub(super) fn complaint(field: &str, kind: &str, message: &str) -> Value {
    json!({"loc": ["body", field], "msg": message, "type": kind})
}

impl Refusal {
    fn new(status: StatusCode, detail: &str) -> Self {
        Self { status, detail: detail.into() }
    }

    pub(super) fn no_key() -> Self {
        Self::new(StatusCode::FORBIDDEN, "Not authenticated")
    }

    pub(super) fn wrong_key() -> Self {
        Self::new(StatusCode::FORBIDDEN, "Invalid API key format")
    }

    pub(super) fn no_money() -> Self {
        Self::new(StatusCode::PAYMENT_REQUIRED, "Insufficient credits")
    }

    pub(super) fn no_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not Found")
    }

    pub(super) fn expired() -> Self {
        Self::new(StatusCode::FORBIDDEN, "The link has expired")
    }

    pub(super) fn broken() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
    }

    pub(super) fn not_json() -> Self {
        let complaint = json!({"loc": ["body", 0], "msg": "JSON decode error", "type": "json_invalid"});
        Self::invalid(vec![complaint])
    }

    /// What the models themselves find wrong with a size.
    pub(super) fn bad_size(detail: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(super) fn invalid(complaints: Vec<Value>) -> Self {
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, detail: complaints.into() }
    }

    /// What the service says with that status.
    pub(super) fn of_status(status: u16) -> Self {
        let text = match status {
            401 | 403 => return Self::no_key(),
            402 => return Self::no_money(),
            404 => return Self::no_path(),
            422 => return Self::invalid(vec![complaint("prompt", "value_error", "Value error")]),
            429 => "Rate limit exceeded: too many active tasks",
            503 => "Service temporarily unavailable",
            _ if status >= 500 => "Internal Server Error",
            _ => "Bad Request",
        };
        Self::new(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), text)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(json!({"detail": self.detail}))).into_response()
    }
}
