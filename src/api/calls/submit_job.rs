//! Stores a job that outlives its request: every video, and images asked for in the background.

use super::execution::HeldPermits;
use crate::api::jobs::{is_video, job_json};
use crate::api::state::Api;
use crate::error::Error;
use crate::job::Job;
use crate::pipeline::{JobOptions, RequestInfo, read_view};
use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

/// Answers 202 with the job as it is stored. A caller who hangs up before finds it in the list.
pub(super) async fn submit_job(
    api: &Api,
    job: Job,
    info: RequestInfo,
    options: JobOptions,
    held: HeldPermits,
) -> Result<Response, Error> {
    let row = api.jobs.submit(job, info, options).await?;
    // The inputs are stored with the job.
    drop(held);
    let view = read_view(&row)?;
    let mut response = (StatusCode::ACCEPTED, Json(job_json(&row, &view))).into_response();
    let pairs = [("x-lumenfall-provider", view.provider.as_str()), ("x-lumenfall-model", view.model.as_str())];
    for (name, value) in pairs.into_iter().chain(view.sandbox.then_some(("x-lumenfall-sandbox", "true"))) {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    if !is_video(&row) {
        let applied = HeaderValue::from_static("respond-async");
        response.headers_mut().insert(HeaderName::from_static("preference-applied"), applied);
    }
    Ok(response)
}
