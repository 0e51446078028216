//! `POST images/generations`, `images/edits` and `images/variations`.

use super::Api;
use super::body::JsonObject;
use super::caller::Caller;
use super::form;
use super::idempotency::{Fingerprint, Once, once};
use super::inputs::Given;
use super::intake::Claim;
use super::layers::{Arrival, Place};
use super::payloads::{self, Keeper};
use super::stream;
use super::videos;
use super::wire::images::{ImagesBody, estimate, read_edit, read_generation, read_variation};
use super::wire::routing::{read_preferences, read_timeout};
use super::wire::videos::take_background;
use crate::error::{Error, ErrorKind};
use crate::job::{Input, Job};
use crate::media::{Flaw, Limits, Picture, Size, SizeAsk, mask};
use crate::pipeline::{Answer, Asker, Preferences, Terms};
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, OriginalUri, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::convert::Infallible;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Instrument;

/// What the query may say.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Options {
    #[serde(default, rename = "dryRun")]
    dry_run: Option<String>,
}

impl Options {
    pub(super) fn dry(&self) -> bool {
        matches!(self.dry_run.as_deref(), Some("true" | "1"))
    }
}

/// What surrounds the body of a call.
pub(super) struct Visit {
    asker: Asker,
    place: Place,
    dry: bool,
    caller: Caller,
    arrival: Arrival,
    headers: HeaderMap,
}

impl FromRequestParts<Api> for Visit {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Error> {
        let caller = Caller::from_request_parts(parts, api).await?;
        let missing = || Error::internal("a layer is missing");
        let arrival = parts.extensions.get::<Arrival>().cloned().ok_or_else(missing)?;
        let place = parts.extensions.get::<Place>().cloned().ok_or_else(missing)?;
        let OriginalUri(uri) = OriginalUri::from_request_parts(parts, api).await.map_err(Error::internal)?;
        let options = Query::<Options>::try_from_uri(&uri).map(|query| query.0).unwrap_or_default();
        let headers = parts.headers.clone();
        let asker = asker(&caller, &arrival, uri.path(), &headers, api.origin(&headers));
        Ok(Self { asker, place, dry: options.dry(), caller, arrival, headers })
    }
}

impl Visit {
    /// Its idempotency key, for a body that `print` adds.
    fn key(&self, api: &Api, print: impl FnOnce(&mut Fingerprint)) -> Result<Option<Once>, Error> {
        Once::read(api, &self.headers, &self.caller, &self.arrival, &self.asker.endpoint, print)
    }
}

/// Makes pictures, or with `?dryRun=true` tells what they would cost.
pub(super) async fn generate(
    State(api): State<Api>,
    mut visit: Visit,
    mut body: JsonObject,
) -> Result<Response, Error> {
    visit.asker.request_bytes = body.bytes;
    let key = visit.key(&api, |print| print.object(&body.fields))?;
    let model = model_said(&body.fields);
    let later = take_background(&mut body.fields, &visit.headers);
    let read = prefer(&api, &visit.caller, &mut visit.asker, &visit.headers, &mut body.fields);
    let read = read.and_then(|()| read_generation(body.fields)).and_then(|read| permit(&api, &visit.caller, read));
    answer(api, visit, &model, read, later, key, body.claim).await
}

/// Changes pictures: a form or a JSON object, with every input picture verified before anything is bought.
pub(super) async fn edit(State(api): State<Api>, visit: Visit, request: Request) -> Result<Response, Error> {
    rework(api, visit, request, read_edit).await
}

/// Makes other pictures like one.
pub(super) async fn vary(State(api): State<Api>, visit: Visit, request: Request) -> Result<Response, Error> {
    rework(api, visit, request, read_variation).await
}

/// A call that brings pictures, as a form or as JSON.
async fn rework(
    api: Api,
    mut visit: Visit,
    request: Request,
    read: fn(Map<String, Value>) -> Result<Read, Error>,
) -> Result<Response, Error> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (mut fields, given, key, claim) = if kind.trim_start().starts_with("multipart/form-data") {
        let mut claim = Claim::default();
        let (head, body) = request.into_parts();
        let form = form::read(body, &head.headers, api.0.max_body_bytes, &api.0.intake, &mut claim).await?;
        visit.asker.request_bytes = form.bytes;
        let key = visit.key(&api, |print| {
            print.object(&form.fields);
            print.files(&form.files);
        })?;
        (form.fields, Given::of_form(form.files)?, key, claim)
    } else {
        let mut body = JsonObject::from_request(request, &api).await?;
        visit.asker.request_bytes = body.bytes;
        let key = visit.key(&api, |print| print.object(&body.fields))?;
        let given = Given::of_json(&mut body.fields)?;
        (body.fields, given, key, body.claim)
    };
    let model = model_said(&fields);
    let later = take_background(&mut fields, &visit.headers);
    // A key that may not use the model makes us fetch nothing.
    let preferred = prefer(&api, &visit.caller, &mut visit.asker, &visit.headers, &mut fields);
    let read = preferred.and_then(|()| read(fields)).and_then(|read| permit(&api, &visit.caller, read));
    let read = match read {
        Ok(read) => with_inputs(&api, given, read).await,
        Err(error) => Err(error),
    };
    answer(api, visit, &model, read, later, key, claim).await
}

