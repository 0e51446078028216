//! `GET/POST /v1/keys`, `GET/DELETE /v1/keys/{id}`, `POST /v1/keys/{id}/rotate`.

use super::Api;
use super::body::JsonObject;
use super::caller::Caller;
use super::wire::fields::Fields;
use super::wire::page::{ListQuery, Shown, no_such_cursor};
use crate::base::{Secret, Timestamp, Usd};
use crate::error::{Error, ErrorKind};
use crate::store::{Key, KeyStatus, Limits, NewKey};
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
    let listed = api.0.store.keys(caller.scope(), status, &page).await?.ok_or_else(|| no_such_cursor(&page))?;
    let items = listed.keys.iter().map(|key| (key.id.clone(), show(key))).collect();
    let (has_older, has_newer) = (listed.has_older, listed.has_newer);
    Ok(Json(Shown { path: "/v1/keys", query: &asked, items, has_older, has_newer }.into_value()))
}

/// One key.
pub(super) async fn one(State(api): State<Api>, caller: Caller, Path(id): Path<String>) -> Result<Json<Value>, Error> {
    let key = api.0.store.key(&id, caller.scope()).await?;
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
    let name = fields.text("name")?;
    if name.as_ref().is_some_and(|name| name.chars().count() > 200) {
        return Err(Error::invalid("name", "'name' has at most 200 characters."));
    }
    let account_id = fields.text("account")?.unwrap_or_else(|| caller.key.account_id.clone());
    let admin = fields.truth("admin")?.unwrap_or(false);
    let allowed_models = fields.texts("allowed_models")?.unwrap_or_default();
    if let Some(bad) = allowed_models.iter().find(|pattern| Glob::new(pattern).is_err()) {
        return Err(Error::invalid("allowed_models", format!("'{bad}' is not a pattern such as 'flux.*'.")));
    }
    let expires_at = match fields.text("expires_at")? {
        None => None,
        Some(text) => Some(Timestamp::parse(&text).filter(|at| *at > Timestamp::now()).ok_or_else(|| {
            Error::invalid("expires_at", "'expires_at' should be a moment in the future, in ISO 8601.")
        })?),
    };
    let limits = read_limits(&mut fields)?;
    fields.finish(&[&["name", "account", "admin", "allowed_models", "expires_at"], LIMITS].concat())?;
    let new = NewKey { account_id, name, admin, allowed_models, expires_at, limits };
    let (key, secret) = api.0.store.create_key(new).await?;
    Ok((StatusCode::CREATED, Json(show_with_secret(&key, &secret))))
}

/// Revokes a key, at once and on every replica.
pub(super) async fn revoke(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Error> {
    caller.require_admin()?;
    let known = api.0.store.revoke_key(&id, None, Timestamp::now()).await?;
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
    let rotated = api.0.store.rotate_key(&id, None, Duration::from_secs(grace), Timestamp::now()).await?;
    let (key, secret) = rotated.ok_or_else(missing)?;
    Ok(Json(show_with_secret(&key, &secret)))
}

/// The parameters of [`read_limits`].
const LIMITS: &[&str] =
    &["budget_usd", "budget_daily_usd", "budget_monthly_usd", "budget_soft", "rate_limit_rpm", "max_concurrent"];

fn read_limits(fields: &mut Fields) -> Result<Limits, Error> {
    let mut budget = |name: &str| match fields.dollars(name)? {
        Some(amount) if amount < Usd::ZERO => Err(Error::invalid(name, format!("'{name}' should not be below 0."))),
        amount => Ok(amount),
    };
    let (budget, budget_daily, budget_monthly) =
        (budget("budget_usd")?, budget("budget_daily_usd")?, budget("budget_monthly_usd")?);
    let mut count = |name: &str| {
        fields.number(name, 1, 1_000_000).map(|number| number.and_then(|number| i64::try_from(number).ok()))
    };
    Ok(Limits {
        budget,
        budget_daily,
        budget_monthly,
        rate_limit_rpm: count("rate_limit_rpm")?,
        max_concurrent: count("max_concurrent")?,
        budget_soft: fields.truth("budget_soft")?.unwrap_or(false),
    })
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
