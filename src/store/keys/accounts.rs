//! Accounts: how they pay, what was paid in, what is left.

use crate::base::{Timestamp, Usd, id};
use crate::store::db::connect::Engine;
use crate::store::db::page::moment;
use crate::store::db::sql::{Conditions, Kind, Sql, rows_of_json};
use crate::store::ledger::limits::{Account, Billing};
use crate::store::ledger::record::stored_name;
use crate::store::ledger::transaction::Books;
use crate::store::{Store, StoreError};
use serde_json::json;
use sqlx::Row;
use sqlx::any::AnyRow;

/// What a new account shall be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewAccount {
    /// Its name in rows and calls; made up when absent.
    pub id: Option<String>,
    /// What people call it.
    pub name: String,
    /// How it pays.
    pub billing: Billing,
    /// How far below zero a postpaid account may go.
    pub credit_limit: Option<Usd>,
    /// Who is told when a limit is nearly or wholly used. Checked by whoever took it, and again before each try.
    pub webhook_url: Option<String>,
}

/// One thing that is said of an account, when it is made or later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountTerm {
    /// What people call it.
    Name(String),
    /// How it pays.
    Billing(Billing),
    /// How far below zero a postpaid account may go; `None` is no bound.
    CreditLimit(Option<Usd>),
    /// Who is told when a limit is nearly or wholly used.
    WebhookUrl(Option<String>),
}

impl AccountTerm {
    /// `column = value`, for an UPDATE.
    fn write(&self, sql: &mut Sql) -> Result<(), StoreError> {
        match self {
            Self::Name(name) => sql.push("name = ").bind(stored_name(name))?,
            Self::Billing(billing) => sql.push("billing = ").bind(billing.as_str())?,
            Self::CreditLimit(limit) => sql.push("credit_limit = ").bind(limit.map(Usd::micros))?,
            Self::WebhookUrl(url) => sql.push("webhook_url = ").bind(url.clone())?,
        };
        Ok(())
    }
}

impl NewAccount {
    /// The same with that term.
    #[must_use]
    pub fn with(mut self, term: AccountTerm) -> Self {
        match term {
            AccountTerm::Name(name) => self.name = name,
            AccountTerm::Billing(billing) => self.billing = billing,
            AccountTerm::CreditLimit(limit) => self.credit_limit = limit,
            AccountTerm::WebhookUrl(url) => self.webhook_url = url,
        }
        self
    }
}

pub(crate) const SHOWN: &str = "id, name, created_at, billing, balance, reserved, credit_limit, topped_up, \
                                webhook_url";

impl Store {
    /// Makes an account. `None`: the id is taken.
    pub async fn create_account(&self, new: NewAccount) -> Result<Option<Account>, StoreError> {
        let now = Timestamp::now();
        let id = new.id.unwrap_or_else(|| format!("acct_{}", id::fresh(now)));
        let mut sql =
            Sql::new("INSERT INTO accounts (id, name, created_at, billing, credit_limit, webhook_url) VALUES (");
        sql.bind(id.clone())?.push(", ").bind(stored_name(&new.name))?.push(", ").bind(now.millis())?;
        sql.push(", ").bind(new.billing.as_str())?.push(", ").bind(new.credit_limit.map(Usd::micros))?;
        sql.push(", ").bind(new.webhook_url)?.push(") ON CONFLICT (id) DO NOTHING");
        if self.run(sql).await? == 0 {
            return Ok(None);
        }
        self.account(&id).await
    }

    /// Changes an account by these terms, each said once at most, and leaves the rest as it is. `None`: no such account.
    pub async fn change_account(&self, id: &str, terms: &[AccountTerm]) -> Result<Option<Account>, StoreError> {
        // Only what changes is named, so two changes at once cannot undo each other. There may be no term.
        let mut sql = Sql::new("UPDATE accounts SET id = id");
        for term in terms {
            sql.push(", ");
            term.write(&mut sql)?;
        }
        sql.push(" WHERE id = ").bind(id.to_owned())?;
        self.run(sql).await?;
        self.account(id).await
    }

