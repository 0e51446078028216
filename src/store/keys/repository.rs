//! Keys: authenticating, creating, reading, changing, rotating and revoking them. A secret leaves this file once, when it is
//! made.

use super::accounts::AccountRepository;
use super::credential::{self, Credential};
use super::key::{COLUMNS, Key, KeyStatus, NewKey};
use super::offline_cache::{CachedKey, OfflineCache};
use super::update::{KeyChange, json_list};
use crate::base::{Secret, Timestamp, id};
use crate::store::db::page::{List, Listed, Page};
use crate::store::db::sql::update;
use crate::store::db::text::stored_name;
use crate::store::db::{Conditions, Database, Sql, StoreError};
use crate::store::ledger::limits::KeyUsage;
use sqlx::error::DatabaseError;
use std::time::Duration;
use tokio::time::timeout;

/// How long a key may be looked up before the offline cache answers instead.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(1);

/// `account` narrows a call to that account's keys.
#[derive(Debug, Clone, Copy)]
pub struct KeyRepository<'a> {
    database: &'a Database,
    offline: &'a OfflineCache,
}

impl<'a> KeyRepository<'a> {
    pub(crate) const fn new(database: &'a Database, offline: &'a OfflineCache) -> Self {
        Self { database, offline }
    }

    /// The key that this text is, if it is one and may be used now.
    pub async fn authenticate(self, full: &str, now: Timestamp) -> Result<Option<Key>, StoreError> {
        let Some(credential) = Credential::parse(full) else { return Ok(None) };
        let found = match self.look_up(credential.id).await {
            Ok(found) => found,
            Err(error) => Some(self.offline.get(credential.id).ok_or(error)?),
        };
        Ok(found.filter(|found| found.accepts(&credential, now)).map(|found| found.key))
    }

    async fn look_up(self, id: &str) -> Result<Option<CachedKey>, StoreError> {
        let availability = &self.database.availability;
        if !availability.should_ask() {
            return Err(StoreError::Unavailable);
        }
        let found = timeout(LOOKUP_TIMEOUT, self.load_and_cache(id)).await.unwrap_or(Err(StoreError::Unavailable));
        availability.record(found.is_ok());
        found
    }

    async fn load_and_cache(self, id: &str) -> Result<Option<CachedKey>, StoreError> {
        let Some(found) = self.load(id).await? else { return Ok(None) };
        self.offline.insert(found.clone());
        let (key, balances) = (&found.key, &self.offline.balances);
        if balances.is_stale(&key.account_id)
            && let Some(account) = AccountRepository::new(self.database).find(&key.account_id).await?
        {
            balances.refresh(account, &key.id, key.balance());
        }
        Ok(Some(found))
    }

    async fn load(self, id: &str) -> Result<Option<CachedKey>, StoreError> {
        let sql =
            Sql::new(format!("SELECT {}, hash, previous_hash, previous_until FROM api_keys WHERE id = $1", *COLUMNS));
        self.database.optional(sql.bind(id)).await
    }

    /// Creates a key. The secret is the full key, and this is the only time that it can be seen.
    pub async fn create(self, new: NewKey) -> Result<(Key, Secret), StoreError> {
        let now = Timestamp::now();
        let full = credential::assemble(&id::fresh(now), &id::secret());
        let credential = Credential::parse(&full).ok_or(StoreError::KeyShape)?;
        let sql = insert(&credential, &new, now, "")?;
        self.database.execute(sql).await.map_err(|error| account_error(error, &new))?;
        let key = Key {
            id: credential.id.to_owned(),
            last_four: credential.last_four().to_owned(),
            account_id: new.account_id,
            name: new.name,
            admin: new.admin,
            allowed_models: new.allowed_models,
            created_at: now,
            expires_at: new.expires_at,
            revoked_at: None,
            limits: new.limits,
            used: KeyUsage::default(),
        };
        Ok((key, Secret::new(full)))
    }

    /// Makes sure that a configured key exists with the configured secret. The rest of an existing key stays as it is; above
    /// all, a revoked one stays revoked.
    pub async fn ensure(self, full: &Secret, new: NewKey) -> Result<Key, StoreError> {
        let credential = Credential::parse(full.expose()).ok_or(StoreError::KeyShape)?;
        // A secret that was replaced is refused at once, so there is no grace period here.
        let on_conflict = " ON CONFLICT (id) DO UPDATE SET hash = excluded.hash, last_four = excluded.last_four, \
                            previous_hash = NULL, previous_until = NULL WHERE api_keys.hash <> excluded.hash";
        let sql = insert(&credential, &new, Timestamp::now(), on_conflict)?;
        self.database.execute(sql).await.map_err(|error| account_error(error, &new))?;
        self.find(credential.id, None).await?.ok_or(StoreError::Query(sqlx::Error::RowNotFound))
    }

    pub async fn find(self, id: &str, account: Option<&str>) -> Result<Option<Key>, StoreError> {
        let sql =
            Sql::new(format!("SELECT {} FROM api_keys WHERE id = $1 AND ($2 IS NULL OR account_id = $2)", *COLUMNS));
        self.database.optional(sql.bind(id).bind(account)).await
    }

