//! `ModelArk`'s error envelope and the refusals that the simulator knows.

use super::super::identity::fresh_hex;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// An error answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    message: String,
    param: String,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), param: String::new() }
    }

    /// A value that a parameter cannot have.
    pub(super) fn bad(param: &str, why: &str) -> Self {
        let message = format!("The parameter `{param}` specified in the request is not valid: {why}.");
        Self { param: param.to_owned(), ..Self::new(StatusCode::BAD_REQUEST, "InvalidParameter", message) }
    }

    pub(super) fn missing(param: &str) -> Self {
        let message = format!("The request failed because it is missing `{param}` parameter.");
        Self { param: param.to_owned(), ..Self::new(StatusCode::BAD_REQUEST, "MissingParameter", message) }
    }

    pub(super) fn not_json() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidParameter", "The request body is not valid JSON.")
    }

    pub(super) fn no_key() -> Self {
        let message = "the API key or AK/SK in the request is missing or invalid.";
        Self::new(StatusCode::UNAUTHORIZED, "AuthenticationError", message)
    }

    pub(super) fn wrong_key() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "AuthenticationError", "The API key in the request is invalid.")
    }

    pub(super) fn no_money() -> Self {
        let message = "The request failed because your account has an overdue balance.";
        Self::new(StatusCode::FORBIDDEN, "AccountOverdueError", message)
    }

    pub(super) fn no_model(model: &str) -> Self {
        let message = format!("The model or endpoint {model} does not exist or you do not have access to it.");
        Self::new(StatusCode::NOT_FOUND, "InvalidEndpointOrModel.NotFound", message)
    }

    pub(super) fn no_task(id: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "ResourceNotFound", format!("The task {id} does not exist."))
    }

    pub(super) fn no_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "ResourceNotFound", "The requested resource does not exist.")
    }

    pub(super) fn task_runs() -> Self {
        Self::new(StatusCode::CONFLICT, "InvalidAction.RunningTaskDeletion", "A running task cannot be cancelled.")
    }

    pub(super) fn moderated() -> Self {
        let message = "The request failed because the input text may contain sensitive information.";
        Self::new(StatusCode::BAD_REQUEST, "InputTextSensitiveContentDetected", message)
    }

    /// What `ModelArk` says with that status.
    pub(super) fn of_status(status: u16) -> Self {
        let (code, message) = match status {
            401 => return Self::wrong_key(),
            403 => ("AccessDenied", "Access to the requested resource is denied."),
            404 => return Self::no_model("requested"),
            429 => (
                "ModelAccountIpmRateLimitExceeded",
                "The request failed because the images per minute limit of this model has been exceeded.",
            ),
            _ if status >= 500 => ("InternalServerError", "The service encountered an unexpected internal error."),
            _ => ("InvalidParameter", "The request is not valid."),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::new(status, code, message)
    }

    /// The class that the envelope names beside the code.
    fn class(&self) -> &'static str {
        match self.status.as_u16() {
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "NotFound",
            409 => "Conflict",
            429 => "TooManyRequests",
            500..=599 => "InternalServerError",
            _ => "BadRequest",
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let message = format!("{} Request id: {}", self.message, fresh_hex());
        let error = json!({"code": self.code, "message": message, "param": self.param, "type": self.class()});
        (self.status, Json(json!({"error": error}))).into_response()
    }
}
