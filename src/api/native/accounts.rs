//! `GET /v1/balance`; for admins `GET/POST /v1/accounts`, `GET/PATCH /v1/accounts/{id}`, `POST /v1/accounts/{id}/credits`.

use super::changes::{ChangeableFields, read_label, read_limit};
use crate::api::body::JsonObject;
use crate::api::caller::Caller;
use crate::api::state::Api;
use crate::api::wire::fields::Fields;
use crate::base::Usd;
use crate::error::{Error, ErrorKind};
use crate::store::{Account, AccountChange, Billing, NewAccount};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

/// The balance of the caller's own account.
pub(in crate::api) async fn balance(State(api): State<Api>, caller: Caller) -> Result<Json<Value>, Error> {
    let account = api.store.accounts().find(&caller.key.account_id).await?.ok_or_else(not_found)?;
    let amount = match account.billing {
        Billing::Prepaid => account.available(),
        // Credit is not a balance.
        Billing::Postpaid => None,
    };
    Ok(Json(json!({
        "object": "balance",
        "billing_type": account.billing,
        "available": {"amount": amount, "currency": "usd"},
    })))
}

pub(in crate::api) async fn list(State(api): State<Api>, caller: Caller) -> Result<Json<Value>, Error> {
    caller.require_admin()?;
    let accounts = api.store.accounts().list().await?;
    Ok(Json(json!({"object": "list", "data": accounts.iter().map(account_json).collect::<Vec<_>>()})))
}

pub(in crate::api) async fn retrieve(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Error> {
    caller.require_admin()?;
    let account = api.store.accounts().find(&id).await?.ok_or_else(not_found)?;
    Ok(Json(account_json(&account)))
}

pub(in crate::api) async fn create(
    State(api): State<Api>,
    caller: Caller,
    body: JsonObject,
) -> Result<(StatusCode, Json<Value>), Error> {
    caller.require_admin()?;
    let mut fields = Fields(body.fields);
    let id = fields.string("id")?;
    let is_valid = |id: &String| {
        (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
    };
    if id.as_ref().is_some_and(|id| !is_valid(id)) {
        return Err(Error::invalid("id", "'id' has 1 to 64 letters, digits, '_', '-' or '.'."));
    }
    let changes = CHANGEABLE.read(fields, &["id"])?;
    let name = id.clone().unwrap_or_default();
    let new = changes.into_iter().fold(NewAccount { id, name, ..NewAccount::default() }, NewAccount::with);
    if new.name.is_empty() {
        return Err(Error::invalid("name", "'name' is required: 1 to 200 characters."));
    }
    check_credit(new.billing, new.credit_limit)?;
    let created = api.store.accounts().create(new).await?;
    let account = created.ok_or_else(|| Error::invalid("id", "There is an account with this id already."))?;
    Ok((StatusCode::CREATED, Json(account_json(&account))))
}

/// Changes the fields that are present; `null` clears one.
pub(in crate::api) async fn update(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    body: JsonObject,
) -> Result<Json<Value>, Error> {
    caller.require_admin()?;
    let changes = CHANGEABLE.read(Fields(body.fields), &[])?;
    let Account { billing, credit_limit, .. } = api.store.accounts().find(&id).await?.ok_or_else(not_found)?;
    let before = NewAccount { billing, credit_limit, ..NewAccount::default() };
    let after = changes.iter().cloned().fold(before, NewAccount::with);
    check_credit(after.billing, after.credit_limit)?;
    let changed = api.store.accounts().update(&id, &changes).await?.ok_or_else(not_found)?;
    Ok(Json(account_json(&changed)))
}

fn check_credit(billing: Billing, credit_limit: Option<Usd>) -> Result<(), Error> {
    if credit_limit.is_some() && billing == Billing::Prepaid {
        return Err(Error::invalid("credit_limit_usd", "A prepaid account has no credit: 'credit_limit_usd' is null."));
    }
    Ok(())
}

const CHANGEABLE: ChangeableFields<AccountChange> = ChangeableFields(&[
    ("name", |fields, name| read_name(fields, name).map(AccountChange::Name)),
    ("billing", |fields, name| read_billing(fields, name).map(AccountChange::Billing)),
    ("credit_limit_usd", |fields, name| read_limit(fields, name).map(AccountChange::CreditLimit)),
    ("webhook_url", |fields, name| read_webhook_url(fields, name).map(AccountChange::WebhookUrl)),
]);

/// An account has a name, so `null` does not clear it.
fn read_name(fields: &mut Fields, name: &str) -> Result<String, Error> {
    let label = read_label(fields, name)?.filter(|label| !label.is_empty());
    label.ok_or_else(|| Error::invalid(name, format!("'{name}' has 1 to 200 characters.")))
}

fn read_billing(fields: &mut Fields, name: &str) -> Result<Billing, Error> {
    match fields.string(name)?.as_deref() {
        Some("postpaid") => Ok(Billing::Postpaid),
        Some("prepaid") => Ok(Billing::Prepaid),
        _ => Err(Error::invalid(name, format!("'{name}' should be prepaid or postpaid."))),
    }
}

fn read_webhook_url(fields: &mut Fields, name: &str) -> Result<Option<String>, Error> {
    let text = format!("'{name}' should be an https:// address, 2000 characters at most.");
    match fields.string(name)? {
        Some(url) if !url.starts_with("https://") || url.len() > 2000 => Err(Error::invalid(name, text)),
        url => Ok(url),
    }
}

/// Pays into an account, or takes back with a negative amount.
pub(in crate::api) async fn credit(
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
    let note = read_label(&mut fields, "note")?.unwrap_or_default();
    fields.refuse_unknown(&["amount_usd", "note"])?;
    let account = api.store.accounts().credit(&id, amount, &note).await?.ok_or_else(not_found)?;
    Ok((StatusCode::CREATED, Json(account_json(&account))))
}

fn not_found() -> Error {
    Error::new(ErrorKind::NotFound, "There is no account with this id.")
}

fn account_json(account: &Account) -> Value {
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
