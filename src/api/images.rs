//! `POST images/generations`, `images/edits` and `images/variations`.

use super::Api;
use super::body::JsonObject;
use super::idempotency::{Once, once};
use super::inputs::Given;
use super::intake::Claim;
use super::layers::Place;
use super::stream;
use super::videos;
use super::visit::{Ask, Visit, model_said};
use super::wire::images::{ImagesBody, estimate, read_edit, read_generation, read_variation};
use super::wire::videos::take_background;
use crate::error::{Error, ErrorKind};
use crate::job::{Input, Job, Mode};
use crate::media::{Flaw, Limits, Picture, Size, SizeAsk, mask};
use crate::pipeline::{GenerationResult, JobOptions, Partials, RequestInfo};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Map, Value};
use std::convert::Infallible;
use tokio_util::sync::DropGuard;
use tracing::Instrument;

/// Makes pictures, or with `?dryRun=true` tells what they would cost.
pub(super) async fn generate(State(api): State<Api>, mut visit: Visit, body: JsonObject) -> Result<Response, Error> {
    let ask = visit.read_json(&api, body)?;
    begin(api, visit, ask, read_generation).await
}

/// Changes pictures: a form or a JSON object, with every input picture verified before anything is bought.
pub(super) async fn edit(State(api): State<Api>, mut visit: Visit, request: Request) -> Result<Response, Error> {
    let ask = visit.read(&api, request).await?;
    begin(api, visit, ask, read_edit).await
}

/// Makes other pictures like one.
pub(super) async fn vary(State(api): State<Api>, mut visit: Visit, request: Request) -> Result<Response, Error> {
    let ask = visit.read(&api, request).await?;
    begin(api, visit, ask, read_variation).await
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

/// Reads the job that the body asks for, with `read`, and answers it.
async fn begin(
    api: Api,
    mut visit: Visit,
    ask: Ask,
    read: fn(Map<String, Value>) -> Result<Read, Error>,
) -> Result<Response, Error> {
    let Ask { mut fields, given, key, claim } = ask;
    let model = model_said(&fields);
    let later = take_background(&mut fields, &visit.headers);
    let read = visit.prefer(&api, &mut fields).and_then(|()| read(fields));
    // A key that may not use the model makes us fetch nothing.
    let read = read.and_then(|read| visit.permit(&api, &read.0.model).map(|()| read));
    let read = match read {
        Ok(read) if read.0.mode != Mode::TextToImage => with_inputs(&api, given, read).await,
        read => read,
    };
    answer(api, visit, &model, read, later, key, claim).await
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
    let finisher = &api.0.gateway.engine.post;
    let limits: Limits = finisher.limits;
    let work = move || Picture::verify(given.bytes, &limits).and_then(|picture| mask::clear_mask(&picture, &limits));
    match finisher.workers.run(work).await.and_then(|done| done) {
        Ok(mask) => Ok(Input::from(mask)),
        Err(Flaw::Busy) => Err(Error::new(ErrorKind::Unavailable, "Too many pictures are waiting to be read.")),
        Err(flaw) => Err(wrong(format!("The mask cannot be used: {flaw}."))),
    }
}

async fn answer(
    api: Api,
    visit: Visit,
    model: &str,
    read: Result<Read, Error>,
    later: Result<Option<JobOptions>, Error>,
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
            Some(terms) => once(&task, key, Box::pin(videos::accept(task.clone(), job, asker, terms))).await,
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
    let most = api.0.gateway.engine.post.limits.max_pixels;
    match read.0.size {
        SizeAsk::Exact(size) if read.0.resize.is_some() && size.area() > most => {
            Err(Error::invalid("size", format!("Pictures are resized to at most {most} pixels, not {size}.")))
        }
        _ => Ok(read),
    }
}

/// Buys the pictures, and gives back what the request holds.
pub(super) async fn make(
    api: &Api,
    job: Job,
    asker: RequestInfo,
    partials: Option<Partials>,
    held: Held,
) -> Result<GenerationResult, Error> {
    let result = api.0.gateway.image(&job, asker, partials).await;
    // The uploads are not needed any more.
    drop((job, held));
    result
}

async fn serve(api: Api, job: Job, asker: RequestInfo, held: Held) -> Result<Response, Error> {
    let gateway = &api.0.gateway;
    let (id, created) = (asker.request_id.clone(), asker.created_at.seconds());
    let answer = make(&api, job, asker, None, held).await?;
    let body = ImagesBody::write(&id, created, &answer, gateway.sandbox);
    let headers = headers_of(&answer, gateway.sandbox);
    let length = body.len();
    // Something was bought: not the refusal of a request that came to nothing.
    gateway.close(answer, length).await.map_err(Error::internal)?;
    let chunks = body.chunks.into_iter().map(Ok::<Bytes, Infallible>);
    let mut response = Body::from_stream(futures::stream::iter(chunks)).into_response();
    response.headers_mut().extend(headers);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    Ok(response)
}

fn headers_of(answer: &GenerationResult, sandbox: bool) -> HeaderMap {
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
