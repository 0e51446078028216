//! Totals of the log. Whole days come from the sums by day, the whole hours before and after them from those by hour, and
//! the rest of a range from the rows themselves. A query about two dimensions at once (a model at a provider) is answered
//! from the rows alone.

use super::requests::{Filter, RequestRepository};
use super::rollup::{ALL_ACCOUNTS, Dimension};
use crate::base::{Timestamp, Usd};
use crate::store::db::text::stored_name;
use crate::store::db::{Sql, StoreError};

/// How a summary is broken down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupBy {
    /// Day in UTC, `2026-11-20`.
    Day,
    /// Model as requested.
    Model,
    Provider,
    Key,
    /// End user.
    User,
}

/// One group of a summary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The day, model, provider, key or user; empty where a request has none.
    pub key: String,
    pub count: i64,
    pub cost: Usd,
}

/// The totals of a filter's matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    pub count: i64,
    /// As far as it is known.
    pub cost: Usd,
    /// Days newest first, everything else most expensive first, 1000 at most.
    pub groups: Option<Vec<Group>>,
}

const DAY_MS: i64 = 86_400_000;
const HOUR_MS: i64 = 3_600_000;

impl GroupBy {
    const fn dimension(self) -> Dimension {
        match self {
            Self::Day => Dimension::All,
            Self::Model => Dimension::Model,
            Self::Provider => Dimension::Provider,
            Self::Key => Dimension::Key,
            Self::User => Dimension::User,
        }
    }
}

/// The one dimension that answers a query, and its value when the query is narrowed to one. `None`: more than one dimension
/// is needed, or something that is not summed.
fn single_dimension(filter: &Filter, by: Option<GroupBy>) -> Option<(Dimension, Option<&str>)> {
    if filter.session_id.is_some() || filter.min_cost.is_some() {
        return None;
    }
    let narrowed = [
        (Dimension::Model, &filter.model),
        (Dimension::Provider, &filter.provider),
        (Dimension::Key, &filter.key_id),
        (Dimension::User, &filter.user),
        (Dimension::Status, &filter.status),
        (Dimension::Modality, &filter.modality),
        (Dimension::Error, &filter.error_code),
    ];
    let mut narrowed = narrowed.into_iter().filter_map(|(dimension, value)| Some((dimension, value.as_deref()?)));
    let grouped = by.map_or(Dimension::All, GroupBy::dimension);
    match (narrowed.next(), narrowed.next()) {
        (None, _) => Some((grouped, None)),
        (Some((dimension, value)), None) if grouped == Dimension::All || grouped == dimension => {
            Some((dimension, Some(value)))
        }
        _ => None,
    }
}

/// A table of sums.
struct Granularity {
    table: &'static str,
    /// Its column of time, counted from 1970.
    column: &'static str,
    millis: i64,
    /// Whether it has sums over all accounts.
    has_all_accounts: bool,
}

/// The coarse one first.
const GRANULARITIES: [Granularity; 2] = [
    Granularity { table: "request_days", column: "day", millis: DAY_MS, has_all_accounts: true },
    Granularity { table: "request_hours", column: "hour", millis: HOUR_MS, has_all_accounts: false },
];

impl Granularity {
    /// The hours or days that lie wholly within a filter's range: the first, and the one after the last.
    fn whole(&self, filter: &Filter) -> (i64, i64) {
        let up = |moment: Timestamp| -(-moment.millis()).div_euclid(self.millis);
        let down = |moment: Timestamp| (moment.millis() + 1).div_euclid(self.millis);
        let first = filter.created_after.map_or(i64::MIN / self.millis, up);
        (first, filter.created_before.map_or(i64::MAX / self.millis, down).max(first))
    }
}

