//! What can be changed about a key, and how a change becomes an UPDATE.

use super::key::NewKey;
use crate::base::{Timestamp, Usd};
use crate::store::db::StoreError;
use crate::store::db::sql::Value;
use crate::store::db::text::stored_name;

/// One change of a key. A new key is described by the same changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyChange {
    Name(Option<String>),
    /// Patterns of the models that it may use; empty allows all.
    AllowedModels(Vec<String>),
    ExpiresAt(Option<Timestamp>),
    Budget(Option<Usd>),
    BudgetDaily(Option<Usd>),
    BudgetMonthly(Option<Usd>),
    BudgetSoft(bool),
    RateLimitRpm(Option<i64>),
    MaxConcurrent(Option<i64>),
}

impl KeyChange {
    pub(crate) fn assignment(&self) -> Result<(&'static str, Value), StoreError> {
        Ok(match self {
            Self::Name(name) => ("name", name.as_deref().map(stored_name).into()),
            Self::AllowedModels(models) => ("allowed_models", json_list(models)?.into()),
            Self::ExpiresAt(at) => ("expires_at", (*at).into()),
            Self::Budget(amount) => ("budget", (*amount).into()),
            Self::BudgetDaily(amount) => ("budget_daily", (*amount).into()),
            Self::BudgetMonthly(amount) => ("budget_monthly", (*amount).into()),
            Self::BudgetSoft(soft) => ("budget_soft", (*soft).into()),
            Self::RateLimitRpm(count) => ("rate_limit_rpm", (*count).into()),
            Self::MaxConcurrent(count) => ("max_concurrent", (*count).into()),
        })
    }
}

impl NewKey {
    #[must_use]
    pub fn with(mut self, change: KeyChange) -> Self {
        match change {
            KeyChange::Name(name) => self.name = name,
            KeyChange::AllowedModels(models) => self.allowed_models = models,
            KeyChange::ExpiresAt(at) => self.expires_at = at,
            KeyChange::Budget(amount) => self.limits.budget = amount,
            KeyChange::BudgetDaily(amount) => self.limits.budget_daily = amount,
            KeyChange::BudgetMonthly(amount) => self.limits.budget_monthly = amount,
            KeyChange::BudgetSoft(soft) => self.limits.budget_soft = soft,
            KeyChange::RateLimitRpm(count) => self.limits.rate_limit_rpm = count,
            KeyChange::MaxConcurrent(count) => self.limits.max_concurrent = count,
        }
        self
    }
}

/// A list as a column stores it.
pub(crate) fn json_list(texts: &[String]) -> Result<String, StoreError> {
    Ok(serde_json::to_string(texts).map_err(|error| sqlx::Error::Encode(error.into()))?)
}
