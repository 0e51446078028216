//! Requests and answers, where the operator keeps them: text and links, never media bytes, and for some days only.

use crate::base::Timestamp;
use crate::store::db::text::stored_name;
use crate::store::db::{Database, Sql, StoreError};

const MAX_PAYLOAD_BYTES: usize = 64 * 1024;

/// A payload to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPayload {
    pub request_id: String,
    pub account_id: String,
    /// JSON without media bytes.
    pub payload: String,
    /// Names of the files that were made.
    pub media: Vec<String>,
    pub expires_at: Timestamp,
}

/// The result of purging a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purged {
    /// Whether it had been purged before, or was never kept.
    pub already: bool,
    /// Names of the files to delete.
    pub media: Vec<String>,
}

/// `account` narrows a call to that account's payloads.
#[derive(Debug, Clone, Copy)]
pub struct PayloadRepository<'a> {
    database: &'a Database,
}

impl<'a> PayloadRepository<'a> {
    pub(crate) const fn new(database: &'a Database) -> Self {
        Self { database }
    }

    /// Keeps a payload. One that is too large is not kept.
    pub async fn insert(self, new: NewPayload) -> Result<(), StoreError> {
        if new.payload.len() > MAX_PAYLOAD_BYTES {
            return Ok(());
        }
        let media = serde_json::to_string(&new.media).map_err(|error| sqlx::Error::Encode(error.into()))?;
        let sql = Sql::new(
            "INSERT INTO request_payloads (request_id, account_id, payload, media, expires_at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (request_id) DO NOTHING",
        )
        .bind(stored_name(&new.request_id))
        .bind(stored_name(&new.account_id))
        .bind(new.payload)
        .bind(media)
        .bind(new.expires_at);
        self.database.execute(sql).await.map(drop)
    }

    /// A request's payload, JSON, while it is kept.
    pub async fn find(
        self,
        request: &str,
        account: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<String>, StoreError> {
        let sql = Sql::new(
            "SELECT payload FROM request_payloads \
             WHERE request_id = $1 AND ($2 IS NULL OR account_id = $2) AND expires_at > $3",
        );
        Ok(self.database.optional::<Option<String>>(sql.bind(request).bind(account).bind(now)).await?.flatten())
    }

    /// Erases a request's payload, and returns which files belong to it.
    pub async fn purge(self, request: &str, account: Option<&str>) -> Result<Purged, StoreError> {
        let sql = Sql::new(
            "UPDATE request_payloads SET payload = NULL \
             WHERE request_id = $1 AND ($2 IS NULL OR account_id = $2) AND payload IS NOT NULL RETURNING media",
        );
        let media = self.database.execute_returning::<String>(sql.bind(request).bind(account)).await?.pop();
        Ok(Purged {
            already: media.is_none(),
            media: media.and_then(|media| serde_json::from_str(&media).ok()).unwrap_or_default(),
        })
    }

    /// Removes expired payloads, and returns how many.
    pub async fn remove_expired(self, now: Timestamp) -> Result<u64, StoreError> {
        self.database.execute(Sql::new("DELETE FROM request_payloads WHERE expires_at <= $1").bind(now)).await
    }
}
