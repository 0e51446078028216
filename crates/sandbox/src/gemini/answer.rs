//! `generateContent` of an image model, on either host: the checks, the picture, and the four shapes of a refusal
//! (<https://ai.google.dev/api/generate-content>).

use super::super::easel::Motif;
use super::super::mischief;
use super::super::sale::{Sale, turn_away};
use super::super::steering::Fault;
use super::super::world::World;
use super::Host;
use super::error::Refusal;
use super::request::Order;
use super::usage::Count;
use crate::base::Usd;
use crate::catalog::Route;
use crate::job::Mode;
use crate::media::Size;
use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::Arc;

/// Answers a call; `broke` says whether the key's account is out of money, when the key is known at all.
pub(crate) async fn generate(
    world: &World,
    host: Host,
    model: &str,
    broke: Result<bool, Refusal>,
    body: &[u8],
) -> Response {
    match admit(world, host, model, broke, body) {
        Ok((order, route)) => make(world, host, &order, &route).await,
        Err(refusal) => turn_away(world, host.id(), Some(model), refusal.into_response()),
    }
}

fn admit(
    world: &World,
    host: Host,
    model: &str,
    broke: Result<bool, Refusal>,
    body: &[u8],
) -> Result<(Order, Arc<Route>), Refusal> {
    let broke = broke?;
    let route = world.route(host.id(), model).ok_or_else(|| Refusal::no_model(host, model, "generateContent"))?;
    if !route.modes.contains(&Mode::TextToImage) {
        return Err(match host {
            Host::Gemini => Refusal::invalid("This model only supports Interactions API."),
            Host::Vertex => Refusal::no_model(host, model, "generateContent"),
        });
    }
    if broke {
        return Err(Refusal::no_money(host));
    }
    Ok((Order::read(body, &route, host)?, route))
}

async fn make(world: &World, host: Host, order: &Order, route: &Route) -> Response {
    let mut sale = Sale::open(world, host.id(), route);
    let after = sale.take_retry_after();
    let refusal = sale.refusal(
        |status| Refusal::of_status(status, host).after(after),
        || Refusal::no_model(host, &route.upstream, "generateContent"),
    );
    let failed = || order.prompt.contains("[fail]").then(|| Refusal::of_status(500, host).into_response());
    let refusal = refusal.or_else(failed);
    let accepted = sale.taken(refusal.is_some() || sale.refuses(&order.prompt));
    let count = count(order, route, sale.fault());
    let bill = if accepted && !order.doomed() { count.bill(&route.price) } else { Usd::ZERO };
    if let Some(ending) = sale.settle(refusal, bill).await {
        return ending;
    }
    match sale.fault() {
        // A prompt is blocked before anything runs, a picture when it is there: both answer 200.
        _ if order.prompt.contains("[refuse]") => sign(host, route, blocked(order)),
        Some(Fault::Refuse) => sign(host, route, stopped(order, "IMAGE_PROHIBITED_CONTENT")),
        Some(Fault::Empty) => sign(host, route, stopped_with(count, "NO_IMAGE", None)),
        _ => deliver(world, host, order, route, count, &sale).await,
    }
}

/// What the model says when it talks.
fn speech(order: &Order) -> &'static str {
    match (order.draws, order.talks) {
        (false, _) => "I can only describe it: a picture was not asked for.",
        (true, true) => "Here is your picture.",
        (true, false) => "",
    }
}

/// The tokens that are reported, and billed.
fn count(order: &Order, route: &Route, fault: Option<Fault>) -> Count {
    let drawn = order.draws && fault != Some(Fault::Empty);
    let said = if fault == Some(Fault::Empty) { "" } else { speech(order) };
    Count::of(order, &route.upstream, u64::from(drawn), said)
}

/// The picture, or what the fault leaves of it.
async fn deliver(world: &World, host: Host, order: &Order, route: &Route, count: Count, sale: &Sale<'_>) -> Response {
    let mut parts = Vec::new();
    if order.thoughts {
        let Size { width, height } = order.size;
        let draft = Motif { index: 1, size: Size::new(width / 4, height / 4), ..motif(order) };
        let Some(draft) = part(world, &draft, order).await else {
            return Refusal::of_status(500, host).into_response();
        };
        parts.push(json!({"text": "A first idea.", "thought": true}));
        parts.push(json!({"inlineData": draft, "thought": true}));
    }
    if !speech(order).is_empty() {
        parts.push(json!({"text": speech(order)}));
    }
    if order.draws {
        let Some(file) = part(world, &sale.spoil(motif(order)), order).await else {
            return Refusal::of_status(500, host).into_response();
        };
        parts.push(json!({"inlineData": file, "thoughtSignature": "c2lnbmF0dXJl"}));
    }
    let answer = json!({
        "candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": count.report(),
    });
    if sale.breaks_off() {
        return mischief::truncate("application/json", &answer.to_string().into());
    }
    sign(host, route, answer)
}

fn motif(order: &Order) -> Motif {
    Motif { prompt: Arc::clone(&order.prompt), index: 0, size: order.size, format: order.format, black: false }
}

/// A picture as base64, with the media type that was announced, whatever is in it.
async fn part(world: &World, motif: &Motif, order: &Order) -> Option<Value> {
    let file = world.easel.draw(motif).await?;
    Some(json!({"mimeType": order.format.mime(), "data": base64_simd::STANDARD.encode_to_string(&file)}))
}

/// A prompt that was blocked.
fn blocked(order: &Order) -> Value {
    let tokens = Count { image_in: 0, ..Count::of(order, "", 0, "") }.report();
    json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": tokens})
}

/// A candidate that was stopped, at no charge.
fn stopped(order: &Order, reason: &str) -> Value {
    let message = "Unable to show the generated image. The model could not generate the image based on the prompt \
                   provided. You will not be charged for this request. Support codes: 15236754";
    stopped_with(Count::of(order, "", 0, ""), reason, Some(message))
}

fn stopped_with(count: Count, reason: &str, message: Option<&str>) -> Value {
    let mut candidate = json!({"content": {}, "finishReason": reason, "index": 0});
    if let Some(message) = message {
        candidate["finishMessage"] = message.into();
    }
    json!({"candidates": [candidate], "usageMetadata": count.report()})
}

/// What ends every answer.
fn sign(host: Host, route: &Route, mut answer: Value) -> Response {
    answer["modelVersion"] = route.upstream.clone().into();
    answer["responseId"] = super::fresh_token(22).into();
    if host == Host::Vertex {
        answer["createTime"] = crate::base::Timestamp::now().rfc3339().into();
        answer["usageMetadata"]["trafficType"] = "ON_DEMAND".into();
    }
    Json(answer).into_response()
}
