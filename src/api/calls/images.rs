//! `POST images/generations`, `images/edits` and `images/variations`. [`run`] shows the order of all three.

use super::call_context::{CallBody, CallContext};
use super::execution::{HeldPermits, run_detached};
use super::idempotency::IdempotencyGuard;
use super::input_sources::InputSources;
use super::submit_job::submit_job;
use super::{image_response, image_stream};
use crate::api::state::Api;
use crate::api::wire::images::{ImageCall, estimate_json, read_edit, read_generation, read_variation};
use crate::api::wire::videos::take_background;
use crate::error::{Error, ErrorKind};
use crate::job::{Input, Job, Mode};
use crate::media::{Flaw, Picture, Size, SizeAsk, mask};
use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

/// Makes pictures from a prompt.
pub(in crate::api) async fn generate(
    State(api): State<Api>,
    call: CallContext,
    request: Request,
) -> Result<Response, Error> {
    run(api, call, Endpoint::Generations, request).await
}

/// Changes pictures.
pub(in crate::api) async fn edit(
    State(api): State<Api>,
    call: CallContext,
    request: Request,
) -> Result<Response, Error> {
    run(api, call, Endpoint::Edits, request).await
}

/// Makes other pictures like one.
pub(in crate::api) async fn create_variation(
    State(api): State<Api>,
    call: CallContext,
    request: Request,
) -> Result<Response, Error> {
    run(api, call, Endpoint::Variations, request).await
}

#[derive(Clone, Copy)]
enum Endpoint {
    Generations,
    Edits,
    Variations,
}

/// An image call in order. Before it, middleware has given it an id and a concurrency permit, and [`CallContext`] has
/// authenticated the key.
async fn run(api: Api, mut call: CallContext, endpoint: Endpoint, request: Request) -> Result<Response, Error> {
    let mut body = endpoint.read_body(&api, &mut call, request).await?;
    let guard = IdempotencyGuard::from_call(&api, &call, &mut body)?;
    let inputs = endpoint.take_inputs(&mut body)?;
    let model = body.model();
    let checked = async {
        let mut parsed = parse(&api, &mut call, endpoint, body.fields)?;
        // Before the inputs: a key that may not use the model makes this gateway fetch nothing.
        call.check_model_access(&api, &parsed.job.model)?;
        if parsed.job.mode != Mode::TextToImage {
            parsed.job = with_inputs(&api, inputs, parsed.job).await?;
        }
        // A dry run delivers nothing, so how to deliver does not matter to it.
        if !call.dry_run {
            check_delivery(&api, &parsed)?;
        }
        Ok(parsed)
    };
    let ImageCall { job, session_id, background } = match checked.await {
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
    run_detached(&api, guard, hung_up, async move {
        match background {
            Some(options) => submit_job(&work_api, job, info, options, held).await,
            // With an idempotency key all events come at the end: what may be replayed has to be whole first.
            None if job.stream.is_some() => image_stream::respond(&work_api, job, info, held).await,
            None => image_response::respond(&work_api, job, info, held).await,
        }
    })
    .await
}

impl Endpoint {
    async fn read_body(self, api: &Api, call: &mut CallContext, request: Request) -> Result<CallBody, Error> {
        match self {
            Self::Generations => call.read_json(api, request).await,
            Self::Edits | Self::Variations => call.read_form_or_json(api, request).await,
        }
    }

    fn take_inputs(self, body: &mut CallBody) -> Result<InputSources, Error> {
        match self {
            Self::Generations => Ok(InputSources::default()),
            Self::Edits | Self::Variations => InputSources::take(body),
        }
    }
}

fn parse(
    api: &Api,
    call: &mut CallContext,
    endpoint: Endpoint,
    mut fields: Map<String, Value>,
) -> Result<ImageCall, Error> {
    let background = take_background(&mut fields, &call.headers)?;
    call.read_preferences(api, &mut fields)?;
    let parsed = match endpoint {
        Endpoint::Generations => read_generation(fields)?,
        Endpoint::Edits => read_edit(fields)?,
        Endpoint::Variations => read_variation(fields)?,
    };
    Ok(ImageCall { background, ..parsed })
}

/// Fetches and verifies the inputs.
async fn with_inputs(api: &Api, inputs: InputSources, job: Job) -> Result<Job, Error> {
    let (images, mask) = inputs.fetch(&api.gateway).await?;
    let Some(first) = images.first() else {
        return Err(Error::invalid("image", "'image' is required: a file, a link, a data URI or base64."));
    };
    let mask = match mask {
        Some(mask) => Some(normalize_mask(api, mask, first.size).await?),
        None => None,
    };
    Ok(Job { images, mask, ..job })
}

/// Checks that a mask has the size of its picture and marks something, and brings it into OpenAI's convention.
async fn normalize_mask(api: &Api, given: Input, image_size: Option<Size>) -> Result<Input, Error> {
    let invalid = |text: String| Error::invalid("mask", text);
    if let (Some(mask), Some(image)) = (given.size, image_size)
        && mask != image
    {
        return Err(invalid(format!(
            "The mask has {mask} pixels and the image {image}; both should have the same size."
        )));
    }
    let limits = api.gateway.image_limits();
    let work = move || Picture::verify(given.bytes, &limits).and_then(|picture| mask::clear_mask(&picture, &limits));
    match api.gateway.image_workers().run(work).await.and_then(|done| done) {
        Ok(mask) => Ok(Input::from(mask)),
        Err(Flaw::Busy) => Err(Error::new(ErrorKind::Unavailable, "Too many pictures are waiting to be read.")),
        Err(flaw) => Err(invalid(format!("The mask cannot be used: {flaw}."))),
    }
}

/// Refuses a stream of a background job, and resizing to more pixels than a picture may have here.
fn check_delivery(api: &Api, call: &ImageCall) -> Result<(), Error> {
    let max = api.gateway.image_limits().max_pixels;
    match call.job.size {
        SizeAsk::Exact(size) if call.job.resize.is_some() && size.area() > max => {
            return Err(Error::invalid("size", format!("'resize' makes at most {max} pixels, not {size}.")));
        }
        _ => {}
    }
    if call.background.is_some() && call.job.stream.is_some() {
        return Err(Error::invalid("stream", "'stream' cannot be combined with background mode."));
    }
    Ok(())
}
