//! `videos`: create, edit, extend, remix, get, list, delete, content; and the images that are made in the background. All
//! of them are stored jobs.

use super::Api;
use super::caller::Caller;
use super::idempotency::{Once, once};
use super::inputs::Given;
use super::media;
use super::visit::{Ask, Visit, model_said};
use super::wire::images::estimate;
use super::wire::page::{ListQuery, no_such_cursor};
use super::wire::videos::{VideoCall, read_video, show_images, show_video};
use crate::error::{Error, ErrorKind};
use crate::job::{Input, Job, Modality, Mode, ResponseForm};
use crate::pipeline::{JobOptions, RequestInfo, read_view};
use crate::store::{Cursor, JobRow, JobStatus, Page};
use axum::Json;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use futures::TryStreamExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tracing::Instrument;

/// Begins a video, or with `?dryRun=true` tells what it would cost.
pub(super) async fn create(State(api): State<Api>, mut visit: Visit, request: Request) -> Result<Response, Error> {
    // The claim is held until the job is stored, and its inputs with it.
    let Ask { mut fields, given, key, claim } = visit.read(&api, request).await?;
    let model = model_said(&fields);
    let read = visit.prefer(&api, &mut fields).and_then(|()| read_video(fields, !given.is_empty()));
    let read = match permitted(&api, &visit, read) {
        Ok(call) => with_inputs(&api, given, call).await,
        Err(error) => Err(error),
    };
    let begun = begin(api, visit, &model, read, key).await;
    drop(claim);
    begun
}

