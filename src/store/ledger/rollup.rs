//! Sums of the log by hour and by day. They change in the transaction that changes a row, so a summary that is read from
//! them is as exact as one that reads every row.

use super::record::Record;
use crate::base::Usd;
use crate::store::db::connect::Engine;
use crate::store::db::sql::Kind;
use crate::store::db::{Sql, StoreError};
use serde::Serialize;
use std::collections::BTreeMap;

/// What the log is summed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Dimension {
    All,
    Model,
    Provider,
    Key,
    User,
    Status,
    Modality,
    Error,
}

impl Dimension {
    const EACH: [Self; 8] =
        [Self::All, Self::Model, Self::Provider, Self::Key, Self::User, Self::Status, Self::Modality, Self::Error];

    /// As the tables spell it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Model => "model",
            Self::Provider => "provider",
            Self::Key => "key",
            Self::User => "user",
            Self::Status => "status",
            Self::Modality => "modality",
            Self::Error => "error",
        }
    }

    /// The dimension's value of a row of the log, as an SQL expression.
    pub(crate) const fn column(self) -> &'static str {
        match self {
            Self::All => "''",
            Self::Model => "model",
            Self::Provider => "COALESCE(provider, '')",
            Self::Key => "key_id",
            Self::User => "COALESCE(end_user, '')",
            Self::Status => "status",
            Self::Modality => "modality",
            Self::Error => "COALESCE(error_code, '')",
        }
    }

    fn value(self, row: &Record) -> &str {
        match self {
            Self::All => "",
            Self::Model => &row.model,
            Self::Provider => row.provider.as_deref().unwrap_or_default(),
            Self::Key => &row.key_id,
            Self::User => row.user.as_deref().unwrap_or_default(),
            Self::Status => row.status.as_str(),
            Self::Modality => row.modality.as_str(),
            Self::Error => row.error_code.as_deref().unwrap_or_default(),
        }
    }
}

/// The account id under which a day is summed over all accounts.
pub(crate) const ALL_ACCOUNTS: &str = "";

/// The primary key of a sum: dimension, value, account, hour or day. Sums are written in this order everywhere, so that two
/// writers never wait for each other.
type SumKey = (Dimension, String, String, i64);

#[derive(Default)]
struct Sum {
    requests: i64,
    cost: i64,
}

impl Sum {
    fn add(&mut self, requests: i64, cost: i64) {
        self.requests += requests;
        self.cost += cost;
    }

    fn is_zero(&self) -> bool {
        (self.requests, self.cost) == (0, 0)
    }
}

/// What a transaction adds to the sums of the hours.
#[derive(Default)]
pub(crate) struct Rollup(BTreeMap<SumKey, Sum>);

#[derive(Serialize)]
struct SumRow<'a> {
    #[serde(rename = "lens")]
    dimension: Dimension,
    value: &'a str,
    account_id: &'a str,
    at: i64,
    requests: i64,
    cost: i64,
}

const COLUMNS: [(&str, Kind); 6] = [
    ("lens", Kind::Text),
    ("value", Kind::Text),
    ("account_id", Kind::Text),
    ("at", Kind::Number),
    ("requests", Kind::Number),
    ("cost", Kind::Number),
];

impl Rollup {
    /// Subtracts a row as it was and adds it as it is.
    pub(crate) fn apply_delta(&mut self, old: Option<&Record>, new: &Record) {
        if let Some(old) = old {
            self.add(old, -1);
        }
        self.add(new, 1);
    }

    fn add(&mut self, row: &Record, sign: i64) {
        for dimension in Dimension::EACH {
            let key = (dimension, dimension.value(row).to_owned(), row.account_id.clone(), row.created_at.hour());
            self.0.entry(key).or_default().add(sign, sign * row.cost.map_or(0, Usd::micros));
        }
    }

    /// The statements; none when nothing changes.
    pub(crate) fn write(&self, engine: Engine) -> Result<Vec<Sql>, StoreError> {
        let mut days: BTreeMap<SumKey, Sum> = BTreeMap::new();
        for ((dimension, value, account, hour), sum) in self.0.iter().filter(|(_, sum)| !sum.is_zero()) {
            for account in [account.as_str(), ALL_ACCOUNTS] {
                let key = (*dimension, value.clone(), account.to_owned(), hour.div_euclid(24));
                days.entry(key).or_default().add(sum.requests, sum.cost);
            }
        }
        let tables = [write(engine, "request_hours", "hour", &self.0)?, write(engine, "request_days", "day", &days)?];
        Ok(tables.into_iter().flatten().collect())
    }
}

fn write(engine: Engine, table: &str, unit: &str, sums: &BTreeMap<SumKey, Sum>) -> Result<Option<Sql>, StoreError> {
    let changes = sums.iter().filter(|(_, sum)| !sum.is_zero());
    let rows: Vec<SumRow<'_>> = changes
        .map(|((dimension, value, account_id, at), sum)| SumRow {
            dimension: *dimension,
            value,
            account_id,
            at: *at,
            requests: sum.requests,
            cost: sum.cost,
        })
        .collect();
    if rows.is_empty() {
        return Ok(None);
    }
    let mut sql = Sql::new(format!("INSERT INTO {table} (lens, value, account_id, {unit}, requests, cost) "));
    sql.push_rows(engine, &COLUMNS, &rows)?;
    sql.push(&format!(
        " ON CONFLICT (lens, value, account_id, {unit}) DO UPDATE SET \
         requests = {table}.requests + excluded.requests, cost = {table}.cost + excluded.cost"
    ));
    Ok(Some(sql))
}
