//! Accounts: creating, changing, crediting and reading them.

use crate::base::{Timestamp, Usd, id};
use crate::store::db::sql::{Value, update};
use crate::store::db::text::stored_name;
use crate::store::db::{Database, Sql, StoreError};
use crate::store::ledger::balances::ACCOUNT_COLUMNS;
use crate::store::ledger::limits::{Account, Billing};

/// An account to create.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewAccount {
    /// Generated when absent.
    pub id: Option<String>,
    pub name: String,
    pub billing: Billing,
    /// How far below zero a postpaid account may go; no limit when absent.
    pub credit_limit: Option<Usd>,
    /// Receives an event when 80 or 100 percent of a limit is used. Checked by the caller, and again before each delivery.
    pub webhook_url: Option<String>,
}

/// One change of an account. A new account is described by the same changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountChange {
    Name(String),
    Billing(Billing),
    CreditLimit(Option<Usd>),
    WebhookUrl(Option<String>),
}

impl AccountChange {
    fn assignment(&self) -> (&'static str, Value) {
        match self {
            Self::Name(name) => ("name", stored_name(name).into()),
            Self::Billing(billing) => ("billing", billing.as_str().into()),
            Self::CreditLimit(limit) => ("credit_limit", (*limit).into()),
            Self::WebhookUrl(url) => ("webhook_url", url.as_ref().into()),
        }
    }
}

impl NewAccount {
    #[must_use]
    pub fn with(mut self, change: AccountChange) -> Self {
        match change {
            AccountChange::Name(name) => self.name = name,
            AccountChange::Billing(billing) => self.billing = billing,
            AccountChange::CreditLimit(limit) => self.credit_limit = limit,
            AccountChange::WebhookUrl(url) => self.webhook_url = url,
        }
        self
    }
}

#[derive(Debug, Clone, Copy)]
pub struct AccountRepository<'a> {
    database: &'a Database,
}

impl<'a> AccountRepository<'a> {
    pub(crate) const fn new(database: &'a Database) -> Self {
        Self { database }
    }

    /// `None`: the id is taken.
    pub async fn create(self, new: NewAccount) -> Result<Option<Account>, StoreError> {
        let now = Timestamp::now();
        let id = new.id.unwrap_or_else(|| format!("acct_{}", id::fresh(now)));
        let sql = Sql::new(
            "INSERT INTO accounts (id, name, created_at, billing, credit_limit, webhook_url) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING",
        )
        .bind(&id)
        .bind(stored_name(&new.name))
        .bind(now)
        .bind(new.billing.as_str())
        .bind(new.credit_limit)
        .bind(new.webhook_url);
        if self.database.execute(sql).await? == 0 {
            return Ok(None);
        }
        self.find(&id).await
    }

    /// Makes these changes, one of a kind at most, and leaves the rest as it is. `None`: no such account.
    pub async fn update(self, id: &str, changes: &[AccountChange]) -> Result<Option<Account>, StoreError> {
        let mut sql = update("accounts", "id = id", changes.iter().map(AccountChange::assignment).collect());
        sql.push(" WHERE id = ").push_bind(id);
        self.database.execute(sql).await?;
        self.find(id).await
    }

    pub async fn find(self, id: &str) -> Result<Option<Account>, StoreError> {
        let sql = Sql::new(format!("SELECT {ACCOUNT_COLUMNS} FROM accounts WHERE id = $1"));
        self.database.optional(sql.bind(id)).await
    }

    /// Every account, oldest first, 1000 at most.
    pub async fn list(self) -> Result<Vec<Account>, StoreError> {
        let sql = Sql::new(format!("SELECT {ACCOUNT_COLUMNS} FROM accounts ORDER BY created_at, id LIMIT 1000"));
        self.database.all(sql).await
    }

    /// Adds to the balance (or, with an amount below zero, subtracts from it) and records why. `None`: no such account.
    pub async fn credit(self, account: &str, amount: Usd, note: &str) -> Result<Option<Account>, StoreError> {
        let now = Timestamp::now();
        let mut transaction = self.database.begin().await?;
        let sql = Sql::new("UPDATE accounts SET topped_up = balance + $1, balance = balance + $1 WHERE id = $2");
        let sql = sql.bind(amount).bind(account);
        if sql.query().execute(&mut *transaction).await?.rows_affected() == 0 {
            return Ok(None);
        }
        let sql =
            Sql::new("INSERT INTO credits (id, account_id, amount, note, created_at) VALUES ($1, $2, $3, $4, $5)")
                .bind(format!("cred_{}", id::fresh(now)))
                .bind(account)
                .bind(amount)
                .bind(stored_name(note))
                .bind(now);
        sql.query().execute(&mut *transaction).await?;
        transaction.commit().await?;
        self.find(account).await
    }
}
