//! The request log's monthly partitions on PostgreSQL: made ahead, so that no row ever waits for one, and dropped when they
//! are older than the operator keeps. SQLite has no partitions; there old rows are deleted.

use super::StoreError;
use super::connect::Engine;
use super::database::Database;
use super::migrations::MIGRATION_LOCK;
use super::sql::Sql;
use crate::base::Timestamp;
use sqlx::{AssertSqlSafe, Connection, Executor};

/// Months whose partitions are made before they begin.
const MONTHS_AHEAD: i64 = 2;
const DELETE_BATCH: i64 = 5000;

/// Makes the partitions of this month and the next ones, and those of older rows that have none; drops months that are
/// older than so many (0 keeps everything). Safe to run on every replica, any number of times.
pub(crate) async fn maintain(database: &Database, now: Timestamp, keep_months: u32) -> Result<(), StoreError> {
    let oldest = (keep_months > 0).then(|| now.month() - i64::from(keep_months));
    if database.engine == Engine::Sqlite {
        return match oldest {
            Some(month) => delete_before(database, Timestamp::of_month(month)).await,
            None => Ok(()),
        };
    }
    let mut wanted: Vec<i64> = (now.month()..=now.month() + MONTHS_AHEAD).collect();
    wanted.extend(oldest_unpartitioned(database).await?.filter(|month| *month <= now.month() + MONTHS_AHEAD));
    let present = present(database).await?;
    for month in wanted {
        if !present.contains(&month) && oldest.is_none_or(|oldest| month >= oldest) {
            create(database, month).await?;
        }
    }
    for month in present.into_iter().filter(|month| oldest.is_some_and(|oldest| *month < oldest)) {
        change_tables(database, format!("DROP TABLE IF EXISTS {}", name(month))).await?;
        tracing::info!(month = %label(month), "dropped a month of the request log, as configured");
    }
    Ok(())
}

/// The month of the oldest row without a partition of its own.
async fn oldest_unpartitioned(database: &Database) -> Result<Option<i64>, StoreError> {
    let sql = Sql::new("SELECT MIN(created_at) FROM requests_rest");
    let oldest = database.optional::<Option<Timestamp>>(sql).await?.flatten();
    Ok(oldest.map(Timestamp::month))
}

async fn present(database: &Database) -> Result<Vec<i64>, StoreError> {
    let sql = Sql::new(
        "SELECT CAST(child.relname AS TEXT) FROM pg_inherits \
         JOIN pg_class AS child ON child.oid = pg_inherits.inhrelid \
         WHERE pg_inherits.inhparent = CAST('requests' AS regclass)",
    );
    let names: Vec<String> = database.all(sql).await?;
    Ok(names.iter().filter_map(|name| month_of(name)).collect())
}

/// Makes a month's partition and moves its rows there.
async fn create(database: &Database, month: i64) -> Result<(), StoreError> {
    let (name, from, to) = (name(month), Timestamp::of_month(month).millis(), Timestamp::of_month(month + 1).millis());
    // Attached with a check in place, so that PostgreSQL need not read the table to believe it.
    let statements = format!(
        "CREATE TABLE IF NOT EXISTS {name} (LIKE requests INCLUDING ALL, \
           CHECK (created_at >= {from} AND created_at < {to})); \
         WITH moved AS (DELETE FROM requests_rest WHERE created_at >= {from} AND created_at < {to} RETURNING *) \
           INSERT INTO {name} SELECT * FROM moved; \
         DO $$ BEGIN \
           IF NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = CAST('{name}' AS regclass)) THEN \
             ALTER TABLE requests ATTACH PARTITION {name} FOR VALUES FROM ({from}) TO ({to}); \
           END IF; \
         END $$"
    );
    change_tables(database, statements).await
}

/// Runs statements that change tables, one process at a time. They wait for running queries, and everybody else waits for
/// them meanwhile, so they give up soon and are tried again at the next run.
async fn change_tables(database: &Database, statements: String) -> Result<(), StoreError> {
    let mut connection = database.pool.acquire().await?;
    let mut transaction = connection.begin().await?;
    transaction.execute("SET LOCAL lock_timeout = '2s'").await?;
    transaction.execute(MIGRATION_LOCK).await?;
    transaction.execute(AssertSqlSafe(statements)).await?;
    Ok(transaction.commit().await?)
}

async fn delete_before(database: &Database, before: Timestamp) -> Result<(), StoreError> {
    loop {
        let sql =
            Sql::new("DELETE FROM requests WHERE rowid IN (SELECT rowid FROM requests WHERE created_at < $1 LIMIT $2)");
        if database.execute(sql.bind(before).bind(DELETE_BATCH)).await? == 0 {
            return Ok(());
        }
    }
}

/// `2026_11`
fn label(month: i64) -> String {
    format!("{:04}_{:02}", 1970 + month.div_euclid(12), month.rem_euclid(12) + 1)
}

fn name(month: i64) -> String {
    format!("requests_{}", label(month))
}

fn month_of(name: &str) -> Option<i64> {
    let (year, month) = name.strip_prefix("requests_")?.split_once('_')?;
    let (year, month): (i64, i64) = (year.parse().ok()?, month.parse().ok()?);
    Some((year - 1970) * 12 + month - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_the_month() {
        for month in [0, 11, 682, 683] {
            assert_eq!(month_of(&name(month)), Some(month));
        }
        assert_eq!((name(682).as_str(), month_of("requests_rest")), ("requests_2026_11", None));
    }
}
