//! OpenRouter's error envelope: a number that repeats the status, a text, and details by kind.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// An error answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    code: u16,
    text: String,
    metadata: Value,
}

impl Refusal {
    fn new(code: u16, text: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, code, text: text.into(), metadata: Value::Null }
    }

    pub(super) fn bad(text: impl Into<String>) -> Self {
        Self::new(400, text)
    }

    pub(super) fn no_key() -> Self {
        Self::new(401, "No auth credentials found")
    }

    pub(super) fn wrong_key() -> Self {
        Self::new(401, "User not found.")
    }

    pub(super) fn no_money() -> Self {
        Self::new(402, "Insufficient credits. Add more using https://openrouter.ai/settings/credits")
    }

    pub(super) fn no_model(model: &str) -> Self {
        Self::new(404, format!("No endpoints found for {model}."))
    }

    pub(super) fn not_found(what: &str) -> Self {
        Self::new(404, format!("{what} not found"))
    }

    /// Refused by a guard, before anything was made.
    pub(super) fn moderated(prompt: &str, model: &str) -> Self {
        let shown: String = prompt.chars().take(100).collect();
        let maker = model.split('/').next().unwrap_or_default();
        let metadata =
            json!({"reasons": ["violence"], "flagged_input": shown, "provider_name": maker, "model_slug": model});
        let text = format!("{model} requires moderation on {maker}. Your input was flagged for \"violence\".");
        Self { metadata, ..Self::new(403, text) }
    }

    /// A failure of the maker after generation began: it comes with a 200.
    pub(super) fn late(model: &str) -> Self {
        let maker = model.split('/').next().unwrap_or_default();
        let metadata = json!({"error_type": "server", "provider_name": maker, "raw": "internal error"});
        Self { status: StatusCode::OK, metadata, ..Self::new(502, "Provider returned error") }
    }

    /// What OpenRouter says with that status.
    pub(super) fn of_status(status: u16) -> Self {
        let text = match status {
            401 => return Self::wrong_key(),
            402 => return Self::no_money(),
            403 => return Self::moderated("", "this/model"),
            404 => return Self::not_found("Model"),
            408 | 524 => "The request timed out",
            413 => "The request is too large",
            429 => "Rate limit exceeded",
            502 => "Provider returned error",
            503 => "No available model provider meets your routing requirements",
            529 => "The provider is overloaded",
            _ if status >= 500 => "Internal Server Error",
            _ => "The request is not valid",
        };
        Self::new(status, text)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut error = json!({"code": self.code, "message": self.text});
        if !self.metadata.is_null() {
            error["metadata"] = self.metadata;
        }
        (self.status, Json(json!({"error": error, "user_id": "user_sandbox"}))).into_response()
    }
}
