//! Keys: making, finding, changing, rotating and revoking them. A secret leaves this file once, when it is made.

use super::credential::{self, Credential};
use super::update::list_text;
use crate::base::{Secret, Timestamp, Usd, id};
use crate::store::db::connect::Engine;
use crate::store::db::page::{List, Page, moment};
use crate::store::db::sql::{Conditions, Kind, Sql, rows_of_json};
use crate::store::ledger::limits::{Limits, Used};
use crate::store::ledger::record::stored_name;
use crate::store::ledger::transaction::Books;
use crate::store::{Store, StoreError};
use serde_json::json;
use sqlx::Row;
use sqlx::any::AnyRow;
use sqlx::error::DatabaseError;
use std::sync::LazyLock;
use std::time::Duration;

/// A key as it may be shown: nothing in it opens anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The public half.
    pub id: String,
    /// Whose it is.
    pub account_id: String,
    /// What people call it.
    pub name: Option<String>,
    /// How the secret ends.
    pub last_four: String,
    /// Whether it may manage the gateway.
    pub admin: bool,
    /// Patterns of the models that it may use; empty allows all.
    pub allowed_models: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// What bounds it.
    pub limits: Limits,
    /// What it has used.
    pub used: Used,
}

/// What a new key shall be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewKey {
    /// Whose it is.
    pub account_id: String,
    /// What people call it.
    pub name: Option<String>,
    /// Whether it may manage the gateway.
    pub admin: bool,
    /// Patterns of the models that it may use; empty allows all.
    pub allowed_models: Vec<String>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// What bounds it.
    pub limits: Limits,
}

/// Whether a key was revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyStatus {
    /// Not revoked.
    Active,
    /// Revoked.
    Revoked,
}

/// A page of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedKeys {
    /// Newest first.
    pub keys: Vec<Key>,
    /// Whether older ones follow.
    pub has_older: bool,
    /// Whether newer ones precede.
    pub has_newer: bool,
}

/// What identifies a key.
const CARD: &str = "id, account_id, name, last_four, admin, allowed_models, created_at, expires_at, revoked_at";
/// What bounds it.
const LIMITS: &str = "budget, budget_daily, budget_monthly, budget_soft, rate_limit_rpm, max_concurrent";
/// What bounds it and what it has used.
pub(crate) const BOUNDS: &str = "budget, budget_daily, budget_monthly, budget_soft, rate_limit_rpm, max_concurrent, \
                                 reserved, running, spent, day, spent_day, month, spent_month, minute, begun";
pub(crate) static SHOWN: LazyLock<String> = LazyLock::new(|| format!("{CARD}, {BOUNDS}"));
/// The counters, in the order of [`BOUNDS`].
const COUNTERS: [&str; 9] =
    ["reserved", "running", "spent", "day", "spent_day", "month", "spent_month", "minute", "begun"];

impl Store {
    /// Makes a key. The secret is the full key, and this is the only time that it can be seen.
    pub async fn create_key(&self, new: NewKey) -> Result<(Key, Secret), StoreError> {
        let now = Timestamp::now();
        let full = credential::assemble(&id::fresh(now), &id::secret());
        let parts = Credential::parse(&full).ok_or(StoreError::KeyShape)?;
        self.run(insert(&parts, &new, now)?).await.map_err(|error| account_fault(error, &new))?;
        let key = Key {
            id: parts.id.to_owned(),
            last_four: parts.last_four().to_owned(),
            account_id: new.account_id,
            name: new.name,
            admin: new.admin,
            allowed_models: new.allowed_models,
            created_at: now,
            expires_at: new.expires_at,
            revoked_at: None,
            limits: new.limits,
            used: Used::default(),
        };
        Ok((key, Secret::new(full)))
    }

    /// Makes sure that a key of the configuration exists and opens with the configured secret. The rest of an existing
    /// key stays as it is; above all, a revoked one stays revoked.
    pub async fn ensure_key(&self, full: &Secret, new: NewKey) -> Result<Key, StoreError> {
        let parts = Credential::parse(full.expose()).ok_or(StoreError::KeyShape)?;
        let mut sql = insert(&parts, &new, Timestamp::now())?;
        // A secret that was replaced shall open nothing, so there is no grace here.
        sql.push(
            " ON CONFLICT (id) DO UPDATE SET hash = excluded.hash, last_four = excluded.last_four, \
             previous_hash = NULL, previous_until = NULL WHERE api_keys.hash <> excluded.hash",
        );
        self.run(sql).await.map_err(|error| account_fault(error, &new))?;
        self.key(parts.id, None).await?.ok_or(StoreError::Query(sqlx::Error::RowNotFound))
    }

