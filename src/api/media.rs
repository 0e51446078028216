//! `GET /media/{name}`: finished pictures, to whoever has the link.

use super::Api;
use crate::error::{Error, ErrorKind};
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};

/// Serves a stored file. The headers keep browsers from taking it for anything but a picture.
pub(super) async fn serve(State(api): State<Api>, Path(name): Path<String>) -> Result<Response, Error> {
    let storage = &api.0.gateway.storage;
    let missing = || Error::new(ErrorKind::NotFound, "No such file: the link is wrong, or it has expired.");
    let file = storage.get(&name).await.map_err(Error::internal)?.ok_or_else(missing)?;
    let age = format!("public, max-age={}, immutable", storage.lifetime().as_secs());
    let mut response = file.bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.mime));
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
