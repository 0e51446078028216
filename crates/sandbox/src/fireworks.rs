//! Fireworks AI's image workflows, after its reference (<https://docs.fireworks.ai/api-reference>) as read in 2026-11.
//!
//! Simulated: bearer keys; FLUX.1 with both kinds of answer (`image/*`, JSON with base64), filtered pictures in each;
//! Kontext as a job, asked after by POST, with both refusals as HTTP 200 and a link at the end (`[refuse output]` is
//! refused after the work); the older models, whose answer is a file. A shape has about a megapixel. Not simulated:
//! webhooks, real rate limits, knobs that do not change the picture. What a refusal in binary looks like is not published: here it is a black
//! picture with the header `finish-reason`; the codes of errors are made up as well.

mod error;
mod job;
mod request;
#[cfg(test)]
mod tests;

use super::easel::Motif;
use super::files::Files;
use super::identity::{Key, fresh_uuid, read_key};
use super::sale::{Sale, Why, turn_away};
use super::world::World;
use super::{bill, mischief};
use crate::catalog::Route;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use error::Refusal;
use job::Jobs;
use request::{Answer, Order};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The provider's id.
pub(super) const ID: &str = "fireworks";

/// The service, its jobs and the files that they have made.
struct Works {
    world: Arc<World>,
    jobs: Jobs,
    files: Files,
}

pub(super) fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/workflows/accounts/fireworks/models/{model}/text_to_image", post(generate))
        .route("/image_generation/accounts/fireworks/models/{model}", post(generate_file))
        .route("/workflows/accounts/fireworks/models/{model}/get_result", post(job::follow))
        .route("/workflows/accounts/fireworks/models/{model}", post(job::submit))
        .route("/files/{name}", get(file))
        .fallback(async || Refusal::of_status(404).into_response())
        .with_state(Arc::new(Works { world, jobs: Jobs::default(), files: Files::default() }))
}

async fn generate(
    State(works): State<Arc<Works>>,
    Path(model): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer(&works.world, &model, Endpoint::AtOnce, &headers, &body).await
}

/// The endpoint of older models.
async fn generate_file(
    State(works): State<Arc<Works>>,
    Path(model): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer(&works.world, &model, Endpoint::Older, &headers, &body).await
}

async fn answer(world: &World, model: &str, endpoint: Endpoint, headers: &HeaderMap, body: &[u8]) -> Response {
    let upstream = format!("accounts/fireworks/models/{model}");
    let (order, route) = match admit(world, &upstream, endpoint, headers, body) {
        Ok(admitted) => admitted,
        Err(refusal) => return turn_away(world, ID, Some(&upstream), refusal.into_response()),
    };
    let sale = Sale::open(world, ID, &route);
    let refusal = match sale.why(&order.prompt) {
        Some(Why::Refused) => Some(deliver(world, &order, &sale, true).await),
        Some(Why::Status(status)) => Some(Refusal::of_status(status).into_response()),
        Some(Why::Gone) => Some(Refusal::of_status(404).into_response()),
        Some(Why::Failed) => Some(Refusal::of_status(500).into_response()),
        None => None,
    };
    let bill = bill::result(&route, &order.input, order.size);
    if let Some(ending) = sale.settle(refusal, bill).await {
        return ending;
    }
    deliver(world, &order, &sale, false).await
}

/// Where a model is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    AtOnce,
    Queued,
    Older,
}

impl Endpoint {
    fn of(upstream: &str) -> Self {
        if upstream.contains("/flux-kontext-") {
            Self::Queued
        } else if upstream.contains("/flux-") {
            Self::AtOnce
        } else {
            Self::Older
        }
    }
}

/// Key, model, money, parameters.
fn admit(
    world: &World,
    upstream: &str,
    endpoint: Endpoint,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(Order, Arc<Route>), Refusal> {
    let broke = identify(headers)?;
    let known = Endpoint::of(upstream) == endpoint;
    let route = world.route(ID, upstream).filter(|_| known).ok_or_else(|| Refusal::of_status(404))?;
    if broke {
        return Err(Refusal::of_status(412));
    }
    let input: Map<String, Value> = serde_json::from_slice(body).map_err(|_| Refusal::bad("invalid JSON body"))?;
    Ok((Order::read(input, &route, headers)?, route))
}

/// Whether the key's account is suspended, when the key is known at all.
fn identify(headers: &HeaderMap) -> Result<bool, Refusal> {
    match read_key(headers, "bearer") {
        Key::Missing | Key::Unknown(_) => Err(Refusal::of_status(401)),
        Key::Broke => Ok(true),
        Key::Good => Ok(false),
    }
}

/// The picture in the form that was asked for, or what the fault leaves of it.
async fn deliver(world: &World, order: &Order, sale: &Sale<'_>, filtered: bool) -> Response {
    let format = order.answer.format();
    let motif = Motif { prompt: Arc::clone(&order.prompt), index: 0, size: order.size, format, black: filtered };
    let motif = sale.spoil(motif);
    let Some(file) = world.easel.draw(&motif).await else { return Refusal::of_status(500).into_response() };
    let outcome = if filtered { "CONTENT_FILTERED" } else { "SUCCESS" };
    let empty = sale.delivered(1) == 0;
    if order.answer == Answer::Json {
        let text = format!("data:image/png;base64,{}", base64_simd::STANDARD.encode_to_string(&file));
        let texts: Vec<String> = if empty { Vec::new() } else { vec![text] };
        let body = json!({"id": fresh_uuid(), "base64": texts, "finishReason": outcome, "seed": order.seed});
        return sale.answer(&body, false);
    }
    let mut response = if sale.breaks_off() {
        mischief::truncate(format.mime(), &file)
    } else {
        let file = if empty { Bytes::new() } else { file };
        ([(header::CONTENT_TYPE, format.mime())], Body::from(file)).into_response()
    };
    mischief::put(&mut response, "finish-reason", outcome);
    mischief::put(&mut response, "seed", &order.seed.to_string());
    response
}

async fn file(State(works): State<Arc<Works>>, Path(name): Path<String>) -> Response {
    works.files.fetch(&works.world, ID, &name).await
}
