//! What was asked and answered, where the operator keeps it: text and links, never media bytes, and for some days only.

use super::record::stored_name;
use crate::base::Timestamp;
use crate::store::db::sql::{Conditions, Sql};
use crate::store::{Store, StoreError};
use sqlx::Row;

/// How many bytes of a payload are kept.
const MOST: usize = 64 * 1024;

/// A payload to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPayload {
    /// The request's id.
    pub request_id: String,
    /// Whose it is.
    pub account_id: String,
    /// JSON without media bytes.
    pub payload: String,
    /// Names of the files that were made.
    pub media: Vec<String>,
    /// When it is forgotten.
    pub expires_at: Timestamp,
}

/// What was left of a payload when it was purged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purged {
    /// Whether it had been purged before, or was never kept.
    pub already: bool,
    /// Names of the files to delete.
    pub media: Vec<String>,
}

impl Store {
    /// Keeps a payload. One that is too large is not kept.
    pub async fn keep_payload(&self, new: NewPayload) -> Result<(), StoreError> {
        if new.payload.len() > MOST {
            return Ok(());
        }
        let media = serde_json::to_string(&new.media).map_err(|error| sqlx::Error::Encode(error.into()))?;
        let mut sql =
            Sql::new("INSERT INTO request_payloads (request_id, account_id, payload, media, expires_at) VALUES (");
        sql.bind(stored_name(&new.request_id))?.push(", ").bind(stored_name(&new.account_id))?;
        sql.push(", ").bind(new.payload.replace('\0', "\u{fffd}"))?.push(", ").bind(media)?;
        sql.push(", ").bind(new.expires_at.millis())?.push(") ON CONFLICT (request_id) DO NOTHING");
        self.run(sql).await.map(drop)
    }

    /// A request's payload, JSON, while it is kept; with an account, only if it is that account's.
    pub async fn payload(
        &self,
        request: &str,
        account: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<String>, StoreError> {
        let mut sql = Sql::new("SELECT payload FROM request_payloads");
        one(request, account).write(&mut sql)?;
        sql.push(" AND expires_at > ").bind(now.millis())?;
        let row = self.row(sql).await?;
        Ok(row.map(|row| row.try_get("payload")).transpose()?.flatten())
    }

    /// Forgets a request's payload, and says which files belong to it.
    pub async fn purge_payload(&self, request: &str, account: Option<&str>) -> Result<Purged, StoreError> {
        let mut sql = Sql::new("UPDATE request_payloads SET payload = NULL");
        let mut conditions = one(request, account);
        conditions.is("payload IS NOT NULL");
        conditions.write(&mut sql)?;
        sql.push(" RETURNING media");
        let rows = self.changed(sql).await?;
        let Some(row) = rows.first() else { return Ok(Purged { already: true, media: Vec::new() }) };
        let media: String = row.try_get("media")?;
        Ok(Purged { already: false, media: serde_json::from_str(&media).unwrap_or_default() })
    }

    /// Forgets payloads whose time is over; how many.
    pub async fn sweep_payloads(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut sql = Sql::new("DELETE FROM request_payloads WHERE expires_at <= ");
        sql.bind(now.millis())?;
        self.run(sql).await
    }
}

fn one(request: &str, account: Option<&str>) -> Conditions {
    let mut conditions = Conditions::default();
    conditions.when("request_id =", Some(request));
    conditions.when("account_id =", account);
    conditions
}
