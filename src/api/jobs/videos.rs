//! `GET videos`, `GET/DELETE videos/{id}` and `GET videos/{id}/content`.

use super::rows::find_video;
use crate::api::caller::Caller;
use crate::api::media;
use crate::api::state::Api;
use crate::api::wire::jobs::video_json;
use crate::api::wire::page::{ListQuery, no_such_cursor};
use crate::error::{Error, ErrorKind};
use crate::job::Modality;
use crate::pipeline::read_view;
use crate::store::{Cursor, JobStatus, Page};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(in crate::api) async fn retrieve(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Error> {
    let row = find_video(&api, &caller, &id).await?;
    Ok(Json(video_json(&row, &read_view(&row)?)))
}

/// A page of videos, as OpenAI lists them: `limit`, `after`, `order`.
pub(in crate::api) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Json<Value>, Error> {
    let mut query = ListQuery(query);
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
    query.refuse_unknown(&["limit", "after", "order"])?;
    let page = Page { limit, cursor };
    let listed = api.store.jobs().list(Modality::Video, caller.scope(), &page).await?;
    let listed = listed.ok_or_else(|| Error { param: Some("after".to_owned()), ..no_such_cursor(&page) })?;
    let ascending = matches!(page.cursor, Cursor::End | Cursor::Before(_));
    let more = if ascending { listed.has_newer } else { listed.has_older };
    let mut data = Vec::with_capacity(listed.items.len());
    for row in &listed.items {
        data.push(video_json(row, &read_view(row)?));
    }
    if ascending {
        data.reverse();
    }
    let id = |video: Option<&Value>| video.map(|video| video["id"].clone());
    let (first, last) = (id(data.first()), id(data.last()));
    Ok(Json(json!({"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": more})))
}

/// Cancels a video that is being made, deletes a finished one. The contract answers 204; OpenAI's SDKs, which send
/// the header below, expect a body that names what was deleted.
pub(in crate::api) async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let row = find_video(&api, &caller, &id).await?;
    api.jobs.discard(&row).await?;
    if headers.contains_key("x-stainless-lang") {
        return Ok(Json(json!({"id": row.id, "object": "video.deleted", "deleted": true})).into_response());
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The file of a video; with `?index=1`, of the second one.
pub(in crate::api) async fn content(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let row = find_video(&api, &caller, &id).await?;
    if query.get("variant").is_some_and(|variant| variant != "video") {
        return Err(Error::invalid("variant", "Only the variant 'video' exists; leave 'variant' out."));
    }
    if row.status != JobStatus::Completed {
        let text = if row.status.is_final() { "it failed" } else { "it is not finished yet" };
        return Err(Error::new(ErrorKind::InvalidRequest, format!("This video has no content: {text}.")));
    }
    let index = query.get("index").map_or(Ok(0), |text| text.parse::<usize>());
    let index = index.map_err(|_| Error::invalid("index", "'index' should be a whole number from 0."))?;
    let view = read_view(&row)?;
    let made = view.outputs.get(index).map(|(_, made)| made);
    let made = made.ok_or_else(|| Error::invalid("index", format!("There are {} videos.", view.outputs.len())))?;
    let expired = || Error::new(ErrorKind::NotFound, "The file of this video has expired.");
    media::send(&api.gateway.storage, &made.name, &headers).await?.ok_or_else(expired)
}
