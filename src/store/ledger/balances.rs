//! The accounts and keys that a transaction changes: how they are read, locked, changed by a row, and written back.

use super::limits::{Account, BalanceDelta, Billing, KeyUsage, LimitEvent, Limits};
use super::record::{Record, Status};
use super::row::LedgerRow;
use crate::base::Usd;
use crate::store::db::connect::Engine;
use crate::store::db::error::Denial;
use crate::store::db::sql::Kind;
use crate::store::db::{FromColumn, FromRow, Sql, StoreError, column, enum_column};
use serde_json::{Value, json};
use sqlx::any::AnyRow;
use sqlx::{Any, Transaction};
use std::collections::{BTreeMap, BTreeSet};

/// The columns of [`Account`].
pub(crate) const ACCOUNT_COLUMNS: &str =
    "id, name, created_at, billing, balance, reserved, credit_limit, topped_up, webhook_url";

/// The columns of [`KeyBalance`].
pub(crate) const KEY_BALANCE_COLUMNS: &str = "budget, budget_daily, budget_monthly, budget_soft, rate_limit_rpm, max_concurrent, \
     reserved, running, spent, day, spent_day, month, spent_month, minute, begun";

/// The columns of [`KeyUsage`].
const USAGE_COLUMNS: [&str; 9] =
    ["reserved", "running", "spent", "day", "spent_day", "month", "spent_month", "minute", "begun"];

/// The limits of a key and how much of them is used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyBalance {
    pub(crate) limits: Limits,
    pub(crate) usage: KeyUsage,
}

/// Accounts and keys by id, locked. Rows may name some that do not exist: those have no limits.
#[derive(Default)]
pub(crate) struct LockedBalances {
    pub(crate) accounts: BTreeMap<String, Account>,
    pub(crate) keys: BTreeMap<String, KeyBalance>,
}

/// The account and the key of one row.
pub(crate) struct RowBalances<'a> {
    pub(crate) account: Option<&'a mut Account>,
    pub(crate) key: Option<&'a mut KeyBalance>,
}

impl RowBalances<'_> {
    /// Counts a request that is about to start, or denies it.
    pub(crate) fn admit(&mut self, record: &Record) -> Result<(), Denial> {
        if let Some(account) = &self.account {
            account.check(record.cost_estimate)?;
        }
        match &mut self.key {
            Some(key) => key.usage.admit(&key.limits, record.cost_estimate, record.created_at),
            None => Ok(()),
        }
    }

    /// Applies the difference between a row as it was and as it is, and returns the limits that were reached.
    pub(crate) fn apply_delta(&mut self, old: Option<&LedgerRow>, new: &LedgerRow) -> Vec<LimitEvent> {
        let difference = |of: fn(&LedgerRow) -> i64| of(new) - old.map_or(0, of);
        let delta = BalanceDelta {
            cost: Usd::from_micros(difference(LedgerRow::cost)),
            reserved: Usd::from_micros(difference(|row| row.reserved)),
            running: difference(|row| i64::from(row.is_open())),
        };
        let mut events = Vec::new();
        if let Some(account) = &mut self.account {
            events.extend(account.apply_delta(delta));
        }
        if let Some(key) = &mut self.key {
            events.extend(key.usage.apply_delta(&key.limits, delta, &new.record));
        }
        events
    }

    /// Admits a request without the database, and reserves its estimate here until the database is back.
    pub(crate) fn reserve(&mut self, record: &Record) -> Result<(), Denial> {
        self.admit(record)?;
        self.apply_delta(None, &LedgerRow::running(record.clone(), None));
        Ok(())
    }

    /// The counterpart of [`RowBalances::reserve`]: the request has ended.
    pub(crate) fn settle(&mut self, record: &Record) {
        // A row that was never opened (refused before anything was spent) reserved nothing.
        let reserved = record.cost_estimate.is_some() || record.status != Status::Rejected;
        let opened = Record { status: Status::Processing, cost: None, ..record.clone() };
        let opened = LedgerRow::running(opened, None);
        self.apply_delta(reserved.then_some(&opened), &LedgerRow::ended(record.clone()));
    }
}