/// Makes a video from one that was made here, named by the path.
pub(super) async fn remix(
    State(api): State<Api>,
    visit: Visit,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Error> {
    rework(api, visit, request, Some(id), Mode::VideoToVideo).await
}

/// Makes a video from another one.
pub(super) async fn edit(State(api): State<Api>, visit: Visit, request: Request) -> Result<Response, Error> {
    rework(api, visit, request, None, Mode::VideoToVideo).await
}

/// Goes on where a video ends.
pub(super) async fn extend(State(api): State<Api>, visit: Visit, request: Request) -> Result<Response, Error> {
    rework(api, visit, request, None, Mode::VideoExtension).await
}

/// Makes a video of another one: of the one that the path or the body names by its id, with the same model unless one is
/// said, or of the one that is given.
async fn rework(
    api: Api,
    mut visit: Visit,
    request: Request,
    id: Option<String>,
    mode: Mode,
) -> Result<Response, Error> {
    let Ask { mut fields, mut given, key, claim } = visit.read(&api, request).await?;
    let source = match (id, given.take_made_here()) {
        (Some(_), Some(_)) => return Err(Error::invalid("video", "The path names the video already.")),
        (Some(id), None) => Some(find(&api, &visit.caller, &id, Modality::Video).await?),
        (None, Some(id)) => {
            let found = find(&api, &visit.caller, &id, Modality::Video).await;
            Some(found.map_err(|error| Error { param: Some("video".to_owned()), ..error })?)
        }
        (None, None) => None,
    };
    if let Some(row) = &source {
        let view = read_view(row)?;
        fields.entry("model").or_insert_with(|| json!(view.model));
    }
    let model = model_said(&fields);
    let read = visit.prefer(&api, &mut fields).and_then(|()| read_video(fields, false));
    let read = match permitted(&api, &visit, read) {
        Ok(call) => with_video(&api, given, source.as_ref(), call, mode).await,
        Err(error) => Err(error),
    };
    let begun = begin(api, visit, &model, read, key).await;
    drop(claim);
    begun
}

/// Refuses a call whose model the key may not use.
fn permitted(api: &Api, visit: &Visit, read: Result<VideoCall, Error>) -> Result<VideoCall, Error> {
    read.and_then(|call| visit.permit(api, &call.job.model).map(|()| call))
}

/// Fetches and verifies the inputs; they settle what the call is.
async fn with_inputs(api: &Api, given: Given, call: VideoCall) -> Result<VideoCall, Error> {
    let (images, mask) = given.obtain(&api.0.gateway).await?;
    let mode = match images.as_slice() {
        [] => Mode::TextToVideo,
        inputs if inputs.iter().any(|input| input.mime.starts_with("video/")) => Mode::VideoToVideo,
        _ => Mode::ImageToVideo,
    };
    Ok(VideoCall { job: Job { mode, images, mask, ..call.job }, ..call })
}

/// Brings the one video that a call is about, and whatever else was given with it.
async fn with_video(
    api: &Api,
    given: Given,
    source: Option<&JobRow>,
    mut call: VideoCall,
    mode: Mode,
) -> Result<VideoCall, Error> {
    let (mut images, mask) = given.obtain(&api.0.gateway).await?;
    if let Some(row) = source {
        images.insert(0, stored_video(api, row).await?);
        call.terms.remixed_from = Some(row.id.clone());
    }
    let wrong = match images.iter().filter(|input| input.mime.starts_with("video/")).count() {
        1 => None,
        0 if images.is_empty() => Some(
            "'video' is required: {\"id\": \"req_…\"} of one that was made here, a link, a data URI, base64 or an upload.",
        ),
        0 => Some("'video' should be a video, and what was given is a picture."),
        _ => Some("There is more than one video."),
    };
    match wrong {
        Some(text) => Err(Error::invalid("video", text)),
        None => Ok(VideoCall { job: Job { mode, images, mask, ..call.job }, ..call }),
    }
}

/// The file of a finished video, as an input.
async fn stored_video(api: &Api, row: &JobRow) -> Result<Input, Error> {
    let view = read_view(row)?;
    let unfinished =
        || Error::new(ErrorKind::InvalidRequest, "This video is not completed, so nothing can be made of it.");
    let (_, made) = view.outputs.first().filter(|_| row.status == JobStatus::Completed).ok_or_else(unfinished)?;
    let opened = api.0.gateway.storage.open_part(&made.name, None).await;
    let expired = || Error::new(ErrorKind::NotFound, "The file of this video has expired.");
    let file = opened.map_err(Error::internal)?.ok_or_else(expired)?;
    let bytes = file.pieces.try_fold(BytesMut::new(), |mut all, piece| async move {
        all.extend_from_slice(&piece);
        Ok(all)
    });
    let bytes = bytes.await.map_err(Error::internal)?.freeze();
    Ok(Input { mime: made.content_type.clone(), bytes, size: made.size })
}

async fn begin(
    api: Api,
    visit: Visit,
    model: &str,
    read: Result<VideoCall, Error>,
    key: Option<Once>,
) -> Result<Response, Error> {
    let Visit { mut asker, dry, .. } = visit;
    if dry {
        return Ok(Json(estimate(&api.0.gateway.estimate(&read?.job, &asker.preferences)?)).into_response());
    }
    let call = match read {
        Ok(call) => call,
        Err(error) => return Err(api.0.gateway.ledger.reject(&asker, model, &error).await),
    };
    asker.session_id = call.session.or(asker.session_id);
    asker.user.clone_from(&call.job.user);
    let task = api.clone();
    let task = async move { once(&task, key, Box::pin(accept(task.clone(), call.job, asker, call.terms))).await };
    let task = api.0.tasks.spawn(task.in_current_span());
    task.await.map_err(Error::internal)?
}

/// Takes a job in and answers 202 with what is known of it. Whoever hangs up finds it in the list.
pub(super) async fn accept(api: Api, job: Job, asker: RequestInfo, terms: JobOptions) -> Result<Response, Error> {
    let row = api.0.jobs.submit(job, asker, terms).await?;
    let view = read_view(&row)?;
    let body = if row.kind == Modality::Video { show_video(&row, &view) } else { show_images(&row, &view, None) };
    let mut response = (StatusCode::ACCEPTED, Json(body)).into_response();
    let pairs = [("x-lumenfall-provider", view.provider.as_str()), ("x-lumenfall-model", view.model.as_str())];
    for (name, value) in pairs.into_iter().chain(view.sandbox.then_some(("x-lumenfall-sandbox", "true"))) {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    if row.kind == Modality::Image {
        response
            .headers_mut()
            .insert(HeaderName::from_static("preference-applied"), HeaderValue::from_static("respond-async"));
    }
    Ok(response)
}

async fn find(api: &Api, caller: &Caller, id: &str, kind: Modality) -> Result<JobRow, Error> {
    let row = api.0.store.jobs().find(id, caller.scope()).await?.filter(|row| row.kind == kind);
    row.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("No {kind} of that id.")))
}

/// One video.
pub(super) async fn one(State(api): State<Api>, caller: Caller, Path(id): Path<String>) -> Result<Json<Value>, Error> {
    let row = find(&api, &caller, &id, Modality::Video).await?;
    Ok(Json(show_video(&row, &read_view(&row)?)))
}

