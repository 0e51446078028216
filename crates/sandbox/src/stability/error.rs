//! Stability's error envelope.

use super::super::identity::fresh_hex;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// An error answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    status: StatusCode,
    name: &'static str,
    errors: Vec<String>,
}

impl Refusal {
    pub(super) fn bad(error: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, name: "bad_request", errors: vec![error.into()] }
    }

    pub(super) fn moderated() -> Self {
        let error = "Your request was flagged by our content moderation system, as a result your request was denied and \
                     you were not charged.";
        Self { status: StatusCode::FORBIDDEN, name: "content_moderation", errors: vec![error.to_owned()] }
    }

    /// What the service says with that status.
    pub(super) fn of_status(status: u16) -> Self {
        let (name, error) = match status {
            401 => ("unauthorized", "authorization: invalid or missing header value"),
            402 => ("payment_required", "You lack sufficient credits to make this request."),
            403 => ("forbidden", "You lack the necessary permissions to perform this action."),
            404 => ("not_found", "The resource you requested was not found."),
            413 => ("payload_too_large", "The request was larger than 10 MiB."),
            422 => ("unprocessable_entity", "The request was well-formed, but rejected."),
            429 => ("rate_limit_exceeded", "You have exceeded the rate limit of 150 requests within 10 seconds."),
            _ if status >= 500 => ("internal_error", "An unexpected server error has occurred."),
            _ => ("bad_request", "The request could not be processed."),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, name, errors: vec![error.to_owned()] }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(json!({"id": fresh_hex(), "name": self.name, "errors": self.errors}))).into_response()
    }
}
