//! `GET /media/{name}`: finished pictures and videos, to whoever has the link; whole or in parts, as players ask.

use super::Api;
use crate::error::{Error, ErrorKind};
use crate::media::storage::Storage;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_range_header::{RangeUnsatisfiableError, parse_range_header};
use std::ops::Range;

/// Serves a stored file. The headers keep browsers from taking it for anything but what it is.
pub(super) async fn serve(
    State(api): State<Api>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let storage = &api.0.gateway.storage;
    let missing = || Error::new(ErrorKind::NotFound, "No such file: the link is wrong, or it has expired.");
    let mut response = send(storage, &name, &headers).await?.ok_or_else(missing)?;
    let age = format!("public, max-age={}, immutable", storage.lifetime().as_secs());
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // An SVG is a document: it may draw, and nothing else.
    let policy = "default-src 'none'; style-src 'unsafe-inline'; sandbox";
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    let name = HeaderName::from_static("cross-origin-resource-policy");
    headers.insert(name, HeaderValue::from_static("cross-origin"));
    if let Ok(age) = HeaderValue::from_str(&age) {
        headers.insert(header::CACHE_CONTROL, age);
    }
    Ok(response)
}

/// A stored file as an answer, streamed: all of it, or the part that a `Range` header asks for. `None`: there is none.
pub(super) async fn send(storage: &Storage, name: &str, asked: &HeaderMap) -> Result<Option<Response>, Error> {
    // A name is never given to another file, so it tells which version this is.
    let tag = format!("\"{name}\"");
    let text = |name: HeaderName| asked.get(name).and_then(|value| value.to_str().ok());
    let range = text(header::RANGE).filter(|_| text(header::IF_RANGE).is_none_or(|known| known == tag));
    let mut part = None;
    if let Some(range) = range {
        let Some(size) = storage.size(name).await.map_err(Error::internal)? else { return Ok(None) };
        match read_range(range, size) {
            Ok(wanted) => part = wanted,
            Err(Unsatisfiable) => {
                let there = [(header::CONTENT_RANGE, format!("bytes */{size}"))];
                return Ok(Some((StatusCode::RANGE_NOT_SATISFIABLE, there).into_response()));
            }
        }
    }
    let whole = part.is_none();
    let Some(file) = storage.open_part(name, part).await.map_err(Error::internal)? else { return Ok(None) };
    let length = file.range.end - file.range.start;
    let place = format!("bytes {}-{}/{}", file.range.start, file.range.end.saturating_sub(1), file.size);
    let mut response = Body::from_stream(file.pieces).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.mime));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    if !whole {
        if let Ok(place) = HeaderValue::from_str(&place) {
            headers.insert(header::CONTENT_RANGE, place);
        }
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(Some(response))
}

/// The file has no byte of what was asked for.
#[derive(Debug, PartialEq)]
struct Unsatisfiable;

/// The part of a file of that size that a `Range` header asks for. `None` is all of it: so are several parts at once, and
/// what cannot be read, answered, as RFC 9110 (14.2) allows.
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
    fn ranges_are_read_as_http_says() {
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
        for (text, right) in cases {
            assert_eq!(read_range(text, 1000), right, "{text}");
        }
    }
}