/// A page of videos, as OpenAI lists them: `limit`, `after`, `order`.
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(asked): Query<BTreeMap<String, String>>,
) -> Result<Json<Value>, Error> {
    let mut query = ListQuery(asked);
    let limit = match query.take("limit").map(|text| text.parse::<u32>()) {
        None => 20,
        Some(Ok(limit @ 1..=100)) => limit,
        Some(_) => return Err(Error::invalid("limit", "'limit' should be an integer from 1 to 100.")),
    };
    let cursor = match (query.take("order").as_deref(), query.take("after")) {
        (None | Some("desc"), None) => Cursor::Start,
        (None | Some("desc"), Some(id)) => Cursor::After(id),
        (Some("asc"), None) => Cursor::End,
        (Some("asc"), Some(id)) => Cursor::Before(id),
        _ => return Err(Error::invalid("order", "'order' should be asc or desc.")),
    };
    query.finish(&["limit", "after", "order"])?;
    let page = Page { limit, cursor };
    let listed = api.0.store.jobs().list(Modality::Video, caller.scope(), &page).await?;
    let listed = listed.ok_or_else(|| Error { param: Some("after".to_owned()), ..no_such_cursor(&page) })?;
    let ascending = matches!(page.cursor, Cursor::End | Cursor::Before(_));
    let more = if ascending { listed.has_newer } else { listed.has_older };
    let mut data = Vec::with_capacity(listed.items.len());
    for row in &listed.items {
        data.push(show_video(row, &read_view(row)?));
    }
    if ascending {
        data.reverse();
    }
    let id = |video: Option<&Value>| video.map(|video| video["id"].clone());
    let (first, last) = (id(data.first()), id(data.last()));
    Ok(Json(json!({"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": more})))
}

/// Cancels a video that is being made, deletes one that is over. The contract answers 204; OpenAI's SDKs, which say who
/// they are in this header, read a body that names what was deleted.
pub(super) async fn discard(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let row = find(&api, &caller, &id, Modality::Video).await?;
    api.0.jobs.discard(&row).await?;
    if headers.contains_key("x-stainless-lang") {
        return Ok(Json(json!({"id": row.id, "object": "video.deleted", "deleted": true})).into_response());
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The file of a video; with `?index=1`, of the second one.
pub(super) async fn content(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    Query(asked): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let row = find(&api, &caller, &id, Modality::Video).await?;
    if asked.get("variant").is_some_and(|variant| variant != "video") {
        return Err(Error::invalid("variant", "Only the variant 'video' is kept; leave 'variant' out."));
    }
    if row.status != JobStatus::Completed {
        let text = if row.status.is_final() { "it failed" } else { "it is not finished yet" };
        return Err(Error::new(ErrorKind::InvalidRequest, format!("This video has no content: {text}.")));
    }
    let index = asked.get("index").map_or(Ok(0), |text| text.parse::<usize>());
    let index = index.map_err(|_| Error::invalid("index", "'index' should be a whole number from 0."))?;
    let view = read_view(&row)?;
    let made = view.outputs.get(index).map(|(_, made)| made);
    let made = made.ok_or_else(|| Error::invalid("index", format!("There are {} videos.", view.outputs.len())))?;
    let expired = || Error::new(ErrorKind::NotFound, "The file of this video has expired.");
    media::send(&api.0.gateway.storage, &made.name, &headers).await?.ok_or_else(expired)
}

/// Images that are made in the background.
pub(super) async fn images(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Error> {
    let row = find(&api, &caller, &id, Modality::Image).await?;
    let view = read_view(&row)?;
    if row.status != JobStatus::Completed {
        return Ok(Json(show_images(&row, &view, None)));
    }
    let mut data = Vec::with_capacity(view.outputs.len());
    for (link, made) in &view.outputs {
        let mut item = match view.form {
            ResponseForm::Url => json!({"url": link}),
            ResponseForm::B64Json => {
                let file = api.0.gateway.storage.get(&made.name).await.map_err(Error::internal)?;
                let expired = || Error::new(ErrorKind::NotFound, "The files of these images have expired.");
                let bytes = file.ok_or_else(expired)?.bytes;
                json!({"b64_json": base64_simd::STANDARD.encode_to_string(&bytes)})
            }
        };
        if let Some(revised) = &made.revised_prompt {
            item["revised_prompt"] = json!(revised);
        }
        data.push(item);
    }
    Ok(Json(show_images(&row, &view, Some(data))))
}

/// Cancels images that are being made, deletes those that are.
pub(super) async fn discard_images(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Error> {
    let row = find(&api, &caller, &id, Modality::Image).await?;
    api.0.jobs.discard(&row).await?;
    Ok(StatusCode::NO_CONTENT)
}
