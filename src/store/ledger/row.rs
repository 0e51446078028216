//! Rows of `requests` with the two columns that belong to the ledger alone, and how they are locked and written.

use super::record::{COLUMNS, Record, Status};
use crate::base::Usd;
use crate::store::db::connect::Engine;
use crate::store::db::sql::Kind;
use crate::store::db::{FromRow, Sql, StoreError, column};
use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{Any, Transaction};
use std::collections::{BTreeMap, BTreeSet};

/// The primary key: `created_at`, `id`.
pub(crate) type RowKey = (i64, String);

#[derive(Debug, Clone, Serialize)]
pub(crate) struct LedgerRow {
    #[serde(flatten)]
    pub(crate) record: Record,
    /// Micro-dollars held on account and key.
    pub(crate) reserved: i64,
    /// The process that runs the request; none once it has ended.
    pub(crate) owner: Option<String>,
}

pub(crate) fn row_key(record: &Record) -> RowKey {
    (record.created_at.millis(), record.id.clone())
}

impl LedgerRow {
    /// A row whose request runs: its estimate is reserved.
    pub(crate) fn running(record: Record, owner: Option<String>) -> Self {
        Self { reserved: record.cost_estimate.map_or(0, Usd::micros), owner, record }
    }

    /// A row whose request has ended: nothing is reserved for it and nobody runs it.
    pub(crate) fn ended(record: Record) -> Self {
        Self { record, reserved: 0, owner: None }
    }

    pub(crate) fn not_started(record: Record) -> Self {
        Self::ended(Record {
            status: Status::Cancelled,
            cost: Some(Usd::ZERO),
            error_code: Some("NOT_STARTED".to_owned()),
            error_message: Some("The caller left before the request was begun. Nothing was spent.".to_owned()),
            ..record
        })
    }

    pub(crate) fn interrupted(record: Record) -> Self {
        let text = "The gateway stopped while this request was running. Its estimate may have been spent.";
        Self::ended(Record {
            status: Status::Cancelled,
            error_code: Some("INTERRUPTED".to_owned()),
            error_message: Some(text.to_owned()),
            cost_uncertain: record.cost_estimate.unwrap_or(record.cost_uncertain),
            ..record
        })
    }

    pub(crate) fn cost(&self) -> i64 {
        self.record.cost.map_or(0, Usd::micros)
    }

    pub(crate) const fn is_open(&self) -> bool {
        self.record.status.is_open()
    }
}

impl FromRow for LedgerRow {
    fn from_row(row: &AnyRow) -> Result<Self, StoreError> {
        Ok(Self { record: Record::from_row(row)?, reserved: column(row, "reserved")?, owner: column(row, "owner")? })
    }
}

/// Locks the rows of these records, as far as there are any.
pub(crate) async fn lock_rows(
    transaction: &mut Transaction<'_, Any>,
    engine: Engine,
    records: &[&Record],
) -> Result<BTreeMap<RowKey, LedgerRow>, StoreError> {
    let ids: BTreeSet<&str> = records.iter().map(|record| record.id.as_str()).collect();
    let moments = || records.iter().map(|record| record.created_at.millis());
    let columns = COLUMNS.map(|(name, _)| name).join(", ");
    let mut sql = Sql::new(format!("SELECT {columns}, reserved, owner FROM requests WHERE created_at >= "));
    // The moments show PostgreSQL which partitions to look into.
    sql.push_bind(moments().min().unwrap_or_default());
    sql.push(" AND created_at <= ").push_bind(moments().max().unwrap_or_default());
    sql.push(" AND id IN ").push_list(ids).push(" ORDER BY id").push(engine.for_update());
    let mut rows = BTreeMap::new();
    for row in sql.query().fetch_all(&mut **transaction).await? {
        let row = LedgerRow::from_row(&row)?;
        rows.insert(row_key(&row.record), row);
    }
    Ok(rows)
}

pub(crate) fn upsert(engine: Engine, rows: &[&LedgerRow]) -> Result<Sql, StoreError> {
    let columns: Vec<(&str, Kind)> =
        COLUMNS.into_iter().chain([("reserved", Kind::Number), ("owner", Kind::Text)]).collect();
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let mut sql = Sql::new(format!("INSERT INTO requests ({}) ", names.join(", ")));
    sql.push_rows(engine, &columns, &rows)?;
    // The first two are the primary key.
    let changes: Vec<String> = names[2..].iter().map(|name| format!("{name} = excluded.{name}")).collect();
    sql.push(" ON CONFLICT (id, created_at) DO UPDATE SET ").push(&changes.join(", "));
    Ok(sql)
}
