//! Google's error envelope (<https://ai.google.dev/api/generate-content>), on either host, and the refusals that the
//! simulators know. Wordings are those of recorded answers where there are any.

use super::Host;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// An error answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    code: &'static str,
    message: String,
    details: Vec<Value>,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), details: Vec::new() }
    }

    fn because(mut self, reason: &str, service: &str) -> Self {
        let metadata = json!({"service": service});
        self.details.push(json!({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason,
            "domain": "googleapis.com", "metadata": metadata}));
        self
    }

    /// The same, with the time after which Google wants to be asked again. It is in the body, not in a header.
    pub(crate) fn after(mut self, seconds: Option<u64>) -> Self {
        self.details.extend(seconds.map(
            |seconds| json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": format!("{seconds}s")}),
        ));
        self
    }

    /// A request that is wrong.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", message)
    }

    /// A field that Google does not know, at a place in the body.
    pub(crate) fn unknown(name: &str, place: &str) -> Self {
        let place = if place.is_empty() { String::new() } else { format!(" at '{place}'") };
        Self::invalid(format!("Invalid JSON payload received. Unknown name \"{name}\"{place}: Cannot find field."))
    }

    pub(crate) fn no_key(host: Host) -> Self {
        match host {
            Host::Gemini => Self::new(
                StatusCode::FORBIDDEN,
                "PERMISSION_DENIED",
                "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or \
                 other form of API consumer identity to call this API.",
            ),
            Host::Vertex => Self::new(
                StatusCode::UNAUTHORIZED,
                "UNAUTHENTICATED",
                "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie or \
                 other valid authentication credential.",
            )
            .because("CREDENTIALS_MISSING", "aiplatform.googleapis.com"),
        }
    }

    pub(crate) fn wrong_key(host: Host) -> Self {
        match host {
            Host::Gemini => Self::invalid("API key not valid. Please pass a valid API key.")
                .because("API_KEY_INVALID", "generativelanguage.googleapis.com"),
            Host::Vertex => Self::new(
                StatusCode::UNAUTHORIZED,
                "UNAUTHENTICATED",
                "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other \
                 valid authentication credential.",
            )
            .because("ACCESS_TOKEN_TYPE_UNSUPPORTED", "aiplatform.googleapis.com"),
        }
    }

    pub(crate) fn no_money(host: Host) -> Self {
        match host {
            Host::Gemini => Self::new(
                StatusCode::BAD_REQUEST,
                "FAILED_PRECONDITION",
                "Gemini API free tier is not available in your country. Please enable billing on your project in Google \
                 AI Studio.",
            ),
            Host::Vertex => Self::new(
                StatusCode::FORBIDDEN,
                "PERMISSION_DENIED",
                "This API method requires billing to be enabled. Please enable billing on the project and then retry.",
            )
            .because("BILLING_DISABLED", "aiplatform.googleapis.com"),
        }
    }

    pub(crate) fn no_model(host: Host, model: &str, method: &str) -> Self {
        let message = match host {
            Host::Gemini => format!(
                "models/{model} is not found for API version v1beta, or is not supported for {method}. Call ListModels to \
                 see the list of available models and their supported methods."
            ),
            Host::Vertex => format!(
                "Publisher Model `publishers/google/models/{model}` was not found or your project does not have access to \
                 it. Please ensure you are using a valid model version."
            ),
        };
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", message)
    }

    pub(crate) fn nothing_here() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", "Requested entity was not found.")
    }

    /// What Google says with that status.
    pub(crate) fn of_status(status: u16, host: Host) -> Self {
        let (code, message) = match status {
            401 => return Self::wrong_key(Host::Vertex),
            403 => ("PERMISSION_DENIED", "The caller does not have permission"),
            404 => return Self::nothing_here(),
            429 if host == Host::Vertex => ("RESOURCE_EXHAUSTED", "Resource exhausted. Please try again later."),
            429 => (
                "RESOURCE_EXHAUSTED",
                "You exceeded your current quota, please check your plan and billing details. For more information on \
                 this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits.",
            ),
            499 => ("CANCELLED", "The operation was cancelled."),
            503 => ("UNAVAILABLE", "The model is overloaded. Please try again later."),
            504 => ("DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
            _ if status >= 500 => ("INTERNAL", "An internal error has occurred. Please retry."),
            _ => ("INVALID_ARGUMENT", "Request contains an invalid argument."),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::new(status, code, message)
    }

    /// As the Interactions API writes it: the code is a word.
    pub(super) fn terse(self) -> Response {
        let error = json!({"code": self.code.to_lowercase(), "message": self.message, "details": self.details});
        (self.status, Json(json!({"error": error}))).into_response()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut error = json!({"code": self.status.as_u16(), "message": self.message, "status": self.code});
        if !self.details.is_empty() {
            error["details"] = self.details.into();
        }
        (self.status, Json(json!({"error": error}))).into_response()
    }
}
