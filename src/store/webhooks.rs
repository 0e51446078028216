//! Webhooks: each account's signing secret, and the queue of deliveries, leased like jobs.

use super::db::page::{List, Listed, Page};
use super::db::{Conditions, Database, FromColumn, FromRow, Sql, StoreError, column, enum_column};
use crate::base::{Secret, Timestamp, id};
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;

/// An event to deliver.
#[derive(Debug, Clone, PartialEq)]
pub struct NewDelivery {
    /// The `webhook-id` header; a second delivery of that id is ignored.
    pub id: String,
    /// The account whose secret signs it.
    pub account_id: String,
    /// `video.completed` and the like.
    pub event: String,
    pub url: String,
    /// The body, exactly as it is signed and sent.
    pub payload: String,
    /// When the event happened.
    pub at: Timestamp,
}

/// A delivery in the queue.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// The `webhook-id` header.
    pub id: String,
    pub created_at: Timestamp,
    pub account_id: String,
    /// `video.completed` and the like.
    pub event: String,
    pub url: String,
    /// The body, exactly as it is signed and sent.
    pub payload: String,
    pub status: DeliveryStatus,
    /// Attempts so far.
    pub attempts: i64,
    /// The receiver's last HTTP status.
    pub last_status: Option<i64>,
    pub last_error: Option<String>,
    pub delivered_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryStatus {
    /// Waits for its next attempt.
    Pending,
    Delivered,
    /// The last attempt failed.
    Failed,
}

impl DeliveryStatus {
    /// As the database and the API spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Delivered, Self::Failed].into_iter().find(|status| status.as_str() == text)
    }
}

impl FromColumn for DeliveryStatus {
    type Stored = String;

    fn from_column(stored: String) -> Result<Self, StoreError> {
        enum_column("delivery status", stored)
    }
}

/// The result of one attempt to deliver.
#[derive(Debug, Clone, PartialEq)]
pub struct DeliveryAttempt {
    /// The receiver's HTTP status, when it answered.
    pub status: Option<u16>,
    /// Absent when it was delivered.
    pub error: Option<String>,
    /// When to retry; never when absent.
    pub retry_at: Option<Timestamp>,
}

macro_rules! columns {
    () => {
        "id, created_at, account_id, event, url, payload, status, attempts, last_status, last_error, delivered_at"
    };
}

#[derive(Debug, Clone, Copy)]
pub struct WebhookRepository<'a> {
    database: &'a Database,
}

impl<'a> WebhookRepository<'a> {
    pub(crate) const fn new(database: &'a Database) -> Self {
        Self { database }
    }

    /// The secrets that sign an account's webhooks: the current one, and after a rotation the previous one until its grace
    /// period ends. Made on first use.
    pub async fn secrets(self, account: &str, now: Timestamp) -> Result<Vec<Secret>, StoreError> {
        let stored = match self.stored_secrets(account).await? {
            Some(stored) => stored,
            None => {
                let sql = Sql::new(
                    "INSERT INTO webhook_secrets (account_id, secret, created_at) VALUES ($1, $2, $3) \
                     ON CONFLICT (account_id) DO NOTHING",
                );
                self.database.execute(sql.bind(account).bind(id::webhook_secret()).bind(now)).await?;
                self.stored_secrets(account).await?.ok_or(sqlx::Error::RowNotFound)?
            }
        };
        let in_grace = stored.previous_until.is_some_and(|until| now < until);
        let previous = stored.previous.filter(|_| in_grace);
        Ok([stored.secret].into_iter().chain(previous).map(Secret::new).collect())
    }

    async fn stored_secrets(self, account: &str) -> Result<Option<StoredSecrets>, StoreError> {
        let sql = Sql::new("SELECT secret, previous, previous_until FROM webhook_secrets WHERE account_id = $1");
        self.database.optional(sql.bind(account)).await
    }

    /// Gives an account a new secret; until `until`, the old one signs as well.
    pub async fn rotate_secret(self, account: &str, now: Timestamp, until: Timestamp) -> Result<Secret, StoreError> {
        self.secrets(account, now).await?;
        let fresh = id::webhook_secret();
        // The right-hand sides see the row as it was, so the order does not matter.
        let sql = Sql::new(
            "UPDATE webhook_secrets SET previous = secret, previous_until = $1, secret = $2 WHERE account_id = $3",
        );
        self.database.execute(sql.bind(until).bind(&fresh).bind(account)).await?;
        Ok(Secret::new(fresh))
    }

