//! Recraft's external API, after its reference (<https://www.recraft.ai/docs/api-reference>, with the pages on errors,
//! on image inputs and on image to image) and its MCP client as read in 2026-11.
//!
//! Simulated: bearer keys, `POST /images/generations` (JSON) and its `/raster` and `/vector` variants, image to image and
//! inpainting (forms), the tools that take a file, links or base64, `credits`, `GET /users/me`. The bodies of 401 and 404
//! are the documented plain texts; the codes of the JSON errors are not published, so those here are made up, as is
//! what a refusal looks like. Not simulated: JSON edits, backgrounds, outpainting, styles of one's own, text layout,
//! real rate limits. Models without a known price are free and report no `credits`. An upscale doubles the sides.

mod error;
mod request;
#[cfg(test)]
mod tests;

use super::bill;
use super::easel::Motif;
use super::files::Files;
use super::form::Form;
use super::identity::{Key, fresh_uuid, read_key};
use super::sale::{Sale, Why, turn_away};
use super::world::{World, today};
use crate::base::{Timestamp, Usd};
use crate::catalog::Route;
use crate::job::Mode;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use error::Refusal;
use request::Order;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The provider's id.
pub(super) const ID: &str = "recraft";

/// The service and the files that it has made.
struct Studio {
    world: Arc<World>,
    files: Files,
}

pub(super) fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/images/generations", post(generate))
        .route("/images/generations/{kind}", post(generate))
        .route("/images/{tool}", post(edit))
        .route("/users/me", get(account))
        .route("/files/{name}", get(file))
        .fallback(async || Refusal::no_path().into_response())
        .with_state(Arc::new(Studio { world, files: Files::default() }))
}

type Admitted = (Order, Arc<Route>);
type Turned = (Refusal, Option<String>);

async fn generate(
    State(studio): State<Arc<Studio>>,
    uri: axum::http::Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let kind = uri.path().rsplit('/').next().unwrap_or_default();
    let admitted = identify(&headers).map_err(alone).and_then(|broke| {
        let body: Map<String, Value> =
            serde_json::from_slice(&body).map_err(|_| alone(Refusal::bad("invalid JSON")))?;
        let model = request::model(&body, "recraftv4_1").map_err(alone)?;
        let refuse = |refusal| (refusal, Some(model.clone()));
        let model = request::drawn_by(&body, &model);
        let route = find(&studio.world, &model, Mode::TextToImage).ok_or_else(|| refuse(Refusal::no_model(&model)))?;
        match kind {
            "raster" if route.upstream.ends_with("_vector") => return Err(refuse(Refusal::bad("not a raster model"))),
            "vector" if !route.upstream.ends_with("_vector") => return Err(refuse(Refusal::bad("not a vector model"))),
            _ if broke => return Err(refuse(Refusal::no_money())),
            _ => {}
        }
        Ok((Order::generation(&body, &route).map_err(refuse)?, route))
    });
    answer(&studio, &headers, admitted).await
}

/// Image to image, inpainting and the tools.
async fn edit(
    State(studio): State<Arc<Studio>>,
    Path(tool): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let admitted = identify(&headers).map_err(alone).and_then(|broke| {
        let by_prompt = matches!(tool.as_str(), "imageToImage" | "inpaint");
        let of_tool = [Mode::ImageEdit, Mode::Upscale].into_iter().find_map(|mode| find(&studio.world, &tool, mode));
        if !by_prompt && of_tool.is_none() {
            return Err(alone(Refusal::no_path()));
        }
        let form = Form::read(&headers, &body).map_err(|why| alone(Refusal::bad(why)))?;
        let usual = if tool == "inpaint" { "recraftv3" } else { "recraftv4_1" };
        let model = if by_prompt { request::model(&form.texts(), usual).map_err(alone)? } else { tool.clone() };
        let refuse = |refusal| (refusal, Some(model.clone()));
        let route = of_tool.or_else(|| find(&studio.world, &model, Mode::ImageEdit));
        let route = route.ok_or_else(|| refuse(Refusal::no_model(&model)))?;
        if broke {
            return Err(refuse(Refusal::no_money()));
        }
        let order = if by_prompt { Order::edit(&form, &route, tool == "inpaint") } else { Order::tool(&form, &route) };
        Ok((order.map_err(refuse)?, route))
    });
    answer(&studio, &headers, admitted).await
}

