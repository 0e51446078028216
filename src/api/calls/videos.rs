//! `POST videos`, `videos/edits`, `videos/extensions` and `videos/{id}/remix`. [`run`] shows the order of all four.

use super::call_context::CallContext;
use super::execution::{HeldPermits, run_detached};
use super::idempotency::IdempotencyGuard;
use super::input_sources::InputSources;
use super::submit_job::submit_job;
use crate::api::jobs::{find_video, stored_video};
use crate::api::state::Api;
use crate::api::wire::images::estimate_json;
use crate::api::wire::videos::{VideoCall, read_video};
use crate::error::Error;
use crate::job::{Job, Mode};
use crate::pipeline::read_view;
use crate::store::JobRow;
use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Makes a video from a prompt, pictures or another video.
pub(in crate::api) async fn create(
    State(api): State<Api>,
    call: CallContext,
    request: Request,
) -> Result<Response, Error> {
    run(api, call, Endpoint::Create, request).await
}

/// Makes a video from another one.
pub(in crate::api) async fn edit(
    State(api): State<Api>,
    call: CallContext,
    request: Request,
) -> Result<Response, Error> {
    run(api, call, Endpoint::Edit, request).await
}

/// Continues a video where it ends.
pub(in crate::api) async fn extend(
    State(api): State<Api>,
    call: CallContext,
    request: Request,
) -> Result<Response, Error> {
    run(api, call, Endpoint::Extend, request).await
}

/// Makes a video from one that was made here, named by the path.
pub(in crate::api) async fn remix(
    State(api): State<Api>,
    call: CallContext,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Error> {
    run(api, call, Endpoint::Remix(id), request).await
}

enum Endpoint {
    Create,
    Edit,
    Extend,
    /// Of the video with this id.
    Remix(String),
}

/// A video call in order. Before it, middleware has given it an id and a concurrency permit, and [`CallContext`] has
/// authenticated the key.
async fn run(api: Api, mut call: CallContext, endpoint: Endpoint, request: Request) -> Result<Response, Error> {
    let mut body = call.read_form_or_json(&api, request).await?;
    let guard = IdempotencyGuard::from_call(&api, &call, &mut body)?;
    let mut inputs = InputSources::take(&mut body)?;
    let source = find_source(&api, &call, &endpoint, &mut inputs).await?;
    if let Some(row) = &source {
        // Of the same model, unless the caller names another one.
        let view = read_view(row)?;
        body.fields.entry("model").or_insert_with(|| json!(view.model));
    }
    let model = body.model();
    let checked = async {
        call.read_preferences(&api, &mut body.fields)?;
        let prompt_optional = matches!(endpoint, Endpoint::Create) && !inputs.is_empty();
        let parsed = read_video(body.fields, prompt_optional)?;
        // Before the inputs: a key that may not use the model makes this gateway fetch nothing.
        call.check_model_access(&api, &parsed.job.model)?;
        match endpoint {
            Endpoint::Create => with_inputs(&api, inputs, parsed).await,
            Endpoint::Edit | Endpoint::Remix(_) => with_video(&api, inputs, source, parsed, Mode::VideoToVideo).await,
            Endpoint::Extend => with_video(&api, inputs, source, parsed, Mode::VideoExtension).await,
        }
    };
    let VideoCall { job, session_id, options } = match checked.await {
        Ok(parsed) => parsed,
        Err(error) => return Err(call.reject(&api, &model, error).await),
    };
    if call.dry_run {
        let estimate = api.gateway.estimate(&job, &call.info.preferences)?;
        return Ok(Json(estimate_json(&estimate)).into_response());
    }
    let CallContext { mut info, concurrency, .. } = call;
    info.session_id = session_id.or(info.session_id);
    info.user.clone_from(&job.user);
    let held = HeldPermits::new(concurrency, body.permit);
    let (work_api, hung_up) = (api.clone(), info.hung_up.clone());
    run_detached(&api, guard, hung_up, async move { submit_job(&work_api, job, info, options, held).await }).await
}

/// The video made here that the path or the body names by its id.
async fn find_source(
    api: &Api,
    call: &CallContext,
    endpoint: &Endpoint,
    inputs: &mut InputSources,
) -> Result<Option<JobRow>, Error> {
    match endpoint {
        Endpoint::Create => Ok(None),
        Endpoint::Remix(id) => match inputs.take_video_id() {
            Some(_) => Err(Error::invalid("video", "The path names the video already.")),
            None => find_video(api, &call.caller, id).await.map(Some),
        },
        Endpoint::Edit | Endpoint::Extend => match inputs.take_video_id() {
            None => Ok(None),
            Some(id) => {
                let found = find_video(api, &call.caller, &id).await;
                found.map(Some).map_err(|error| Error { param: Some("video".to_owned()), ..error })
            }
        },
    }
}

/// Fetches and verifies the inputs of a new video; they decide its mode.
async fn with_inputs(api: &Api, inputs: InputSources, call: VideoCall) -> Result<VideoCall, Error> {
    let (images, mask) = inputs.fetch(&api.gateway).await?;
    let mode = match images.as_slice() {
        [] => Mode::TextToVideo,
        inputs if inputs.iter().any(|input| input.mime.starts_with("video/")) => Mode::VideoToVideo,
        _ => Mode::ImageToVideo,
    };
    Ok(VideoCall { job: Job { mode, images, mask, ..call.job }, ..call })
}

/// Fetches and verifies the inputs of a call that is about one video: `source`, or one that came with the call.
async fn with_video(
    api: &Api,
    inputs: InputSources,
    source: Option<JobRow>,
    mut call: VideoCall,
    mode: Mode,
) -> Result<VideoCall, Error> {
    let (mut images, mask) = inputs.fetch(&api.gateway).await?;
    if let Some(row) = source {
        images.insert(0, stored_video(api, &row).await?);
        call.options.remixed_from = Some(row.id);
    }
    let invalid = match images.iter().filter(|input| input.mime.starts_with("video/")).count() {
        1 => None,
        0 if images.is_empty() => Some(
            "'video' is required: {\"id\": \"req_…\"} of one that was made here, a link, a data URI, base64 or an upload.",
        ),
        0 => Some("'video' should be a video; what came is a picture."),
        _ => Some("There is more than one video."),
    };
    match invalid {
        Some(text) => Err(Error::invalid("video", text)),
        None => Ok(VideoCall { job: Job { mode, images, mask, ..call.job }, ..call }),
    }
}
