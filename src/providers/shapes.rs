//! Reply bodies that several providers speak: error envelopes and what statuses mean.

use crate::fault::{Accepted, Fault, FaultKind};
use crate::outbound::call::{Call, Leg, Reply};
use serde_json::Value;

/// What a failing reply means by its status alone, with whatever words its body has.
pub(super) fn fault(asked: &Call, reply: &Reply) -> Fault {
    let (message, code) = words(reply);
    let kind = match reply.status {
        // Come back later: a rate limit by another number.
        503 if reply.retry_after.is_some() => FaultKind::RateLimited,
        status => kind(asked, status),
    };
    Fault::new(kind, message)
        .accepted(accepted(asked, reply.status))
        .status(reply.status)
        .code(code)
        .retry_after(reply.retry_after)
}

/// The kind that a status stands for.
pub(super) fn kind(asked: &Call, status: u16) -> FaultKind {
    match status {
        401..=403 => FaultKind::Auth,
        404 | 410 if asked.leg == Leg::Submit => FaultKind::Gone,
        429 => FaultKind::RateLimited,
        408 | 504 | 524 => FaultKind::Timeout,
        // A conflict or "too early" is about a moment, not about the request.
        409 | 425 => FaultKind::Unavailable,
        300..=399 => FaultKind::Malformed,
        400..=499 => FaultKind::BadRequest,
        _ => FaultKind::Unavailable,
    }
}

/// A status below 500 says that the provider did not take the job. Above, a proxy may speak for a server that did.
pub(super) fn accepted(asked: &Call, status: u16) -> Accepted {
    match asked.leg {
        Leg::Submit if status == 408 || status == 409 || (status >= 500 && status != 503) => Accepted::Maybe,
        _ => Accepted::No,
    }
}

/// The message and code in any of the usual envelopes: `error.message`, `error`, `detail`, `message`.
pub(super) fn words(reply: &Reply) -> (String, Option<String>) {
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let error = &body["error"];
    let message = text(&error["message"])
        .or_else(|| text(error))
        .or_else(|| text(&body["detail"]))
        .or_else(|| text(&body["detail"][0]["msg"]))
        .or_else(|| text(&body["message"]))
        .unwrap_or_else(|| format!("the provider answered {}", reply.status));
    let code = text(&error["code"])
        .or_else(|| text(&error["type"]))
        .or_else(|| text(&body["error_type"]))
        .or_else(|| text(&body["detail"][0]["type"]));
    (message, code)
}
