//! Stored jobs: videos, and images made in the background. A job is leased by the process that works on it; when that
//! process dies, the lease runs out and any other goes on from what was stored last.
//!
//! Every write of a worker is fenced by its lease: who has lost it changes nothing. Writes that arrive together share a
//! transaction, as in the request log.

use super::db::page::{List, Page, moment};
use super::db::sql::{Conditions, Sql};
use super::webhooks::{self, NewDelivery};
use super::{Store, StoreError};
use crate::base::Timestamp;
use sqlx::Row;
use sqlx::any::AnyRow;

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobStatus {
    /// Taken, not begun.
    Queued,
    /// A provider has been asked.
    InProgress,
    /// Made and stored.
    Completed,
    /// It will not be made.
    Failed,
    /// Stopped by its owner.
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

    /// Whether nothing follows.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    fn parse(text: &str) -> Option<Self> {
        use JobStatus::{Cancelled, Completed, Failed, InProgress, Queued};
        [Queued, InProgress, Completed, Failed, Cancelled].into_iter().find(|status| status.as_str() == text)
    }
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRow {
    /// The request's id.
    pub id: String,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// Whose it is.
    pub account_id: String,
    /// The key that asked.
    pub key_id: String,
    /// `video` or `image`.
    pub kind: String,
    /// How far it is.
    pub status: JobStatus,
    /// JSON: what was asked. Never changes.
    pub request: String,
    /// JSON: how far it is, for workers.
    pub state: String,
    /// JSON: what the API shows.
    pub view: String,
    /// When it is given up.
    pub deadline_at: Timestamp,
    /// When it came to its end.
    pub completed_at: Option<Timestamp>,
    /// Until when its files can be fetched.
    pub expires_at: Option<Timestamp>,
    /// Whether its owner asked to stop it.
    pub cancel: bool,
}

/// What a worker takes along: everything else is read when it is needed.
#[derive(Debug, Clone, PartialEq)]
pub struct LeasedJob {
    /// The job's id.
    pub id: String,
    /// `video` or `image`.
    pub kind: String,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it is given up.
    pub deadline_at: Timestamp,
    /// JSON: how far it is.
    pub state: String,
    /// Whether its owner asked to stop it.
    pub cancel: bool,
}

/// What a worker writes down. Only the holder of the lease can.
#[derive(Debug, Clone)]
pub struct JobSave {
    /// The job's id.
    pub id: String,
    /// Who holds the lease.
    pub owner: String,
    /// How far it is now.
    pub status: JobStatus,
    /// JSON: how far it is, for workers.
    pub state: String,
    /// JSON: what the API shows; unchanged when absent.
    pub view: Option<String>,
    /// When it came to its end, and until when its files can be fetched; for final statuses.
    pub ended: Option<(Timestamp, Option<Timestamp>)>,
    /// The webhook that goes out with it, in the same transaction.
    pub webhook: Option<NewDelivery>,
}

/// A page of jobs.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedJobs {
    /// Newest first.
    pub jobs: Vec<JobRow>,
    /// Whether older ones follow.
    pub has_older: bool,
    /// Whether newer ones precede.
    pub has_newer: bool,
}

const ROW: &str = "id, created_at, account_id, key_id, kind, status, request, state, view, deadline_at, completed_at, \
                   expires_at, cancel";

impl Store {
    /// Stores a new job, leased to `owner` at once.
    pub async fn add_job(&self, job: &JobRow, owner: &str, lease_until: Timestamp) -> Result<(), StoreError> {
        self.run(sql_insert(job, owner, lease_until)?).await?;
        Ok(())
    }

    /// One job; with an account, only if it is that account's. Deleted ones are gone.
    pub async fn job(&self, id: &str, account: Option<&str>) -> Result<Option<JobRow>, StoreError> {
        let mut sql = Sql::new(&format!("SELECT {ROW} FROM jobs"));
        one(id, account).write(&mut sql)?;
        self.row(sql).await?.as_ref().map(read).transpose()
    }

