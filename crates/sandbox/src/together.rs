//! Together AI's image generations and videos, after its reference, its pages on both and answers that its users recorded,
//! as read in 2026-11 (<https://docs.together.ai/reference/post-images-generations>).
//!
//! Simulated: bearer keys, `POST /images/generations` with and without `/v1` (its Python SDK's base address ends before
//! it), links or base64, what each model takes (sides, seeds, steps, pictures to work from) and the words in which it
//! refuses the rest, both refusals: Together's checker (422, switched off by `disable_safety_checker`) and the makers' own
//! moderation, which only FLUX.2 \[dev] has not. A Kontext picture has the shape of the one given, at about a megapixel.
//! Videos under `/v2`: sizes and lengths of each model, a first frame and a last, jobs that name their cost when they are
//! done and what they fell over when they fail. Not simulated: LoRAs, real rate limits, reference pictures of videos, the
//! list of models. The words of the 422 and of a failed video are not published, so those here are made up.

mod error;
mod request;
#[cfg(test)]
mod tests;
mod video;

use super::bill;
use super::easel::Motif;
use super::files::Files;
use super::identity::{Key, fresh_hex, read_key};
use super::sale::{Sale, Why, turn_away};
use super::world::World;
use crate::catalog::Route;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use error::Refusal;
use request::Order;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The provider's id.
pub(super) const ID: &str = "together";

/// The service and the files that it has made.
struct Cloud {
    world: Arc<World>,
    files: Files,
}

pub(super) fn router(world: Arc<World>) -> Router {
    let api = Router::new().route("/images/generations", post(generate));
    Router::new()
        .merge(api.clone())
        .nest("/v1", api)
        .route("/shrt/{name}", get(file))
        .fallback(async || Refusal::of_status(404).into_response())
        .with_state(Arc::new(Cloud { world: Arc::clone(&world), files: Files::default() }))
        .nest("/v2/videos", video::router(world))
}

async fn generate(State(cloud): State<Arc<Cloud>>, headers: HeaderMap, body: Bytes) -> Response {
    let world = &cloud.world;
    let (order, route) = match admit(world, &headers, &body) {
        Ok(admitted) => admitted,
        Err((refusal, model)) => return turn_away(world, ID, model.as_deref(), refusal.into_response()),
    };
    let sale = Sale::open(world, ID, &route);
    let refusal = sale.why(&order.prompt).and_then(|why| refuse(why, &order, &route));
    let bill = bill::price(&route.price, &order.input, order.size, order.n.into());
    if let Some(ending) = sale.settle(refusal.map(IntoResponse::into_response), bill).await {
        return ending;
    }
    deliver(&cloud, &order, &route, &sale, &headers).await
}

/// A legal call and its model; or what is said to it, and the model as far as it was known.
type Admission = Result<(Order, Arc<Route>), (Refusal, Option<String>)>;

/// Key, body, model, money, parameters.
fn admit(world: &World, headers: &HeaderMap, body: &[u8]) -> Admission {
    let alone = |refusal| (refusal, None);
    let broke = is_broke(headers).map_err(alone)?;
    let input: Map<String, Value> =
        serde_json::from_slice(body).map_err(|_| alone(Refusal::bad(None, "The request body is not valid JSON.")))?;
    let model = input.get("model").and_then(Value::as_str).unwrap_or_default().to_owned();
    let route = world.route(ID, &model).filter(|route| route.video.is_none());
    let route = route.ok_or_else(|| alone(Refusal::no_model(&model)))?;
    if broke {
        return Err((Refusal::of_status(402), Some(model)));
    }
    match Order::read(input, &route) {
        Ok(order) => Ok((order, route)),
        Err(refusal) => Err((refusal, Some(model))),
    }
}

/// Whether the key's account is out of money, when the key is known at all.
fn is_broke(headers: &HeaderMap) -> Result<bool, Refusal> {
    match read_key(headers, "bearer") {
        Key::Missing => Err(Refusal::no_key()),
        Key::Unknown(_) => Err(Refusal::of_status(401)),
        Key::Broke => Ok(true),
        Key::Good => Ok(false),
    }
}

/// What is said instead of pictures. Who has switched the checker off meets the maker's moderation, if there is one.
fn refuse(why: Why, order: &Order, route: &Route) -> Option<Refusal> {
    match why {
        Why::Refused if order.unchecked && route.upstream.ends_with("-dev") => None,
        Why::Refused if order.unchecked => Some(Refusal::against_policy()),
        Why::Refused => Some(Refusal::of_status(422)),
        Why::Status(status) => Some(Refusal::of_status(status)),
        Why::Gone => Some(Refusal::no_model(&route.upstream)),
        Why::Failed => Some(Refusal::of_status(500)),
    }
}

/// The pictures, or what the fault leaves of them.
async fn deliver(cloud: &Cloud, order: &Order, route: &Route, sale: &Sale<'_>, headers: &HeaderMap) -> Response {
    let mut data = Vec::new();
    for index in 0..sale.delivered(order.n) {
        let motif =
            Motif { prompt: Arc::clone(&order.prompt), index, size: order.size, format: order.format, black: false };
        let motif = sale.spoil(motif);
        if order.inline {
            let Some(file) = cloud.world.easel.draw(&motif).await else {
                return Refusal::of_status(500).into_response();
            };
            let text = base64_simd::STANDARD.encode_to_string(&file);
            data.push(json!({"index": index, "type": "b64_json", "b64_json": text}));
        } else {
            let name = fresh_hex();
            let link = format!("{}/{ID}/shrt/{name}", cloud.world.base_url(headers));
            cloud.files.put(&name, motif, order.format.mime(), sale.breaks_off());
            data.push(json!({"index": index, "type": "url", "url": link}));
        }
    }
    let body = json!({"id": error::fresh_id(), "model": route.upstream, "object": "list", "data": data});
    sale.answer(&body, !order.inline)
}

async fn file(State(cloud): State<Arc<Cloud>>, Path(name): Path<String>) -> Response {
    cloud.files.fetch(&cloud.world, ID, &name).await
}
