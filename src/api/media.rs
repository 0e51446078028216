//! `GET /media/{name}`: finished pictures and videos, for everyone who has the link; whole or by `Range`.

use super::state::Api;
use crate::error::{Error, ErrorKind};
use crate::media::storage::Storage;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_range_header::{RangeUnsatisfiableError, parse_range_header};
use std::ops::Range;

/// Serves a stored file. The headers keep browsers from guessing another type.
pub(super) async fn serve(
    State(api): State<Api>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let storage = &api.gateway.storage;
    let missing = || Error::new(ErrorKind::NotFound, "There is no such file: the link is wrong or has expired.");
    let mut response = send(storage, &name, &headers).await?.ok_or_else(missing)?;
    let age = format!("public, max-age={}, immutable", storage.lifetime().as_secs());
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // An SVG is a document: it may draw, but run and load nothing.
    let policy = "default-src 'none'; style-src 'unsafe-inline'; sandbox";
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    let name = HeaderName::from_static("cross-origin-resource-policy");
    headers.insert(name, HeaderValue::from_static("cross-origin"));
    if let Ok(age) = HeaderValue::from_str(&age) {
        headers.insert(header::CACHE_CONTROL, age);
    }
    Ok(response)
}

/// A stored file, streamed: all of it, or the part that a `Range` header asks for. `None`: there is no such file.
pub(super) async fn send(storage: &Storage, name: &str, headers: &HeaderMap) -> Result<Option<Response>, Error> {
    // A name is never reused for another file, so it identifies the version.
    let tag = format!("\"{name}\"");
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let range = text(header::RANGE).filter(|_| text(header::IF_RANGE).is_none_or(|known| known == tag));
    let mut part = None;
    if let Some(range) = range {
        let Some(size) = storage.size(name).await.map_err(Error::internal)? else { return Ok(None) };
        match read_range(range, size) {
            Ok(wanted) => part = wanted,
            Err(Unsatisfiable) => {
                let size = [(header::CONTENT_RANGE, format!("bytes */{size}"))];
                return Ok(Some((StatusCode::RANGE_NOT_SATISFIABLE, size).into_response()));
            }
        }
    }
    let is_whole = part.is_none();
    let Some(file) = storage.open_part(name, part).await.map_err(Error::internal)? else { return Ok(None) };
    let length = file.range.end - file.range.start;
    let content_range = format!("bytes {}-{}/{}", file.range.start, file.range.end.saturating_sub(1), file.size);
    let mut response = Body::from_stream(file.pieces).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.mime));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    if !is_whole {
        if let Ok(value) = HeaderValue::from_str(&content_range) {
            headers.insert(header::CONTENT_RANGE, value);
        }
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(Some(response))
}

/// The file has no byte of the range.
#[derive(Debug, PartialEq)]
struct Unsatisfiable;

/// The part of a file of that size that a `Range` header asks for. `None` is all of it, as RFC 9110 (14.2) allows for
/// several ranges at once and for unreadable ones.
fn read_range(text: &str, size: u64) -> Result<Option<Range<u64>>, Unsatisfiable> {
    let Ok(parsed) = parse_range_header(text) else { return Ok(None) };
    match parsed.validate(size).as_deref() {
        Ok([one]) => Ok(Some(*one.start()..one.end() + 1)),
        Err(RangeUnsatisfiableError::Unsatisfiable) => Err(Unsatisfiable),
        Ok(_) | Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_has_it() {
        let cases = [
            ("bytes=0-99", Ok(Some(0..100))),
            ("bytes=900-2000", Ok(Some(900..1000))),
            ("bytes=5-", Ok(Some(5..1000))),
            ("bytes=-10", Ok(Some(990..1000))),
            ("bytes=-5000", Ok(Some(0..1000))),
            ("bytes=1000-", Err(Unsatisfiable)),
            ("bytes=1000-1001", Err(Unsatisfiable)),
            ("bytes=-0", Err(Unsatisfiable)),
            ("bytes=9-5", Ok(None)),
            ("bytes=0-1,5-6", Ok(None)),
            ("bytes=-", Ok(None)),
            ("lines=1-2", Ok(None)),
        ];
        for (text, expected) in cases {
            assert_eq!(read_range(text, 1000), expected, "{text}");
        }
    }
}
