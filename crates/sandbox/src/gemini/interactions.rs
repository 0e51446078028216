//! The Interactions API, as far as it makes videos (<https://ai.google.dev/gemini-api/docs/omni>): create in the
//! background, read, cancel, and the file behind a key. Whatever is not said there is left out: conversations, streams,
//! edits, extensions.
//!
//! Tokens of a second of video: 5,792 at 720p is documented; the other resolutions are reckoned back from their prices.

use super::super::book::{Entry, Operation};
use super::super::mischief;
use super::super::steering::Fault;
use super::error::Refusal;
use super::job::{Fate, Film, Job, Phase};
use super::{Google, Host, ID, identify};
use crate::base::Usd;
use crate::catalog::Route;
use crate::catalog::price::{Flow, Metric};
use crate::job::Mode;
use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use rust_decimal::Decimal;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// `POST /interactions`
pub(super) async fn create(
    State(google): State<Arc<Google>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (route, film) = match admit(&google, query.as_deref(), &headers, &body) {
        Ok(admitted) => admitted,
        Err(refusal) => {
            google.world.book.write(Entry::new(ID, Operation::Create, refusal.status.as_u16()));
            return refusal.terse();
        }
    };
    match google.jobs.start(&google.world, Host::Gemini, route, film).await {
        Ok(job) => Json(describe(&job, "in_progress")).into_response(),
        Err(response) => response,
    }
}