    /// A page of jobs of one kind, newest first. `None`: the cursor is no job (of that account).
    pub async fn jobs(
        &self,
        kind: &'static str,
        account: Option<&str>,
        page: &Page,
    ) -> Result<Option<ListedJobs>, StoreError> {
        let mut conditions = Conditions::default();
        conditions.when("kind =", Some(kind));
        conditions.when("account_id =", account);
        conditions.is("deleted = 0");
        let list = List { table: "jobs", columns: ROW, conditions: &conditions, account, picked: false };
        let Some(walked) = list.walk(self, page).await? else { return Ok(None) };
        let jobs = walked.rows.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Some(ListedJobs { jobs, has_older: walked.has_older, has_newer: walked.has_newer }))
    }

    /// Leases up to `limit` jobs that nobody holds. Replicas that ask at the same time never get the same one.
    pub async fn lease_jobs(
        &self,
        owner: &str,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<LeasedJob>, StoreError> {
        let mut sql = Sql::new("UPDATE jobs SET lease_owner = ");
        sql.bind(owner.to_owned())?.push(", lease_until = ").bind(until.millis())?;
        sql.push(" WHERE id IN (SELECT id FROM jobs WHERE done = 0 AND lease_until < ").bind(now.millis())?;
        sql.push(" ORDER BY lease_until LIMIT ").bind(i64::from(limit))?.push(self.skip_locked()).push(")");
        sql.push(" RETURNING id, kind, created_at, deadline_at, state, cancel");
        let rows = self.changed(sql).await?;
        let leased = |row: &AnyRow| {
            Ok(LeasedJob {
                id: row.try_get("id")?,
                kind: row.try_get("kind")?,
                created_at: Timestamp::from_millis(row.try_get("created_at")?),
                deadline_at: Timestamp::from_millis(row.try_get("deadline_at")?),
                state: row.try_get("state")?,
                cancel: row.try_get::<i64, _>("cancel")? != 0,
            })
        };
        rows.iter().map(leased).collect()
    }

    /// Prolongs every lease of `owner` that has not run out by `now`.
    pub async fn renew_jobs(&self, owner: &str, now: Timestamp, until: Timestamp) -> Result<u64, StoreError> {
        let mut sql = Sql::new("UPDATE jobs SET lease_until = ");
        sql.bind(until.millis())?.push(" WHERE done = 0 AND lease_owner = ").bind(owner.to_owned())?;
        sql.push(" AND lease_until >= ").bind(now.millis())?;
        self.run(sql).await
    }

    /// Gives back every lease of `owner`: others go on at once.
    pub async fn release_jobs(&self, owner: &str) -> Result<u64, StoreError> {
        let mut sql = Sql::new("UPDATE jobs SET lease_owner = NULL, lease_until = 0 WHERE done = 0 AND lease_owner = ");
        sql.bind(owner.to_owned())?;
        self.run(sql).await
    }

    /// Gives back one lease of `owner`.
    pub async fn release_job(&self, id: &str, owner: &str) -> Result<(), StoreError> {
        let mut sql = Sql::new("UPDATE jobs SET lease_owner = NULL, lease_until = 0 WHERE done = 0 AND id = ");
        sql.bind(id.to_owned())?.push(" AND lease_owner = ").bind(owner.to_owned())?;
        sql.query().execute(&self.pool).await?;
        Ok(())
    }

    /// The jobs of `owner` that somebody asked to stop.
    pub async fn jobs_to_cancel(&self, owner: &str) -> Result<Vec<String>, StoreError> {
        let mut sql = Sql::new("SELECT id FROM jobs WHERE done = 0 AND cancel = 1 AND lease_owner = ");
        sql.bind(owner.to_owned())?;
        let rows = self.rows(sql).await?;
        rows.iter().map(|row| Ok(row.try_get("id")?)).collect()
    }

    /// Asks to stop a job that is not over. Whether there was one.
    pub async fn cancel_job(&self, id: &str, account: Option<&str>) -> Result<bool, StoreError> {
        let mut sql = Sql::new("UPDATE jobs SET cancel = 1");
        let mut conditions = one(id, account);
        conditions.is("done = 0");
        conditions.write(&mut sql)?;
        Ok(self.run(sql).await? > 0)
    }

    /// Hides a job that is over, and forgets what was asked and made. Whether there was one.
    pub async fn delete_job(&self, id: &str, account: Option<&str>) -> Result<bool, StoreError> {
        let mut sql = Sql::new("UPDATE jobs SET deleted = 1, request = '{}', state = '{}', view = '{}'");
        let mut conditions = one(id, account);
        conditions.is("done = 1");
        conditions.write(&mut sql)?;
        Ok(self.run(sql).await? > 0)
    }

    /// Forgets jobs that ended before `before`. The request log keeps what they cost. Returns how many.
    pub async fn sweep_jobs(&self, before: Timestamp) -> Result<u64, StoreError> {
        let mut sql = Sql::new("DELETE FROM jobs WHERE done = 1 AND completed_at < ");
        sql.bind(before.millis())?;
        self.run(sql).await
    }

    /// Writes saves in one transaction; says of each whether its lease still held. All or none when the database fails.
    pub async fn save_jobs(&self, saves: &[JobSave]) -> Result<Vec<bool>, StoreError> {
        let mut transaction = self.pool.begin_with(self.engine.begin_write()).await?;
        let mut held = Vec::with_capacity(saves.len());
        for save in saves {
            let done = sql_save(save)?.query().execute(&mut *transaction).await?.rows_affected() > 0;
            if let Some(webhook) = save.webhook.as_ref().filter(|_| done) {
                webhooks::insert(webhook)?.query().execute(&mut *transaction).await?;
            }
            held.push(done);
        }
        transaction.commit().await?;
        Ok(held)
    }
}