/// What a request holds until its task is over: a place among the running ones, and the room of its body.
pub(super) struct Held {
    #[expect(dead_code, reason = "it is held, not read")]
    place: Place,
    #[expect(dead_code, reason = "it is held, not read")]
    claim: Claim,
}

/// A job and the grouping id that came with it.
type Read = (Job, Option<String>);

/// Reads what is said about routes and time, by the request and by its key.
pub(super) fn prefer(
    api: &Api,
    caller: &Caller,
    asker: &mut Asker,
    headers: &HeaderMap,
    fields: &mut Map<String, Value>,
) -> Result<(), Error> {
    let preferences = read_preferences(fields, headers, api.0.gateway.catalog.get().providers())?;
    asker.preferences = Preferences { allowed: caller.key.allowed_models.clone(), ..preferences };
    asker.timeout = read_timeout(headers)?;
    Ok(())
}

/// Refuses a job whose model the key may not use, through any provider.
pub(super) fn permit(api: &Api, caller: &Caller, (job, session): Read) -> Result<Read, Error> {
    let catalog = api.0.gateway.catalog.get();
    let model = catalog.find(&job.model).ok().map(|named| named.model);
    let through = model
        .into_iter()
        .flat_map(|model| catalog.routes(model).iter().map(|route| format!("{}/{}", route.provider, model.id)));
    let mut names = through.collect::<Vec<_>>().into_iter();
    let refused = caller.require_model(&job.model, model.map(|model| model.id.as_str()));
    match refused {
        Err(_) if names.any(|name| caller.require_model(&name, None).is_ok()) => Ok((job, session)),
        told => told.map(|()| (job, session)),
    }
}

async fn with_inputs(api: &Api, given: Given, (job, session): Read) -> Result<Read, Error> {
    let (images, mask) = given.obtain(&api.0.gateway).await?;
    let Some(first) = images.first() else {
        return Err(Error::invalid("image", "'image' is required: a file, a link, a data URI or base64."));
    };
    let mask = match mask {
        Some(mask) => Some(sound_mask(api, mask, first.size).await?),
        None => None,
    };
    Ok((Job { images, mask, ..job }, session))
}

/// A mask in OpenAI's convention, of the size of its picture, that marks something.
async fn sound_mask(api: &Api, given: Input, size: Option<Size>) -> Result<Input, Error> {
    let wrong = |text: String| Error::invalid("mask", text);
    if let (Some(mask), Some(image)) = (given.size, size)
        && mask != image
    {
        return Err(wrong(format!("The mask has {mask} pixels and the image {image}; both should have the same.")));
    }
    let finisher = &api.0.gateway.runner.finisher;
    let limits: Limits = finisher.limits;
    let work = move || Picture::verify(given.bytes, &limits).and_then(|picture| mask::clear_mask(&picture, &limits));
    match finisher.workers.run(work).await.and_then(|done| done) {
        Ok(mask) => Ok(Input::from(mask)),
        Err(Flaw::Busy) => Err(Error::new(ErrorKind::Unavailable, "Too many pictures are waiting to be read.")),
        Err(flaw) => Err(wrong(format!("The mask cannot be used: {flaw}."))),
    }
}

pub(super) fn model_said(fields: &Map<String, Value>) -> String {
    fields.get("model").and_then(Value::as_str).unwrap_or_default().to_owned()
}

async fn answer(
    api: Api,
    visit: Visit,
    model: &str,
    read: Result<Read, Error>,
    later: Result<Option<Terms>, Error>,
    key: Option<Once>,
    claim: Claim,
) -> Result<Response, Error> {
    let Visit { mut asker, place, dry, .. } = visit;
    let held = Held { place, claim };
    let gateway = &api.0.gateway;
    if dry {
        let (job, _) = read?;
        return Ok(axum::Json(estimate(&gateway.estimate(&job, &asker.preferences)?)).into_response());
    }
    let read = read.and_then(|read| resizable(&api, read));
    let read = later.and_then(|later| read.map(|read| (read, later)));
    let (job, later) = match read {
        Ok(((job, _), Some(_))) if job.stream.is_some() => {
            let error = Error::invalid("stream", "A job in the background is not streamed; leave one of them out.");
            return Err(gateway.ledger.reject(&asker, model, &error).await);
        }
        Ok(((job, session), later)) => {
            asker.session_id = session.or(asker.session_id);
            asker.user.clone_from(&job.user);
            (job, later)
        }
        Err(error) => return Err(gateway.ledger.reject(&asker, model, &error).await),
    };
    if job.stream.is_some() {
        // What may be replayed has to be whole first: with a key, all events come at the end.
        let task = api.clone();
        let task = async move { once(&task, key, stream::answer(task.clone(), job, asker, held)).await };
        return api.0.tasks.spawn(task.in_current_span()).await.map_err(Error::internal)?;
    }
    // A task of its own: when the caller hangs up, what was bought is still written down.
    // Whoever has a key may come back for the answer; anybody else who hangs up wants it no longer.
    let guard = key.is_none().then(|| asker.hung_up.clone().drop_guard());
    let task = api.clone();
    let task = async move {
        match later {
            Some(terms) => once(&task, key, videos::accept(task.clone(), job, asker, terms)).await,
            None => once(&task, key, Box::pin(serve(task.clone(), job, asker, held))).await,
        }
    };
    let task = api.0.tasks.spawn(task.in_current_span());
    let answered = task.await;
    guard.map(DropGuard::disarm);
    answered.map_err(Error::internal)?
}

