//! Answers that are none: what faults of transport look like from the inside.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use std::io;
use std::time::Duration;

/// Marks an answer whose connection is to be cut before a byte of it is sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut;

/// How long the first half of a broken answer has to reach the client.
const HEAD_START: Duration = Duration::from_millis(20);

/// No answer: the connection closes.
pub(super) fn reset() -> Response {
    let mut response = broken(Bytes::new(), 1);
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response.extensions_mut().insert(Cut);
    response
}

/// The same answer, of which only the first half arrives.
pub(super) fn truncate(content_type: &'static str, body: &Bytes) -> Response {
    let mut response = broken(body.slice(..body.len() / 2), body.len());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A success that says it is JSON and is not.
pub(super) fn garbage() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], "{\"data\": [<<< \u{fffd}\u{fffd} upstream connect error")
        .into_response()
}

/// That header, when the value can be one.
pub(super) fn put(response: &mut Response, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
}

/// A body that promises `length` bytes, sends `start` and breaks.
fn broken(start: Bytes, length: usize) -> Response {
    let breaking = stream::once(async {
        tokio::time::sleep(HEAD_START).await;
        Err(io::Error::from(io::ErrorKind::ConnectionReset))
    });
    let pieces = stream::iter((!start.is_empty()).then_some(Ok(start))).chain(breaking);
    let mut response = Body::from_stream(pieces).into_response();
    response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    response
}
