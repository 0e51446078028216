//! The terms of a key: what its maker says of it, when it is made and later.

use super::repository::{Key, NewKey, one};
use crate::base::{Timestamp, Usd};
use crate::store::db::sql::Sql;
use crate::store::ledger::record::stored_name;
use crate::store::{Store, StoreError};

/// One thing that a key's maker says of it and may say anew later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyTerm {
    /// What people call it.
    Name(Option<String>),
    /// Patterns of the models that it may use; empty allows all.
    AllowedModels(Vec<String>),
    /// When it ends by itself; `None`: never.
    ExpiresAt(Option<Timestamp>),
    /// At most so much in all; `None` is no bound, here and below.
    Budget(Option<Usd>),
    /// And in a day (UTC).
    BudgetDaily(Option<Usd>),
    /// And in a month (UTC).
    BudgetMonthly(Option<Usd>),
    /// Over a budget we tell and do not refuse.
    BudgetSoft(bool),
    /// Requests begun in a minute.
    RateLimitRpm(Option<i64>),
    /// Requests at once.
    MaxConcurrent(Option<i64>),
}

impl KeyTerm {
    /// `column = value`, for an UPDATE.
    fn write(&self, sql: &mut Sql) -> Result<(), StoreError> {
        match self {
            Self::Name(name) => sql.push("name = ").bind(name.as_deref().map(stored_name))?,
            Self::AllowedModels(models) => sql.push("allowed_models = ").bind(list_text(models)?)?,
            Self::ExpiresAt(at) => sql.push("expires_at = ").bind(at.map(Timestamp::millis))?,
            Self::Budget(amount) => sql.push("budget = ").bind(amount.map(Usd::micros))?,
            Self::BudgetDaily(amount) => sql.push("budget_daily = ").bind(amount.map(Usd::micros))?,
            Self::BudgetMonthly(amount) => sql.push("budget_monthly = ").bind(amount.map(Usd::micros))?,
            Self::BudgetSoft(soft) => sql.push("budget_soft = ").bind(i64::from(*soft))?,
            Self::RateLimitRpm(count) => sql.push("rate_limit_rpm = ").bind(*count)?,
            Self::MaxConcurrent(count) => sql.push("max_concurrent = ").bind(*count)?,
        };
        Ok(())
    }
}

impl NewKey {
    /// The same with that term.
    #[must_use]
    pub fn with(mut self, term: KeyTerm) -> Self {
        match term {
            KeyTerm::Name(name) => self.name = name,
            KeyTerm::AllowedModels(models) => self.allowed_models = models,
            KeyTerm::ExpiresAt(at) => self.expires_at = at,
            KeyTerm::Budget(amount) => self.limits.budget = amount,
            KeyTerm::BudgetDaily(amount) => self.limits.budget_daily = amount,
            KeyTerm::BudgetMonthly(amount) => self.limits.budget_monthly = amount,
            KeyTerm::BudgetSoft(soft) => self.limits.budget_soft = soft,
            KeyTerm::RateLimitRpm(count) => self.limits.rate_limit_rpm = count,
            KeyTerm::MaxConcurrent(count) => self.limits.max_concurrent = count,
        }
        self
    }
}

impl Store {
    /// Changes a key by these terms, each said once at most, and leaves the rest as it is; what was spent stays counted.
    /// `None`: no such key, or it is revoked.
    pub async fn change_key(
        &self,
        id: &str,
        account: Option<&str>,
        terms: &[KeyTerm],
    ) -> Result<Option<Key>, StoreError> {
        // One statement that names only what changes: two changes at once cannot undo each other, and the counters are
        // the ledger's. It begins with a column that stays, as there may be no term.
        let mut sql = Sql::new("UPDATE api_keys SET revoked_at = revoked_at");
        for term in terms {
            sql.push(", ");
            term.write(&mut sql)?;
        }
        let mut conditions = one(id, account);
        conditions.is("revoked_at IS NULL");
        conditions.write(&mut sql)?;
        if self.run(sql).await? == 0 {
            return Ok(None);
        }
        let changed = self.key(id, account).await?;
        if let Some(key) = &changed {
            self.known.change(key);
        }
        Ok(changed)
    }
}

/// A list as a column holds it.
pub(crate) fn list_text(texts: &[String]) -> Result<String, StoreError> {
    Ok(serde_json::to_string(texts).map_err(|error| sqlx::Error::Encode(error.into()))?)
}