/// Refuses a size that we would not let in either.
fn resizable(api: &Api, read: Read) -> Result<Read, Error> {
    let most = api.0.gateway.runner.finisher.limits.max_pixels;
    match read.0.size {
        SizeAsk::Exact(size) if read.0.resize.is_some() && size.area() > most => {
            Err(Error::invalid("size", format!("Pictures are resized to at most {most} pixels, not {size}.")))
        }
        _ => Ok(read),
    }
}

async fn serve(api: Api, job: Job, asker: Asker, held: Held) -> Result<Response, Error> {
    let gateway = &api.0.gateway;
    let (id, created) = (asker.request_id.clone(), asker.created_at.seconds());
    let keeper = Keeper::of(&api, &job, &asker);
    let answer = gateway.image(&job, asker, None).await;
    // The uploads are not needed any more.
    drop((job, held));
    if let Some(keeper) = keeper {
        let (response, media) = payloads::outcome(&answer);
        keeper.keep(&api, response, media).await;
    }
    let answer = answer?;
    let body = ImagesBody::write(&id, created, &answer, gateway.sandbox);
    let headers = headers_of(&answer, gateway.sandbox);
    let length = body.len();
    // Something was bought: not the refusal of a request that came to nothing.
    gateway.ledger.close(answer, length).await.map_err(Error::internal)?;
    let chunks = body.chunks.into_iter().map(Ok::<Bytes, Infallible>);
    let mut response = Body::from_stream(futures::stream::iter(chunks)).into_response();
    response.headers_mut().extend(headers);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    Ok(response)
}

fn headers_of(answer: &Answer, sandbox: bool) -> HeaderMap {
    let timing = answer.timing;
    let timing = format!(
        "gateway;dur={}, provider;dur={}, response;dur={}",
        timing.gateway_ms, timing.provider_ms, timing.response_ms
    );
    let pairs = [
        ("x-lumenfall-provider", answer.provider.clone()),
        ("x-lumenfall-model", answer.model.clone()),
        ("x-lumenfall-attempts", answer.attempts.len().to_string()),
        ("server-timing", timing),
    ];
    let pairs = pairs.into_iter().chain(sandbox.then(|| ("x-lumenfall-sandbox", "true".to_owned())));
    pairs
        .filter_map(|(name, value)| Some((HeaderName::from_static(name), HeaderValue::from_str(&value).ok()?)))
        .collect()
}

pub(super) fn asker(caller: &Caller, arrival: &Arrival, path: &str, headers: &HeaderMap, origin: String) -> Asker {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Asker {
        request_id: arrival.id.clone(),
        account_id: caller.key.account_id.clone(),
        key_id: caller.key.id.clone(),
        endpoint: path.to_owned(),
        origin,
        created_at: arrival.at,
        arrived: arrival.instant,
        session_id: header("x-lumenfall-session-id").map(|id| id.chars().take(200).collect()),
        trace_id: header("traceparent").and_then(trace_id),
        user: None,
        request_bytes: 0,
        preferences: Preferences::default(),
        timeout: None,
        hung_up: CancellationToken::new(),
    }
}

/// The trace id of a W3C `traceparent`: `00-<32 hex>-<16 hex>-<2 hex>`.
fn trace_id(traceparent: &str) -> Option<String> {
    let id = traceparent.split('-').nth(1)?;
    let sound = id.len() == 32 && id.chars().all(|c| c.is_ascii_hexdigit()) && id.chars().any(|c| c != '0');
    sound.then(|| id.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_trace_id_and_nothing_else() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(trace_id(&format!("00-{id}-00f067aa0ba902b7-01")).as_deref(), Some(id));
        assert_eq!(trace_id("00-00000000000000000000000000000000-00f067aa0ba902b7-01"), None);
        assert_eq!(trace_id("hello"), None);
    }
}