    /// A page of keys. `None`: the cursor is no key (of that account).
    pub async fn keys(
        &self,
        account: Option<&str>,
        status: Option<KeyStatus>,
        page: &Page,
    ) -> Result<Option<ListedKeys>, StoreError> {
        let mut conditions = Conditions::default();
        conditions.when("account_id =", account);
        match status {
            None => {}
            Some(KeyStatus::Active) => conditions.is("revoked_at IS NULL"),
            Some(KeyStatus::Revoked) => conditions.is("revoked_at IS NOT NULL"),
        }
        let list = List { table: "api_keys", columns: &SHOWN, conditions: &conditions, account, picked: false };
        let Some(walked) = list.walk(self, page).await? else { return Ok(None) };
        let keys = walked.rows.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Some(ListedKeys { keys, has_older: walked.has_older, has_newer: walked.has_newer }))
    }

    /// One key; with an account, only if it is that account's.
    pub async fn key(&self, id: &str, account: Option<&str>) -> Result<Option<Key>, StoreError> {
        let mut sql = Sql::new(&format!("SELECT {} FROM api_keys", *SHOWN));
        one(id, account).write(&mut sql)?;
        self.row(sql).await?.as_ref().map(read).transpose()
    }

    /// Revokes a key at once. Whether there is such a key; revoking again keeps the first moment.
    pub async fn revoke_key(&self, id: &str, account: Option<&str>, now: Timestamp) -> Result<bool, StoreError> {
        let mut sql = Sql::new("UPDATE api_keys SET revoked_at = COALESCE(revoked_at, ");
        sql.bind(now.millis())?.push(")");
        one(id, account).write(&mut sql)?;
        let revoked = self.run(sql).await? > 0;
        if revoked {
            self.known.forget(id);
        }
        Ok(revoked)
    }

    /// Gives a key a new secret; the old one works for `grace` longer. `None`: no such key, or it is revoked.
    pub async fn rotate_key(
        &self,
        id: &str,
        account: Option<&str>,
        grace: Duration,
        now: Timestamp,
    ) -> Result<Option<(Key, Secret)>, StoreError> {
        let full = credential::assemble(id, &id::secret());
        let Some(parts) = Credential::parse(&full) else { return Ok(None) };
        // The right-hand sides see the row as it was, so the order does not matter.
        let mut sql = Sql::new("UPDATE api_keys SET previous_hash = hash, previous_until = ");
        sql.bind(now.plus(grace).millis())?.push(", hash = ").bind(credential::hash(parts.secret))?;
        sql.push(", last_four = ").bind(parts.last_four())?;
        let mut conditions = one(id, account);
        conditions.is("revoked_at IS NULL");
        conditions.write(&mut sql)?;
        if self.run(sql).await? == 0 {
            return Ok(None);
        }
        Ok(self.key(id, account).await?.map(|key| (key, Secret::new(full))))
    }

    /// Whether anybody can manage the gateway: an admin key that is not revoked and has not ended.
    pub async fn has_admin_key(&self) -> Result<bool, StoreError> {
        let mut sql = Sql::new(
            "SELECT id FROM api_keys WHERE admin = 1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ",
        );
        sql.bind(Timestamp::now().millis())?.push(") LIMIT 1");
        Ok(self.row(sql).await?.is_some())
    }
}

fn insert(parts: &Credential<'_>, new: &NewKey, now: Timestamp) -> Result<Sql, StoreError> {
    let models = list_text(&new.allowed_models)?;
    let mut sql = Sql::new(&format!("INSERT INTO api_keys ({CARD}, hash, {LIMITS}) VALUES ("));
    sql.bind(parts.id)?.push(", ").bind(new.account_id.clone())?;
    sql.push(", ").bind(new.name.as_deref().map(stored_name))?.push(", ").bind(parts.last_four())?;
    sql.push(", ").bind(i64::from(new.admin))?.push(", ").bind(models)?;
    sql.push(", ").bind(now.millis())?.push(", ").bind(new.expires_at.map(Timestamp::millis))?;
    sql.push(", ").bind(None::<i64>)?.push(", ").bind(credential::hash(parts.secret))?;
    let limits = &new.limits;
    for budget in [limits.budget, limits.budget_daily, limits.budget_monthly] {
        sql.push(", ").bind(budget.map(Usd::micros))?;
    }
    sql.push(", ").bind(i64::from(limits.budget_soft))?;
    sql.push(", ").bind(limits.rate_limit_rpm)?.push(", ").bind(limits.max_concurrent)?.push(")");
    Ok(sql)
}

