//! Stored jobs: videos, and images made in the background. A job is leased by the process that works on it; when that
//! process dies, the lease expires and any other process continues from what was stored last.
//!
//! Every write of a worker is fenced by its lease: without the lease it changes nothing. Writes that arrive together share a
//! transaction, as in the request log.

use super::db::page::{List, Listed, Page};
use super::db::{Conditions, Database, FromColumn, FromRow, Sql, StoreError, column, enum_column};
use super::webhooks::{self, NewDelivery};
use crate::base::Timestamp;
use crate::job::Modality;
use serde::Deserialize;
use sqlx::any::AnyRow;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// Accepted, not started.
    Queued,
    /// Started: a provider may have been called.
    InProgress,
    /// The outputs are stored.
    Completed,
    Failed,
    /// Stopped at its owner's request.
    Cancelled,
}

impl JobStatus {
    /// As the database spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

impl FromColumn for JobStatus {
    type Stored = String;

    fn from_column(stored: String) -> Result<Self, StoreError> {
        enum_column("job status", stored)
    }
}

/// A job as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRow {
    /// The request's id.
    pub id: String,
    pub created_at: Timestamp,
    pub account_id: String,
    pub key_id: String,
    pub kind: Modality,
    pub status: JobStatus,
    /// JSON: the request. Never changes.
    pub request: String,
    /// JSON: the state of the work, for workers.
    pub state: String,
    /// JSON: what the API shows.
    pub view: String,
    /// When it fails if it has not ended.
    pub deadline_at: Timestamp,
    /// When it ended, however it did.
    pub completed_at: Option<Timestamp>,
    /// Until when its files can be fetched.
    pub expires_at: Option<Timestamp>,
    /// Whether its owner asked to cancel it.
    pub cancel: bool,
}

/// What a worker keeps of a job in memory; the rest is read when it is needed.
#[derive(Debug, Clone, PartialEq)]
pub struct LeasedJob {
    pub id: String,
    pub kind: Modality,
    pub created_at: Timestamp,
    /// When it fails if it has not ended.
    pub deadline_at: Timestamp,
    /// JSON.
    pub state: String,
    /// Whether its owner asked to cancel it.
    pub cancel: bool,
}

/// A worker's write, which takes effect only while it holds the lease.
#[derive(Debug, Clone)]
pub struct JobSave {
    pub id: String,
    /// The holder of the lease.
    pub owner: String,
    pub status: JobStatus,
    /// JSON: the state of the work, for workers.
    pub state: String,
    /// JSON: what the API shows; unchanged when absent.
    pub view: Option<String>,
    /// When it ended, and until when its files can be fetched; for final statuses.
    pub ended: Option<(Timestamp, Option<Timestamp>)>,
    /// A webhook to queue in the same transaction.
    pub webhook: Option<NewDelivery>,
}

macro_rules! columns {
    () => {
        "id, created_at, account_id, key_id, kind, status, request, state, view, deadline_at, completed_at, expires_at, \
         cancel"
    };
}

/// Jobs that are not deleted. `account` narrows a call to that account's jobs.
#[derive(Debug, Clone, Copy)]
pub struct JobRepository<'a> {
    database: &'a Database,
}

impl<'a> JobRepository<'a> {
    pub(crate) const fn new(database: &'a Database) -> Self {
        Self { database }
    }

    /// Stores a new job, leased to `owner` at once.
    pub async fn insert(self, job: &JobRow, owner: &str, lease_until: Timestamp) -> Result<(), StoreError> {
        let sql = Sql::new(
            "INSERT INTO jobs (id, created_at, account_id, key_id, kind, status, request, state, view, deadline_at, cancel, \
                               done, deleted, lease_owner, lease_until) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, 0, $12, $13)",
        )
        .bind(&job.id)
        .bind(job.created_at)
        .bind(&job.account_id)
        .bind(&job.key_id)
        .bind(job.kind.as_str())
        .bind(job.status.as_str())
        .bind(&job.request)
        .bind(&job.state)
        .bind(&job.view)
        .bind(job.deadline_at)
        .bind(job.cancel)
        .bind(owner)
        .bind(lease_until);
        self.database.execute(sql).await.map(drop)
    }

    pub async fn find(self, id: &str, account: Option<&str>) -> Result<Option<JobRow>, StoreError> {
        let sql = Sql::new(concat!(
            "SELECT ",
            columns!(),
            " FROM jobs WHERE id = $1 AND ($2 IS NULL OR account_id = $2) AND deleted = 0"
        ));
        self.database.optional(sql.bind(id).bind(account)).await
    }

    /// A page of jobs of one kind, newest first. `None`: the cursor is no job (of that account).
    pub async fn list(
        self,
        kind: Modality,
        account: Option<&str>,
        page: &Page,
    ) -> Result<Option<Listed<JobRow>>, StoreError> {
        let mut conditions = Conditions::default();
        conditions.when("kind =", Some(kind.as_str()));
        conditions.when("account_id =", account);
        conditions.is("deleted = 0");
        let columns = columns!();
        let list = List { table: "jobs", columns, conditions: &conditions, account, select_ids_first: false };
        list.page(self.database, page).await
    }

