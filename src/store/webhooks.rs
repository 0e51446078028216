//! Webhooks: each account's signing secret, and the queue of deliveries, leased like jobs.

use super::db::page::{List, Page, moment};
use super::db::sql::{Conditions, Sql};
use super::{Store, StoreError};
use crate::base::{Secret, Timestamp, id};
use sqlx::Row;
use sqlx::any::AnyRow;

/// An event to be told to somebody.
#[derive(Debug, Clone, PartialEq)]
pub struct NewDelivery {
    /// The `webhook-id` header; a second delivery of that id is ignored.
    pub id: String,
    /// Whose event it is; that account's secret signs it.
    pub account_id: String,
    /// `video.completed` and the like.
    pub event: String,
    /// Where to.
    pub url: String,
    /// The body, exactly as it is signed and sent.
    pub payload: String,
    /// When it happened.
    pub at: Timestamp,
}

/// A delivery, as the queue keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// The `webhook-id` header.
    pub id: String,
    /// When it was queued.
    pub created_at: Timestamp,
    /// Whose it is.
    pub account_id: String,
    /// `video.completed` and the like.
    pub event: String,
    /// Where to.
    pub url: String,
    /// The body.
    pub payload: String,
    /// `pending`, `delivered` or `failed`.
    pub status: String,
    /// Tries so far.
    pub attempts: i64,
    /// The receiver's last HTTP status.
    pub last_status: Option<i64>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When it arrived.
    pub delivered_at: Option<Timestamp>,
}

/// What came of a try.
#[derive(Debug, Clone, PartialEq)]
pub struct Tried {
    /// The receiver's status, when it answered.
    pub status: Option<u16>,
    /// What went wrong; nothing when it arrived.
    pub error: Option<String>,
    /// When to try again; never when absent.
    pub again: Option<Timestamp>,
}

/// A page of deliveries.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedDeliveries {
    /// Newest first.
    pub deliveries: Vec<Delivery>,
    /// Whether older ones follow.
    pub has_older: bool,
    /// Whether newer ones precede.
    pub has_newer: bool,
}

const ROW: &str = "id, created_at, account_id, event, url, payload, status, attempts, last_status, last_error, \
                   delivered_at";

impl Store {
    /// The secrets that sign an account's webhooks: the current one first, and after a rotation the one before. Made on
    /// first use.
    pub async fn webhook_secrets(&self, account: &str, now: Timestamp) -> Result<Vec<Secret>, StoreError> {
        let mut sql = Sql::new("INSERT INTO webhook_secrets (account_id, secret, created_at) VALUES (");
        sql.bind(account.to_owned())?.push(", ").bind(id::webhook_secret())?.push(", ").bind(now.millis())?;
        sql.push(") ON CONFLICT (account_id) DO NOTHING");
        let mut question = Sql::new("SELECT secret, previous, previous_until FROM webhook_secrets WHERE account_id = ");
        question.bind(account.to_owned())?;
        let found = self.row(question).await?;
        let row = match found {
            Some(row) => row,
            None => {
                self.run(sql).await?;
                let mut again =
                    Sql::new("SELECT secret, previous, previous_until FROM webhook_secrets WHERE account_id = ");
                again.bind(account.to_owned())?;
                self.row(again).await?.ok_or(sqlx::Error::RowNotFound)?
            }
        };
        let mut secrets = vec![Secret::new(row.try_get::<String, _>("secret")?)];
        let valid = moment(&row, "previous_until")?.is_some_and(|until| now < until);
        let previous = row.try_get::<Option<String>, _>("previous")?.filter(|_| valid);
        secrets.extend(previous.map(Secret::new));
        Ok(secrets)
    }

