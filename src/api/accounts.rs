//! `GET /v1/balance`; for admins `GET/POST /v1/accounts`, `GET/PATCH /v1/accounts/{id}`, `POST /v1/accounts/{id}/credits`.

use super::Api;
use super::body::JsonObject;
use super::caller::Caller;
use super::wire::fields::Fields;
use crate::base::Usd;
use crate::error::{Error, ErrorKind};
use crate::store::{Account, Billing, NewAccount};
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
    let account = api.0.store.account(&caller.key.account_id).await?.ok_or_else(missing)?;
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
    let accounts = api.0.store.accounts().await?;
    Ok(Json(json!({"object": "list", "data": accounts.iter().map(show).collect::<Vec<_>>()})))
}

/// One account.
async fn one(State(api): State<Api>, caller: Caller, Path(id): Path<String>) -> Result<Json<Value>, Error> {
    caller.require_admin()?;
    let account = api.0.store.account(&id).await?.ok_or_else(missing)?;
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
    let terms = read_terms(&mut fields)?;
    fields.finish(&[&["id"], TERMS].concat())?;
    let name = terms.name.or_else(|| id.clone());
    let name = name.ok_or_else(|| Error::invalid("name", "'name' is required: 1 to 200 characters."))?;
    let billing = terms.billing.unwrap_or_default();
    if terms.credit_limit.is_some() && billing == Billing::Prepaid {
        return Err(Error::invalid("credit_limit_usd", "A prepaid account has no credit."));
    }
    let new = NewAccount { id, name, billing, credit_limit: terms.credit_limit, webhook_url: terms.webhook_url };
    let made = api.0.store.create_account(new).await?;
    let account = made.ok_or_else(|| Error::invalid("id", "There is an account of that id."))?;
    Ok((StatusCode::CREATED, Json(show(&account))))
}

/// Changes what is named, and leaves the rest as it is.
async fn change(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    body: JsonObject,
) -> Result<Json<Value>, Error> {
    caller.require_admin()?;
    let mut fields = Fields(body.fields);
    let terms = read_terms(&mut fields)?;
    fields.finish(TERMS)?;
    let account = api.0.store.account(&id).await?.ok_or_else(missing)?;
    let new = NewAccount {
        id: Some(id),
        name: terms.name.unwrap_or(account.name),
        billing: terms.billing.unwrap_or(account.billing),
        credit_limit: terms.credit_limit.or(account.credit_limit),
        webhook_url: terms.webhook_url.or(account.webhook_url),
    };
    let changed = api.0.store.change_account(new).await?.ok_or_else(missing)?;
    Ok(Json(show(&changed)))
}

/// What can be said about an account; absent where nothing was said.
struct Terms {
    name: Option<String>,
    billing: Option<Billing>,
    credit_limit: Option<Usd>,
    webhook_url: Option<String>,
}

/// The parameters of [`read_terms`].
const TERMS: &[&str] = &["name", "billing", "credit_limit_usd", "webhook_url"];

fn read_terms(fields: &mut Fields) -> Result<Terms, Error> {
    let name = fields.text("name")?;
    if name.as_ref().is_some_and(|name| !(1..=200).contains(&name.chars().count())) {
        return Err(Error::invalid("name", "'name' has 1 to 200 characters."));
    }
    let billing = match fields.text("billing")?.as_deref() {
        None => None,
        Some("postpaid") => Some(Billing::Postpaid),
        Some("prepaid") => Some(Billing::Prepaid),
        Some(_) => return Err(Error::invalid("billing", "'billing' should be prepaid or postpaid.")),
    };
    let credit_limit = fields.dollars("credit_limit_usd")?;
    if credit_limit.is_some_and(|limit| limit < Usd::ZERO) {
        return Err(Error::invalid("credit_limit_usd", "'credit_limit_usd' should not be below 0."));
    }
    let webhook_url = fields.text("webhook_url")?;
    if webhook_url.as_ref().is_some_and(|url| !url.starts_with("https://") || url.len() > 2000) {
        return Err(Error::invalid(
            "webhook_url",
            "'webhook_url' should be an https:// address, 2000 characters at most.",
        ));
    }
    Ok(Terms { name, billing, credit_limit, webhook_url })
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
    let account = api.0.store.credit(&id, amount, &note).await?.ok_or_else(missing)?;
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
