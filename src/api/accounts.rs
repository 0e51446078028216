//! `GET /v1/balance`; for admins `GET/POST /v1/accounts`, `GET/PATCH /v1/accounts/{id}`, `POST /v1/accounts/{id}/credits`.

use super::Api;
use super::body::JsonObject;
use super::caller::Caller;
use super::wire::fields::{Fields, ReadTerm};
use crate::base::Usd;
use crate::error::{Error, ErrorKind};
use crate::store::{Account, AccountChange, Billing, NewAccount};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

/// The paths of accounts, for admins.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/accounts", get(list).post(create))
        .route("/accounts/{id}", get(one).patch(change))
        .route("/accounts/{id}/credits", post(credit))
}

/// What the caller's own account has left.
pub(super) async fn balance(State(api): State<Api>, caller: Caller) -> Result<Json<Value>, Error> {
    let account = api.0.store.accounts().find(&caller.key.account_id).await?.ok_or_else(missing)?;
    let amount = match account.billing {
        Billing::Prepaid => account.available(),
        // What may still be spent on credit is no balance.
        Billing::Postpaid => None,
    };
    Ok(Json(json!({
        "object": "balance",
        "billing_type": account.billing,
        "available": {"amount": amount, "currency": "usd"},
    })))
}

/// Every account.
async fn list(State(api): State<Api>, caller: Caller) -> Result<Json<Value>, Error> {
    caller.require_admin()?;
    let accounts = api.0.store.accounts().list().await?;
    Ok(Json(json!({"object": "list", "data": accounts.iter().map(show).collect::<Vec<_>>()})))
}

/// One account.
async fn one(State(api): State<Api>, caller: Caller, Path(id): Path<String>) -> Result<Json<Value>, Error> {
    caller.require_admin()?;
    let account = api.0.store.accounts().find(&id).await?.ok_or_else(missing)?;
    Ok(Json(show(&account)))
}

/// Makes an account.
async fn create(State(api): State<Api>, caller: Caller, body: JsonObject) -> Result<(StatusCode, Json<Value>), Error> {
    caller.require_admin()?;
    let mut fields = Fields(body.fields);
    let id = fields.text("id")?;
    let sound = |id: &String| {
        (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
    };
    if id.as_ref().is_some_and(|id| !sound(id)) {
        return Err(Error::invalid("id", "'id' has 1 to 64 letters, digits, '_', '-' or '.'."));
    }
    let terms = fields.terms(&TERMS)?;
    fields.finish(&[["id"].as_slice(), &TERMS.map(|(name, _)| name)].concat())?;
    let name = id.clone().unwrap_or_default();
    let new = terms.into_iter().fold(NewAccount { id, name, ..NewAccount::default() }, NewAccount::with);
    if new.name.is_empty() {
        return Err(Error::invalid("name", "'name' is required: 1 to 200 characters."));
    }
    check_credit(new.billing, new.credit_limit)?;
    let made = api.0.store.accounts().create(new).await?;
    let account = made.ok_or_else(|| Error::invalid("id", "There is an account of that id."))?;
    Ok((StatusCode::CREATED, Json(show(&account))))
}

/// Changes what is named, and leaves the rest as it is; `null` clears.
async fn change(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    body: JsonObject,
) -> Result<Json<Value>, Error> {
    caller.require_admin()?;
    let mut fields = Fields(body.fields);
    let terms = fields.terms(&TERMS)?;
    fields.finish(&TERMS.map(|(name, _)| name))?;
    let Account { billing, credit_limit, .. } = api.0.store.accounts().find(&id).await?.ok_or_else(missing)?;
    let now = NewAccount { billing, credit_limit, ..NewAccount::default() };
    let then = terms.iter().cloned().fold(now, NewAccount::with);
    check_credit(then.billing, then.credit_limit)?;
    let changed = api.0.store.accounts().update(&id, &terms).await?.ok_or_else(missing)?;
    Ok(Json(show(&changed)))
}

fn check_credit(billing: Billing, credit_limit: Option<Usd>) -> Result<(), Error> {
    if credit_limit.is_some() && billing == Billing::Prepaid {
        return Err(Error::invalid("credit_limit_usd", "A prepaid account has no credit: 'credit_limit_usd' is null."));
    }
    Ok(())
}

/// What may be said, new or not.
const TERMS: [(&str, ReadTerm<AccountChange>); 4] = [
    ("name", |fields, name| label(fields, name).map(AccountChange::Name)),
    ("billing", |fields, name| billing(fields, name).map(AccountChange::Billing)),
    ("credit_limit_usd", |fields, name| credit_limit(fields, name).map(AccountChange::CreditLimit)),
    ("webhook_url", |fields, name| webhook_url(fields, name).map(AccountChange::WebhookUrl)),
];

fn label(fields: &mut Fields, name: &str) -> Result<String, Error> {
    let label = fields.text(name)?.filter(|label| (1..=200).contains(&label.chars().count()));
    label.ok_or_else(|| Error::invalid(name, format!("'{name}' has 1 to 200 characters.")))
}

fn billing(fields: &mut Fields, name: &str) -> Result<Billing, Error> {
    match fields.text(name)?.as_deref() {
        Some("postpaid") => Ok(Billing::Postpaid),
        Some("prepaid") => Ok(Billing::Prepaid),
        _ => Err(Error::invalid(name, format!("'{name}' should be prepaid or postpaid."))),
    }
}

fn credit_limit(fields: &mut Fields, name: &str) -> Result<Option<Usd>, Error> {
    match fields.dollars(name)? {
        Some(limit) if limit < Usd::ZERO => Err(Error::invalid(name, format!("'{name}' should not be below 0."))),
        limit => Ok(limit),
    }
}

fn webhook_url(fields: &mut Fields, name: &str) -> Result<Option<String>, Error> {
    let text = format!("'{name}' should be an https:// address, 2000 characters at most.");
    match fields.text(name)? {
        Some(url) if !url.starts_with("https://") || url.len() > 2000 => Err(Error::invalid(name, text)),
        url => Ok(url),
    }
}

/// Pays into an account, or takes back with an amount below zero.
async fn credit(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    body: JsonObject,
) -> Result<(StatusCode, Json<Value>), Error> {
    caller.require_admin()?;
    let mut fields = Fields(body.fields);
    let amount = fields.dollars("amount_usd")?.filter(|amount| *amount != Usd::ZERO);
    let amount =
        amount.ok_or_else(|| Error::invalid("amount_usd", "'amount_usd' is required, such as 25 or -3.50."))?;
    let note = fields.text("note")?.unwrap_or_default();
    if note.chars().count() > 200 {
        return Err(Error::invalid("note", "'note' has at most 200 characters."));
    }
    fields.finish(&["amount_usd", "note"])?;
    let account = api.0.store.accounts().credit(&id, amount, &note).await?.ok_or_else(missing)?;
    Ok((StatusCode::CREATED, Json(show(&account))))
}

fn missing() -> Error {
    Error::new(ErrorKind::NotFound, "No account of that id.")
}

fn show(account: &Account) -> Value {
    json!({
        "id": account.id,
        "object": "account",
        "name": account.name,
        "billing": account.billing,
        "balance_usd": account.balance,
        "reserved_usd": account.reserved,
        "available_usd": account.available(),
        "credit_limit_usd": account.credit_limit,
        "webhook_url": account.webhook_url,
        "created_at": account.created_at.rfc3339(),
    })
}
