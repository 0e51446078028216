//! OpenAI's error envelope and the refusals that the simulator knows.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// An error answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    kind: &'static str,
    message: String,
    param: Option<String>,
    code: Option<&'static str>,
    moderated: bool,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into(), param: None, code: None, moderated: false }
    }

    /// A bad parameter.
    pub(super) fn bad(param: &str, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            param: Some(param.to_owned()),
            code: Some(code),
            ..Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
        }
    }

    /// A value that is not one of a parameter's values.
    pub(super) fn bad_value(param: &str, value: &str, allowed: &[&str]) -> Self {
        let quoted: Vec<String> = allowed.iter().map(|value| format!("'{value}'")).collect();
        let list = match quoted.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{}, and {last}", rest.join(", ")),
            _ => quoted.concat(),
        };
        Self::bad(param, "invalid_value", format!("Invalid value: '{value}'. Supported values are: {list}."))
    }

    /// A size that the model does not make.
    pub(super) fn bad_size(size: &str, why: &str) -> Self {
        Self {
            kind: "image_generation_user_error",
            ..Self::bad("size", "invalid_value", format!("Invalid size '{size}'. {why}"))
        }
    }

    /// A picture that cannot be edited.
    pub(super) fn bad_file(param: &str, message: &str) -> Self {
        Self { kind: "image_generation_user_error", ..Self::bad(param, "invalid_image_file", message) }
    }

    pub(super) fn not_json() -> Self {
        let message = "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your \
                       HTTP library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid \
                       JSON.)";
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
    }

    /// A body that is no form where one is wanted.
    pub(super) fn foreign(content_type: &str) -> Self {
        let message = format!(
            "Unsupported content type: '{content_type}'. This API method only accepts 'multipart/form-data' requests, \
             but you specified the header 'Content-Type: {content_type}'. Please try again with a supported content type."
        );
        let code = Some("unsupported_content_type");
        Self { code, ..Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message) }
    }

    /// A form that does not come apart.
    pub(super) fn garbled() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", "Could not parse multipart form")
    }

    pub(super) fn no_key() -> Self {
        let message = "You didn't provide an API key. You need to provide your API key in an Authorization header using \
                       Bearer auth (i.e. Authorization: Bearer YOUR_KEY).";
        Self::new(StatusCode::UNAUTHORIZED, "invalid_request_error", message)
    }

    pub(super) fn wrong_key(key: &str) -> Self {
        let message = format!(
            "Incorrect API key provided: {}. You can find your API key at https://platform.openai.com/account/api-keys.",
            mask(key)
        );
        Self { code: Some("invalid_api_key"), ..Self::new(StatusCode::UNAUTHORIZED, "invalid_request_error", message) }
    }

    pub(super) fn no_money() -> Self {
        let message = "You exceeded your current quota, please check your plan and billing details. For more information \
                       on this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.";
        Self {
            code: Some("insufficient_quota"),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "insufficient_quota", message)
        }
    }

    pub(super) fn no_model(model: &str) -> Self {
        let message = format!("The model '{model}' does not exist or you do not have access to it.");
        Self { code: Some("model_not_found"), ..Self::new(StatusCode::NOT_FOUND, "invalid_request_error", message) }
    }

    pub(super) fn moderated(request: &str) -> Self {
        let message = format!(
            "Your request was rejected by the safety system. If you believe this is an error, contact us at \
             help.openai.com and include the request ID {request}. safety_violations=[violence]."
        );
        Self {
            code: Some("moderation_blocked"),
            moderated: true,
            ..Self::new(StatusCode::BAD_REQUEST, "image_generation_user_error", message)
        }
    }

    /// What OpenAI says with that status.
    pub(super) fn of_status(status: u16) -> Self {
        let (kind, code, message) = match status {
            401 => ("invalid_request_error", Some("invalid_api_key"), "Incorrect API key provided."),
            403 => (
                "invalid_request_error",
                None,
                "Your organization must be verified to use this model. Please go to: \
                 https://platform.openai.com/settings/organization/general and click on Verify Organization.",
            ),
            404 => (
                "invalid_request_error",
                Some("model_not_found"),
                "The model does not exist or you do not have access to it.",
            ),
            429 => (
                "requests",
                Some("rate_limit_exceeded"),
                "Rate limit reached for images per min. Please try again later.",
            ),
            503 => ("server_error", None, "The server is currently overloaded with other requests. Sorry about that!"),
            _ if status >= 500 => {
                ("server_error", None, "The server had an error while processing your request. Sorry about that!")
            }
            _ => ("invalid_request_error", None, "The request could not be processed."),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { code, ..Self::new(status, kind, message) }
    }
}

/// `ba***ey`
fn mask(key: &str) -> String {
    let letters: Vec<char> = key.chars().collect();
    let shown = if letters.len() > 6 { 2 } else { 0 };
    let hidden = letters.len() - 2 * shown;
    let (start, end) = (&letters[..shown], &letters[shown + hidden..]);
    start.iter().copied().chain(std::iter::repeat_n('*', hidden)).chain(end.iter().copied()).collect()
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut error = json!({"message": self.message, "type": self.kind, "param": self.param, "code": self.code});
        if self.moderated {
            error["moderation_details"] = json!({"moderation_stage": "input", "categories": ["violence"]});
        }
        (self.status, Json(json!({"error": error}))).into_response()
    }
}
