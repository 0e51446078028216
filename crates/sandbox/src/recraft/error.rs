//! Recraft's errors: plain text for keys and paths, JSON for the rest.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// An error answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    status: StatusCode,
    /// None: the message is the whole body.
    code: Option<&'static str>,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, code: Option<&'static str>, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Some("invalid_request_parameter"), message)
    }

    pub(super) fn no_key() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, None, "request unauthorized")
    }

    pub(super) fn no_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, None, "404 page not found")
    }

    pub(super) fn no_money() -> Self {
        Self::new(StatusCode::PAYMENT_REQUIRED, Some("not_enough_credits"), "not enough credits")
    }

    pub(super) fn no_model(model: &str) -> Self {
        Self::bad(format!("model: unknown model '{model}'"))
    }

    pub(super) fn moderated() -> Self {
        Self::new(StatusCode::BAD_REQUEST, Some("prompt_moderation"), "the prompt was rejected by moderation")
    }

    /// What the service says with that status.
    pub(super) fn of_status(status: u16) -> Self {
        let (code, message) = match status {
            401 => return Self::no_key(),
            402 => return Self::no_money(),
            404 => return Self::no_path(),
            429 => ("rate_limit_exceeded", "too many requests"),
            _ if status >= 500 => ("internal_error", "internal server error"),
            _ => ("invalid_request_parameter", "the request could not be processed"),
        };
        Self::new(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), Some(code), message)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self.code {
            Some(code) => (self.status, Json(json!({"code": code, "message": self.message}))).into_response(),
            None => (self.status, self.message).into_response(),
        }
    }
}
