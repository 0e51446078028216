//! A key and its row.

use crate::base::Timestamp;
use crate::store::db::{FromRow, StoreError, column};
use crate::store::ledger::balances::{KEY_BALANCE_COLUMNS, KeyBalance};
use crate::store::ledger::limits::{KeyUsage, Limits};
use sqlx::any::AnyRow;
use std::sync::LazyLock;

/// A key as it may be shown: without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The public half.
    pub id: String,
    pub account_id: String,
    pub name: Option<String>,
    /// The last characters of the secret.
    pub last_four: String,
    /// Whether it may manage the gateway.
    pub admin: bool,
    /// Patterns of the models that it may use; empty allows all.
    pub allowed_models: Vec<String>,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    pub limits: Limits,
    pub used: KeyUsage,
}

/// A key to create.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewKey {
    pub account_id: String,
    pub name: Option<String>,
    /// Whether it may manage the gateway.
    pub admin: bool,
    /// Patterns of the models that it may use; empty allows all.
    pub allowed_models: Vec<String>,
    pub expires_at: Option<Timestamp>,
    pub limits: Limits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyStatus {
    /// Not revoked.
    Active,
    Revoked,
}

/// The columns of [`Key`].
pub(crate) static COLUMNS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "id, account_id, name, last_four, admin, allowed_models, created_at, expires_at, revoked_at, \
         {KEY_BALANCE_COLUMNS}"
    )
});

impl Key {
    pub(crate) const fn balance(&self) -> KeyBalance {
        KeyBalance { limits: self.limits, usage: self.used }
    }
}

impl FromRow for Key {
    fn from_row(row: &AnyRow) -> Result<Self, StoreError> {
        let models: String = column(row, "allowed_models")?;
        // A list that cannot be read must not become "all models".
        let allowed_models =
            serde_json::from_str(&models).map_err(|_| StoreError::Unknown { what: "list of models", value: models })?;
        let KeyBalance { limits, usage } = KeyBalance::from_row(row)?;
        Ok(Self {
            id: column(row, "id")?,
            account_id: column(row, "account_id")?,
            name: column(row, "name")?,
            last_four: column(row, "last_four")?,
            admin: column(row, "admin")?,
            allowed_models,
            created_at: column(row, "created_at")?,
            expires_at: column(row, "expires_at")?,
            revoked_at: column(row, "revoked_at")?,
            limits,
            used: usage,
        })
    }
}