pub(crate) fn one(id: &str, account: Option<&str>) -> Conditions {
    let mut conditions = Conditions::default();
    conditions.when("id =", Some(id));
    conditions.when("account_id =", account);
    conditions
}

/// The account is the only thing that a key refers to.
fn account_fault(error: StoreError, new: &NewKey) -> StoreError {
    match &error {
        StoreError::Query(cause) if cause.as_database_error().is_some_and(DatabaseError::is_foreign_key_violation) => {
            StoreError::UnknownAccount(new.account_id.clone())
        }
        _ => error,
    }
}

/// Reads the columns of [`BOUNDS`].
pub(crate) fn read_bounds(row: &AnyRow) -> Result<(Limits, Used), StoreError> {
    let number = |column: &str| row.try_get::<i64, _>(column);
    let maybe = |column: &str| row.try_get::<Option<i64>, _>(column);
    let usd = |column: &str| number(column).map(Usd::from_micros);
    let limits = Limits {
        budget: maybe("budget")?.map(Usd::from_micros),
        budget_daily: maybe("budget_daily")?.map(Usd::from_micros),
        budget_monthly: maybe("budget_monthly")?.map(Usd::from_micros),
        budget_soft: number("budget_soft")? != 0,
        rate_limit_rpm: maybe("rate_limit_rpm")?,
        max_concurrent: maybe("max_concurrent")?,
    };
    let used = Used {
        reserved: usd("reserved")?,
        running: number("running")?,
        spent: usd("spent")?,
        day: number("day")?,
        spent_day: usd("spent_day")?,
        month: number("month")?,
        spent_month: usd("spent_month")?,
        minute: number("minute")?,
        begun: number("begun")?,
    };
    Ok((limits, used))
}

/// The statement that stores what a transaction did to its keys, which it holds locked.
pub(crate) fn write_back(engine: Engine, books: &Books) -> Result<Option<Sql>, StoreError> {
    if books.keys.is_empty() {
        return Ok(None);
    }
    let line = |(id, (_, used)): (&String, &(Limits, Used))| {
        json!({"id": id, "reserved": used.reserved.micros(), "running": used.running, "spent": used.spent.micros(),
               "day": used.day, "spent_day": used.spent_day.micros(), "month": used.month,
               "spent_month": used.spent_month.micros(), "minute": used.minute, "begun": used.begun})
    };
    let lines: Vec<_> = books.keys.iter().map(line).collect();
    let counters = COUNTERS.map(|name| (name, Kind::Number));
    let columns: Vec<_> = std::iter::once(("id", Kind::Text)).chain(counters).collect();
    let changes = COUNTERS.map(|name| format!("{name} = now.{name}"));
    let mut sql = Sql::new(&format!("UPDATE api_keys SET {} FROM (", changes.join(", ")));
    rows_of_json(engine, &columns, &lines, &mut sql)?;
    sql.push(") AS now WHERE api_keys.id = now.id");
    Ok(Some(sql))
}

/// Reads a row of [`SHOWN`].
pub(crate) fn read(row: &AnyRow) -> Result<Key, StoreError> {
    let models: String = row.try_get("allowed_models")?;
    // A list that cannot be read must not become "all models".
    let allowed_models =
        serde_json::from_str(&models).map_err(|_| StoreError::Unknown { what: "list of models", value: models })?;
    let (limits, used) = read_bounds(row)?;
    Ok(Key {
        id: row.try_get("id")?,
        account_id: row.try_get("account_id")?,
        name: row.try_get("name")?,
        last_four: row.try_get("last_four")?,
        admin: row.try_get::<i64, _>("admin")? != 0,
        allowed_models,
        created_at: moment(row, "created_at")?.unwrap_or(Timestamp::from_millis(0)),
        expires_at: moment(row, "expires_at")?,
        revoked_at: moment(row, "revoked_at")?,
        limits,
        used,
    })
}
