//! `GET /media/{name}`: finished pictures and videos, to whoever has the link; whole or in parts, as players ask.

use super::Api;
use crate::error::{Error, ErrorKind};
use crate::media::storage::{Part, Storage};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

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
    let range = asked.get(header::RANGE).and_then(|value| value.to_str().ok());
    let mut part = Part::Whole;
    if let Some(range) = range {
        let Some(size) = storage.size(name).await.map_err(Error::internal)? else { return Ok(None) };
        match read_range(range, size) {
            Asked::Part(wanted) => part = wanted,
            Asked::Whole => {}
            Asked::Nothing => {
                let there = [(header::CONTENT_RANGE, format!("bytes */{size}"))];
                return Ok(Some((StatusCode::RANGE_NOT_SATISFIABLE, there).into_response()));
            }
        }
    }
    let Some(file) = storage.open_part(name, part).await.map_err(Error::internal)? else { return Ok(None) };
    let length = file.range.end - file.range.start;
    let place = format!("bytes {}-{}/{}", file.range.start, file.range.end.saturating_sub(1), file.size);
    let mut response = Body::from_stream(file.pieces).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.mime));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if part != Part::Whole {
        if let Ok(place) = HeaderValue::from_str(&place) {
            headers.insert(header::CONTENT_RANGE, place);
        }
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(Some(response))
}

/// What a `Range` header comes to for a file of that size.
#[derive(Debug, PartialEq)]
enum Asked {
    Whole,
    Part(Part),
    Nothing,
}

/// RFC 9110, 14.2. Several parts at once, and what cannot be read, are answered with the whole file, as it allows.
fn read_range(text: &str, size: u64) -> Asked {
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Asked::Whole;
    };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    match (first.trim().is_empty(), last.trim().is_empty()) {
        (true, false) => match number(last) {
            Some(0) => Asked::Nothing,
            Some(_) if size == 0 => Asked::Nothing,
            Some(count) => Asked::Part(Part::Last(count.min(size))),
            None => Asked::Whole,
        },
        (false, true) => match number(first) {
            Some(start) if start >= size => Asked::Nothing,
            Some(start) => Asked::Part(Part::From(start)),
            None => Asked::Whole,
        },
        (false, false) => match (number(first), number(last)) {
            (Some(start), Some(end)) if start > end => Asked::Whole,
            (Some(start), Some(_)) if start >= size => Asked::Nothing,
            (Some(start), Some(end)) => Asked::Part(Part::Between(start, end.saturating_add(1).min(size))),
            _ => Asked::Whole,
        },
        (true, true) => Asked::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_http_says() {
        let cases = [
            ("bytes=0-99", Asked::Part(Part::Between(0, 100))),
            ("bytes=900-2000", Asked::Part(Part::Between(900, 1000))),
            ("bytes=5-", Asked::Part(Part::From(5))),
            ("bytes=-10", Asked::Part(Part::Last(10))),
            ("bytes=-5000", Asked::Part(Part::Last(1000))),
            ("bytes=1000-", Asked::Nothing),
            ("bytes=1000-1001", Asked::Nothing),
            ("bytes=-0", Asked::Nothing),
            ("bytes=9-5", Asked::Whole),
            ("bytes=0-1,5-6", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("lines=1-2", Asked::Whole),
        ];
        for (text, right) in cases {
            assert_eq!(read_range(text, 1000), right, "{text}");
        }
    }
}