impl RequestRepository<'_> {
    /// The totals of everything that matches, and of its groups when asked for.
    pub async fn summary(self, filter: &Filter, by: Option<GroupBy>) -> Result<Summary, StoreError> {
        let mut sql = Sql::new(
            "SELECT CAST(COALESCE(SUM(requests), 0) AS BIGINT), CAST(COALESCE(SUM(cost), 0) AS BIGINT) FROM (",
        );
        push_sources(filter, None, &mut sql);
        sql.push(") AS matches");
        let (count, cost) = self.database.optional(sql).await?.ok_or(sqlx::Error::RowNotFound)?;
        let groups = match by {
            None => None,
            Some(by) => Some(self.groups(filter, by).await?),
        };
        Ok(Summary { count, cost, groups })
    }

    async fn groups(self, filter: &Filter, by: GroupBy) -> Result<Vec<Group>, StoreError> {
        let mut sql = Sql::new("SELECT part, CAST(SUM(requests) AS BIGINT), CAST(SUM(cost) AS BIGINT) FROM (");
        push_sources(filter, Some(by), &mut sql);
        let order = if by == GroupBy::Day { "1 DESC" } else { "3 DESC, 1" };
        sql.push(&format!(") AS matches GROUP BY 1 HAVING SUM(requests) <> 0 ORDER BY {order} LIMIT 1000"));
        let days = |(day, count, cost): (i64, i64, Usd)| Group { key: name_of_day(day), count, cost };
        let others = |(key, count, cost): (String, i64, Usd)| Group { key, count, cost };
        Ok(if by == GroupBy::Day {
            self.database.all(sql).await?.into_iter().map(days).collect()
        } else {
            self.database.all(sql).await?.into_iter().map(others).collect()
        })
    }
}

/// Adds the SELECT of everything that is to be summed, as `part, requests, cost`.
fn push_sources(filter: &Filter, by: Option<GroupBy>, sql: &mut Sql) {
    match single_dimension(filter, by) {
        Some((dimension, value)) => push_sums(&GRANULARITIES, filter, by, (dimension, value), sql),
        None => push_rows(filter, by, sql),
    }
}

/// Adds what the first granularity has of the range, and what the finer ones have before and after it.
fn push_sums(
    granularities: &[Granularity],
    filter: &Filter,
    by: Option<GroupBy>,
    (dimension, value): (Dimension, Option<&str>),
    sql: &mut Sql,
) {
    let Some((granularity, finer)) = granularities.split_first() else { return push_rows(filter, by, sql) };
    let (first, end) = granularity.whole(filter);
    let Granularity { table, column, millis, has_all_accounts } = *granularity;
    let part = match by {
        None => "0".to_owned(),
        Some(GroupBy::Day) => format!("{column} / {}", DAY_MS / millis),
        Some(_) => "value".to_owned(),
    };
    sql.push(&format!("SELECT {part} AS part, requests, cost FROM {table} WHERE lens = "))
        .push_bind(dimension.as_str());
    if let Some(value) = value {
        sql.push(" AND value = ").push_bind(stored_name(value));
    }
    let account = filter.account_id.as_deref().map(stored_name);
    if let Some(account) = account.or_else(|| has_all_accounts.then(|| ALL_ACCOUNTS.to_owned())) {
        sql.push(" AND account_id = ").push_bind(account);
    }
    sql.push(&format!(" AND {column} >= ")).push_bind(first).push(&format!(" AND {column} < ")).push_bind(end);
    let (from, to) = (first.saturating_mul(millis), end.saturating_mul(millis));
    if let Some(after) = filter.created_after.filter(|after| after.millis() < from) {
        let last = filter.created_before.map_or(i64::MAX, Timestamp::millis).min(from - 1);
        let head =
            Filter { created_after: Some(after), created_before: Some(Timestamp::from_millis(last)), ..filter.clone() };
        sql.push(" UNION ALL ");
        push_sums(finer, &head, by, (dimension, value), sql);
    }
    if let Some(before) = filter.created_before.filter(|before| before.millis() >= to) {
        let tail =
            Filter { created_after: Some(Timestamp::from_millis(to)), created_before: Some(before), ..filter.clone() };
        sql.push(" UNION ALL ");
        push_sums(finer, &tail, by, (dimension, value), sql);
    }
}

fn push_rows(filter: &Filter, by: Option<GroupBy>, sql: &mut Sql) {
    let part = match by {
        None => "0".to_owned(),
        Some(GroupBy::Day) => format!("created_at / {DAY_MS}"),
        Some(by) => by.dimension().column().to_owned(),
    };
    sql.push(&format!("SELECT {part} AS part, 1 AS requests, COALESCE(cost, 0) AS cost FROM requests"));
    filter.conditions().write(sql);
}

/// `2026-11-20`, from the number of days since 1970.
fn name_of_day(number: i64) -> String {
    let mut text = Timestamp::from_millis(number.saturating_mul(DAY_MS)).rfc3339();
    text.truncate(10);
    text
}