    /// Leases up to `limit` deliveries that are due: nobody else gets them before `until`.
    pub async fn lease(
        self,
        owner: &str,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        let sql = Sql::new(format!(
            concat!(
                "UPDATE webhook_deliveries SET attempts = attempts + 1, lease_owner = $1, due_at = $2 WHERE id IN ( \
                   SELECT id FROM webhook_deliveries WHERE status = 'pending' AND due_at <= $3 \
                   ORDER BY due_at LIMIT $4{}) RETURNING ",
                columns!()
            ),
            self.database.engine.skip_locked()
        ));
        self.database.execute_returning(sql.bind(owner).bind(until).bind(now).bind(limit)).await
    }

    /// Records the result of an attempt; ignored when another process holds the lease by now.
    pub async fn record_attempt(
        self,
        id: &str,
        owner: &str,
        now: Timestamp,
        attempt: &DeliveryAttempt,
    ) -> Result<(), StoreError> {
        let status = match (&attempt.error, attempt.retry_at) {
            (None, _) => DeliveryStatus::Delivered,
            (Some(_), Some(_)) => DeliveryStatus::Pending,
            (Some(_), None) => DeliveryStatus::Failed,
        };
        let sql = Sql::new(
            "UPDATE webhook_deliveries SET status = $1, last_status = $2, last_error = $3, lease_owner = NULL, due_at = $4, \
                                           delivered_at = $5 \
             WHERE id = $6 AND lease_owner = $7",
        )
        .bind(status.as_str())
        .bind(attempt.status)
        .bind(attempt.error.as_ref())
        .bind(attempt.retry_at.unwrap_or(now))
        .bind((status == DeliveryStatus::Delivered).then_some(now))
        .bind(id)
        .bind(owner);
        self.database.execute(sql).await.map(drop)
    }

    /// A page of deliveries, newest first. `None`: the cursor is no delivery (of that account).
    pub async fn list(
        self,
        account: Option<&str>,
        status: Option<DeliveryStatus>,
        page: &Page,
    ) -> Result<Option<Listed<Delivery>>, StoreError> {
        let mut conditions = Conditions::default();
        conditions.when("account_id =", account);
        conditions.when("status =", status.map(DeliveryStatus::as_str));
        let columns = columns!();
        let list =
            List { table: "webhook_deliveries", columns, conditions: &conditions, account, select_ids_first: false };
        list.page(self.database, page).await
    }

    /// Queues a delivery anew, due now, with all its attempts. `None`: there is none of that id (of that account).
    pub async fn redeliver(
        self,
        id: &str,
        account: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<Delivery>, StoreError> {
        let sql = Sql::new(concat!(
            "UPDATE webhook_deliveries SET status = 'pending', attempts = 0, due_at = $1 \
             WHERE id = $2 AND ($3 IS NULL OR account_id = $3) RETURNING ",
            columns!()
        ));
        Ok(self.database.execute_returning(sql.bind(now).bind(id).bind(account)).await?.pop())
    }

    /// Removes deliveries that ended and were queued before `before`, and returns how many.
    pub async fn remove_ended(self, before: Timestamp) -> Result<u64, StoreError> {
        let sql = Sql::new("DELETE FROM webhook_deliveries WHERE status <> 'pending' AND created_at < $1");
        self.database.execute(sql.bind(before)).await
    }
}

/// Queues a delivery, in the transaction of whatever it reports. The caller has checked the URL; it is checked again before
/// each attempt.
pub(crate) fn insert(delivery: &NewDelivery) -> Sql {
    Sql::new(
        "INSERT INTO webhook_deliveries (id, created_at, account_id, event, url, payload, status, attempts, due_at) \
         VALUES ($1, $2, $3, $4, $5, $6, 'pending', 0, $2) ON CONFLICT (id) DO NOTHING",
    )
    .bind(&delivery.id)
    .bind(delivery.at)
    .bind(&delivery.account_id)
    .bind(&delivery.event)
    .bind(&delivery.url)
    .bind(&delivery.payload)
}

struct StoredSecrets {
    secret: String,
    previous: Option<String>,
    previous_until: Option<Timestamp>,
}

impl FromRow for StoredSecrets {
    fn from_row(row: &AnyRow) -> Result<Self, StoreError> {
        Ok(Self {
            secret: column(row, "secret")?,
            previous: column(row, "previous")?,
            previous_until: column(row, "previous_until")?,
        })
    }
}

impl FromRow for Delivery {
    fn from_row(row: &AnyRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: column(row, "id")?,
            created_at: column(row, "created_at")?,
            account_id: column(row, "account_id")?,
            event: column(row, "event")?,
            url: column(row, "url")?,
            payload: column(row, "payload")?,
            status: column(row, "status")?,
            attempts: column(row, "attempts")?,
            last_status: column(row, "last_status")?,
            last_error: column(row, "last_error")?,
            delivered_at: column(row, "delivered_at")?,
        })
    }
}
