//! xAI's Imagine API, after <https://docs.x.ai/developers/model-capabilities/images> and its protocol files as read in
//! 2026-11.
//!
//! Simulated: bearer keys (a wrong one is a 400), `POST /images/generations` and `/images/edits` (JSON only) as base64
//! or as links to short-lived files, quiet moderation (200, a flag, nothing to see, billed), ticks, the slugs that lead
//! to another model, `POST /videos/generations`, `/videos/edits` and `/videos/extensions` with polls, all three error
//! envelopes. An extension comes with what it extends; what is billed of both are the seconds made, at the price of a
//! generation, since xAI tells no other. Not simulated: `storage_options`, fetching of linked pictures and videos (such a
//! video passes for one of five seconds), reference pictures, rate limits, the exact text of a policy block. Pixel sizes
//! follow a rule of ours; xAI publishes no table.

mod error;
mod fields;
mod price;
mod request;
mod source;

#[cfg(test)]
mod tests;
mod video;

use super::book::{Entry, Operation};
use super::easel::Motif;
use super::identity::{Key, fresh_uuid, read_key};
use super::mischief;
use super::sale::Sale;
use super::shelf::Shelf;
use super::world::{World, today};
use crate::catalog::Route;
use crate::job::Mode;
use crate::media::Format;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use error::Refusal;
use request::{Film, Order};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The provider's id.
pub(super) const ID: &str = "xai";

/// Slugs that lead to another model.
const REDIRECTED: [&str; 2] = ["grok-imagine-image-quality", "grok-imagine-image-pro"];

/// What this simulator remembers.
struct Desk {
    world: Arc<World>,
    files: Shelf<(Motif, bool)>,
    jobs: Shelf<video::Job>,
}

pub(super) fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/images/generations", post(generate))
        .route("/images/edits", post(edit))
        .route("/videos/generations", post(film))
        .route("/videos/edits", post(edit_film))
        .route("/videos/extensions", post(extend_film))
        .route("/videos/{id}", get(video::poll))
        .route("/files/{name}", get(file))
        .fallback(async || Refusal::no_path().into_response())
        .with_state(Arc::new(Desk { world, files: Shelf::default(), jobs: Shelf::default() }))
}

