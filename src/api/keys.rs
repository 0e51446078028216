//! `GET/POST /v1/keys`, `GET/PATCH/DELETE /v1/keys/{id}`, `POST /v1/keys/{id}/rotate`.

use super::Api;
use super::body::JsonObject;
use super::caller::Caller;
use super::wire::fields::{Fields, ReadTerm};
use super::wire::page::{ListQuery, Shown, no_such_cursor};
use crate::base::{Secret, Timestamp, Usd};
use crate::error::{Error, ErrorKind};
use crate::store::{Key, KeyChange, KeyStatus, NewKey};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use globset::Glob;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// A page of keys, newest first.
pub(super) async fn list(
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
    query.finish(&["status"])?;
    let listed = api.0.store.keys().list(caller.scope(), status, &page).await?.ok_or_else(|| no_such_cursor(&page))?;
    let items = listed.items.iter().map(|key| (key.id.clone(), show(key))).collect();
    let (has_older, has_newer) = (listed.has_older, listed.has_newer);
    Ok(Json(Shown { path: "/v1/keys", query: &asked, items, has_older, has_newer }.into_value()))
}

/// One key.
pub(super) async fn one(State(api): State<Api>, caller: Caller, Path(id): Path<String>) -> Result<Json<Value>, Error> {
    let key = api.0.store.keys().find(&id, caller.scope()).await?;
    key.map(|key| Json(show(&key))).ok_or_else(missing)
}

/// Makes a key. Its secret is in this answer and nowhere else.
pub(super) async fn create(
    State(api): State<Api>,
    caller: Caller,
    body: JsonObject,
) -> Result<(StatusCode, Json<Value>), Error> {
    caller.require_admin()?;
    let mut fields = Fields(body.fields);
    let terms = fields.terms(&TERMS)?;
    let account_id = fields.text("account")?.unwrap_or_else(|| caller.key.account_id.clone());
    let admin = fields.truth("admin")?.unwrap_or(false);
    fields.finish(&[&["account", "admin"], TERMS.map(|(name, _)| name).as_slice()].concat())?;
    let new = terms.into_iter().fold(NewKey { account_id, admin, ..NewKey::default() }, NewKey::with);
    let (key, secret) = api.0.store.keys().create(new).await?;
    Ok((StatusCode::CREATED, Json(show_with_secret(&key, &secret))))
}

/// Changes what is named, and leaves the rest as it is; `null` clears. It counts from the next request on, on every
/// replica, and what was spent stays counted.
pub(super) async fn change(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    body: JsonObject,
) -> Result<Json<Value>, Error> {
    caller.require_admin()?;
    let mut fields = Fields(body.fields);
    let terms = fields.terms(&TERMS)?;
    fields.finish(&TERMS.map(|(name, _)| name))?;
    let key = api.0.store.keys().update(&id, None, &terms).await?.ok_or_else(missing)?;
    Ok(Json(show(&key)))
}

/// Revokes a key, at once and on every replica.
pub(super) async fn revoke(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Error> {
    caller.require_admin()?;
    let known = api.0.store.keys().revoke(&id, None, Timestamp::now()).await?;
    if !known {
        return Err(missing());
    }
    Ok(Json(json!({"id": id, "object": "key", "status": "revoked"})))
}

/// Gives a key a new secret; the old one works for `grace_seconds` more.
pub(super) async fn rotate(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    body: JsonObject,
) -> Result<Json<Value>, Error> {
    caller.require_admin()?;
    let mut fields = Fields(body.fields);
    let grace = fields.number("grace_seconds", 0, 30 * 86_400)?.unwrap_or(0);
    fields.finish(&["grace_seconds"])?;
    let rotated = api.0.store.keys().rotate(&id, None, Duration::from_secs(grace), Timestamp::now()).await?;
    let (key, secret) = rotated.ok_or_else(missing)?;
    Ok(Json(show_with_secret(&key, &secret)))
}

/// What may be said, new or not.
const TERMS: [(&str, ReadTerm<KeyChange>); 9] = [
    ("name", |fields, name| label(fields, name).map(KeyChange::Name)),
    ("allowed_models", |fields, name| patterns(fields, name).map(KeyChange::AllowedModels)),
    ("expires_at", |fields, name| end(fields, name).map(KeyChange::ExpiresAt)),
    ("budget_usd", |fields, name| budget(fields, name).map(KeyChange::Budget)),
    ("budget_daily_usd", |fields, name| budget(fields, name).map(KeyChange::BudgetDaily)),
    ("budget_monthly_usd", |fields, name| budget(fields, name).map(KeyChange::BudgetMonthly)),
    ("budget_soft", |fields, name| Ok(KeyChange::BudgetSoft(fields.truth(name)?.unwrap_or(false)))),
    ("rate_limit_rpm", |fields, name| count(fields, name).map(KeyChange::RateLimitRpm)),
    ("max_concurrent", |fields, name| count(fields, name).map(KeyChange::MaxConcurrent)),
];

fn label(fields: &mut Fields, name: &str) -> Result<Option<String>, Error> {
    match fields.text(name)? {
        Some(label) if label.chars().count() > 200 => {
            Err(Error::invalid(name, format!("'{name}' has at most 200 characters.")))
        }
        label => Ok(label),
    }
}

fn patterns(fields: &mut Fields, name: &str) -> Result<Vec<String>, Error> {
    let patterns = fields.texts(name)?.unwrap_or_default();
    match patterns.iter().find(|pattern| Glob::new(pattern).is_err()) {
        Some(bad) => Err(Error::invalid(name, format!("'{bad}' is not a pattern such as 'flux.*'."))),
        None => Ok(patterns),
    }
}

fn end(fields: &mut Fields, name: &str) -> Result<Option<Timestamp>, Error> {
    let Some(text) = fields.text(name)? else { return Ok(None) };
    let end = Timestamp::parse(&text).filter(|at| *at > Timestamp::now());
    let wrong = || Error::invalid(name, format!("'{name}' should be a moment in the future, in ISO 8601."));
    end.ok_or_else(wrong).map(Some)
}

fn budget(fields: &mut Fields, name: &str) -> Result<Option<Usd>, Error> {
    match fields.dollars(name)? {
        Some(amount) if amount < Usd::ZERO => Err(Error::invalid(name, format!("'{name}' should not be below 0."))),
        amount => Ok(amount),
    }
}

fn count(fields: &mut Fields, name: &str) -> Result<Option<i64>, Error> {
    Ok(fields.number(name, 1, 1_000_000)?.and_then(|count| i64::try_from(count).ok()))
}

fn missing() -> Error {
    Error::new(ErrorKind::NotFound, "No active key of that id.")
}

fn show(key: &Key) -> Value {
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

fn show_with_secret(key: &Key, secret: &Secret) -> Value {
    let mut shown = show(key);
    shown["key"] = json!(secret.expose());
    shown
}
