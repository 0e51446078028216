//! Reading the request log: one row, pages, everything; and settling what a crash left behind.

use super::record::{COLUMNS, Record, Status};
use super::transaction::{LedgerEntry, RowEvent, commit};
use crate::base::{Timestamp, Usd};
use crate::store::db::page::{List, Listed, Page};
use crate::store::db::text::stored_name;
use crate::store::db::{Conditions, Database, Sql, StoreError, partitions};
use std::sync::LazyLock;

/// Rows that are settled in one transaction.
const SETTLE_BATCH: &str = "256";
/// Rows of one batch of [`RequestRepository::next_batch`].
const READ_BATCH: &str = "1000";

/// Which requests to read. Every field narrows; none means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// At this moment or later.
    pub created_after: Option<Timestamp>,
    /// At this moment or earlier.
    pub created_before: Option<Timestamp>,
    pub key_id: Option<String>,
    pub account_id: Option<String>,
    /// As the API spells it.
    pub status: Option<String>,
    /// The model as requested.
    pub model: Option<String>,
    /// The provider that ran it.
    pub provider: Option<String>,
    /// As the API spells it.
    pub modality: Option<String>,
    /// The caller's end user.
    pub user: Option<String>,
    pub session_id: Option<String>,
    pub error_code: Option<String>,
    pub min_cost: Option<Usd>,
}

static COLUMN_LIST: LazyLock<String> = LazyLock::new(|| COLUMNS.map(|(name, _)| name).join(", "));

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
            conditions.when(comparison, name.as_deref().map(stored_name));
        }
        conditions.when("created_at >=", self.created_after);
        conditions.when("created_at <=", self.created_before);
        conditions.when("cost >=", self.min_cost);
        conditions
    }
}

/// The request log. Its rows are written by the [`Writer`](super::writer::Writer).
#[derive(Debug, Clone, Copy)]
pub struct RequestRepository<'a> {
    pub(crate) database: &'a Database,
}

impl<'a> RequestRepository<'a> {
    pub(crate) const fn new(database: &'a Database) -> Self {
        Self { database }
    }

    /// One request; with an account, only if it is that account's.
    pub async fn find(self, id: &str, account: Option<&str>) -> Result<Option<Record>, StoreError> {
        let mut conditions = Conditions::default();
        conditions.when("id =", Some(stored_name(id)));
        conditions.when("account_id =", account);
        self.database.optional(select(&conditions)).await
    }

    /// A page of the log, newest first. `None`: the cursor is no request (of the filter's account).
    pub async fn list(self, filter: &Filter, page: &Page) -> Result<Option<Listed<Record>>, StoreError> {
        let conditions = filter.conditions();
        let list = List {
            table: "requests",
            columns: &COLUMN_LIST,
            conditions: &conditions,
            account: filter.account_id.as_deref(),
            select_ids_first: filter.min_cost.is_some(),
        };
        list.page(self.database, page).await
    }

    /// The next thousand matches after that row, oldest first; `None` at the end. So everything can be read in a memory that
    /// does not depend on how much there is; rows that arrive meanwhile may or may not be among it.
    pub async fn next_batch(
        self,
        filter: &Filter,
        after: Option<&(Timestamp, String)>,
    ) -> Result<Option<Vec<Record>>, StoreError> {
        let mut sql = select(&filter.conditions());
        if let Some((created_at, id)) = after {
            // The first condition follows from the second, but PostgreSQL picks partitions by it.
            sql.push(" AND created_at >= ").push_bind(*created_at);
            sql.push(" AND (created_at, id) > (").push_bind(*created_at).push(", ").push_bind(id).push(")");
        }
        sql.push(" ORDER BY created_at, id LIMIT ").push(READ_BATCH);
        let records = self.database.all(sql).await?;
        Ok((!records.is_empty()).then_some(records))
    }

    /// Closes rows that a crash left `processing`: those created before `before` become `cancelled` with the code
    /// `INTERRUPTED`, and their estimate counts as possibly spent. Stored jobs are not interrupted: a worker continues them.
    /// Returns how many rows it closed.
    ///
    /// Where replicas share the database, `before` must lie further back than the longest request, or it meets rows that
    /// another replica is still working on (their own final rows would correct that, but late).
    pub async fn settle_interrupted(self, before: Timestamp) -> Result<u64, StoreError> {
        self.settle(|conditions| conditions.when("created_at <", Some(before))).await
    }

    /// The same for the requests of a process that is gone.
    pub(crate) async fn settle_owner(self, owner: &str) -> Result<u64, StoreError> {
        self.settle(|conditions| conditions.when("owner =", Some(owner))).await
    }

    async fn settle(self, narrow: impl Fn(&mut Conditions)) -> Result<u64, StoreError> {
        let mut settled = 0;
        loop {
            let mut conditions = Conditions::default();
            conditions.when("status =", Some(Status::Processing.as_str()));
            conditions.is("NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = requests.id AND jobs.done = 0)");
            narrow(&mut conditions);
            let mut sql = select(&conditions);
            sql.push(" LIMIT ").push(SETTLE_BATCH);
            let records: Vec<Record> = self.database.all(sql).await?;
            if records.is_empty() {
                return Ok(settled);
            }
            let entry = |record| LedgerEntry { event: RowEvent::Interrupt, record };
            let entries: Vec<_> = records.into_iter().map(entry).collect();
            let mut connection = self.database.pool.acquire().await?;
            commit(&mut connection, self.database.engine, "", &entries).await?;
            settled += entries.len() as u64;
        }
    }

    /// Makes the partitions of the log that are needed next, and deletes the months before the last `keep_months` (0 keeps
    /// everything). Safe to run on every replica, any number of times.
    pub async fn maintain(self, now: Timestamp, keep_months: u32) -> Result<(), StoreError> {
        partitions::maintain(self.database, now, keep_months).await
    }
}

fn select(conditions: &Conditions) -> Sql {
    let mut sql = Sql::new(format!("SELECT {} FROM requests", *COLUMN_LIST));
    conditions.write(&mut sql);
    sql
}
