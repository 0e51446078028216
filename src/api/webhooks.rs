//! `GET /v1/webhooks/secret`, `POST /v1/webhooks/secret/rotate`, `GET /v1/webhooks/deliveries`,
//! `POST /v1/webhooks/deliveries/{id}/redeliver`.

use super::Api;
use super::body::JsonObject;
use super::caller::Caller;
use super::wire::fields::Fields;
use super::wire::page::{ListQuery, Shown, no_such_cursor};
use crate::base::{Secret, Timestamp};
use crate::error::{Error, ErrorKind};
use crate::store::{Delivery, DeliveryStatus};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// The secret that signs the account's webhooks, made on first use.
pub(super) async fn secret(State(api): State<Api>, caller: Caller) -> Result<Json<Value>, Error> {
    let secrets = api.0.store.webhooks().secrets(&caller.key.account_id, Timestamp::now()).await?;
    Ok(Json(json!({"key": secrets.first().map(Secret::expose)})))
}

/// A new secret; the old one signs besides for `grace_seconds` more, a day unless said otherwise.
pub(super) async fn rotate(State(api): State<Api>, caller: Caller, body: JsonObject) -> Result<Json<Value>, Error> {
    let mut fields = Fields(body.fields);
    let grace = fields.number("grace_seconds", 0, 30 * 86_400)?.unwrap_or(86_400);
    fields.finish(&["grace_seconds"])?;
    let now = Timestamp::now();
    let until = now.plus(Duration::from_secs(grace));
    let fresh = api.0.store.webhooks().rotate_secret(&caller.key.account_id, now, until).await?;
    Ok(Json(json!({"key": fresh.expose(), "previous_valid_until": until.rfc3339()})))
}

/// A page of deliveries, newest first.
pub(super) async fn deliveries(
    State(api): State<Api>,
    caller: Caller,
    Query(asked): Query<BTreeMap<String, String>>,
) -> Result<Json<Value>, Error> {
    let mut query = ListQuery(asked.clone());
    let page = query.page()?;
    let unknown = || Error::invalid("status", "'status' should be pending, delivered or failed.");
    let status = query.take("status").map(|text| DeliveryStatus::parse(&text).ok_or_else(unknown)).transpose()?;
    query.finish(&["status"])?;
    let listed = api.0.store.webhooks().list(caller.scope(), status, &page).await?;
    let listed = listed.ok_or_else(|| no_such_cursor(&page))?;
    let items = listed.items.iter().map(|delivery| (delivery.id.clone(), show(delivery))).collect();
    let (has_older, has_newer) = (listed.has_older, listed.has_newer);
    Ok(Json(Shown { path: "/v1/webhooks/deliveries", query: &asked, items, has_older, has_newer }.into_value()))
}

/// Sends a delivery once more, with all its tries.
pub(super) async fn redeliver(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<Value>), Error> {
    let delivery = api.0.store.webhooks().redeliver(&id, caller.scope(), Timestamp::now()).await?;
    let delivery = delivery.ok_or_else(|| Error::new(ErrorKind::NotFound, "No delivery of that id."))?;
    Ok((StatusCode::ACCEPTED, Json(show(&delivery))))
}

fn show(delivery: &Delivery) -> Value {
    json!({
        "id": delivery.id,
        "object": "webhook.delivery",
        "created_at": delivery.created_at.rfc3339(),
        "account_id": delivery.account_id,
        "event": delivery.event,
        "url": delivery.url,
        "status": delivery.status,
        "attempts": delivery.attempts,
        "last_status": delivery.last_status,
        "last_error": delivery.last_error,
        "delivered_at": delivery.delivered_at.map(Timestamp::rfc3339),
        "payload": serde_json::from_str::<Value>(&delivery.payload).unwrap_or_default(),
    })
}
