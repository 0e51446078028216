//! Sums of the log by hour. They change in the transaction that changes a row, so a summary that is read from them is as
//! exact as one that reads every row.

use super::StoreError;
use super::connect::Engine;
use super::record::Record;
use super::sql::{Kind, Sql, rows_of_json};
use crate::base::Usd;
use serde::Serialize;
use std::collections::BTreeMap;

/// One way of looking at the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Lens {
    /// Everything, whoever's it is: the account is left empty.
    Total,
    /// Everything, by account.
    All,
    Model,
    Provider,
    Key,
    User,
    Status,
    Modality,
    Error,
}

impl Lens {
    const EVERY: [Self; 9] = [
        Self::Total,
        Self::All,
        Self::Model,
        Self::Provider,
        Self::Key,
        Self::User,
        Self::Status,
        Self::Modality,
        Self::Error,
    ];

    /// As the table spells it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Total => "total",
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

    /// The same of the rows themselves, as an expression.
    pub(super) const fn column(self) -> &'static str {
        match self {
            Self::Total | Self::All => "''",
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
            Self::Total | Self::All => "",
            Self::Model => &row.model,
            Self::Provider => row.provider.as_deref().unwrap_or_default(),
            Self::Key => &row.key_id,
            Self::User => row.user.as_deref().unwrap_or_default(),
            Self::Status => row.status.as_str(),
            Self::Modality => &row.modality,
            Self::Error => row.error_code.as_deref().unwrap_or_default(),
        }
    }
}

/// The table's key: lens, value, account, hour. In this order everywhere, so that two writers never wait for each other.
type Place = (Lens, String, String, i64);

#[derive(Default)]
struct Sum {
    requests: i64,
    cost: i64,
    duration_ms: i64,
}

/// What a transaction adds to the sums.
#[derive(Default)]
pub(super) struct Rollup(BTreeMap<Place, Sum>);

#[derive(Serialize)]
struct Line<'a> {
    lens: Lens,
    value: &'a str,
    account_id: &'a str,
    hour: i64,
    requests: i64,
    cost: i64,
    duration_ms: i64,
}

const COLUMNS: [(&str, Kind); 7] = [
    ("lens", Kind::Text),
    ("value", Kind::Text),
    ("account_id", Kind::Text),
    ("hour", Kind::Number),
    ("requests", Kind::Number),
    ("cost", Kind::Number),
    ("duration_ms", Kind::Number),
];

impl Rollup {
    /// A row became another: take away what it was, add what it is.
    pub(super) fn shift(&mut self, old: Option<&Record>, new: &Record) {
        if let Some(old) = old {
            self.add(old, -1);
        }
        self.add(new, 1);
    }

    fn add(&mut self, row: &Record, sign: i64) {
        for lens in Lens::EVERY {
            let account = if lens == Lens::Total { "" } else { row.account_id.as_str() };
            let place = (lens, lens.value(row).to_owned(), account.to_owned(), row.created_at.hour());
            let sum = self.0.entry(place).or_default();
            sum.requests += sign;
            sum.cost += sign * row.cost.map_or(0, Usd::micros);
            sum.duration_ms += sign * row.duration_ms.unwrap_or_default();
        }
    }

    /// The statement; `None` when nothing changes.
    pub(super) fn write(&self, engine: Engine) -> Result<Option<Sql>, StoreError> {
        let changes = self.0.iter().filter(|(_, sum)| (sum.requests, sum.cost, sum.duration_ms) != (0, 0, 0));
        let lines: Vec<Line<'_>> = changes
            .map(|((lens, value, account_id, hour), sum)| Line {
                lens: *lens,
                value,
                account_id,
                hour: *hour,
                requests: sum.requests,
                cost: sum.cost,
                duration_ms: sum.duration_ms,
            })
            .collect();
        if lines.is_empty() {
            return Ok(None);
        }
        let mut sql =
            Sql::new("INSERT INTO request_hours (lens, value, account_id, hour, requests, cost, duration_ms) ");
        rows_of_json(engine, &COLUMNS, &lines, &mut sql)?;
        sql.push(
            " ON CONFLICT (lens, value, account_id, hour) DO UPDATE SET \
             requests = request_hours.requests + excluded.requests, cost = request_hours.cost + excluded.cost, \
             duration_ms = request_hours.duration_ms + excluded.duration_ms",
        );
        Ok(Some(sql))
    }
}
