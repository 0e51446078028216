//! Reads every call with a body before its simulator does, into [`super::received`].

use super::form::Form;
use super::received::{Receipt, Seen};
use super::world::World;
use super::{BODY_LIMIT, SIMULATORS};
use crate::media::{Limits, inspect};
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Longer texts, in bytes, are left out.
const LONGEST: usize = 4_000;

/// Looks at a body before its simulator does.
pub(super) async fn capture(State(world): State<Arc<World>>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    // The whole first segment: one provider's id may begin with another's.
    let first = path.split('/').nth(1).unwrap_or_default();
    let simulator = SIMULATORS.iter().find(|one| one.id == first);
    let Some(simulator) = simulator.filter(|_| request.method() == Method::POST) else {
        return next.run(request).await;
    };
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_LIMIT).await else { return StatusCode::PAYLOAD_TOO_LARGE.into_response() };
    let (mut pictures, mut texts) = (Vec::new(), Vec::new());
    if let Ok(form) = Form::read(&head.headers, &body) {
        let names: BTreeSet<&str> = form.names().collect();
        texts.extend(form.texts().into_iter().filter_map(|(_, value)| value.as_str().map(str::to_owned)));
        for name in names {
            pictures.extend(form.files(name).filter_map(|file| seen(name, file)));
        }
    } else if let Ok(value) = serde_json::from_slice::<Value>(&body) {
        walk("", &value, &mut pictures, &mut texts);
    }
    world.received.note(Receipt { provider: simulator.id, path, pictures, texts });
    next.run(Request::from_parts(head, Body::from(body))).await
}

fn walk(name: &str, value: &Value, pictures: &mut Vec<Seen>, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => match decoded(text).and_then(|file| seen(name, &file)) {
            Some(picture) => pictures.push(picture),
            None if text.len() <= LONGEST => texts.push(text.clone()),
            None => {}
        },
        Value::Array(items) => items.iter().for_each(|item| walk(name, item, pictures, texts)),
        Value::Object(fields) => fields.iter().for_each(|(name, field)| walk(name, field, pictures, texts)),
        _ => {}
    }
}

/// A data address or bare base64.
fn decoded(text: &str) -> Option<Bytes> {
    let body = text.split_once(";base64,").map_or(text, |(_, body)| body);
    base64_simd::STANDARD.decode_to_vec(body).ok().filter(|bytes| bytes.len() > 16).map(Bytes::from)
}

fn seen(name: &str, file: &Bytes) -> Option<Seen> {
    let facts = inspect(file, &Limits::default()).ok()?;
    let sha256 = hex::encode(Sha256::digest(file));
    let marks = name.contains("mask").then(|| marks(file)).flatten();
    Some(Seen { name: name.to_owned(), sha256, format: facts.format, size: facts.size, marks })
}

/// The convention that a mask is in: transparent pixels, or pure black and white.
fn marks(file: &[u8]) -> Option<&'static str> {
    let pixels = image::load_from_memory(file).ok()?.into_rgba8();
    if pixels.pixels().any(|pixel| pixel.0[3] == 0) {
        return Some("transparent");
    }
    let pure = pixels.pixels().all(|pixel| matches!(pixel.0, [0, 0, 0, 255] | [255, 255, 255, 255]));
    (pure && pixels.pixels().any(|pixel| pixel.0[0] == 255)).then_some("white")
}
