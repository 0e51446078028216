//! Together's error envelope.

use super::super::identity::fresh_hex;
use super::super::mischief;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// An error answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    status: StatusCode,
    kind: &'static str,
    param: Option<String>,
    code: Option<&'static str>,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, kind: &'static str, code: Option<&'static str>, message: impl Into<String>) -> Self {
        Self { status, kind, param: None, code, message: message.into() }
    }

    pub(super) fn bad(param: Option<&str>, message: impl Into<String>) -> Self {
        let refusal = Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", None, message);
        Self { param: param.map(str::to_owned), ..refusal }
    }

    /// A parameter that the model does not have.
    pub(super) fn unknown(param: &str) -> Self {
        let text = format!("Invalid parameter detected. The parameter \"'{param}'\" is not recognized or supported.");
        Self::bad(None, text)
    }

    /// A parameter that other models have.
    pub(super) fn unsupported(param: &str) -> Self {
        let text =
            format!("Unsupported use of '{param}' parameter. This parameter is not supported for the selected model.");
        Self::bad(None, text)
    }

    pub(super) fn no_key() -> Self {
        Self { message: "Missing API key".to_owned(), ..Self::of_status(401) }
    }

    pub(super) fn no_model(model: &str) -> Self {
        let text = format!(
            "Unable to access model {model}. Please visit https://api.together.ai/models to view the list of supported \
             models."
        );
        Self::new(StatusCode::NOT_FOUND, "invalid_request_error", Some("model_not_available"), text)
    }

    /// The maker's moderation.
    pub(super) fn against_policy() -> Self {
        let text = "The request was rejected by the model provider's content policy.";
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", Some("content_policy_violation"), text)
    }

    /// What the service says with that status.
    pub(super) fn of_status(status: u16) -> Self {
        let asked = "invalid_request_error";
        let (kind, code, message) = match status {
            401 => (
                asked,
                Some("invalid_api_key"),
                "Invalid API key provided. You can find your API key at https://api.together.ai/settings/api-keys.",
            ),
            402 => ("credit_limit", None, "Credit limit exceeded"),
            404 => (asked, None, "The requested resource was not found."),
            422 => (asked, None, "The prompt was flagged by the safety checker."),
            429 => (
                "rate_limit",
                None,
                "Too many requests in a short window. Our rate limits are dynamic - they shift with live model \
                 capacity and your traffic shape, so steady traffic and exponential back-off help.",
            ),
            503 | 529 => ("service_unavailable", None, "The engine is overloaded. Please try again later."),
            _ if status >= 500 => ("server_error", None, "Internal server error"),
            _ => (asked, None, "The request could not be processed."),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::new(status, kind, code, message)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let error = json!({"message": self.message, "type": self.kind, "param": self.param, "code": self.code});
        let mut response = (self.status, Json(json!({"id": fresh_id(), "error": error}))).into_response();
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            for (name, value) in
                [("x-ratelimit-limit", "10"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1")]
            {
                mischief::put(&mut response, name, value);
            }
        }
        response
    }
}

/// The id of an answer: `oFuwv7Y-2kFHot-99170ebf9e84e0ce-SJC`.
pub(super) fn fresh_id() -> String {
    let hex = fresh_hex();
    format!("o{}-2kFHot-{}-SJC", &hex[..6], &hex[16..])
}
