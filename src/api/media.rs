//! `GET /media/{name}`: finished pictures and videos, for anybody who has the link; whole or by `Range`.

use super::state::Api;
use crate::error::{Error, ErrorKind};
use crate::media::storage::{Part, Storage};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

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
    let range = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let mut part = Part::Whole;
    if let Some(range) = range {
        let Some(size) = storage.size(name).await.map_err(Error::internal)? else { return Ok(None) };
        match read_range(range, size) {
            RequestedRange::Part(wanted) => part = wanted,
            RequestedRange::Whole => {}
            RequestedRange::Unsatisfiable => {
                let size = [(header::CONTENT_RANGE, format!("bytes */{size}"))];
                return Ok(Some((StatusCode::RANGE_NOT_SATISFIABLE, size).into_response()));
            }
        }
    }
    let Some(file) = storage.open_part(name, part).await.map_err(Error::internal)? else { return Ok(None) };
    let length = file.range.end - file.range.start;
    let content_range = format!("bytes {}-{}/{}", file.range.start, file.range.end.saturating_sub(1), file.size);
    let mut response = Body::from_stream(file.pieces).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.mime));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if part != Part::Whole {
        if let Ok(value) = HeaderValue::from_str(&content_range) {
            headers.insert(header::CONTENT_RANGE, value);
        }
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(Some(response))
}

/// A `Range` header, applied to a file of a certain size.
#[derive(Debug, PartialEq)]
enum RequestedRange {
    Whole,
    Part(Part),
    Unsatisfiable,
}

/// RFC 9110, 14.2. Several ranges at once, and unreadable ones, get the whole file, which it allows.
fn read_range(text: &str, size: u64) -> RequestedRange {
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return RequestedRange::Whole;
    };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    match (first.trim().is_empty(), last.trim().is_empty()) {
        (true, false) => match number(last) {
            Some(0) => RequestedRange::Unsatisfiable,
            Some(_) if size == 0 => RequestedRange::Unsatisfiable,
            Some(count) => RequestedRange::Part(Part::Last(count.min(size))),
            None => RequestedRange::Whole,
        },
        (false, true) => match number(first) {
            Some(start) if start >= size => RequestedRange::Unsatisfiable,
            Some(start) => RequestedRange::Part(Part::From(start)),
            None => RequestedRange::Whole,
        },
        (false, false) => match (number(first), number(last)) {
            (Some(start), Some(end)) if start > end => RequestedRange::Whole,
            (Some(start), Some(_)) if start >= size => RequestedRange::Unsatisfiable,
            (Some(start), Some(end)) => RequestedRange::Part(Part::Between(start, end.saturating_add(1).min(size))),
            _ => RequestedRange::Whole,
        },
        (true, true) => RequestedRange::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_has_it() {
        let cases = [
            ("bytes=0-99", RequestedRange::Part(Part::Between(0, 100))),
            ("bytes=900-2000", RequestedRange::Part(Part::Between(900, 1000))),
            ("bytes=5-", RequestedRange::Part(Part::From(5))),
            ("bytes=-10", RequestedRange::Part(Part::Last(10))),
            ("bytes=-5000", RequestedRange::Part(Part::Last(1000))),
            ("bytes=1000-", RequestedRange::Unsatisfiable),
            ("bytes=1000-1001", RequestedRange::Unsatisfiable),
            ("bytes=-0", RequestedRange::Unsatisfiable),
            ("bytes=9-5", RequestedRange::Whole),
            ("bytes=0-1,5-6", RequestedRange::Whole),
            ("bytes=-", RequestedRange::Whole),
            ("lines=1-2", RequestedRange::Whole),
        ];
        for (text, expected) in cases {
            assert_eq!(read_range(text, 1000), expected, "{text}");
        }
    }
}