    /// One account.
    pub async fn account(&self, id: &str) -> Result<Option<Account>, StoreError> {
        let mut conditions = Conditions::default();
        conditions.when("id =", Some(id));
        let mut sql = Sql::new(&format!("SELECT {SHOWN} FROM accounts"));
        conditions.write(&mut sql)?;
        self.row(sql).await?.as_ref().map(read).transpose()
    }

    /// Every account, oldest first, 1000 at most.
    pub async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        let sql = Sql::new(&format!("SELECT {SHOWN} FROM accounts ORDER BY created_at, id LIMIT 1000"));
        self.rows(sql).await?.iter().map(read).collect()
    }

    /// Pays in (or, with an amount below zero, takes back), and notes why. `None`: no such account.
    pub async fn credit(&self, account: &str, amount: Usd, note: &str) -> Result<Option<Account>, StoreError> {
        let now = Timestamp::now();
        let mut connection = self.pool.acquire().await?;
        let mut transaction = sqlx::Connection::begin_with(&mut *connection, self.engine.begin_write()).await?;
        let mut sql = Sql::new("UPDATE accounts SET topped_up = balance + ");
        sql.bind(amount.micros())?.push(", balance = balance + ").bind(amount.micros())?;
        sql.push(" WHERE id = ").bind(account.to_owned())?;
        if sql.query().execute(&mut *transaction).await?.rows_affected() == 0 {
            return Ok(None);
        }
        let mut sql = Sql::new("INSERT INTO credits (id, account_id, amount, note, created_at) VALUES (");
        sql.bind(format!("cred_{}", id::fresh(now)))?.push(", ").bind(account.to_owned())?;
        sql.push(", ").bind(amount.micros())?.push(", ").bind(stored_name(note))?;
        sql.push(", ").bind(now.millis())?.push(")");
        sql.query().execute(&mut *transaction).await?;
        transaction.commit().await?;
        drop(connection);
        self.account(account).await
    }
}

/// Reads a row of [`SHOWN`].
pub(crate) fn read(row: &AnyRow) -> Result<Account, StoreError> {
    let billing: String = row.try_get("billing")?;
    let usd = |column: &str| row.try_get::<i64, _>(column).map(Usd::from_micros);
    Ok(Account {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        created_at: moment(row, "created_at")?.unwrap_or(Timestamp::from_millis(0)),
        billing: match billing.as_str() {
            "prepaid" => Billing::Prepaid,
            "postpaid" => Billing::Postpaid,
            _ => return Err(StoreError::Unknown { what: "way of billing", value: billing }),
        },
        balance: usd("balance")?,
        reserved: usd("reserved")?,
        credit_limit: row.try_get::<Option<i64>, _>("credit_limit")?.map(Usd::from_micros),
        topped_up: usd("topped_up")?,
        webhook_url: row.try_get("webhook_url")?,
    })
}

/// The statement that stores what a transaction did to its accounts, which it holds locked.
pub(crate) fn write_back(engine: Engine, books: &Books) -> Result<Option<Sql>, StoreError> {
    if books.accounts.is_empty() {
        return Ok(None);
    }
    let lines: Vec<_> = books
        .accounts
        .values()
        .map(|a| json!({"id": a.id, "balance": a.balance.micros(), "reserved": a.reserved.micros()}))
        .collect();
    let columns = [("id", Kind::Text), ("balance", Kind::Number), ("reserved", Kind::Number)];
    let mut sql = Sql::new("UPDATE accounts SET balance = now.balance, reserved = now.reserved FROM (");
    rows_of_json(engine, &columns, &lines, &mut sql)?;
    sql.push(") AS now WHERE accounts.id = now.id");
    Ok(Some(sql))
}
