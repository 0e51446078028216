//! Google Vertex AI, after its reference, the official SDKs and recorded answers as read in 2026-11
//! (<https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/gemini>).
//!
//! Simulated: bearer tokens, `generateContent` as at the Gemini API with what only Vertex has (PNG or JPEG by choice),
//! `predictLongRunning` and `fetchPredictOperation` of Veo with videos inline, filtered and failed operations; any
//! version, project and location before the path, or none. Not simulated: token exchange and expiry, buckets, last
//! frames, references, extensions, streaming.

use super::book::{Entry, Operation};
use super::gemini::{Fate, Film, Host, Job, Jobs, Phase, Refusal, camel, decode, generate, worth};
use super::identity::read_key;
use super::mischief;
use super::steering::Fault;
use super::world::World;
use crate::base::Usd;
use crate::catalog::Route;
use crate::catalog::price::Metric;
use crate::job::Mode;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use bytes::Bytes;
use rust_decimal::Decimal;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The provider's id.
pub(super) const ID: &str = Host::Vertex.id();

/// What `parameters` takes.
const PARAMETERS: [&str; 14] = [
    "sampleCount",
    "aspectRatio",
    "resolution",
    "durationSeconds",
    "personGeneration",
    "negativePrompt",
    "enhancePrompt",
    "seed",
    "fps",
    "generateAudio",
    "storageUri",
    "pubsubTopic",
    "compressionQuality",
    "resizeMode",
];

struct Vertex {
    world: Arc<World>,
    jobs: Jobs,
}

pub(super) fn router(world: Arc<World>) -> Router {
    let state = Arc::new(Vertex { world, jobs: Jobs::default() });
    // The adapter's base address ends with the location; the SDKs write the whole path.
    Router::new().route("/{*path}", post(call)).fallback(async || Refusal::nothing_here()).with_state(state)
}

/// `POST […/]publishers/google/models/{model}:{method}`
async fn call(
    State(vertex): State<Arc<Vertex>>,
    Path(path): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let broke = worth(&read_key(&headers, "bearer"), Host::Vertex);
    let (place, call) = path.split_once("publishers/google/models/").unwrap_or_default();
    match call.split_once(':') {
        Some((model, "generateContent")) => generate(&vertex.world, Host::Vertex, model, broke, &body).await,
        Some((model, "predictLongRunning")) => start(&vertex, place, model, broke, &body).await,
        Some((model, "fetchPredictOperation")) => tell(&vertex, model, broke, &body),
        Some((model, method)) => Refusal::no_model(Host::Vertex, model, method).into_response(),
        None => Refusal::nothing_here().into_response(),
    }
}

async fn start(vertex: &Vertex, place: &str, model: &str, broke: Result<bool, Refusal>, body: &[u8]) -> Response {
    let (route, film) = match admit(vertex, model, broke, body) {
        Ok(admitted) => admitted,
        Err(refusal) => {
            vertex.world.book.write(Entry::new(ID, Operation::Create, refusal.status.as_u16()).model(model));
            return refusal.into_response();
        }
    };
    match vertex.jobs.start(&vertex.world, Host::Vertex, route, film).await {
        Ok(job) => {
            let place = place.split_once("projects/").map_or("sandbox/locations/global/", |(_, rest)| rest);
            Json(json!({"name": format!("projects/{place}publishers/google/models/{model}/operations/{}", job.id)}))
                .into_response()
        }
        Err(response) => response,
    }
}

fn admit(
    vertex: &Vertex,
    model: &str,
    broke: Result<bool, Refusal>,
    body: &[u8],
) -> Result<(Arc<Route>, Film), Refusal> {
    let broke = broke?;
    let route = vertex.world.route(ID, model).filter(|route| route.modes.contains(&Mode::TextToVideo));
    let route = route.ok_or_else(|| Refusal::no_model(Host::Vertex, model, "predictLongRunning"))?;
    if broke {
        return Err(Refusal::no_money(Host::Vertex));
    }
    let body =
        serde_json::from_slice(body).map_err(|_| Refusal::invalid("Invalid JSON payload received. Parser Error"))?;
    let film = read_film(&camel(body), &route)?;
    Ok((route, film))
}