impl LockedBalances {
    pub(crate) fn of(&mut self, record: &Record) -> RowBalances<'_> {
        RowBalances { account: self.accounts.get_mut(&record.account_id), key: self.keys.get_mut(&record.key_id) }
    }

    /// Locks the accounts and keys of these records.
    pub(crate) async fn lock(
        transaction: &mut Transaction<'_, Any>,
        engine: Engine,
        records: &[&Record],
    ) -> Result<Self, StoreError> {
        let ids = |of: fn(&Record) -> &String| -> BTreeSet<&str> {
            records.iter().map(|record| of(record).as_str()).collect()
        };
        let mut balances = Self::default();
        let mut sql = Sql::new(format!("SELECT {ACCOUNT_COLUMNS} FROM accounts WHERE id IN "));
        sql.push_list(ids(|record| &record.account_id)).push(" ORDER BY id").push(engine.for_update());
        for row in sql.query().fetch_all(&mut **transaction).await? {
            let account = Account::from_row(&row)?;
            balances.accounts.insert(account.id.clone(), account);
        }
        let mut sql = Sql::new(format!("SELECT id, {KEY_BALANCE_COLUMNS} FROM api_keys WHERE id IN "));
        sql.push_list(ids(|record| &record.key_id)).push(" ORDER BY id").push(engine.for_update());
        for row in sql.query().fetch_all(&mut **transaction).await? {
            balances.keys.insert(column(&row, "id")?, KeyBalance::from_row(&row)?);
        }
        Ok(balances)
    }

    /// The statements that write everything back.
    pub(crate) fn write(&self, engine: Engine) -> Result<Vec<Sql>, StoreError> {
        let accounts = self.accounts.values().map(|account| {
            json!({"id": account.id, "balance": account.balance.micros(), "reserved": account.reserved.micros()})
        });
        let keys = self.keys.iter().map(|(id, key)| {
            let usage = &key.usage;
            json!({"id": id, "reserved": usage.reserved.micros(), "running": usage.running,
                   "spent": usage.spent.micros(), "day": usage.day, "spent_day": usage.spent_day.micros(),
                   "month": usage.month, "spent_month": usage.spent_month.micros(), "minute": usage.minute,
                   "begun": usage.begun})
        });
        let accounts = update_all(engine, "accounts", &["balance", "reserved"], &accounts.collect::<Vec<_>>())?;
        let keys = update_all(engine, "api_keys", &USAGE_COLUMNS, &keys.collect::<Vec<_>>())?;
        Ok(accounts.into_iter().chain(keys).collect())
    }
}

/// Sets these numeric columns of the rows with these ids; no statement when there are no rows.
fn update_all(engine: Engine, table: &str, columns: &[&str], rows: &[Value]) -> Result<Option<Sql>, StoreError> {
    if rows.is_empty() {
        return Ok(None);
    }
    let changes: Vec<String> = columns.iter().map(|name| format!("{name} = now.{name}")).collect();
    let numbers = columns.iter().map(|name| (*name, Kind::Number));
    let columns: Vec<_> = [("id", Kind::Text)].into_iter().chain(numbers).collect();
    let mut sql = Sql::new(format!("UPDATE {table} SET {} FROM (", changes.join(", ")));
    sql.push_rows(engine, &columns, &rows)?;
    sql.push(&format!(") AS now WHERE {table}.id = now.id"));
    Ok(Some(sql))
}

impl FromRow for Account {
    fn from_row(row: &AnyRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: column(row, "id")?,
            name: column(row, "name")?,
            created_at: column(row, "created_at")?,
            billing: column(row, "billing")?,
            balance: column(row, "balance")?,
            reserved: column(row, "reserved")?,
            credit_limit: column(row, "credit_limit")?,
            last_topped_up_balance: column(row, "topped_up")?,
            webhook_url: column(row, "webhook_url")?,
        })
    }
}

impl FromColumn for Billing {
    type Stored = String;

    fn from_column(stored: String) -> Result<Self, StoreError> {
        enum_column("billing", stored)
    }
}

impl FromRow for KeyBalance {
    fn from_row(row: &AnyRow) -> Result<Self, StoreError> {
        let limits = Limits {
            budget: column(row, "budget")?,
            budget_daily: column(row, "budget_daily")?,
            budget_monthly: column(row, "budget_monthly")?,
            budget_soft: column(row, "budget_soft")?,
            rate_limit_rpm: column(row, "rate_limit_rpm")?,
            max_concurrent: column(row, "max_concurrent")?,
        };
        let usage = KeyUsage {
            reserved: column(row, "reserved")?,
            running: column(row, "running")?,
            spent: column(row, "spent")?,
            day: column(row, "day")?,
            spent_day: column(row, "spent_day")?,
            month: column(row, "month")?,
            spent_month: column(row, "spent_month")?,
            minute: column(row, "minute")?,
            begun: column(row, "begun")?,
        };
        Ok(Self { limits, usage })
    }
}
