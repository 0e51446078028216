//! Reads request bodies within bounds, and says in our envelope what is wrong with one.

use super::Api;
use super::intake::{Claim, discard};
use crate::error::{Error, ErrorKind};
use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::LengthLimitError;
use serde_json::{Map, Value};
use std::error::Error as StdError;

/// A JSON body is held twice for a moment: as text, and taken apart. Its pictures are decoded one after the other then.
const HELD: usize = 2;

/// A JSON object, and how many bytes it took.
pub(super) struct JsonObject {
    /// The object.
    pub(super) fields: Map<String, Value>,
    /// Bytes of the body.
    pub(super) bytes: usize,
    /// The room that they take.
    pub(super) claim: Claim,
}

impl FromRequest<Api> for JsonObject {
    type Rejection = Error;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Error> {
        let limit = api.0.max_body_bytes;
        let too_large =
            || Error::new(ErrorKind::TooLarge, format!("The request body is larger than the limit of {limit} bytes."));
        let announced = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        if announced.is_some_and(|length: usize| length > limit) {
            return Err(too_large());
        }
        let mut claim = Claim::default();
        if let Err(full) = api.0.intake.claim(&mut claim, announced.unwrap_or(0) * HELD) {
            discard(request.into_body(), limit).await;
            return Err(full);
        }
        let kind = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if !(essence.is_empty() || essence == "application/json" || essence.ends_with("+json")) {
            let text = format!("This call reads application/json, not '{essence}'.");
            return Err(Error::new(ErrorKind::UnsupportedMedia, text));
        }
        let bytes = to_bytes(request.into_body(), limit).await.map_err(|error| {
            let over = error.source().is_some_and(<dyn StdError>::is::<LengthLimitError>);
            if over { too_large() } else { Error::new(ErrorKind::InvalidRequest, "The request body broke off.") }
        })?;
        if announced.is_none() {
            api.0.intake.claim(&mut claim, bytes.len() * HELD)?;
        }
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(fields)) => Ok(Self { fields, bytes: bytes.len(), claim }),
            Ok(_) => Err(Error::new(ErrorKind::InvalidRequest, "The request body should be a JSON object.")),
            Err(error) => {
                Err(Error::new(ErrorKind::InvalidRequest, format!("The request body is not valid JSON: {error}")))
            }
        }
    }
}