fn read_film(body: &Value, route: &Route) -> Result<Film, Refusal> {
    let instance = &body["instances"][0];
    let prompt = instance["prompt"].as_str().unwrap_or_default().to_owned();
    let image = &instance["image"];
    if prompt.is_empty() && image.is_null() {
        return Err(Refusal::invalid("Either prompt or image must be set."));
    }
    let inline = image["bytesBase64Encoded"].as_str();
    if !image.is_null() && inline.and_then(decode).is_none() {
        return Err(Refusal::invalid("Unable to process the input image."));
    }
    let empty = Map::new();
    let parameters = body["parameters"].as_object().unwrap_or(&empty);
    if let Some(name) = parameters.keys().find(|name| !PARAMETERS.contains(&name.as_str())) {
        return Err(Refusal::invalid(format!("Unsupported parameter: {name}")));
    }
    let text = |name: &str| parameters.get(name).and_then(Value::as_str);
    let lite = route.upstream.contains("-lite-");
    let resolutions: &[&str] = if lite { &["720p", "1080p"] } else { &["720p", "1080p", "4k"] };
    for (name, allowed) in [("aspectRatio", &["16:9", "9:16"][..]), ("resolution", resolutions)] {
        if parameters.get(name).is_some_and(|value| !value.as_str().is_some_and(|text| allowed.contains(&text))) {
            return Err(Refusal::invalid(format!("Unsupported value for {name}: {}", parameters[name])));
        }
    }
    let whole = |name: &str, usual: u64| parameters.get(name).map_or(Some(usual), Value::as_u64);
    let high = text("resolution").is_some_and(|resolution| resolution != "720p");
    let seconds =
        whole("durationSeconds", 8).filter(|seconds| if high { *seconds == 8 } else { [4, 6, 8].contains(seconds) });
    let Some(seconds) = seconds.and_then(|seconds| u32::try_from(seconds).ok()) else {
        return Err(Refusal::invalid(
            "Unsupported output video duration; supported durations are [8,6,4] (8 above 720p).",
        ));
    };
    let count =
        whole("sampleCount", 1).filter(|count| (1..=4).contains(count)).and_then(|count| u32::try_from(count).ok());
    let count = count.ok_or_else(|| Refusal::invalid("sampleCount must be between 1 and 4."))?;
    let bill = bill(route, text("resolution").unwrap_or("unsaid"), seconds * count);
    Ok(Film { prompt, millis: seconds * 1_000, count, bill, tokens: (0, 0) })
}

/// Seconds of video by the price list's line for the resolution.
fn bill(route: &Route, resolution: &str, seconds: u32) -> Usd {
    let lines = route.price.lines.iter().filter(|line| line.metric == Metric::Second);
    let holds = |allowed: &Vec<String>| allowed.iter().any(|one| one == resolution);
    let line = lines.into_iter().find(|line| line.when.get("resolution").is_none_or(holds));
    line.and_then(|line| Usd::from_dollars(line.unit_price * Decimal::from(seconds))).unwrap_or_default()
}

/// `fetchPredictOperation`
fn tell(vertex: &Vertex, model: &str, broke: Result<bool, Refusal>, body: &[u8]) -> Response {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let name = body["operationName"].as_str().unwrap_or_default();
    let id = name.rsplit('/').next().unwrap_or_default();
    let found = broke.and_then(|_| vertex.jobs.advance(id).ok_or_else(Refusal::nothing_here));
    let (job, phase) = match found {
        Ok(found) => found,
        Err(refusal) => {
            vertex.world.book.write(Entry::new(ID, Operation::Poll, refusal.status.as_u16()).model(model));
            return refusal.into_response();
        }
    };
    vertex.world.book.write(Entry::new(ID, Operation::Poll, 200).model(model).job(&job.id));
    if phase != Phase::Done {
        return Json(json!({"name": name})).into_response();
    }
    let here = |fault: Fault| fault.at_result() || fault.at_file();
    let fault = vertex.world.rules.pick(ID, &job.route, |fault| fault.is_some_and(here)).and_then(|rule| rule.fault);
    let mut answer = outcome(&job, fault);
    answer["name"] = name.into();
    answer["done"] = true.into();
    match fault {
        Some(Fault::Garbage) => mischief::garbage(),
        Some(Fault::Truncate) => mischief::truncate("application/json", &answer.to_string().into()),
        _ => Json(answer).into_response(),
    }
}

/// What a finished operation says besides its name: a filtered one looks like a success.
fn outcome(job: &Job, fault: Option<Fault>) -> Value {
    let kind = "type.googleapis.com/cloud.ai.large_models.vision.GenerateVideoResponse";
    match job.fate {
        Fate::Failed | Fate::Cancelled => {
            json!({"error": {"code": 13, "message": "Video generation failed due to an internal error. Please try again."}})
        }
        Fate::Refused => {
            let reason = "Veo could not generate 1 videos based on the prompt provided. You will not be charged for this \
                          request. Try rephrasing the prompt. If you think this was an error, send feedback. Support \
                          codes: 42237218";
            json!({"response": {"@type": kind, "raiMediaFilteredCount": 1, "raiMediaFilteredReasons": [reason]}})
        }
        Fate::Made => {
            let file = if fault == Some(Fault::WrongType) { Bytes::from_static(b"GIF89a") } else { job.clip() };
            let data = base64_simd::STANDARD.encode_to_string(&file);
            let count = if fault == Some(Fault::Empty) { 0 } else { job.film.count as usize };
            let videos = vec![json!({"bytesBase64Encoded": data, "mimeType": "video/mp4"}); count];
            json!({"response": {"@type": kind, "raiMediaFilteredCount": 0, "videos": videos}})
        }
    }
}
