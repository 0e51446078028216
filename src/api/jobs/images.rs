//! `GET/DELETE images/{id}`: images made in the background.

use super::rows::find_images;
use crate::api::caller::Caller;
use crate::api::state::Api;
use crate::api::wire::jobs::images_json;
use crate::error::{Error, ErrorKind};
use crate::job::ResponseForm;
use crate::pipeline::read_view;
use crate::store::JobStatus;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

/// The job, with its images once they are there.
pub(in crate::api) async fn retrieve(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Error> {
    let row = find_images(&api, &caller, &id).await?;
    let view = read_view(&row)?;
    if row.status != JobStatus::Completed {
        return Ok(Json(images_json(&row, &view, None)));
    }
    let mut data = Vec::with_capacity(view.outputs.len());
    for (link, made) in &view.outputs {
        let mut item = match view.form {
            ResponseForm::Url => json!({"url": link}),
            ResponseForm::B64Json => {
                let file = api.gateway.storage.get(&made.name).await.map_err(Error::internal)?;
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
    Ok(Json(images_json(&row, &view, Some(data))))
}

/// Cancels images that are being made, deletes finished ones.
pub(in crate::api) async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Error> {
    let row = find_images(&api, &caller, &id).await?;
    api.jobs.discard(&row).await?;
    Ok(StatusCode::NO_CONTENT)
}
