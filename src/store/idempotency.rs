//! Idempotency keys: the first request under a key runs, and every later one gets its outcome. The primary key of the table
//! decides which is first, on any replica.
//!
//! A claim is never taken over. When its owner died, nobody can say from outside what was bought, so the key stays
//! claimed until it expires, and the row of the request says what is known.

use super::db::{Database, FromRow, Sql, StoreError, column};
use crate::base::Timestamp;
use sqlx::any::AnyRow;
use std::time::Duration;

/// How long a key is remembered.
const LIFETIME: Duration = Duration::from_hours(24);

/// An account's key, claimed by one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub account_id: String,
    /// SHA-256 of the key, in hexadecimal.
    pub key_hash: String,
    /// SHA-256 of the request, in hexadecimal.
    pub fingerprint: String,
    /// The request that wants to run.
    pub request_id: String,
}

/// The claim that holds a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExistingClaim {
    /// SHA-256 of the request, in hexadecimal.
    pub fingerprint: String,
    /// The request that runs or ran.
    pub request_id: String,
    pub created_at: Timestamp,
    /// `None` while the request is running, and until the key expires when its process died.
    pub outcome: Option<StoredOutcome>,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredOutcome {
    /// The HTTP status.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    pub body: OutcomeBody,
}

/// Where the body of an answer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutcomeBody {
    Inline(String),
    /// In the media storage, under this name.
    InStorage(String),
    /// It could not be stored.
    Lost,
}

#[derive(Debug, Clone, Copy)]
pub struct IdempotencyRepository<'a> {
    database: &'a Database,
}

impl<'a> IdempotencyRepository<'a> {
    pub(crate) const fn new(database: &'a Database) -> Self {
        Self { database }
    }

    /// Claims a key. Whether it is now this request's; otherwise [`IdempotencyRepository::find`] returns the claim that holds it.
    pub async fn claim(self, claim: &Claim, now: Timestamp) -> Result<bool, StoreError> {
        let sql = Sql::new(
            "INSERT INTO idempotency (account_id, key_hash, fingerprint, request_id, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (account_id, key_hash) DO UPDATE SET fingerprint = excluded.fingerprint, \
               request_id = excluded.request_id, created_at = excluded.created_at, expires_at = excluded.expires_at, \
               status = NULL, headers = NULL, body = NULL, stored = NULL \
             WHERE idempotency.expires_at <= $5",
        )
        .bind(&claim.account_id)
        .bind(&claim.key_hash)
        .bind(&claim.fingerprint)
        .bind(&claim.request_id)
        .bind(now)
        .bind(now.plus(LIFETIME));
        Ok(self.database.execute(sql).await? == 1)
    }

    /// The claim that holds the same key.
    pub async fn find(self, claim: &Claim, now: Timestamp) -> Result<Option<ExistingClaim>, StoreError> {
        let sql = Sql::new(
            "SELECT fingerprint, request_id, created_at, status, headers, body, stored FROM idempotency \
             WHERE account_id = $1 AND key_hash = $2 AND expires_at > $3",
        );
        self.database.optional(sql.bind(&claim.account_id).bind(&claim.key_hash).bind(now)).await
    }

    /// Stores the outcome of a claimed request. Whether the claim was still its own.
    pub async fn store_outcome(self, claim: &Claim, outcome: &StoredOutcome) -> Result<bool, StoreError> {
        let headers = serde_json::to_string(&outcome.headers).map_err(|error| sqlx::Error::Encode(error.into()))?;
        let (body, stored) = match &outcome.body {
            OutcomeBody::Inline(text) => (Some(text), None),
            OutcomeBody::InStorage(name) => (None, Some(name)),
            OutcomeBody::Lost => (None, None),
        };
        let sql = Sql::new(
            "UPDATE idempotency SET status = $1, headers = $2, body = $3, stored = $4 \
             WHERE account_id = $5 AND key_hash = $6 AND request_id = $7 AND status IS NULL",
        )
        .bind(outcome.status)
        .bind(headers)
        .bind(body)
        .bind(stored)
        .bind(&claim.account_id)
        .bind(&claim.key_hash)
        .bind(&claim.request_id);
        Ok(self.database.execute(sql).await? == 1)
    }

    /// Gives a claim up: nothing was bought under it, and the key may be used again.
    pub async fn release(self, claim: &Claim) -> Result<(), StoreError> {
        let sql = Sql::new(
            "DELETE FROM idempotency WHERE account_id = $1 AND key_hash = $2 AND request_id = $3 AND status IS NULL",
        );
        let sql = sql.bind(&claim.account_id).bind(&claim.key_hash).bind(&claim.request_id);
        self.database.execute(sql).await.map(drop)
    }

    /// Removes expired keys, and returns how many.
    pub async fn remove_expired(self, now: Timestamp) -> Result<u64, StoreError> {
        self.database.execute(Sql::new("DELETE FROM idempotency WHERE expires_at <= $1").bind(now)).await
    }
}

impl FromRow for ExistingClaim {
    fn from_row(row: &AnyRow) -> Result<Self, StoreError> {
        let outcome = column::<Option<i64>>(row, "status")?.map(|status| read_outcome(row, status)).transpose()?;
        Ok(Self {
            fingerprint: column(row, "fingerprint")?,
            request_id: column(row, "request_id")?,
            created_at: column(row, "created_at")?,
            outcome,
        })
    }
}

fn read_outcome(row: &AnyRow, status: i64) -> Result<StoredOutcome, StoreError> {
    let headers: Option<String> = column(row, "headers")?;
    let body = match (column(row, "body")?, column(row, "stored")?) {
        (Some(text), _) => OutcomeBody::Inline(text),
        (None, Some(name)) => OutcomeBody::InStorage(name),
        (None, None) => OutcomeBody::Lost,
    };
    Ok(StoredOutcome {
        status: u16::try_from(status).unwrap_or(500),
        headers: headers.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default(),
        body,
    })
}
