//! Answers an image call with one JSON body, written in slices around the pictures.

use super::execution::HeldPermits;
use crate::api::state::Api;
use crate::api::wire::images::ImagesBody;
use crate::error::Error;
use crate::job::Job;
use crate::pipeline::{GenerationResult, RequestInfo};
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use std::convert::Infallible;

/// Buys the pictures and answers when all of them are there. The row is closed before the answer can go out.
pub(super) async fn respond(api: &Api, job: Job, info: RequestInfo, held: HeldPermits) -> Result<Response, Error> {
    let gateway = &api.gateway;
    let (id, created) = (info.request_id.clone(), info.created_at.seconds());
    let result = gateway.image(&job, info, None).await;
    // No provider needs the inputs any more.
    drop((job, held));
    let result = result?;
    let body = ImagesBody::write(&id, created, &result, gateway.sandbox);
    let headers = result_headers(&result, gateway.sandbox);
    let length = body.len();
    // Internal, not "unavailable": something was bought, so this must not count as a refusal before anything was done.
    gateway.close(result, length).await.map_err(Error::internal)?;
    let chunks = body.chunks.into_iter().map(Ok::<Bytes, Infallible>);
    let mut response = Body::from_stream(stream::iter(chunks)).into_response();
    response.headers_mut().extend(headers);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    Ok(response)
}

fn result_headers(result: &GenerationResult, sandbox: bool) -> HeaderMap {
    let timing = result.timing;
    let timing = format!(
        "gateway;dur={}, provider;dur={}, response;dur={}",
        timing.gateway_ms, timing.provider_ms, timing.response_ms
    );
    let pairs = [
        ("x-lumenfall-provider", result.provider.clone()),
        ("x-lumenfall-model", result.model.clone()),
        ("x-lumenfall-attempts", result.attempts.len().to_string()),
        ("server-timing", timing),
    ];
    let pairs = pairs.into_iter().chain(sandbox.then(|| ("x-lumenfall-sandbox", "true".to_owned())));
    pairs
        .filter_map(|(name, value)| Some((HeaderName::from_static(name), HeaderValue::from_str(&value).ok()?)))
        .collect()
}
