//! Reading the request log: one row, pages, everything; and settling what a crash left behind.

use super::record::{COLUMNS, Record, Status, stored_name};
use super::transaction::{Act, Step, post};
use crate::base::{Timestamp, Usd};
use crate::store::db::page::{List, Page};
use crate::store::db::sql::{Conditions, Sql, Value};
use crate::store::{Store, StoreError};
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

/// Every column of a record.
pub(crate) static ROW: LazyLock<String> = LazyLock::new(|| COLUMNS.map(|(name, _)| name).join(", "));

impl Filter {
    pub(crate) fn conditions(&self) -> Conditions {
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
        let row = self.row(sql).await?;
        row.as_ref().map(Record::read).transpose()
    }

    /// A page of the log. `None`: the cursor is no request (of the filter's account).
    pub async fn requests(&self, filter: &Filter, page: &Page) -> Result<Option<Listed>, StoreError> {
        let conditions = filter.conditions();
        let account = filter.account_id.as_deref();
        let list = List {
            table: "requests",
            columns: &ROW,
            conditions: &conditions,
            account,
            picked: filter.min_cost.is_some(),
        };
        let Some(walked) = list.walk(self, page).await? else { return Ok(None) };
        let records = walked.rows.iter().map(Record::read).collect::<Result<_, _>>()?;
        Ok(Some(Listed { records, has_older: walked.has_older, has_newer: walked.has_newer }))
    }

    /// Settles rows that a crash left `processing`: those created before `before` become `cancelled` with the code
    /// `INTERRUPTED`, and their estimate counts as possibly spent. Stored jobs are not interrupted: a worker goes on with
    /// them. Returns how many.
    ///
    /// Where replicas share the database, `before` must lie further back than the longest request, or it meets rows that
    /// another replica is still working on (their own final rows would set that right, but late).
    pub async fn settle_interrupted(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.interrupt(|conditions| conditions.when("created_at <", Some(before.millis()))).await
    }

    /// The same for whatever a process was running that is gone.
    pub(crate) async fn settle_owner(&self, owner: &str) -> Result<u64, StoreError> {
        self.interrupt(|conditions| conditions.when("owner =", Some(owner))).await
    }

    async fn interrupt(&self, narrow: impl Fn(&mut Conditions)) -> Result<u64, StoreError> {
        let mut settled = 0;
        loop {
            let mut conditions = Conditions::default();
            conditions.when("status =", Some(Status::Processing.as_str()));
            conditions.is("NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = requests.id AND jobs.done = 0)");
            narrow(&mut conditions);
            let mut sql = Sql::new(&format!("SELECT {} FROM requests", *ROW));
            conditions.write(&mut sql)?;
            sql.push(" LIMIT 256");
            let rows = self.rows(sql).await?;
            let step = |row| Record::read(row).map(|record| Step { act: Act::Interrupt, record });
            let steps = rows.iter().map(step).collect::<Result<Vec<_>, _>>()?;
            if steps.is_empty() {
                return Ok(settled);
            }
            let mut connection = self.pool.acquire().await?;
            post(&mut connection, self.engine, "", &steps).await?;
            settled += steps.len() as u64;
        }
    }

    /// The next thousand matches after that row, oldest first; `None` at the end. So everything can be read in a memory that
    /// does not depend on how much there is; rows that come in meanwhile may or may not be among it.
    pub async fn next_requests(
        &self,
        filter: &Filter,
        after: Option<&(Timestamp, String)>,
    ) -> Result<Option<Vec<Record>>, StoreError> {
        let mut sql = Sql::new(&format!("SELECT {} FROM requests", *ROW));
        filter.conditions().write(&mut sql)?;
        if let Some((moment, id)) = after {
            // The first half says nothing new, but PostgreSQL picks partitions by it.
            sql.push(" AND created_at >= ").bind(moment.millis())?;
            sql.push(" AND (created_at, id) > (").bind(moment.millis())?.push(", ").bind(id.clone())?.push(")");
        }
        sql.push(" ORDER BY created_at, id LIMIT 1000");
        let rows = self.rows(sql).await?;
        let records = rows.iter().map(Record::read).collect::<Result<Vec<_>, _>>()?;
        Ok((!records.is_empty()).then_some(records))
    }
}