    /// A page of keys, newest first. `None`: the cursor is no key (of that account).
    pub async fn list(
        self,
        account: Option<&str>,
        status: Option<KeyStatus>,
        page: &Page,
    ) -> Result<Option<Listed<Key>>, StoreError> {
        let mut conditions = Conditions::default();
        conditions.when("account_id =", account);
        match status {
            None => {}
            Some(KeyStatus::Active) => conditions.is("revoked_at IS NULL"),
            Some(KeyStatus::Revoked) => conditions.is("revoked_at IS NOT NULL"),
        }
        let list =
            List { table: "api_keys", columns: &COLUMNS, conditions: &conditions, account, select_ids_first: false };
        list.page(self.database, page).await
    }

    /// Makes these changes, one of a kind at most, and leaves the rest as it is; what was spent stays counted. `None`: no such
    /// key, or it is revoked.
    pub async fn update(
        self,
        id: &str,
        account: Option<&str>,
        changes: &[KeyChange],
    ) -> Result<Option<Key>, StoreError> {
        let assignments = changes.iter().map(KeyChange::assignment).collect::<Result<Vec<_>, _>>()?;
        // The counters are the ledger's, and no change names them.
        let mut sql = update("api_keys", "revoked_at = revoked_at", assignments);
        let mut conditions = Conditions::default();
        conditions.when("id =", Some(id));
        conditions.when("account_id =", account);
        conditions.is("revoked_at IS NULL");
        conditions.write(&mut sql);
        if self.database.execute(sql).await? == 0 {
            return Ok(None);
        }
        self.reload(id).await
    }

    /// Reads a key that this process has changed, and holds it to the change even if the database is unavailable from now on.
    async fn reload(self, id: &str) -> Result<Option<Key>, StoreError> {
        let Some(changed) = self.load(id).await? else { return Ok(None) };
        let key = changed.key.clone();
        self.offline.update(changed);
        Ok(Some(key))
    }

    /// Revokes a key at once. Whether there is such a key; revoking again keeps the first moment.
    pub async fn revoke(self, id: &str, account: Option<&str>, now: Timestamp) -> Result<bool, StoreError> {
        let sql = Sql::new(
            "UPDATE api_keys SET revoked_at = COALESCE(revoked_at, $1) WHERE id = $2 AND ($3 IS NULL OR account_id = $3)",
        );
        let revoked = self.database.execute(sql.bind(now).bind(id).bind(account)).await? > 0;
        if revoked {
            self.offline.remove(id);
        }
        Ok(revoked)
    }

    /// Gives a key a new secret; the old one is accepted for `grace` longer. `None`: no such key, or it is revoked.
    pub async fn rotate(
        self,
        id: &str,
        account: Option<&str>,
        grace: Duration,
        now: Timestamp,
    ) -> Result<Option<(Key, Secret)>, StoreError> {
        let full = credential::assemble(id, &id::secret());
        let Some(credential) = Credential::parse(&full) else { return Ok(None) };
        // The right-hand sides see the row as it was, so the order does not matter.
        let sql = Sql::new(
            "UPDATE api_keys SET previous_hash = hash, previous_until = $1, hash = $2, last_four = $3 \
             WHERE id = $4 AND ($5 IS NULL OR account_id = $5) AND revoked_at IS NULL",
        )
        .bind(now.plus(grace))
        .bind(credential::hash(credential.secret))
        .bind(credential.last_four())
        .bind(id)
        .bind(account);
        if self.database.execute(sql).await? == 0 {
            return Ok(None);
        }
        Ok(self.reload(id).await?.map(|key| (key, Secret::new(full))))
    }

    /// Whether anybody can manage the gateway: an admin key that is neither revoked nor expired.
    pub async fn has_admin(self) -> Result<bool, StoreError> {
        let sql = Sql::new(
            "SELECT id FROM api_keys WHERE admin = 1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $1) \
             LIMIT 1",
        );
        Ok(self.database.optional::<String>(sql.bind(Timestamp::now())).await?.is_some())
    }
}

fn insert(credential: &Credential<'_>, new: &NewKey, now: Timestamp, on_conflict: &str) -> Result<Sql, StoreError> {
    let limits = &new.limits;
    let sql = Sql::new(format!(
        "INSERT INTO api_keys (id, account_id, name, last_four, admin, allowed_models, created_at, expires_at, hash, \
                               budget, budget_daily, budget_monthly, budget_soft, rate_limit_rpm, max_concurrent) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15){on_conflict}"
    ));
    Ok(sql
        .bind(credential.id)
        .bind(&new.account_id)
        .bind(new.name.as_deref().map(stored_name))
        .bind(credential.last_four())
        .bind(new.admin)
        .bind(json_list(&new.allowed_models)?)
        .bind(now)
        .bind(new.expires_at)
        .bind(credential::hash(credential.secret))
        .bind(limits.budget)
        .bind(limits.budget_daily)
        .bind(limits.budget_monthly)
        .bind(limits.budget_soft)
        .bind(limits.rate_limit_rpm)
        .bind(limits.max_concurrent))
}

/// The account is the only row that a key refers to.
fn account_error(error: StoreError, new: &NewKey) -> StoreError {
    match &error {
        StoreError::Query(cause) if cause.as_database_error().is_some_and(DatabaseError::is_foreign_key_violation) => {
            StoreError::UnknownAccount(new.account_id.clone())
        }
        _ => error,
    }
}
