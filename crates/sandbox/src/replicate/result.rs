//! The prediction object, and the files that it links to.

use super::super::book::{Entry, Operation};
use super::super::clip::clip;
use super::super::easel::Motif;
use super::super::mischief;
use super::super::steering::Fault;
use super::super::world::World;
use super::error::Refusal;
use super::prediction::{Fate, Phase, Prediction};
use super::request::Order;
use super::{ID, Service};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::Arc;

/// The words of a refusal. There is no code besides the one in brackets.
const FLAGGED: &str = "The input or output was flagged as sensitive. Please try again with different inputs. (E005)";

/// Models that answer with one address; all others with a list.
const SINGLE: [&str; 18] = [
    "black-forest-labs/flux-1.1-pro",
    "black-forest-labs/flux-canny-pro",
    "black-forest-labs/flux-depth-pro",
    "black-forest-labs/flux-fill-pro",
    "black-forest-labs/flux-pro",
    "black-forest-labs/flux-kontext-",
    "black-forest-labs/flux-2-pro",
    "black-forest-labs/flux-2-max",
    "black-forest-labs/flux-2-flex",
    "bria/",
    "bytedance/seedream-3",
    "google/",
    "ideogram-ai/",
    "recraft-ai/",
    "xai/",
    "prunaai/",
    "luma/",
    "minimax/",
];

/// A prediction object with that output.
pub(super) fn describe(prediction: &Prediction, phase: Phase, base: &str, output: &Value) -> Value {
    let url = format!("{base}/v1/predictions/{}", prediction.id);
    let status = match (phase, prediction.fate) {
        (Phase::Starting, _) => "starting",
        (Phase::Processing, _) => "processing",
        (Phase::Done, Fate::Made) => "succeeded",
        (Phase::Done, Fate::Canceled) => "canceled",
        (Phase::Done, Fate::Refused | Fate::Failed) => "failed",
    };
    let error = match (phase, prediction.fate) {
        (Phase::Done, Fate::Refused) => json!(FLAGGED),
        (Phase::Done, Fate::Failed) => json!("Prediction interrupted; please retry (code: PA)"),
        _ => Value::Null,
    };
    let mut object = json!({
        "id": prediction.id,
        "model": prediction.route.upstream,
        "version": "hidden",
        "input": prediction.input,
        "logs": "",
        "output": output,
        "data_removed": prediction.removed(),
        "error": error,
        "status": status,
        "created_at": prediction.created.rfc3339(),
        "urls": {
            "get": url,
            "cancel": format!("{url}/cancel"),
            "stream": format!("{base}/stream/{}", prediction.id),
            "web": format!("https://replicate.com/p/{}", prediction.id),
        },
    });
    if phase == Phase::Done {
        let (seconds, created) = (prediction.seconds(), prediction.created);
        object["started_at"] = json!(created.rfc3339());
        object["completed_at"] = json!(created.plus(prediction.latency).rfc3339());
        object["metrics"] = json!({"predict_time": seconds, "total_time": seconds + 0.1});
    }
    object
}

/// The answer to who asks after a prediction, or what a fault leaves of it.
pub(super) fn tell(world: &World, prediction: &Prediction, phase: Phase, base: &str) -> Response {
    if phase != Phase::Done || prediction.fate != Fate::Made || prediction.removed() {
        return Json(describe(prediction, phase, base, &Value::Null)).into_response();
    }
    let picked = world.rules.pick(ID, &prediction.route, |fault| fault.is_some_and(Fault::at_result));
    let output = match picked.and_then(|rule| rule.fault) {
        Some(Fault::Garbage) => return mischief::garbage(),
        Some(Fault::Empty) => Value::Null,
        _ => output(prediction, base),
    };
    Json(describe(prediction, phase, base, &output)).into_response()
}

fn output(prediction: &Prediction, base: &str) -> Value {
    let extension = extension(&prediction.order);
    let link = |index: u32| json!(format!("{base}/delivery/{}/out-{index}.{extension}", prediction.id));
    let single = SINGLE.iter().any(|start| prediction.route.upstream.starts_with(start));
    if single || prediction.order.seconds.is_some() { link(0) } else { (0..prediction.order.count).map(link).collect() }
}

fn extension(order: &Order) -> &'static str {
    if order.seconds.is_some() { "mp4" } else { order.format.extension() }
}

/// A result file: public, for an hour.
pub(super) async fn file(State(service): State<Arc<Service>>, Path((id, name)): Path<(String, String)>) -> Response {
    let found = find(&service, &id, &name);
    let response = match &found {
        None => Refusal::nothing().into_response(),
        Some((prediction, index)) => draw(&service.world, prediction, *index).await,
    };
    let mut entry = Entry::new(ID, Operation::File, response.status().as_u16()).job(&id);
    if let Some((prediction, _)) = &found {
        entry = entry.model(&prediction.route.upstream);
    }
    service.world.book.write(entry);
    response
}

/// The prediction and the index that a file's name means: `out-<index>.<extension>`.
fn find(service: &Service, id: &str, name: &str) -> Option<(Arc<Prediction>, u32)> {
    let (prediction, phase) = service.predictions.look(id)?;
    let (stem, extension) = name.strip_prefix("out-")?.split_once('.')?;
    let index: u32 = stem.parse().ok()?;
    let real = index < prediction.order.count && extension == self::extension(&prediction.order);
    let there = phase == Phase::Done && prediction.fate == Fate::Made && !prediction.removed();
    (real && there).then_some((prediction, index))
}

async fn draw(world: &World, prediction: &Prediction, index: u32) -> Response {
    let picked = world.rules.pick(ID, &prediction.route, |fault| fault.is_some_and(Fault::at_file));
    let fault = picked.and_then(|rule| rule.fault);
    let order = &prediction.order;
    if let Some(seconds) = order.seconds {
        let (mime, file) = ("video/mp4", clip(seconds * 1000));
        return match fault {
            Some(Fault::Truncate) => mischief::truncate(mime, &file),
            _ => ([(header::CONTENT_TYPE, mime)], Body::from(file)).into_response(),
        };
    }
    let motif =
        Motif { prompt: Arc::clone(&order.prompt), index, size: order.size, format: order.format, black: false };
    let motif = match fault {
        Some(Fault::WrongType) => motif.wrong_type(),
        Some(Fault::WrongSize) => motif.wrong_size(),
        _ => motif,
    };
    match (world.easel.draw(&motif).await, fault) {
        (None, _) => Refusal::of_status(500).into_response(),
        (Some(file), Some(Fault::Truncate)) => mischief::truncate(order.format.mime(), &file),
        (Some(file), _) => ([(header::CONTENT_TYPE, order.format.mime())], Body::from(file)).into_response(),
    }
}
