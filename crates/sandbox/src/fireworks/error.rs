//! Fireworks' error envelope.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// An error answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::of_status(400) }
    }

    /// What the service says with that status.
    pub(super) fn of_status(status: u16) -> Self {
        let (code, message) = match status {
            401 => ("UNAUTHORIZED", "The API key you provided is invalid."),
            404 => ("NOT_FOUND", "Model not found, inaccessible, and/or not deployed"),
            412 => (
                "PRECONDITION_FAILED",
                "Account sandbox is suspended, possibly due to reaching the monthly spending limit or failure to pay \
                 past invoices.",
            ),
            429 => ("RATE_LIMITED", "Too many requests, please try again later."),
            503 => ("SERVICE_UNAVAILABLE", "Service unavailable, please try again later."),
            _ if status >= 500 => ("INTERNAL", "Internal server error"),
            _ => ("INVALID_ARGUMENT", "The request could not be processed."),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, code, message: message.to_owned() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let error = json!({"object": "error", "type": "error", "code": self.code, "message": self.message});
        (self.status, Json(json!({"error": error}))).into_response()
    }
}