    /// Leases up to `limit` jobs that nobody holds. Replicas that ask at the same time never get the same one.
    pub async fn lease(
        self,
        owner: &str,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<LeasedJob>, StoreError> {
        let sql = Sql::new(format!(
            "UPDATE jobs SET lease_owner = $1, lease_until = $2 WHERE id IN ( \
               SELECT id FROM jobs WHERE done = 0 AND lease_until < $3 ORDER BY lease_until LIMIT $4{}) \
             RETURNING id, kind, created_at, deadline_at, state, cancel",
            self.database.engine.skip_locked()
        ));
        self.database.execute_returning(sql.bind(owner).bind(until).bind(now).bind(limit)).await
    }

    /// Extends every lease of `owner` that has not expired by `now`.
    pub async fn renew_leases(self, owner: &str, now: Timestamp, until: Timestamp) -> Result<u64, StoreError> {
        let sql =
            Sql::new("UPDATE jobs SET lease_until = $1 WHERE done = 0 AND lease_owner = $2 AND lease_until >= $3");
        self.database.execute(sql.bind(until).bind(owner).bind(now)).await
    }

    /// Gives up every lease of `owner`: other processes continue at once.
    pub async fn release_leases(self, owner: &str) -> Result<u64, StoreError> {
        let sql = Sql::new("UPDATE jobs SET lease_owner = NULL, lease_until = 0 WHERE done = 0 AND lease_owner = $1");
        self.database.execute(sql.bind(owner)).await
    }

    /// Gives up one lease of `owner`.
    pub async fn release_lease(self, id: &str, owner: &str) -> Result<(), StoreError> {
        let sql = Sql::new(
            "UPDATE jobs SET lease_owner = NULL, lease_until = 0 WHERE done = 0 AND id = $1 AND lease_owner = $2",
        );
        self.database.execute(sql.bind(id).bind(owner)).await.map(drop)
    }

    /// The jobs leased to `owner` whose cancellation was requested.
    pub async fn to_cancel(self, owner: &str) -> Result<Vec<String>, StoreError> {
        let sql = Sql::new("SELECT id FROM jobs WHERE done = 0 AND cancel = 1 AND lease_owner = $1");
        self.database.all(sql.bind(owner)).await
    }

    /// Requests the cancellation of a job that has not ended. Whether there was one.
    pub async fn request_cancel(self, id: &str, account: Option<&str>) -> Result<bool, StoreError> {
        let sql = Sql::new(
            "UPDATE jobs SET cancel = 1 \
             WHERE id = $1 AND ($2 IS NULL OR account_id = $2) AND deleted = 0 AND done = 0",
        );
        Ok(self.database.execute(sql.bind(id).bind(account)).await? > 0)
    }

    /// Hides a job that has ended, and erases its request and outputs. Whether there was one.
    pub async fn delete(self, id: &str, account: Option<&str>) -> Result<bool, StoreError> {
        let sql = Sql::new(
            "UPDATE jobs SET deleted = 1, request = '{}', state = '{}', view = '{}' \
             WHERE id = $1 AND ($2 IS NULL OR account_id = $2) AND deleted = 0 AND done = 1",
        );
        Ok(self.database.execute(sql.bind(id).bind(account)).await? > 0)
    }

    /// Removes jobs that ended before `before`, deleted ones too, and returns how many. The request log keeps what they cost.
    pub async fn remove_ended(self, before: Timestamp) -> Result<u64, StoreError> {
        let sql = Sql::new("DELETE FROM jobs WHERE done = 1 AND completed_at < $1");
        self.database.execute(sql.bind(before)).await
    }

    /// Writes saves in one transaction, all or none; returns for each whether its lease still held.
    pub async fn save(self, saves: &[JobSave]) -> Result<Vec<bool>, StoreError> {
        let mut transaction = self.database.begin().await?;
        let mut held = Vec::with_capacity(saves.len());
        for save in saves {
            let done = update(save).query().execute(&mut *transaction).await?.rows_affected() > 0;
            if let Some(webhook) = save.webhook.as_ref().filter(|_| done) {
                webhooks::insert(webhook).query().execute(&mut *transaction).await?;
            }
            held.push(done);
        }
        transaction.commit().await?;
        Ok(held)
    }
}

fn update(save: &JobSave) -> Sql {
    let (completed_at, expires_at) = save.ended.unzip();
    Sql::new(
        "UPDATE jobs SET status = $1, state = $2, view = COALESCE($3, view), done = $4, completed_at = $5, expires_at = $6 \
         WHERE done = 0 AND id = $7 AND lease_owner = $8",
    )
    .bind(save.status.as_str())
    .bind(&save.state)
    .bind(save.view.as_ref())
    .bind(save.ended.is_some())
    .bind(completed_at)
    .bind(expires_at.flatten())
    .bind(&save.id)
    .bind(&save.owner)
}

impl FromRow for JobRow {
    fn from_row(row: &AnyRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: column(row, "id")?,
            created_at: column(row, "created_at")?,
            account_id: column(row, "account_id")?,
            key_id: column(row, "key_id")?,
            kind: column(row, "kind")?,
            status: column(row, "status")?,
            request: column(row, "request")?,
            state: column(row, "state")?,
            view: column(row, "view")?,
            deadline_at: column(row, "deadline_at")?,
            completed_at: column(row, "completed_at")?,
            expires_at: column(row, "expires_at")?,
            cancel: column(row, "cancel")?,
        })
    }
}

impl FromRow for LeasedJob {
    fn from_row(row: &AnyRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: column(row, "id")?,
            kind: column(row, "kind")?,
            created_at: column(row, "created_at")?,
            deadline_at: column(row, "deadline_at")?,
            state: column(row, "state")?,
            cancel: column(row, "cancel")?,
        })
    }
}