fn admit(
    google: &Google,
    query: Option<&str>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(Arc<Route>, Film), Refusal> {
    let broke = identify(headers, query)?;
    let body: Map<String, Value> =
        serde_json::from_slice(body).map_err(|_| Refusal::invalid("The request body is not a JSON object."))?;
    let model = body.get("model").and_then(Value::as_str).unwrap_or_default();
    let route = google.world.route(ID, model).filter(|route| route.modes.contains(&Mode::TextToVideo));
    let route = route.ok_or_else(|| Refusal::no_model(Host::Gemini, model, "interactions"))?;
    if broke {
        return Err(Refusal::no_money(Host::Gemini));
    }
    if body.get("background") != Some(&Value::Bool(true)) {
        return Err(Refusal::invalid("Only background interactions are simulated."));
    }
    let film = read_film(&body, &route)?;
    Ok((route, film))
}

fn read_film(body: &Map<String, Value>, route: &Route) -> Result<Film, Refusal> {
    let (prompt, pictures) = read_input(body.get("input"))?;
    if pictures > route.inputs.as_ref().map_or(0, |inputs| inputs.max) {
        return Err(Refusal::invalid("Too many reference images."));
    }
    let empty = Map::new();
    let format = body.get("response_format").and_then(Value::as_object).unwrap_or(&empty);
    let text = |name: &str| format.get(name).and_then(Value::as_str);
    for (name, allowed) in [
        ("type", &["video"][..]),
        ("aspect_ratio", &["16:9", "9:16"]),
        ("resolution", &["360p", "720p", "1080p", "4k"]),
        ("delivery", &["inline", "uri"]),
    ] {
        if format.get(name).is_some_and(|value| !value.as_str().is_some_and(|text| allowed.contains(&text))) {
            return Err(Refusal::invalid(format!("Invalid value at 'response_format.{name}'.")));
        }
    }
    let duration = text("duration").unwrap_or("10s");
    let seconds = duration.strip_suffix('s').and_then(|text| text.parse::<Decimal>().ok());
    let longest = if route.upstream.contains("1.1") { 10 } else { 15 };
    let seconds = seconds.filter(|seconds| (Decimal::from(3)..=Decimal::from(longest)).contains(seconds));
    let Some(seconds) = seconds else {
        return Err(Refusal::invalid(format!("Invalid duration: it must be between 3s and {longest}s.")));
    };
    let per_second = match text("resolution") {
        Some("360p") => 1_714,
        Some("1080p") => 8_571,
        Some("4k") => 17_143,
        _ => 5_792,
    };
    let whole = |number: Decimal| number.trunc().try_into().unwrap_or(0);
    let tokens = (prompt.chars().count().div_ceil(4).max(1) as u64, whole(seconds * Decimal::from(per_second)));
    let millis = u32::try_from(whole(seconds * Decimal::from(1_000))).unwrap_or(u32::MAX);
    Ok(Film { prompt, millis, count: 1, bill: bill(route, tokens), tokens })
}

/// The text of the input and the number of its pictures: a text, blocks, or steps of blocks.
fn read_input(input: Option<&Value>) -> Result<(String, usize), Refusal> {
    let input = input.ok_or_else(|| Refusal::invalid("input is required"))?;
    if let Some(text) = input.as_str() {
        return Ok((text.to_owned(), 0));
    }
    let one = std::slice::from_ref(input);
    let items = input.as_array().map_or(one, Vec::as_slice);
    let blocks =
        items.iter().flat_map(|item| item["content"].as_array().map_or(std::slice::from_ref(item), Vec::as_slice));
    let (mut text, mut pictures) = (Vec::new(), 0);
    for block in blocks {
        match block["type"].as_str() {
            Some("text") => text.extend(block["text"].as_str()),
            Some("image") => {
                let data = block["data"].as_str().unwrap_or_default();
                let sound = block["uri"].is_string() || super::decode(data).is_some();
                if !sound || !block["mime_type"].is_string() {
                    return Err(Refusal::invalid("Unable to process input image."));
                }
                pictures += 1;
            }
            _ => return Err(Refusal::invalid("Unknown content type.")),
        }
    }
    Ok((text.join("\n"), pictures))
}

/// Tokens read, and tokens of video, by the price list's lines.
fn bill(route: &Route, (read, filmed): (u64, u64)) -> Usd {
    let dollars = route.price.lines.iter().map(|line| {
        let tokens = match (line.flow, line.metric) {
            (Flow::Input, Metric::TokenText) => read,
            (Flow::Output, Metric::TokenImage) => filmed,
            _ => 0,
        };
        Decimal::from(tokens) * line.unit_price / Decimal::from(line.unit_size)
    });
    Usd::from_dollars(dollars.sum()).unwrap_or_default()
}

fn describe(job: &Job, status: &str) -> Value {
    json!({"id": interaction(job), "object": "interaction", "model": job.route.upstream, "status": status})
}

fn interaction(job: &Job) -> String {
    format!("v1_{}", job.id)
}

/// `GET /interactions/{id}`
pub(super) async fn read(
    State(google): State<Arc<Google>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let found = identify(&headers, query.as_deref()).and_then(|_| {
        name.strip_prefix("v1_").and_then(|id| google.jobs.advance(id)).ok_or_else(Refusal::nothing_here)
    });
    let (job, phase) = match found {
        Ok(found) => found,
        Err(refusal) => {
            google.world.book.write(Entry::new(ID, Operation::Poll, refusal.status.as_u16()).job(&name));
            return refusal.terse();
        }
    };
    google.world.book.write(Entry::new(ID, Operation::Poll, 200).model(&job.route.upstream).job(&job.id));
    match phase {
        Phase::Queued => Json(describe(&job, "queued")).into_response(),
        Phase::Running => Json(describe(&job, "in_progress")).into_response(),
        Phase::Done => tell(&google, &job, &headers),
    }
}

/// A finished job: a filtered one is `completed` without a video.
fn tell(google: &Google, job: &Job, headers: &HeaderMap) -> Response {
    let fault = google.world.rules.pick(ID, &job.route, |fault| fault.is_some_and(Fault::at_result));
    let fault = fault.and_then(|rule| rule.fault);
    if fault == Some(Fault::Garbage) {
        return mischief::garbage();
    }
    let asked = json!({"type": "user_input", "content": [{"type": "text", "text": job.film.prompt}]});
    let mut answer = match job.fate {
        Fate::Cancelled => return Json(describe(job, "cancelled")).into_response(),
        Fate::Failed => {
            let mut answer = describe(job, "failed");
            answer["errors"] = json!([{"code": "internal", "message": "An internal error has occurred."}]);
            answer
        }
        Fate::Made | Fate::Refused => describe(job, "completed"),
    };
    answer["steps"] = json!([asked]);
    if job.fate == Fate::Made && fault != Some(Fault::Empty) {
        let root = google.world.base_url(headers);
        let uri = format!("{root}/{ID}/v1beta/files/{}:download", job.id);
        let video = json!({"type": "video", "mime_type": "video/mp4", "uri": uri});
        answer["steps"] = json!([asked, {"type": "thought", "signature": "c2lnbmF0dXJl"}, {"type": "model_output", "content": [video]}]);
        let (read, filmed) = job.film.tokens;
        answer["usage"] = json!({"total_input_tokens": read, "total_output_tokens": filmed, "total_tokens": read + filmed,
            "output_tokens_by_modality": [{"modality": "video", "tokens": filmed}]});
    }
    Json(answer).into_response()
}

/// `POST /interactions/{id}/cancel`
pub(super) async fn cancel(
    State(google): State<Arc<Google>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let found = identify(&headers, query.as_deref())
        .and_then(|_| name.strip_prefix("v1_").and_then(|id| google.jobs.cancel(id)).ok_or_else(Refusal::nothing_here));
    match found {
        Ok((job, refund)) => {
            let refund = Usd::from_micros(-refund.micros());
            google.world.book.write(Entry::new(ID, Operation::Cancel, 200).job(&job.id).billed(refund));
            Json(describe(&job, if job.fate == Fate::Cancelled { "cancelled" } else { "completed" })).into_response()
        }
        Err(refusal) => {
            google.world.book.write(Entry::new(ID, Operation::Cancel, refusal.status.as_u16()).job(&name));
            refusal.terse()
        }
    }
}

/// `GET /files/{id}:download`: with the key only, and its description instead of the file without `alt=media`.
pub(super) async fn download(
    State(google): State<Arc<Google>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let found = identify(&headers, query.as_deref()).and_then(|_| {
        let job = name.strip_suffix(":download").and_then(|id| google.jobs.find(id));
        job.filter(|job| job.fate == Fate::Made).ok_or_else(Refusal::nothing_here)
    });
    let status = found.as_ref().map_or_else(|refusal| refusal.status, |_| StatusCode::OK);
    google.world.book.write(Entry::new(ID, Operation::File, status.as_u16()).job(&name));
    let job = match found {
        Ok(job) => job,
        Err(refusal) => return refusal.into_response(),
    };
    let file = job.clip();
    if !query.is_some_and(|query| query.split('&').any(|pair| pair == "alt=media")) {
        let about = json!({"name": format!("files/{}", job.id), "mimeType": "video/mp4", "sizeBytes": file.len().to_string(), "state": "ACTIVE"});
        return Json(about).into_response();
    }
    let fault = google.world.rules.pick(ID, &job.route, |fault| fault.is_some_and(Fault::at_file));
    match fault.and_then(|rule| rule.fault) {
        Some(Fault::Truncate) => mischief::truncate("video/mp4", &file),
        Some(Fault::WrongType) => ([(header::CONTENT_TYPE, "video/mp4")], "GIF89a").into_response(),
        _ => ([(header::CONTENT_TYPE, "video/mp4")], file).into_response(),
    }
}
