//! Runware's complaints: one object for each task that failed, told apart by their codes.

use axum::http::StatusCode;
use serde_json::{Value, json};

/// What is wrong with a task.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Complaint {
    pub(super) status: StatusCode,
    code: String,
    message: String,
    /// The parameters that it is about.
    parameters: Vec<String>,
    /// The answer of a partner, when it was one that failed.
    partner: Option<&'static str>,
}

impl Complaint {
    pub(super) fn new(status: StatusCode, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into(), parameters: Vec::new(), partner: None }
    }

    fn about(self, parameters: &[&str]) -> Self {
        Self { parameters: parameters.iter().map(|name| (*name).to_owned()).collect(), ..self }
    }

    /// A parameter that is not there: `missingPositivePrompt`.
    pub(super) fn missing(name: &str) -> Self {
        let message = format!("Missing required parameter '{name}'.");
        Self::new(StatusCode::BAD_REQUEST, code_of("missing", name), message).about(&[name])
    }

    /// A value that is not allowed: `invalidNumberResults`.
    pub(super) fn invalid(name: &str, why: &str) -> Self {
        let message = format!("Invalid value for '{name}' parameter. {why}");
        Self::new(StatusCode::BAD_REQUEST, code_of("invalid", name), message).about(&[name])
    }

    /// A pair of sides that is not allowed.
    pub(super) fn dimensions(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "unsupportedDimensions", message).about(&["width", "height"])
    }

    pub(super) fn unknown_parameter(name: &str) -> Self {
        let message = format!("Unsupported use of '{name}' parameter. This parameter is not supported by the model.");
        Self::new(StatusCode::BAD_REQUEST, "unknownParameter", message).about(&[name])
    }

    pub(super) fn no_model(model: &str) -> Self {
        Self::invalid("model", &format!("The model '{model}' was not found."))
    }

    pub(super) fn no_key() -> Self {
        let message = "Missing API key. Get one at https://my.runware.ai/signup";
        Self::new(StatusCode::UNAUTHORIZED, "missingApiKey", message).about(&["apiKey"])
    }

    pub(super) fn wrong_key() -> Self {
        let message = "Invalid API key. Get one at https://my.runware.ai/signup";
        Self::new(StatusCode::UNAUTHORIZED, "invalidApiKey", message).about(&["apiKey"])
    }

    /// A partner's model wants paid credit, and says so with a 400.
    pub(super) fn no_money(hosted: bool) -> Self {
        let message = "Insufficient credits to process this request. Please top up your account.";
        if hosted {
            Self::new(StatusCode::PAYMENT_REQUIRED, "insufficientCredits", message)
        } else {
            Self::new(StatusCode::BAD_REQUEST, "thirdPartyInsufficientCredits", message)
        }
    }

    /// Runware's own models are refused by its filter; a partner's refusal comes in an answer that succeeded.
    pub(super) fn moderated(hosted: bool) -> Self {
        if hosted {
            let message = "The prompt was blocked because it may lead to sensitive content.";
            Self::new(StatusCode::BAD_REQUEST, "promptBlocked", message).about(&["positivePrompt"])
        } else {
            let message = "The provider refused the request because of its content policy.";
            let complaint = Self::new(StatusCode::OK, "providerContentPolicyViolation", message);
            Self { partner: Some("{\"error\":\"content policy\"}"), ..complaint }
        }
    }

    pub(super) fn failed(hosted: bool) -> Self {
        if hosted {
            Self::new(StatusCode::INTERNAL_SERVER_ERROR, "inferenceError", "The inference failed.")
        } else {
            let complaint = Self::new(StatusCode::SERVICE_UNAVAILABLE, "providerError", "The provider failed.");
            Self { partner: Some("{\"error\":\"internal\"}"), ..complaint }
        }
    }

    /// What Runware says with that status.
    pub(super) fn of_status(status: u16) -> Self {
        let (code, message) = match status {
            401 => return Self::wrong_key(),
            402 => return Self::no_money(true),
            403 => ("permissionDenied", "You do not have permission to run this task."),
            404 => ("taskFailedOrNotFound", "The task was not found."),
            429 => ("rateLimitExceeded", "Too many requests. Please slow down."),
            503 => ("noAvailableServer", "No server is available for this model right now."),
            504 => ("timeoutProvider", "The provider did not answer in time."),
            _ if status >= 500 => ("internalServerError", "Something went wrong on our side."),
            _ => ("validationFailed", "The request could not be processed."),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::new(status, code, message)
    }

    /// As an entry of `errors`.
    pub(super) fn describe(&self, task_type: &str, task: Option<&str>) -> Value {
        let mut told = json!({"code": self.code, "message": self.message, "taskType": task_type});
        if !self.parameters.is_empty() {
            let one = <[String; 1]>::try_from(self.parameters.clone());
            told["parameter"] = one.map_or_else(Value::from, |[name]| Value::from(name));
            told["documentation"] = "https://runware.ai/docs/platform/errors".into();
        }
        if let Some(task) = task {
            told["taskUUID"] = task.into();
        }
        if let Some(partner) = self.partner {
            told["responseContent"] = partner.into();
        }
        told
    }
}

/// `missing` and `positivePrompt`: `missingPositivePrompt`. Of a nested parameter the last name counts.
fn code_of(kind: &str, name: &str) -> String {
    let last = name.rsplit('.').next().unwrap_or(name);
    let (first, rest) = last.split_at(last.chars().next().map_or(0, char::len_utf8));
    format!("{kind}{}{rest}", first.to_uppercase())
}