    /// Gives an account a new secret; the old one signs besides until `until`.
    pub async fn rotate_webhook_secret(
        &self,
        account: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Secret, StoreError> {
        self.webhook_secrets(account, now).await?;
        let fresh = id::webhook_secret();
        // The right-hand sides see the row as it was, so the order does not matter.
        let mut sql = Sql::new("UPDATE webhook_secrets SET previous = secret, previous_until = ");
        sql.bind(until.millis())?.push(", secret = ").bind(fresh.clone())?;
        sql.push(" WHERE account_id = ").bind(account.to_owned())?;
        self.run(sql).await?;
        Ok(Secret::new(fresh))
    }

    /// Queues an event. The URL has been checked by whoever took it; it is checked again before each try.
    pub async fn enqueue_webhook(&self, delivery: &NewDelivery) -> Result<(), StoreError> {
        self.run(insert(delivery)?).await?;
        Ok(())
    }

    /// Leases up to `limit` deliveries that are due: until then, nobody else gets them.
    pub async fn lease_webhooks(
        &self,
        owner: &str,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        let mut sql = Sql::new("UPDATE webhook_deliveries SET attempts = attempts + 1, lease_owner = ");
        sql.bind(owner.to_owned())?.push(", due_at = ").bind(until.millis())?;
        sql.push(" WHERE id IN (SELECT id FROM webhook_deliveries WHERE status = 'pending' AND due_at <= ");
        sql.bind(now.millis())?.push(" ORDER BY due_at LIMIT ").bind(i64::from(limit))?;
        sql.push(self.skip_locked()).push(&format!(") RETURNING {ROW}"));
        self.changed(sql).await?.iter().map(read).collect()
    }

    /// Notes what came of a try; ignored when the lease went to somebody else meanwhile.
    pub async fn note_webhook(&self, id: &str, owner: &str, now: Timestamp, tried: &Tried) -> Result<(), StoreError> {
        let status = match (&tried.error, tried.again) {
            (None, _) => "delivered",
            (Some(_), Some(_)) => "pending",
            (Some(_), None) => "failed",
        };
        let mut sql = Sql::new("UPDATE webhook_deliveries SET status = ");
        sql.bind(status)?.push(", last_status = ").bind(tried.status.map(i64::from))?;
        sql.push(", last_error = ").bind(tried.error.clone())?;
        sql.push(", lease_owner = NULL, due_at = ").bind(tried.again.unwrap_or(now).millis())?;
        sql.push(", delivered_at = ").bind(tried.error.is_none().then(|| now.millis()))?;
        sql.push(" WHERE id = ").bind(id.to_owned())?.push(" AND lease_owner = ").bind(owner.to_owned())?;
        self.run(sql).await?;
        Ok(())
    }

    /// A page of deliveries. `None`: the cursor is no delivery (of that account).
    pub async fn webhooks(
        &self,
        account: Option<&str>,
        status: Option<&str>,
        page: &Page,
    ) -> Result<Option<ListedDeliveries>, StoreError> {
        let mut conditions = Conditions::default();
        conditions.when("account_id =", account);
        conditions.when("status =", status);
        let list = List { table: "webhook_deliveries", columns: ROW, conditions: &conditions, account, picked: false };
        let Some(walked) = list.walk(self, page).await? else { return Ok(None) };
        let deliveries = walked.rows.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Some(ListedDeliveries { deliveries, has_older: walked.has_older, has_newer: walked.has_newer }))
    }

    /// Sends a delivery once more, now, with all its tries. `None`: there is none of that id (of that account).
    pub async fn redeliver_webhook(
        &self,
        id: &str,
        account: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<Delivery>, StoreError> {
        let mut sql = Sql::new("UPDATE webhook_deliveries SET status = 'pending', attempts = 0, due_at = ");
        sql.bind(now.millis())?;
        let mut conditions = Conditions::default();
        conditions.when("id =", Some(id));
        conditions.when("account_id =", account);
        conditions.write(&mut sql)?;
        sql.push(&format!(" RETURNING {ROW}"));
        self.row(sql).await?.as_ref().map(read).transpose()
    }

    /// Forgets deliveries that came to their end and were queued before `before`. Returns how many.
    pub async fn sweep_webhooks(&self, before: Timestamp) -> Result<u64, StoreError> {
        let mut sql = Sql::new("DELETE FROM webhook_deliveries WHERE status <> 'pending' AND created_at < ");
        sql.bind(before.millis())?;
        self.run(sql).await
    }
}

/// The statement that queues a delivery, for other writers' transactions.
pub(crate) fn insert(delivery: &NewDelivery) -> Result<Sql, StoreError> {
    let mut sql = Sql::new(
        "INSERT INTO webhook_deliveries (id, created_at, account_id, event, url, payload, status, attempts, due_at) \
         VALUES (",
    );
    sql.bind(delivery.id.clone())?.push(", ").bind(delivery.at.millis())?;
    sql.push(", ").bind(delivery.account_id.clone())?.push(", ").bind(delivery.event.clone())?;
    sql.push(", ").bind(delivery.url.clone())?.push(", ").bind(delivery.payload.clone())?;
    sql.push(", 'pending', 0, ").bind(delivery.at.millis())?.push(") ON CONFLICT (id) DO NOTHING");
    Ok(sql)
}

fn read(row: &AnyRow) -> Result<Delivery, StoreError> {
    Ok(Delivery {
        id: row.try_get("id")?,
        created_at: Timestamp::from_millis(row.try_get("created_at")?),
        account_id: row.try_get("account_id")?,
        event: row.try_get("event")?,
        url: row.try_get("url")?,
        payload: row.try_get("payload")?,
        status: row.try_get("status")?,
        attempts: row.try_get("attempts")?,
        last_status: row.try_get("last_status")?,
        last_error: row.try_get("last_error")?,
        delivered_at: moment(row, "delivered_at")?,
    })
}
