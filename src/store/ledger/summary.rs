//! Totals over the log. Whole days come from the sums by day, the whole hours before and after them from those by hour, and
//! what a range cuts off of an hour from the rows themselves. A question about more than one thing at once (a model at a
//! provider) is answered from the rows alone.

use super::record::stored_name;
use super::requests::Filter;
use super::rollup::{EVERYBODY, Lens};
use crate::base::{Timestamp, Usd};
use crate::store::db::sql::Sql;
use crate::store::{Store, StoreError};
use sqlx::Row;

/// What a summary is broken down by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupBy {
    /// Day in UTC, `2026-11-20`.
    Day,
    /// Model as asked for.
    Model,
    /// Provider that ran.
    Provider,
    /// Key.
    Key,
    /// End user.
    User,
}

/// A part of a summary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The day, model, provider, key or user; empty where a request has none.
    pub key: String,
    /// How many requests.
    pub count: i64,
    /// What they cost together.
    pub cost: Usd,
}

/// Totals over every match of a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// How many requests.
    pub count: i64,
    /// What they cost together, as far as known.
    pub cost: Usd,
    /// The parts, when asked for: days newest first, everything else costliest first, 1000 at most.
    pub groups: Option<Vec<Group>>,
}

const DAY_MS: i64 = 86_400_000;
const HOUR_MS: i64 = 3_600_000;

impl GroupBy {
    /// The lens that tells its parts apart.
    const fn lens(self) -> Lens {
        match self {
            Self::Day => Lens::All,
            Self::Model => Lens::Model,
            Self::Provider => Lens::Provider,
            Self::Key => Lens::Key,
            Self::User => Lens::User,
        }
    }
}

/// What a question is about: the one lens that answers it, and the value seen through it when it is narrowed to one.
fn view(filter: &Filter, by: Option<GroupBy>) -> Option<(Lens, Option<&str>)> {
    if filter.session_id.is_some() || filter.min_cost.is_some() {
        return None;
    }
    let narrowed = [
        (Lens::Model, &filter.model),
        (Lens::Provider, &filter.provider),
        (Lens::Key, &filter.key_id),
        (Lens::User, &filter.user),
        (Lens::Status, &filter.status),
        (Lens::Modality, &filter.modality),
        (Lens::Error, &filter.error_code),
    ];
    let mut narrowed = narrowed.into_iter().filter_map(|(lens, value)| Some((lens, value.as_deref()?)));
    let part = by.map_or(Lens::All, GroupBy::lens);
    match (narrowed.next(), narrowed.next()) {
        (None, _) => Some((part, None)),
        (Some((lens, value)), None) if part == Lens::All || part == lens => Some((lens, Some(value))),
        _ => None,
    }
}

/// A table of sums.
struct Unit {
    table: &'static str,
    /// Its column of time, counted from 1970.
    column: &'static str,
    millis: i64,
    /// Whether it has lines of everybody's.
    has_everybody: bool,
}

/// The coarse one first.
const UNITS: [Unit; 2] = [
    Unit { table: "request_days", column: "day", millis: DAY_MS, has_everybody: true },
    Unit { table: "request_hours", column: "hour", millis: HOUR_MS, has_everybody: false },
];

impl Unit {
    /// What lies wholly within a filter's range: the first, and the one after the last.
    fn whole(&self, filter: &Filter) -> (i64, i64) {
        let up = |moment: Timestamp| -(-moment.millis()).div_euclid(self.millis);
        let down = |moment: Timestamp| (moment.millis() + 1).div_euclid(self.millis);
        let first = filter.created_after.map_or(i64::MIN / self.millis, up);
        (first, filter.created_before.map_or(i64::MAX / self.millis, down).max(first))
    }
}

impl Store {
    /// Totals over everything that matches, and their parts.
    pub async fn summary(&self, filter: &Filter, by: Option<GroupBy>) -> Result<Summary, StoreError> {
        let totals = "SELECT CAST(COALESCE(SUM(requests), 0) AS BIGINT) AS requests, \
                      CAST(COALESCE(SUM(cost), 0) AS BIGINT) AS cost FROM (";
        let mut sql = Sql::new(totals);
        sources(filter, None, &mut sql)?;
        sql.push(") AS matches");
        let row = self.row(sql).await?.ok_or(sqlx::Error::RowNotFound)?;
        let groups = match by {
            None => None,
            Some(by) => Some(self.groups(filter, by).await?),
        };
        Ok(Summary { count: row.try_get("requests")?, cost: Usd::from_micros(row.try_get("cost")?), groups })
    }

