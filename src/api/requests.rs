//! `GET /v1/requests`: the log that people bill from.

use super::Api;
use super::caller::Caller;
use super::wire::page::{ListQuery, Shown, no_such_cursor};
use super::wire::requests::{FILTERS, read_filter, read_summary, show, show_summary, show_whole};
use crate::error::{Error, ErrorKind};
use axum::Json;
use axum::extract::{Path, Query, State};
use serde_json::Value;
use std::collections::BTreeMap;

/// A page of the log, newest first; with `summary=true` the sum over all matches too.
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(asked): Query<BTreeMap<String, String>>,
) -> Result<Json<Value>, Error> {
    let mut query = ListQuery(asked.clone());
    let page = query.page()?;
    let mut filter = read_filter(&mut query)?;
    let summary = read_summary(&mut query)?;
    query.finish(FILTERS)?;
    if let Some(account) = caller.scope() {
        filter.account_id = Some(account.to_owned());
    }
    let store = &api.0.store;
    let listed = store.requests(&filter, &page).await?.ok_or_else(|| no_such_cursor(&page))?;
    let items = listed.records.iter().map(|record| (record.id.clone(), show(record))).collect();
    let (has_older, has_newer) = (listed.has_older, listed.has_newer);
    let mut shown = Shown { path: "/v1/requests", query: &asked, items, has_older, has_newer }.into_value();
    if let Some(ask) = summary {
        shown["summary"] = show_summary(&store.summary(&filter, ask.group).await?);
    }
    Ok(Json(shown))
}

/// One request, with its attempts and timeline.
pub(super) async fn one(State(api): State<Api>, caller: Caller, Path(id): Path<String>) -> Result<Json<Value>, Error> {
    let record = api.0.store.request(&id, caller.scope()).await?;
    let missing = || Error::new(ErrorKind::NotFound, "No request of that id.");
    record.map(|record| Json(show_whole(&record))).ok_or_else(missing)
}