fn one(id: &str, account: Option<&str>) -> Conditions {
    let mut conditions = Conditions::default();
    conditions.when("id =", Some(id));
    conditions.when("account_id =", account);
    conditions.is("deleted = 0");
    conditions
}

fn sql_insert(job: &JobRow, owner: &str, lease_until: Timestamp) -> Result<Sql, StoreError> {
    let mut sql = Sql::new(&format!("INSERT INTO jobs ({ROW}, done, deleted, lease_owner, lease_until) VALUES ("));
    sql.bind(job.id.clone())?.push(", ").bind(job.created_at.millis())?;
    sql.push(", ").bind(job.account_id.clone())?.push(", ").bind(job.key_id.clone())?;
    sql.push(", ").bind(job.kind.clone())?.push(", ").bind(job.status.as_str())?;
    sql.push(", ").bind(clean(&job.request))?.push(", ").bind(clean(&job.state))?;
    sql.push(", ").bind(clean(&job.view))?.push(", ").bind(job.deadline_at.millis())?;
    sql.push(", ").bind(None::<i64>)?.push(", ").bind(None::<i64>)?.push(", ").bind(i64::from(job.cancel))?;
    sql.push(", 0, 0, ").bind(owner.to_owned())?.push(", ").bind(lease_until.millis())?;
    sql.push(")");
    Ok(sql)
}

fn sql_save(save: &JobSave) -> Result<Sql, StoreError> {
    let mut sql = Sql::new("UPDATE jobs SET status = ");
    sql.bind(save.status.as_str())?.push(", state = ").bind(clean(&save.state))?;
    if let Some(view) = &save.view {
        sql.push(", view = ").bind(clean(view))?;
    }
    if let Some((at, expires)) = save.ended {
        sql.push(", done = 1, completed_at = ").bind(at.millis())?;
        sql.push(", expires_at = ").bind(expires.map(Timestamp::millis))?;
    }
    sql.push(" WHERE done = 0 AND id = ").bind(save.id.clone())?;
    sql.push(" AND lease_owner = ").bind(save.owner.clone())?;
    Ok(sql)
}

/// PostgreSQL's text knows no NUL, and JSON spells one `\u0000`: only raw ones have to go.
fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn read(row: &AnyRow) -> Result<JobRow, StoreError> {
    let status: String = row.try_get("status")?;
    Ok(JobRow {
        id: row.try_get("id")?,
        created_at: Timestamp::from_millis(row.try_get("created_at")?),
        account_id: row.try_get("account_id")?,
        key_id: row.try_get("key_id")?,
        kind: row.try_get("kind")?,
        status: JobStatus::parse(&status).ok_or(StoreError::Unknown { what: "job status", value: status })?,
        request: row.try_get("request")?,
        state: row.try_get("state")?,
        view: row.try_get("view")?,
        deadline_at: Timestamp::from_millis(row.try_get("deadline_at")?),
        completed_at: moment(row, "completed_at")?,
        expires_at: moment(row, "expires_at")?,
        cancel: row.try_get::<i64, _>("cancel")? != 0,
    })
}
