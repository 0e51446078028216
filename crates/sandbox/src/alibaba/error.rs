//! `DashScope`'s flat error body and the refusals that the simulator knows.

use super::super::identity::fresh_uuid;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// An error answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// A parameter that is missing or has a value that it cannot have.
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidParameter", message)
    }

    /// A model asked for at an endpoint that does not serve it.
    pub(super) fn wrong_endpoint() -> Self {
        Self::bad("url error, please check url!")
    }

    pub(super) fn bad_link() -> Self {
        let message = "The provided URL does not appear to be valid. Ensure it is correctly formatted.";
        Self::new(StatusCode::BAD_REQUEST, "InvalidURL", message)
    }

    pub(super) fn no_key() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "InvalidApiKey", "No API-key provided.")
    }

    pub(super) fn wrong_key() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "InvalidApiKey", "Invalid API-key provided.")
    }

    pub(super) fn no_money() -> Self {
        let message = "Access denied, please make sure your account is in good standing.";
        Self::new(StatusCode::BAD_REQUEST, "Arrearage", message)
    }

    pub(super) fn no_model() -> Self {
        Self::new(StatusCode::NOT_FOUND, "ModelNotFound", "Model not exist.")
    }

    /// The header that makes a task is missing, or stands where none is made.
    pub(super) fn wrong_manner(tasks_only: bool) -> Self {
        let manner = if tasks_only { "synchronous" } else { "asynchronous" };
        let message = format!("current user api does not support {manner} calls.");
        Self::new(StatusCode::FORBIDDEN, "AccessDenied", message)
    }

    pub(super) fn not_pending() -> Self {
        let message = "Failed to cancel the task, please confirm if the task is in PENDING status.";
        Self::new(StatusCode::BAD_REQUEST, "UnsupportedOperation", message)
    }

    pub(super) fn moderated() -> Self {
        let message = "Input data may contain inappropriate content.";
        Self::new(StatusCode::BAD_REQUEST, "DataInspectionFailed", message)
    }

    pub(super) fn failed() -> Self {
        let message = "An internal error has occured during computation, please try this model later.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError.Algo", message)
    }

    /// What `DashScope` says with that status.
    pub(super) fn of_status(status: u16) -> Self {
        let (code, message) = match status {
            401 => return Self::wrong_key(),
            403 => ("AccessDenied", "Access denied."),
            404 => return Self::no_model(),
            429 => ("Throttling.RateQuota", "Requests rate limit exceeded, please try again later."),
            503 => ("ServiceUnavailable", "The service is unavailable, please try again later."),
            _ if status >= 500 => ("InternalError", "An internal error has occured, please try again later."),
            _ => ("InvalidParameter", "The request is not valid."),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::new(status, code, message)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({"request_id": fresh_uuid(), "code": self.code, "message": self.message});
        (self.status, Json(body)).into_response()
    }
}
