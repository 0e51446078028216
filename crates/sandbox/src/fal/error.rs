//! fal's two shapes of error: models complain with an array in `detail`, the platform with a text and an `error_type`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// An error answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    detail: Value,
    kind: Option<&'static str>,
    retryable: bool,
}

/// One complaint of a model.
pub(super) fn complaint(field: &[&str], kind: &str, message: &str, context: &Value, input: &Value) -> Value {
    let place: Vec<&str> = std::iter::once("body").chain(field.iter().copied()).collect();
    let url = format!("https://docs.fal.ai/errors#{kind}");
    json!({"loc": place, "msg": message, "type": kind, "url": url, "ctx": context, "input": input})
}

impl Refusal {
    fn platform(status: StatusCode, detail: &str, kind: Option<&'static str>) -> Self {
        Self { status, detail: detail.into(), kind, retryable: status.is_server_error() }
    }

    fn model(status: StatusCode, complaints: Vec<Value>, retryable: bool) -> Self {
        Self { status, detail: complaints.into(), kind: None, retryable }
    }

    pub(super) fn no_key() -> Self {
        Self::platform(StatusCode::UNAUTHORIZED, "Authentication is required to access this application.", None)
    }

    pub(super) fn wrong_key() -> Self {
        Self::platform(StatusCode::UNAUTHORIZED, "No user found for Key ID and Secret", None)
    }

    pub(super) fn no_money() -> Self {
        let text = "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing.";
        Self::platform(StatusCode::FORBIDDEN, text, None)
    }

    pub(super) fn no_app(endpoint: &str) -> Self {
        Self::platform(StatusCode::NOT_FOUND, &format!("Application '{endpoint}' not found"), None)
    }

    pub(super) fn no_path() -> Self {
        Self::platform(StatusCode::NOT_FOUND, "Path not found", None)
    }

    pub(super) fn no_request() -> Self {
        Self::platform(StatusCode::NOT_FOUND, "Request not found", None)
    }

    pub(super) fn no_file() -> Self {
        Self::platform(StatusCode::NOT_FOUND, "File not found", None)
    }

    pub(super) fn not_json() -> Self {
        Self::platform(StatusCode::BAD_REQUEST, "Request body is not a JSON object", Some("bad_request"))
    }

    pub(super) fn unfinished() -> Self {
        Self::platform(StatusCode::BAD_REQUEST, "Request is still in progress", None)
    }

    pub(super) fn cancelled() -> Self {
        let status = StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST);
        Self::platform(status, "Request was cancelled by the client", Some("client_cancelled"))
    }

    pub(super) fn invalid(complaints: Vec<Value>) -> Self {
        Self::model(StatusCode::UNPROCESSABLE_ENTITY, complaints, false)
    }

    pub(super) fn moderated(prompt: &str) -> Self {
        let message = "The content could not be processed because it contained material flagged by a content checker.";
        Self::invalid(vec![complaint(&["prompt"], "content_policy_violation", message, &json!({}), &prompt.into())])
    }

    pub(super) fn failed() -> Self {
        let complaint = complaint(&[], "internal_server_error", "Internal server error", &json!({}), &json!({}));
        Self::model(StatusCode::INTERNAL_SERVER_ERROR, vec![complaint], true)
    }

    /// What the platform says with that status.
    pub(super) fn of_status(status: u16) -> Self {
        let (kind, text) = match status {
            401 => return Self::wrong_key(),
            403 => return Self::no_money(),
            422 => {
                let complaint = complaint(&[], "value_error", "Value error", &json!({}), &json!({}));
                return Self::invalid(vec![complaint]);
            }
            429 => ("concurrent_requests_limit", "Too many concurrent requests"),
            500 => ("internal_error", "Internal error"),
            502 => ("runner_incomplete_response", "The runner sent an incomplete response"),
            503 => ("runner_scheduling_failure", "No runner could be scheduled"),
            504 => ("request_timeout", "The request timed out"),
            _ if status >= 500 => ("runner_server_error", "The runner failed"),
            _ => ("bad_request", "The request could not be processed"),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self {
            retryable: status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error(),
            ..Self::platform(status, text, Some(kind))
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut body = json!({"detail": self.detail});
        let told = self.kind.or_else(|| (self.status.is_server_error()).then_some("internal_server_error"));
        if let Some(kind) = self.kind {
            body["error_type"] = kind.into();
        }
        let mut response = (self.status, Json(body)).into_response();
        if let Some(kind) = told {
            super::mischief::put(&mut response, "x-fal-error-type", kind);
        }
        if self.retryable {
            super::mischief::put(&mut response, "x-fal-retryable", "true");
        }
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            super::mischief::put(&mut response, "x-fal-needs-retry", "1");
        }
        response
    }
}