fn alone(refusal: Refusal) -> Turned {
    (refusal, None)
}

/// The route of a model for a mode, as long as it is served.
fn find(world: &World, model: &str, mode: Mode) -> Option<Arc<Route>> {
    let today = today();
    let mut routes = world.catalog.routes_of(ID);
    routes
        .find(|route| route.upstream == model && route.modes.contains(&mode) && !route.retired(&today))
        .map(Arc::clone)
}

/// Whether the key's account is out of units, when the key is known at all.
fn identify(headers: &HeaderMap) -> Result<bool, Refusal> {
    match read_key(headers, "bearer") {
        Key::Missing | Key::Unknown(_) => Err(Refusal::no_key()),
        Key::Broke => Ok(true),
        Key::Good => Ok(false),
    }
}

async fn answer(studio: &Studio, headers: &HeaderMap, admitted: Result<Admitted, Turned>) -> Response {
    let world = &studio.world;
    let (order, route) = match admitted {
        Ok(admitted) => admitted,
        Err((refusal, model)) => return turn_away(world, ID, model.as_deref(), refusal.into_response()),
    };
    let sale = Sale::open(world, ID, &route);
    let refusal = sale.why(&order.prompt).map(|why| match why {
        Why::Status(status) => Refusal::of_status(status),
        Why::Gone => Refusal::no_model(&route.upstream),
        Why::Refused => Refusal::moderated(),
        Why::Failed => Refusal::of_status(500),
    });
    let bill = bill::price(&route.price, &Map::new(), order.size, order.n.into());
    if let Some(ending) = sale.settle(refusal.map(IntoResponse::into_response), bill).await {
        return ending;
    }
    let base = format!("{}/{ID}", world.base_url(headers));
    deliver(studio, &order, &route, &sale, bill, &base).await
}

/// The pictures, or what the fault leaves of them.
async fn deliver(studio: &Studio, order: &Order, route: &Route, sale: &Sale<'_>, bill: Usd, base: &str) -> Response {
    let mut made = Vec::new();
    for index in 0..sale.delivered(order.n) {
        let Order { size, format, .. } = *order;
        let motif = sale.spoil(Motif { prompt: Arc::clone(&order.prompt), index, size, format, black: false });
        let id = fresh_uuid();
        let mut picture = json!({"image_id": id});
        if order.inline {
            let Some(file) = studio.world.easel.draw(&motif).await else {
                return Refusal::of_status(500).into_response();
            };
            picture["b64_json"] = base64_simd::STANDARD.encode_to_string(&file).into();
        } else {
            studio.files.put(&id, motif, format.mime(), sale.breaks_off());
            picture["url"] = format!("{base}/files/{id}").into();
        }
        made.push(picture);
    }
    let mut body = json!({"created": Timestamp::now().seconds()});
    if !route.price.lines.is_empty() {
        // 1,000 units are a dollar.
        body["credits"] = (bill.micros() / 1_000).into();
    }
    if order.single {
        body["image"] = made.pop().unwrap_or_default();
    } else {
        body["data"] = made.into();
    }
    sale.answer(&body, !order.inline)
}

async fn account(headers: HeaderMap) -> Response {
    match identify(&headers) {
        Ok(broke) => {
            let credits = if broke { 0 } else { 1_000_000 };
            let user =
                json!({"credits": credits, "email": "sandbox@example.com", "id": fresh_uuid(), "name": "Sandbox"});
            Json(user).into_response()
        }
        Err(refusal) => refusal.into_response(),
    }
}

async fn file(State(studio): State<Arc<Studio>>, Path(name): Path<String>) -> Response {
    studio.files.fetch(&studio.world, ID, &name).await
}
