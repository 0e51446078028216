//! `GET /v1/webhooks/secret`, `POST /v1/webhooks/secret/rotate`, `GET /v1/webhooks/deliveries`,
//! `POST /v1/webhooks/deliveries/{id}/redeliver`.

use crate::api::body::JsonObject;
use crate::api::caller::Caller;
use crate::api::state::Api;
use crate::api::wire::fields::Fields;
use crate::api::wire::page::{ListQuery, PageBody, no_such_cursor};
use crate::base::{Secret, Timestamp};
use crate::error::{Error, ErrorKind};
use crate::store::{Delivery, DeliveryStatus};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// The secret that signs the account's webhooks; made on first use.
pub(in crate::api) async fn secret(State(api): State<Api>, caller: Caller) -> Result<Json<Value>, Error> {
    let secrets = api.store.webhooks().secrets(&caller.key.account_id, Timestamp::now()).await?;
    Ok(Json(json!({"key": secrets.first().map(Secret::expose)})))
}

/// Makes a new secret. The old one signs too for `grace_seconds` more, a day by default.
pub(in crate::api) async fn rotate(
    State(api): State<Api>,
    caller: Caller,
    body: JsonObject,
) -> Result<Json<Value>, Error> {
    let mut fields = Fields(body.fields);
    let grace = fields.integer("grace_seconds", 0, 30 * 86_400)?.unwrap_or(86_400);
    fields.refuse_unknown(&["grace_seconds"])?;
    let now = Timestamp::now();
    let until = now.plus(Duration::from_secs(grace));
    let secret = api.store.webhooks().rotate_secret(&caller.key.account_id, now, until).await?;
    Ok(Json(json!({"key": secret.expose(), "previous_valid_until": until.rfc3339()})))
}

/// A page of deliveries, newest first.
pub(in crate::api) async fn deliveries(
    State(api): State<Api>,
    caller: Caller,
    Query(asked): Query<BTreeMap<String, String>>,
) -> Result<Json<Value>, Error> {
    let mut query = ListQuery(asked.clone());
    let page = query.page()?;
    let unknown = || Error::invalid("status", "'status' should be pending, delivered or failed.");
    let status = query.take("status").map(|text| DeliveryStatus::parse(&text).ok_or_else(unknown)).transpose()?;
    query.refuse_unknown(&["status"])?;
    let listed = api.store.webhooks().list(caller.scope(), status, &page).await?;
    let listed = listed.ok_or_else(|| no_such_cursor(&page))?;
    let items = listed.items.iter().map(|delivery| (delivery.id.clone(), delivery_json(delivery))).collect();
    let (has_older, has_newer) = (listed.has_older, listed.has_newer);
    Ok(Json(PageBody { path: "/v1/webhooks/deliveries", query: &asked, items, has_older, has_newer }.into_value()))
}

/// Sends a delivery again, with all its retries.
pub(in crate::api) async fn redeliver(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<Value>), Error> {
    let delivery = api.store.webhooks().redeliver(&id, caller.scope(), Timestamp::now()).await?;
    let delivery = delivery.ok_or_else(|| Error::new(ErrorKind::NotFound, "There is no delivery with this id."))?;
    Ok((StatusCode::ACCEPTED, Json(delivery_json(&delivery))))
}

fn delivery_json(delivery: &Delivery) -> Value {
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
