//! Reading the request log: one row, pages, totals; and settling what a crash left behind.

use super::page::{List, Page};
use super::record::{COLUMNS, Record, stored_name};
use super::sql::{Conditions, Sql, Value};
use super::{Store, StoreError};
use crate::base::{Timestamp, Usd};
use sqlx::Row;
use std::sync::LazyLock;

/// Which requests are meant. Every field narrows; none means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Not older than this moment.
    pub created_after: Option<Timestamp>,
    /// Not younger than this moment.
    pub created_before: Option<Timestamp>,
    /// Made with this key.
    pub key_id: Option<String>,
    /// Of this account.
    pub account_id: Option<String>,
    /// In this status, as the API spells it.
    pub status: Option<String>,
    /// For this model.
    pub model: Option<String>,
    /// Run by this provider.
    pub provider: Option<String>,
    /// Of this modality.
    pub modality: Option<String>,
    /// For this end user.
    pub user: Option<String>,
    /// Of this session.
    pub session_id: Option<String>,
    /// Answered with this error.
    pub error_code: Option<String>,
    /// That cost at least so much.
    pub min_cost: Option<Usd>,
}

/// A page of requests.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// Newest first.
    pub records: Vec<Record>,
    /// Whether older ones follow.
    pub has_older: bool,
    /// Whether newer ones precede.
    pub has_newer: bool,
}

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

/// CAST, because PostgreSQL's sum of integers is a NUMERIC.
const TOTALS: &str = "COUNT(*) AS requests, CAST(COALESCE(SUM(cost), 0) AS BIGINT) AS total FROM requests";

static ROW: LazyLock<String> = LazyLock::new(|| COLUMNS.join(", "));

impl Filter {
    fn conditions(&self) -> Conditions {
        let mut conditions = Conditions::default();
        for (comparison, name) in [
            ("account_id =", &self.account_id),
            ("key_id =", &self.key_id),
            ("status =", &self.status),
            ("model =", &self.model),
            ("provider =", &self.provider),
            ("modality =", &self.modality),
            ("end_user =", &self.user),
            ("session_id =", &self.session_id),
            ("error_code =", &self.error_code),
        ] {
            conditions.when(comparison, name.as_deref().map(|text| Value::Text(stored_name(text))));
        }
        conditions.when("created_at >=", self.created_after.map(Timestamp::millis));
        conditions.when("created_at <=", self.created_before.map(Timestamp::millis));
        conditions.when("cost >=", self.min_cost.map(Usd::micros));
        conditions
    }
}

impl Store {
    /// One request; with an account, only if it is that account's.
    pub async fn request(&self, id: &str, account: Option<&str>) -> Result<Option<Record>, StoreError> {
        let mut conditions = Conditions::default();
        conditions.when("id =", Some(Value::Text(stored_name(id))));
        conditions.when("account_id =", account);
        let mut sql = Sql::new(&format!("SELECT {} FROM requests", *ROW));
        conditions.write(&mut sql)?;
        let row = sql.query().fetch_optional(&self.pool).await?;
        row.as_ref().map(Record::read).transpose()
    }

    /// A page of the log. `None`: the cursor is no request (of the filter's account).
    pub async fn requests(&self, filter: &Filter, page: &Page) -> Result<Option<Listed>, StoreError> {
        let conditions = filter.conditions();
        let account = filter.account_id.as_deref();
        let list = List { table: "requests", columns: &ROW, conditions: &conditions, account };
        let Some(walked) = list.walk(self, page).await? else { return Ok(None) };
        let records = walked.rows.iter().map(Record::read).collect::<Result<_, _>>()?;
        Ok(Some(Listed { records, has_older: walked.has_older, has_newer: walked.has_newer }))
    }

    /// Totals over everything that matches, and their parts.
    pub async fn summary(&self, filter: &Filter, by: Option<GroupBy>) -> Result<Summary, StoreError> {
        let conditions = filter.conditions();
        let mut sql = Sql::new(&format!("SELECT {TOTALS}"));
        conditions.write(&mut sql)?;
        let row = sql.query().fetch_one(&self.pool).await?;
        let groups = match by {
            None => None,
            Some(by) => Some(self.groups(&conditions, by).await?),
        };
        Ok(Summary { count: row.try_get("requests")?, cost: Usd::from_micros(row.try_get("total")?), groups })
    }

    async fn groups(&self, conditions: &Conditions, by: GroupBy) -> Result<Vec<Group>, StoreError> {
        let part = match by {
            GroupBy::Day => format!("created_at / {DAY_MS}"),
            GroupBy::Model => "model".to_owned(),
            GroupBy::Provider => "COALESCE(provider, '')".to_owned(),
            GroupBy::Key => "key_id".to_owned(),
            GroupBy::User => "COALESCE(end_user, '')".to_owned(),
        };
        let order = if by == GroupBy::Day { "1 DESC" } else { "3 DESC, 1" };
        let mut sql = Sql::new(&format!("SELECT {part} AS part, {TOTALS}"));
        conditions.write(&mut sql)?;
        sql.push(&format!(" GROUP BY 1 ORDER BY {order} LIMIT 1000"));
        let mut groups = Vec::new();
        for row in sql.query().fetch_all(&self.pool).await? {
            let key = if by == GroupBy::Day { day(row.try_get("part")?) } else { row.try_get("part")? };
            groups.push(Group { key, count: row.try_get("requests")?, cost: Usd::from_micros(row.try_get("total")?) });
        }
        Ok(groups)
    }

    /// Settles rows that a crash left `processing`: those created before `before` become `cancelled` with the code
    /// `INTERRUPTED`, and their estimate counts as possibly spent. Stored jobs are not interrupted: a worker goes on with
    /// them. Returns how many.
    ///
    /// Where replicas share the database, `before` must lie further back than the longest request, or it meets rows that
    /// another replica is still working on (their own final rows would set that right, but late).
    pub async fn settle_interrupted(&self, before: Timestamp) -> Result<u64, StoreError> {
        let mut sql = Sql::new(
            "UPDATE requests SET status = 'cancelled', error_code = 'INTERRUPTED', \
             error_message = 'The gateway stopped while this request was running. Its estimate may have been spent.', \
             cost_uncertain = COALESCE(cost_estimate, cost_uncertain) WHERE status = 'processing' \
             AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = requests.id AND jobs.done = 0) AND created_at < ",
        );
        sql.bind(before.millis())?;
        Ok(sql.query().execute(&self.pool).await?.rows_affected())
    }
}

/// The name of the day that is so many days after 1970 began.
fn day(number: i64) -> String {
    let mut text = Timestamp::from_millis(number.saturating_mul(DAY_MS)).rfc3339();
    text.truncate(10);
    text
}
