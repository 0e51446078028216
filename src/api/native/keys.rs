//! `GET/POST /v1/keys`, `GET/PATCH/DELETE /v1/keys/{id}`, `POST /v1/keys/{id}/rotate`.

use super::changes::{ChangeableFields, read_label, read_limit};
use crate::api::body::JsonObject;
use crate::api::caller::Caller;
use crate::api::state::Api;
use crate::api::wire::fields::Fields;
use crate::api::wire::page::{ListQuery, PageBody, no_such_cursor};
use crate::base::{AllowedModels, Secret, Timestamp};
use crate::error::{Error, ErrorKind};
use crate::store::{Key, KeyChange, KeyStatus, NewKey};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// A page of keys, newest first.
pub(in crate::api) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(asked): Query<BTreeMap<String, String>>,
) -> Result<Json<Value>, Error> {
    let mut query = ListQuery(asked.clone());
    let page = query.page()?;
    let status = match query.take("status").as_deref() {
        None => None,
        Some("active") => Some(KeyStatus::Active),
        Some("revoked") => Some(KeyStatus::Revoked),
        Some(_) => return Err(Error::invalid("status", "'status' should be active or revoked.")),
    };
    query.refuse_unknown(&["status"])?;
    let listed = api.store.keys().list(caller.scope(), status, &page).await?.ok_or_else(|| no_such_cursor(&page))?;
    let items = listed.items.iter().map(|key| (key.id.clone(), key_json(key))).collect();
    let (has_older, has_newer) = (listed.has_older, listed.has_newer);
    Ok(Json(PageBody { path: "/v1/keys", query: &asked, items, has_older, has_newer }.into_value()))
}

pub(in crate::api) async fn retrieve(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Error> {
    let key = api.store.keys().find(&id, caller.scope()).await?;
    key.map(|key| Json(key_json(&key))).ok_or_else(not_found)
}

/// Makes a key. Its secret is in this answer only.
pub(in crate::api) async fn create(
    State(api): State<Api>,
    caller: Caller,
    body: JsonObject,
) -> Result<(StatusCode, Json<Value>), Error> {
    caller.require_admin()?;
    let mut fields = Fields(body.fields);
    let account_id = fields.string("account")?.unwrap_or_else(|| caller.key.account_id.clone());
    let admin = fields.bool("admin")?.unwrap_or(false);
    let changes = CHANGEABLE.read(fields, &["account", "admin"])?;
    let new = changes.into_iter().fold(NewKey { account_id, admin, ..NewKey::default() }, NewKey::with);
    let (key, secret) = api.store.keys().create(new).await?;
    Ok((StatusCode::CREATED, Json(key_json_with_secret(&key, &secret))))
}

/// Changes the fields that are present; `null` clears one. The change counts from the next request on, on every replica;
/// what was spent stays counted.
pub(in crate::api) async fn update(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    body: JsonObject,
) -> Result<Json<Value>, Error> {
    caller.require_admin()?;
    let changes = CHANGEABLE.read(Fields(body.fields), &[])?;
    let key = api.store.keys().update(&id, None, &changes).await?.ok_or_else(not_found)?;
    Ok(Json(key_json(&key)))
}

/// Revokes a key, at once and on every replica.
pub(in crate::api) async fn revoke(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Error> {
    caller.require_admin()?;
    let is_found = api.store.keys().revoke(&id, None, Timestamp::now()).await?;
    if !is_found {
        return Err(not_found());
    }
    Ok(Json(json!({"id": id, "object": "key", "status": "revoked"})))
}

/// Gives a key a new secret; the old one works for `grace_seconds` more.
pub(in crate::api) async fn rotate(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    body: JsonObject,
) -> Result<Json<Value>, Error> {
    caller.require_admin()?;
    let mut fields = Fields(body.fields);
    let grace = fields.integer("grace_seconds", 0, 30 * 86_400)?.unwrap_or(0);
    fields.refuse_unknown(&["grace_seconds"])?;
    let rotated = api.store.keys().rotate(&id, None, Duration::from_secs(grace), Timestamp::now()).await?;
    let (key, secret) = rotated.ok_or_else(not_found)?;
    Ok(Json(key_json_with_secret(&key, &secret)))
}

const CHANGEABLE: ChangeableFields<KeyChange> = ChangeableFields(&[
    ("name", |fields, name| read_label(fields, name).map(KeyChange::Name)),
    ("allowed_models", |fields, name| read_patterns(fields, name).map(KeyChange::AllowedModels)),
    ("expires_at", |fields, name| read_expiry(fields, name).map(KeyChange::ExpiresAt)),
    ("budget_usd", |fields, name| read_limit(fields, name).map(KeyChange::Budget)),
    ("budget_daily_usd", |fields, name| read_limit(fields, name).map(KeyChange::BudgetDaily)),
    ("budget_monthly_usd", |fields, name| read_limit(fields, name).map(KeyChange::BudgetMonthly)),
    ("budget_soft", |fields, name| Ok(KeyChange::BudgetSoft(fields.bool(name)?.unwrap_or(false)))),
    ("rate_limit_rpm", |fields, name| read_count(fields, name).map(KeyChange::RateLimitRpm)),
    ("max_concurrent", |fields, name| read_count(fields, name).map(KeyChange::MaxConcurrent)),
]);

fn read_patterns(fields: &mut Fields, name: &str) -> Result<Vec<String>, Error> {
    let patterns = fields.strings(name)?.unwrap_or_default();
    match patterns.iter().find(|pattern| !AllowedModels::is_pattern(pattern)) {
        Some(invalid) => Err(Error::invalid(name, format!("'{invalid}' is not a pattern such as 'flux.*'."))),
        None => Ok(patterns),
    }
}

fn read_expiry(fields: &mut Fields, name: &str) -> Result<Option<Timestamp>, Error> {
    let Some(text) = fields.string(name)? else { return Ok(None) };
    let expiry = Timestamp::parse(&text).filter(|at| *at > Timestamp::now());
    let invalid = || Error::invalid(name, format!("'{name}' should be a time in the future, in ISO 8601."));
    expiry.ok_or_else(invalid).map(Some)
}

fn read_count(fields: &mut Fields, name: &str) -> Result<Option<i64>, Error> {
    Ok(fields.integer(name, 1, 1_000_000)?.and_then(|count| i64::try_from(count).ok()))
}

fn not_found() -> Error {
    Error::new(ErrorKind::NotFound, "There is no active key with this id.")
}

fn key_json(key: &Key) -> Value {
    json!({
        "id": key.id,
        "object": "key",
        "name": key.name,
        "last_four": key.last_four,
        "status": if key.revoked_at.is_some() { "revoked" } else { "active" },
        "account_id": key.account_id,
        "admin": key.admin,
        "allowed_models": key.allowed_models,
        "budget_usd": key.limits.budget,
        "budget_daily_usd": key.limits.budget_daily,
        "budget_monthly_usd": key.limits.budget_monthly,
        "budget_soft": key.limits.budget_soft,
        "rate_limit_rpm": key.limits.rate_limit_rpm,
        "max_concurrent": key.limits.max_concurrent,
        "spent_usd": key.used.spent,
        "reserved_usd": key.used.reserved,
        "created_at": key.created_at.rfc3339(),
        "expires_at": key.expires_at.map(Timestamp::rfc3339),
        "revoked_at": key.revoked_at.map(Timestamp::rfc3339),
    })
}

fn key_json_with_secret(key: &Key, secret: &Secret) -> Value {
    let mut body = key_json(key);
    body["key"] = json!(secret.expose());
    body
}
