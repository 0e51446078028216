//! Replicate's errors: problem documents.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// An error answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    body: Value,
}

/// One complaint about the input: the field, the kind and the words.
pub(super) type Complaint = (String, &'static str, String);

impl Refusal {
    fn new(status: StatusCode, title: Option<&str>, detail: &str) -> Self {
        let mut body = json!({});
        if let Some(title) = title {
            body["title"] = title.into();
        }
        body["detail"] = detail.into();
        body["status"] = status.as_u16().into();
        Self { status, body }
    }

    pub(super) fn wrong_key() -> Self {
        let text = "You did not pass a valid authentication token";
        Self::new(StatusCode::UNAUTHORIZED, Some("Unauthenticated"), text)
    }

    pub(super) fn no_money() -> Self {
        let text = "You have insufficient credit to run this model. Go to https://replicate.com/account/billing to purchase credit.";
        Self::new(StatusCode::PAYMENT_REQUIRED, Some("Insufficient credit"), text)
    }

    pub(super) fn nothing() -> Self {
        Self::new(StatusCode::NOT_FOUND, None, "The requested resource could not be found.")
    }

    pub(super) fn not_json() -> Self {
        Self::new(StatusCode::BAD_REQUEST, None, "The request body is not valid JSON.")
    }

    pub(super) fn no_input() -> Self {
        Self::invalid(vec![("input".to_owned(), "required", "input is required".to_owned())])
    }

    /// Lines for people, and a list whose shape is not documented.
    pub(super) fn invalid(complaints: Vec<Complaint>) -> Self {
        let lines: Vec<String> = complaints.iter().map(|(_, _, words)| format!("- {words}")).collect();
        let title = Some("Input validation failed");
        let mut refusal = Self::new(StatusCode::UNPROCESSABLE_ENTITY, title, &lines.join("\n"));
        let list = complaints
            .into_iter()
            .map(|(field, kind, words)| json!({"type": kind, "field": field, "description": words}));
        refusal.body["invalid_fields"] = list.collect();
        refusal
    }

    fn throttled() -> Self {
        let text = "Request was throttled. Your rate limit resets in ~30s.";
        let mut refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, None, text);
        refusal.body["retry_after"] = 9.into();
        refusal
    }

    /// What the service says with that status.
    pub(super) fn of_status(status: u16) -> Self {
        match status {
            401 | 403 => Self::wrong_key(),
            402 => Self::no_money(),
            404 => Self::nothing(),
            422 => Self::no_input(),
            429 => Self::throttled(),
            _ => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                Self::new(status, status.canonical_reason(), "Something went wrong. Please try again later.")
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}