async fn generate(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> Response {
    let read = |body: &Map<String, Value>, route: &Route| Order::read(body, route, false);
    match admit(&desk, &headers, &body, Mode::TextToImage, read) {
        Ok((order, route)) => make(&desk, &order, &route, &headers).await,
        Err(refusal) => refusal.into_response(),
    }
}

async fn edit(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> Response {
    let read = |body: &Map<String, Value>, route: &Route| Order::read(body, route, true);
    match admit(&desk, &headers, &body, Mode::ImageEdit, read) {
        Ok((order, route)) => make(&desk, &order, &route, &headers).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// Key, body, model, money, arguments. A refusal is written down before it is answered.
fn admit<T>(
    desk: &Desk,
    headers: &HeaderMap,
    body: &[u8],
    mode: Mode,
    read: impl FnOnce(&Map<String, Value>, &Route) -> Result<T, Refusal>,
) -> Result<(T, Arc<Route>), Refusal> {
    let mut named = None;
    let admitted = (|| {
        let broke = identify(headers)?;
        let body = read_json(headers, body)?;
        let model = fields::text(&body, "model")?.ok_or_else(|| Refusal::misshapen("missing field `model`"))?;
        named = Some(model.to_owned());
        let slug = if REDIRECTED.contains(&model) { "grok-imagine-image-2.0" } else { model };
        let route = find(&desk.world, slug, mode).ok_or_else(|| Refusal::no_model(model))?;
        if broke {
            return Err(Refusal::no_money());
        }
        Ok((read(&body, &route)?, route))
    })();
    admitted.inspect_err(|refusal: &Refusal| {
        let entry = Entry::new(ID, Operation::Create, refusal.status.as_u16());
        desk.world.book.write(named.iter().fold(entry, |entry, model| entry.model(model)));
    })
}

/// Whether the key's account is out of money, when the key is known at all.
fn identify(headers: &HeaderMap) -> Result<bool, Refusal> {
    match read_key(headers, "bearer") {
        Key::Missing => Err(Refusal::no_key()),
        Key::Unknown(_) => Err(Refusal::wrong_key()),
        Key::Broke => Ok(true),
        Key::Good => Ok(false),
    }
}

fn read_json(headers: &HeaderMap, body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if body.is_empty() || !kind.starts_with("application/json") {
        return Err(Refusal::no_json());
    }
    serde_json::from_slice(body).map_err(|error| Refusal::misshapen(&error.to_string()))
}

/// The route of that slug that has the mode: generations and edits of one model are rows of their own.
fn find(world: &World, slug: &str, mode: Mode) -> Option<Arc<Route>> {
    let today = today();
    let fits = |route: &&Arc<Route>| route.upstream == slug && route.modes.contains(&mode) && !route.retired(&today);
    world.catalog.routes_of(ID).find(fits).map(Arc::clone)
}

async fn make(desk: &Desk, order: &Order, route: &Route, headers: &HeaderMap) -> Response {
    let world = &desk.world;
    let sale = Sale::open(world, ID, route);
    let failed = sale.fault().is_none() && order.prompt.contains("[fail]");
    let refusal = sale.refusal(Refusal::of_status, || Refusal::no_model(&route.upstream));
    let refusal = refusal.or_else(|| failed.then(|| Refusal::of_status(500).into_response()));
    // A picture that moderation holds back was made.
    let ticks = if sale.taken(refusal.is_some()) {
        price::pictures(&route.upstream, &order.quality, &order.scale, order.n, order.inputs)
    } else {
        0
    };
    match sale.settle(refusal, price::dollars(ticks)).await {
        Some(ending) => ending,
        None => deliver(desk, order, route, &sale, ticks, headers).await,
    }
}

/// The pictures, or what the fault leaves of them.
async fn deliver(
    desk: &Desk,
    order: &Order,
    route: &Route,
    sale: &Sale<'_>,
    ticks: u64,
    headers: &HeaderMap,
) -> Response {
    let blocked = sale.refuses(&order.prompt);
    let mut data = Vec::new();
    for index in 0..order.n {
        let mut item = json!({"mime_type": "image/jpeg", "revised_prompt": "", "respect_moderation": !blocked});
        let (prompt, size) = (Arc::clone(&order.prompt), order.size);
        let motif = sale.spoil(Motif { prompt, index, size, format: Format::Jpeg, black: false });
        item[if order.inline { "b64_json" } else { "url" }] = if blocked || sale.delivered(1) == 0 {
            "".into()
        } else if order.inline {
            let Some(file) = desk.world.easel.draw(&motif).await else {
                return Refusal::of_status(500).into_response();
            };
            base64_simd::STANDARD.encode_to_string(&file).into()
        } else {
            let name = fresh_uuid();
            desk.files.add(name.clone(), (motif, sale.breaks_off()));
            format!("{}/{ID}/files/{name}.jpeg", desk.world.base_url(headers)).into()
        };
        data.push(item);
    }
    let answer = json!({"data": data, "model": route.upstream, "usage": {"cost_in_usd_ticks": ticks}});
    sale.answer(&answer, !order.inline)
}

/// `POST /videos/generations`
async fn film(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> Response {
    begin(&desk, admit(&desk, &headers, &body, Mode::TextToVideo, Film::read)).await
}

/// `POST /videos/edits`
async fn edit_film(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> Response {
    begin(&desk, admit(&desk, &headers, &body, Mode::VideoToVideo, |body, _| Film::edit(body))).await
}

/// `POST /videos/extensions`
async fn extend_film(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> Response {
    begin(&desk, admit(&desk, &headers, &body, Mode::VideoExtension, |body, _| Film::extension(body))).await
}

/// Takes a job in, and answers with its id.
async fn begin(desk: &Desk, admitted: Result<(Film, Arc<Route>), Refusal>) -> Response {
    let (film, route) = match admitted {
        Ok(admitted) => admitted,
        Err(refusal) => return refusal.into_response(),
    };
    let world = &desk.world;
    let sale = Sale::of_job(world, ID, &route);
    let refusal = sale.refusal(Refusal::of_status, || Refusal::no_model(&route.upstream));
    let (id, job) = (fresh_uuid(), video::Job::new(film, route, &sale));
    if sale.take(refusal.as_ref(), &id, price::dollars(job.ticks)) {
        desk.jobs.add(id.clone(), job);
    }
    sale.instead(refusal).await.unwrap_or_else(|| Json(json!({"request_id": id})).into_response())
}

/// A result file: public.
async fn file(State(desk): State<Arc<Desk>>, Path(name): Path<String>) -> Response {
    let response = hand_over(&desk, &name).await.unwrap_or_else(|| Refusal::no_path().into_response());
    desk.world.book.write(Entry::new(ID, Operation::File, response.status().as_u16()));
    response
}

async fn hand_over(desk: &Desk, name: &str) -> Option<Response> {
    if let Some(id) = name.strip_suffix(".mp4") {
        return video::file(desk, id);
    }
    let (motif, cut) = desk.files.find(name.strip_suffix(".jpeg")?)?;
    let bytes = desk.world.easel.draw(&motif).await?;
    if cut {
        return Some(mischief::truncate("image/jpeg", &bytes));
    }
    Some(([(header::CONTENT_TYPE, "image/jpeg")], Body::from(bytes)).into_response())
}
