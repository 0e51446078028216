//! Rows of stored jobs: found, shown, and used as an input.

use crate::api::caller::Caller;
use crate::api::state::Api;
use crate::api::wire::jobs::{images_json, video_json};
use crate::error::{Error, ErrorKind};
use crate::job::{Input, Modality};
use crate::pipeline::{JobView, read_view};
use crate::store::{JobRow, JobStatus};
use bytes::BytesMut;
use futures::TryStreamExt;
use serde_json::Value;

/// The video of that id, if it is the caller's.
pub(in crate::api) async fn find_video(api: &Api, caller: &Caller, id: &str) -> Result<JobRow, Error> {
    find(api, caller, id, Modality::Video).await
}

/// The images of that id, if they are the caller's and were made in the background.
pub(super) async fn find_images(api: &Api, caller: &Caller, id: &str) -> Result<JobRow, Error> {
    find(api, caller, id, Modality::Image).await
}

async fn find(api: &Api, caller: &Caller, id: &str, kind: Modality) -> Result<JobRow, Error> {
    let row = api.store.jobs().find(id, caller.scope()).await?.filter(|row| row.kind == kind);
    row.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("There is no {} with this id.", kind.as_str())))
}

pub(in crate::api) fn is_video(row: &JobRow) -> bool {
    row.kind == Modality::Video
}

/// A job that has just been stored, as its caller sees it.
pub(in crate::api) fn job_json(row: &JobRow, view: &JobView) -> Value {
    if is_video(row) { video_json(row, view) } else { images_json(row, view, None) }
}

/// The file of a finished video, as an input of another call.
pub(in crate::api) async fn stored_video(api: &Api, row: &JobRow) -> Result<Input, Error> {
    let view = read_view(row)?;
    let unfinished = || Error::new(ErrorKind::InvalidRequest, "This video is not completed, so it cannot be an input.");
    let (_, made) = view.outputs.first().filter(|_| row.status == JobStatus::Completed).ok_or_else(unfinished)?;
    let opened = api.gateway.storage.open_part(&made.name, None).await;
    let expired = || Error::new(ErrorKind::NotFound, "The file of this video has expired.");
    let file = opened.map_err(Error::internal)?.ok_or_else(expired)?;
    let bytes = file.pieces.try_fold(BytesMut::new(), |mut all, piece| async move {
        all.extend_from_slice(&piece);
        Ok(all)
    });
    let bytes = bytes.await.map_err(Error::internal)?.freeze();
    Ok(Input { mime: made.content_type.clone(), bytes, size: made.size })
}
