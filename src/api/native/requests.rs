//! `GET /v1/requests` and `GET /v1/requests/{id}`: the request log, as pages of JSON or as one stream of CSV.

use crate::api::caller::Caller;
use crate::api::state::Api;
use crate::api::wire::page::{ListQuery, PageBody, no_such_cursor};
use crate::api::wire::requests::{
    QUERY_PARAMETERS, read_filter, read_summary, request_details_json, request_json, summary_json,
};
use crate::base::Timestamp;
use crate::error::{Error, ErrorKind};
use crate::store::{Cursor, ExportFormat, Filter, StoreError};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use serde_json::Value;
use std::collections::BTreeMap;

/// A page of the log, newest first; with `summary=true` the sum over all matches too.
pub(in crate::api) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(asked): Query<BTreeMap<String, String>>,
) -> Result<Response, Error> {
    let mut query = ListQuery(asked.clone());
    let csv = match query.take("format").as_deref() {
        None | Some("json") => false,
        Some("csv") => true,
        Some(_) => return Err(Error::invalid("format", "'format' should be json or csv.")),
    };
    let page = query.page()?;
    let mut filter = read_filter(&mut query)?;
    let summary = read_summary(&mut query)?;
    query.refuse_unknown(QUERY_PARAMETERS)?;
    if let Some(account) = caller.scope() {
        filter.account_id = Some(account.to_owned());
    }
    if csv {
        if page.cursor != Cursor::Start || summary.is_some() {
            return Err(Error::invalid(
                "format",
                "CSV has all matches at once and cannot be combined with a cursor or a summary.",
            ));
        }
        return Ok(stream_csv(api, filter));
    }
    let store = &api.store;
    let listed = store.requests().list(&filter, &page).await?.ok_or_else(|| no_such_cursor(&page))?;
    let items = listed.items.iter().map(|record| (record.id.clone(), request_json(record))).collect();
    let (has_older, has_newer) = (listed.has_older, listed.has_newer);
    let mut body = PageBody { path: "/v1/requests", query: &asked, items, has_older, has_newer }.into_value();
    if let Some(wanted) = summary {
        body["summary"] = summary_json(&store.requests().summary(&filter, wanted.group_by).await?);
    }
    Ok(Json(body).into_response())
}

/// Every match, oldest first, read as fast as the caller takes it. When the database fails halfway the connection is
/// aborted, so that a part is not taken for the whole.
fn stream_csv(api: Api, filter: Filter) -> Response {
    let head = stream::once(async { Ok::<_, StoreError>(Bytes::from(ExportFormat::Csv.head())) });
    let rows = stream::try_unfold(None, move |after: Option<(Timestamp, String)>| {
        let (api, filter) = (api.clone(), filter.clone());
        async move {
            let Some(records) = api.store.requests().next_batch(&filter, after.as_ref()).await? else {
                return Ok(None);
            };
            let last = records.last().map(|record| (record.created_at, record.id.clone()));
            Ok(Some((Bytes::from(ExportFormat::Csv.rows(&records)), last)))
        }
    });
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"requests.csv\""),
    ];
    (headers, Body::from_stream(head.chain(rows))).into_response()
}

/// One request, with its attempts and timeline.
pub(in crate::api) async fn retrieve(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Error> {
    let record = api.store.requests().find(&id, caller.scope()).await?;
    let missing = || Error::new(ErrorKind::NotFound, "There is no request with this id.");
    record.map(|record| Json(request_details_json(&record))).ok_or_else(missing)
}
