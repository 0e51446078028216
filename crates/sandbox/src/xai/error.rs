//! xAI's error envelopes: a code beside a text for most, a bare text for bodies that do not fit.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

const INVALID: &str = "Client specified an invalid argument";

/// An error answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    code: Option<&'static str>,
    text: String,
}

impl Refusal {
    fn new(status: u16, code: &'static str, text: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, code: Some(code), text: text.into() }
    }

    /// An argument that is wrong.
    pub(super) fn invalid(text: impl Into<String>) -> Self {
        Self::new(400, INVALID, text)
    }

    /// An argument that nobody knows.
    pub(super) fn unsupported(name: &str) -> Self {
        Self::invalid(format!("Argument not supported: {name}"))
    }

    /// A body that is not the one wanted.
    pub(super) fn misshapen(text: &str) -> Self {
        let text = format!("Failed to deserialize the JSON body into the target type: {text}");
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, code: None, text }
    }

    /// No JSON at all.
    pub(super) fn no_json() -> Self {
        let text = "Expected request with `Content-Type: application/json`".to_owned();
        Self { status: StatusCode::UNSUPPORTED_MEDIA_TYPE, code: None, text }
    }

    pub(super) fn no_key() -> Self {
        let text = "No authorization header provided. Pass your key as `Authorization: Bearer <key>`.";
        Self::new(401, "Unauthenticated", text)
    }

    pub(super) fn wrong_key() -> Self {
        Self::invalid("Incorrect API key provided. You can obtain an API key from https://console.x.ai.")
    }

    pub(super) fn no_money() -> Self {
        let text = "Your team 5f0c1c0e has either used all available credits or reached its monthly spending limit. To \
                    continue making API requests, please purchase more credits or raise your spending limit.";
        Self::new(429, "Some resource has been exhausted", text)
    }

    pub(super) fn no_model(model: &str) -> Self {
        let text = format!("The model {model} does not exist or your team does not have access to it.");
        Self::new(404, "Some requested entity was not found", text)
    }

    pub(super) fn no_path() -> Self {
        Self::new(404, "Some requested entity was not found", "Not found")
    }

    /// What xAI says with that status.
    pub(super) fn of_status(status: u16) -> Self {
        match status {
            401 => Self::no_key(),
            403 => {
                let text = "Your API key or team does not have permission to use this endpoint.";
                Self::new(403, "The caller does not have permission to execute the specified operation", text)
            }
            404 => Self::no_model("of this request"),
            429 => {
                let text = "Too many requests for this model: the limit of requests per second is reached.";
                Self::new(429, "Some resource has been exhausted", text)
            }
            503 => Self::new(503, "The service is currently unavailable", "The model is at capacity, try again later."),
            _ if status >= 500 => Self::new(status, "Internal error", "The service encountered an error."),
            _ => Self { status: Self::new(status, INVALID, "").status, ..Self::invalid("The request is not valid.") },
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = match self.code {
            Some(code) => json!({"code": code, "error": self.text}),
            None => json!({"error": self.text}),
        };
        (self.status, Json(body)).into_response()
    }
}