    async fn groups(&self, filter: &Filter, by: GroupBy) -> Result<Vec<Group>, StoreError> {
        let totals = "SELECT part, CAST(SUM(requests) AS BIGINT) AS requests, CAST(SUM(cost) AS BIGINT) AS cost FROM (";
        let mut sql = Sql::new(totals);
        sources(filter, Some(by), &mut sql)?;
        let order = if by == GroupBy::Day { "1 DESC" } else { "3 DESC, 1" };
        sql.push(&format!(") AS matches GROUP BY 1 HAVING SUM(requests) <> 0 ORDER BY {order} LIMIT 1000"));
        let mut groups = Vec::new();
        for row in self.rows(sql).await? {
            let key = if by == GroupBy::Day { day(row.try_get("part")?) } else { row.try_get("part")? };
            groups.push(Group { key, count: row.try_get("requests")?, cost: Usd::from_micros(row.try_get("cost")?) });
        }
        Ok(groups)
    }
}

/// Everything that is to be summed, as `part, requests, cost`.
fn sources(filter: &Filter, by: Option<GroupBy>, sql: &mut Sql) -> Result<(), StoreError> {
    let Some((lens, value)) = view(filter, by) else { return rows(filter, by, sql) };
    summed(&UNITS, filter, by, (lens, value), sql)
}

/// What these units hold of it, and the finer ones before and after.
fn summed(
    units: &[Unit],
    filter: &Filter,
    by: Option<GroupBy>,
    seen: (Lens, Option<&str>),
    sql: &mut Sql,
) -> Result<(), StoreError> {
    let Some((unit, finer)) = units.split_first() else { return rows(filter, by, sql) };
    let (first, end) = unit.whole(filter);
    let (table, column) = (unit.table, unit.column);
    let part = match by {
        None => "0".to_owned(),
        Some(GroupBy::Day) => format!("{column} / {}", DAY_MS / unit.millis),
        Some(_) => "value".to_owned(),
    };
    sql.push(&format!("SELECT {part} AS part, requests, cost FROM {table} WHERE lens = ")).bind(seen.0.as_str())?;
    if let Some(value) = seen.1 {
        sql.push(" AND value = ").bind(stored_name(value))?;
    }
    match &filter.account_id {
        Some(account) => drop(sql.push(" AND account_id = ").bind(stored_name(account))?),
        None if unit.has_everybody => drop(sql.push(" AND account_id = ").bind(EVERYBODY)?),
        None => {}
    }
    sql.push(&format!(" AND {column} >= ")).bind(first)?.push(&format!(" AND {column} < ")).bind(end)?;
    let (from, to) = (first.saturating_mul(unit.millis), end.saturating_mul(unit.millis));
    if let Some(after) = filter.created_after.filter(|after| after.millis() < from) {
        let last = filter.created_before.map_or(i64::MAX, Timestamp::millis).min(from - 1);
        let head =
            Filter { created_after: Some(after), created_before: Some(Timestamp::from_millis(last)), ..filter.clone() };
        sql.push(" UNION ALL ");
        summed(finer, &head, by, seen, sql)?;
    }
    if let Some(before) = filter.created_before.filter(|before| before.millis() >= to) {
        let tail =
            Filter { created_after: Some(Timestamp::from_millis(to)), created_before: Some(before), ..filter.clone() };
        sql.push(" UNION ALL ");
        summed(finer, &tail, by, seen, sql)?;
    }
    Ok(())
}

fn rows(filter: &Filter, by: Option<GroupBy>, sql: &mut Sql) -> Result<(), StoreError> {
    let part = match by {
        None => "0".to_owned(),
        Some(GroupBy::Day) => format!("created_at / {DAY_MS}"),
        Some(by) => by.lens().column().to_owned(),
    };
    sql.push(&format!("SELECT {part} AS part, 1 AS requests, COALESCE(cost, 0) AS cost FROM requests"));
    filter.conditions().write(sql)
}

/// The name of the day that is so many days after 1970 began.
fn day(number: i64) -> String {
    let mut text = Timestamp::from_millis(number.saturating_mul(DAY_MS)).rfc3339();
    text.truncate(10);
    text
}
