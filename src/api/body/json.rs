//! Reads a JSON object within bounds.

use crate::api::body_budget::{BudgetPermit, drain};
use crate::api::state::Api;
use crate::error::{Error, ErrorKind};
use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::LengthLimitError;
use serde_json::{Map, Value};
use std::error::Error as StdError;

/// A JSON body is in memory twice for a moment, as text and as values. Its pictures are decoded one after the other then.
const MEMORY_FACTOR: usize = 2;

/// A JSON object, and how many bytes it took.
pub(in crate::api) struct JsonObject {
    pub(in crate::api) fields: Map<String, Value>,
    pub(in crate::api) bytes: usize,
    pub(in crate::api) permit: BudgetPermit,
}

impl FromRequest<Api> for JsonObject {
    type Rejection = Error;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Error> {
        let limit = api.max_body_bytes;
        let too_large =
            || Error::new(ErrorKind::TooLarge, format!("The request body is larger than the limit of {limit} bytes."));
        let announced = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        if announced.is_some_and(|length: usize| length > limit) {
            return Err(too_large());
        }
        let mut permit = BudgetPermit::default();
        if let Err(full) = api.body_budget.reserve(&mut permit, announced.unwrap_or(0) * MEMORY_FACTOR) {
            drain(request.into_body(), limit).await;
            return Err(full);
        }
        let kind = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if !(essence.is_empty() || essence == "application/json" || essence.ends_with("+json")) {
            let text = format!("This call reads application/json, not '{essence}'.");
            return Err(Error::new(ErrorKind::UnsupportedMedia, text));
        }
        let bytes = to_bytes(request.into_body(), limit).await.map_err(|error| {
            let is_over = error.source().is_some_and(<dyn StdError>::is::<LengthLimitError>);
            let text = "The request body ended early: fewer bytes came than were announced.";
            if is_over { too_large() } else { Error::new(ErrorKind::InvalidRequest, text) }
        })?;
        if announced.is_none() {
            api.body_budget.reserve(&mut permit, bytes.len() * MEMORY_FACTOR)?;
        }
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(fields)) => Ok(Self { fields, bytes: bytes.len(), permit }),
            Ok(_) => Err(Error::new(ErrorKind::InvalidRequest, "The request body should be a JSON object.")),
            Err(error) => {
                Err(Error::new(ErrorKind::InvalidRequest, format!("The request body is not valid JSON: {error}")))
            }
        }
    }
}
