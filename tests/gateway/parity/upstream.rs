//! The providers of the parity scenarios: each key has its script, and every creating call is noted with what it carried.

use crate::kit::file;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use lumenfall::media::Format;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

/// An answer to a creating call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// Calls with the same key before this many milliseconds are over are noted as too early.
    pub(super) retry_after_ms: Option<u64>,
    /// The type of the error, for a status that is one.
    pub(super) error: &'static str,
    /// How many pictures it has; as many as it was asked for when `None`.
    pub(super) pictures: Option<usize>,
    /// What they are, as fixtures spell it; `broken` is no picture.
    pub(super) picture: &'static str,
    /// The cost that it reports, in dollars.
    pub(super) cost: Option<f64>,
    /// How long it takes for each picture that it was asked for, in milliseconds.
    pub(super) ms_per_picture: u64,
}

/// As many pictures as were asked for, and no word of a cost.
pub(super) const MADE: Reply = Reply {
    status: 200,
    retry_after_ms: None,
    error: "",
    pictures: None,
    picture: "png:64x64",
    cost: None,
    ms_per_picture: 0,
};

pub(super) fn fails(status: u16) -> Reply {
    Reply { status, ..MADE }
}

pub(super) fn limits(retry_after_ms: u64) -> Reply {
    Reply { retry_after_ms: Some(retry_after_ms), ..fails(429) }
}

pub(super) fn makes(pictures: usize) -> Reply {
    Reply { pictures: Some(pictures), ..MADE }
}

/// `provider key`, and its answers in the order of its calls; the last one stays. Without a script, all is well.
pub(super) type Script = (&'static str, Vec<Reply>);

/// The providers, on a free port: the first part of a path is the name of one.
pub(super) struct Upstream {
    pub(super) base: String,
    scripted: Arc<Scripted>,
}

struct Scripted {
    scripts: HashMap<&'static str, Vec<Reply>>,
    calls: Mutex<Calls>,
}

#[derive(Default)]
struct Calls {
    noted: Vec<String>,
    made: HashMap<String, usize>,
    limited_until: HashMap<String, Instant>,
}

impl Upstream {
    pub(super) async fn start(scripts: &[Script]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let scripted = Arc::new(Scripted { scripts: scripts.iter().cloned().collect(), calls: Mutex::default() });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&scripted));
        tokio::spawn(axum::serve(listener, router).into_future());
        Self { base, scripted }
    }

    /// Begins every script again, and forgets the calls.
    pub(super) fn rewind(&self) {
        *self.scripted.calls.lock().unwrap() = Calls::default();
    }

    /// Every creating call so far, sorted.
    pub(super) fn calls(&self) -> Vec<String> {
        let mut noted = self.scripted.calls.lock().unwrap().noted.clone();
        noted.sort();
        noted
    }
}

impl Scripted {
    /// Notes a call and returns its answer.
    fn take(&self, who: &str, body: &Value) -> Reply {
        let mut calls = self.calls.lock().unwrap();
        let early = calls.limited_until.get(who).is_some_and(|until| Instant::now() < *until);
        let early = if early { " too early" } else { "" };
        calls.noted.push(format!("{who} n={}{}{early}", asked_for(body), inputs(body)));
        let made = calls.made.entry(who.to_owned()).or_default();
        let script = self.scripts.get(who).map_or(&[MADE][..], Vec::as_slice);
        let reply = script[(*made).min(script.len() - 1)];
        *made += 1;
        if let Some(millis) = reply.retry_after_ms {
            calls.limited_until.insert(who.to_owned(), Instant::now() + Duration::from_millis(millis));
        }
        reply
    }
}

async fn answer(State(scripted): State<Arc<Scripted>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let provider = uri.path().split('/').nth(1).unwrap();
    let key = headers["authorization"].to_str().unwrap().trim_start_matches("Bearer ");
    let body: Value = serde_json::from_slice(&body).unwrap();
    let reply = scripted.take(&format!("{provider} {key}"), &body);
    sleep(Duration::from_millis(reply.ms_per_picture * asked_for(&body) as u64)).await;
    let mut response = if reply.status != 200 {
        let text = format!("the script says {}", reply.status);
        let kind = (!reply.error.is_empty()).then_some(reply.error);
        let error = json!({"code": reply.status, "message": text, "metadata": {"error_type": kind}});
        axum::Json(json!({ "error": error })).into_response()
    } else if body["stream"] == true {
        events(&reply, asked_for(&body))
    } else {
        let data: Vec<Value> = pictures(&reply, asked_for(&body)).map(|text| json!({"b64_json": text})).collect();
        axum::Json(json!({"data": data, "usage": {"cost": reply.cost}})).into_response()
    };
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap();
    if let Some(millis) = reply.retry_after_ms {
        response.headers_mut().insert("retry-after-ms", HeaderValue::from(millis));
    }
    response
}

fn asked_for(body: &Value) -> usize {
    body["n"].as_u64().map_or(1, |n| usize::try_from(n).unwrap())
}

fn pictures(reply: &Reply, asked: usize) -> impl Iterator<Item = String> {
    let bytes = if reply.picture == "broken" { b"broken".to_vec() } else { file(reply.picture) };
    let text = base64_simd::STANDARD.encode_to_string(bytes);
    std::iter::repeat_n(text, reply.pictures.unwrap_or(asked))
}

/// The same as events, one for each picture.
fn events(reply: &Reply, asked: usize) -> Response {
    let event = |text: String| {
        let usage = json!({"cost": reply.cost});
        let event = json!({"type": "image_generation.completed", "b64_json": text, "usage": usage});
        format!("data: {event}\n\n")
    };
    let body: String = pictures(reply, asked).map(event).collect();
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

/// The pictures and the mask of a call, as they really are.
fn inputs(body: &Value) -> String {
    let bytes = |uri: &Value| {
        let (_, text) = uri.as_str().unwrap().split_once(";base64,").unwrap();
        base64_simd::STANDARD.decode_to_vec(text).unwrap()
    };
    let images = body["images"].as_array().into_iter().flatten().map(|uri| format!(" image={}", kind(&bytes(uri))));
    let mask = body["mask"].is_string().then(|| format!(" mask={}", shades(&bytes(&body["mask"]))));
    images.chain(mask).collect()
}

/// The format and size of a picture.
pub(super) fn kind(picture: &[u8]) -> String {
    let facts = crate::kit::picture_facts(picture);
    format!("{}:{}", Format::name(facts.format), facts.size)
}

/// What the left and the right half of a mask look like.
fn shades(mask: &[u8]) -> String {
    let pixels = image::load_from_memory(mask).unwrap().into_luma_alpha8();
    let shade = |x: u32| match pixels.get_pixel(x, pixels.height() / 2).0 {
        [_, 0] => "clear",
        [255, _] => "white",
        [0, _] => "black",
        _ => "grey",
    };
    format!("{}:{}|{}", kind(mask), shade(0), shade(pixels.width() - 1))
}
