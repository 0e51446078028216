//! Idempotency keys: who asks first under a key runs, everybody later gets that one outcome. The primary key of the
//! table decides who was first, on any replica.
//!
//! A claim is never taken over. When its owner died, nobody can say from outside what was bought, so the key stays
//! claimed until it expires, and the row of the request says what is known.

use super::db::page::moment;
use super::db::sql::Sql;
use super::{Store, StoreError};
use crate::base::Timestamp;
use sqlx::Row;
use sqlx::any::AnyRow;
use std::time::Duration;

/// How long a key means the same request.
const LIFETIME: Duration = Duration::from_hours(24);

/// What is claimed: an account's key, for one body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Whose key it is.
    pub account_id: String,
    /// SHA-256 of the key, in hexadecimal.
    pub key_hash: String,
    /// SHA-256 of what was asked for, in hexadecimal.
    pub fingerprint: String,
    /// The request that wants to run.
    pub request_id: String,
}

/// A claim as it stands in the table: somebody's, perhaps with its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// SHA-256 of what was asked for, in hexadecimal.
    pub fingerprint: String,
    /// The request that runs or ran.
    pub request_id: String,
    /// When it was claimed.
    pub created_at: Timestamp,
    /// What came of it; `None` while it is running, and for ever when its owner died.
    pub outcome: Option<Kept>,
}

/// The outcome of a claimed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The HTTP status.
    pub status: u16,
    /// Headers, by name.
    pub headers: Vec<(String, String)>,
    /// Where the body is.
    pub body: KeptBody,
}

/// Where the body of an outcome is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeptBody {
    /// Here.
    Here(String),
    /// In the media storage, under this name.
    Stored(String),
    /// Nowhere: it could not be kept.
    Lost,
}

impl Store {
    /// Claims a key. Whether it is now this request's; otherwise [`Store::claimed`] says whose it is.
    pub async fn claim(&self, claim: &Claim, now: Timestamp) -> Result<bool, StoreError> {
        let mut sql = Sql::new(
            "INSERT INTO idempotency (account_id, key_hash, fingerprint, request_id, created_at, expires_at) VALUES (",
        );
        sql.bind(claim.account_id.clone())?.push(", ").bind(claim.key_hash.clone())?;
        sql.push(", ").bind(claim.fingerprint.clone())?.push(", ").bind(claim.request_id.clone())?;
        sql.push(", ").bind(now.millis())?.push(", ").bind(now.plus(LIFETIME).millis())?;
        sql.push(
            ") ON CONFLICT (account_id, key_hash) DO UPDATE SET fingerprint = excluded.fingerprint, \
             request_id = excluded.request_id, created_at = excluded.created_at, expires_at = excluded.expires_at, \
             status = NULL, headers = NULL, body = NULL, stored = NULL WHERE idempotency.expires_at <= ",
        );
        sql.bind(now.millis())?;
        Ok(self.run(sql).await? == 1)
    }

    /// Who holds a key, and what came of it.
    pub async fn claimed(&self, claim: &Claim, now: Timestamp) -> Result<Option<Claimed>, StoreError> {
        let mut sql = Sql::new(
            "SELECT fingerprint, request_id, created_at, status, headers, body, stored FROM idempotency \
             WHERE account_id = ",
        );
        sql.bind(claim.account_id.clone())?.push(" AND key_hash = ").bind(claim.key_hash.clone())?;
        sql.push(" AND expires_at > ").bind(now.millis())?;
        self.row(sql).await?.as_ref().map(read).transpose()
    }

    /// Writes what came of a claimed request. Whether the claim was still its own.
    pub async fn keep_outcome(&self, claim: &Claim, kept: &Kept) -> Result<bool, StoreError> {
        let headers = serde_json::to_string(&kept.headers).map_err(|error| sqlx::Error::Encode(error.into()))?;
        let (body, stored) = match &kept.body {
            KeptBody::Here(text) => (Some(text.clone()), None),
            KeptBody::Stored(name) => (None, Some(name.clone())),
            KeptBody::Lost => (None, None),
        };
        let mut sql = Sql::new("UPDATE idempotency SET status = ");
        sql.bind(i64::from(kept.status))?.push(", headers = ").bind(headers)?;
        sql.push(", body = ").bind(body)?.push(", stored = ").bind(stored)?;
        own(&mut sql, claim)?;
        Ok(self.run(sql).await? == 1)
    }

    /// Gives a claim back: nothing was bought under it, and the key may be used again.
    pub async fn release(&self, claim: &Claim) -> Result<(), StoreError> {
        let mut sql = Sql::new("DELETE FROM idempotency");
        own(&mut sql, claim)?;
        self.run(sql).await?;
        Ok(())
    }

    /// Forgets keys that are past their time; returns how many.
    pub async fn sweep_idempotency(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut sql = Sql::new("DELETE FROM idempotency WHERE expires_at <= ");
        sql.bind(now.millis())?;
        self.run(sql).await
    }
}

/// The claim, as long as it is this request's and has no outcome.
fn own(sql: &mut Sql, claim: &Claim) -> Result<(), StoreError> {
    sql.push(" WHERE account_id = ").bind(claim.account_id.clone())?;
    sql.push(" AND key_hash = ").bind(claim.key_hash.clone())?;
    sql.push(" AND request_id = ").bind(claim.request_id.clone())?.push(" AND status IS NULL");
    Ok(())
}

fn read(row: &AnyRow) -> Result<Claimed, StoreError> {
    let outcome = match row.try_get::<Option<i64>, _>("status")? {
        None => None,
        Some(status) => {
            let headers: Option<String> = row.try_get("headers")?;
            let body = match (row.try_get::<Option<String>, _>("body")?, row.try_get::<Option<String>, _>("stored")?) {
                (Some(text), _) => KeptBody::Here(text),
                (None, Some(name)) => KeptBody::Stored(name),
                (None, None) => KeptBody::Lost,
            };
            Some(Kept {
                status: u16::try_from(status).unwrap_or(500),
                headers: headers.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default(),
                body,
            })
        }
    };
    Ok(Claimed {
        fingerprint: row.try_get("fingerprint")?,
        request_id: row.try_get("request_id")?,
        created_at: moment(row, "created_at")?.unwrap_or(Timestamp::from_millis(0)),
        outcome,
    })
}
