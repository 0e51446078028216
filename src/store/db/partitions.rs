//! PostgreSQL's log in monthly partitions: made ahead, so that no row ever waits for one, and dropped when they are older
//! than the operator keeps. A file (SQLite) has no partitions; there old rows are deleted.

use super::connect::{Engine, MIGRATION_LOCK};
use super::sql::Sql;
use crate::base::Timestamp;
use crate::store::{Store, StoreError};
use sqlx::{AssertSqlSafe, Connection, Executor, Row};

/// Months that are ready before they begin.
const AHEAD: i64 = 2;
/// Rows deleted at once where rows are deleted.
const LOT: i64 = 5000;

impl Store {
    /// Makes the partitions of this month and the next ones, and those of older rows that have none; lets go of months
    /// that are older than so many (0 keeps everything). Safe to run on every replica, as often as one likes.
    pub async fn maintain_log(&self, now: Timestamp, keep_months: u32) -> Result<(), StoreError> {
        let oldest = (keep_months > 0).then(|| now.month() - i64::from(keep_months));
        if self.engine == Engine::Sqlite {
            return match oldest {
                Some(month) => self.delete_before(Timestamp::of_month(month)).await,
                None => Ok(()),
            };
        }
        let mut wanted: Vec<i64> = (now.month()..=now.month() + AHEAD).collect();
        wanted.extend(self.homeless_month().await?.filter(|month| *month <= now.month() + AHEAD));
        let present = self.partitions().await?;
        for month in wanted {
            if !present.contains(&month) && oldest.is_none_or(|oldest| month >= oldest) {
                self.make_partition(month).await?;
            }
        }
        for month in present.into_iter().filter(|month| oldest.is_some_and(|oldest| *month < oldest)) {
            self.change_tables(&format!("DROP TABLE IF EXISTS {}", name(month))).await?;
            tracing::info!(month = %label(month), "a month of the request log was dropped, as configured");
        }
        Ok(())
    }

    /// The month of the oldest row that lies in no partition of its own.
    async fn homeless_month(&self) -> Result<Option<i64>, StoreError> {
        let row = self.row(Sql::new("SELECT MIN(created_at) AS oldest FROM requests_rest")).await?;
        let oldest = row.map(|row| row.try_get::<Option<i64>, _>("oldest")).transpose()?.flatten();
        Ok(oldest.map(|millis| Timestamp::from_millis(millis).month()))
    }

    async fn partitions(&self) -> Result<Vec<i64>, StoreError> {
        let sql = Sql::new(
            "SELECT CAST(child.relname AS TEXT) AS name FROM pg_inherits \
             JOIN pg_class AS child ON child.oid = pg_inherits.inhrelid \
             WHERE pg_inherits.inhparent = CAST('requests' AS regclass)",
        );
        let rows = self.rows(sql).await?;
        let names = rows.iter().map(|row| row.try_get::<String, _>("name")).collect::<Result<Vec<_>, _>>()?;
        Ok(names.iter().filter_map(|name| month_of(name)).collect())
    }

    /// Makes a month's partition, rows that waited elsewhere included.
    async fn make_partition(&self, month: i64) -> Result<(), StoreError> {
        let (name, from, to) =
            (name(month), Timestamp::of_month(month).millis(), Timestamp::of_month(month + 1).millis());
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
        self.change_tables(&statements).await
    }

    /// Runs statements that change tables, one process at a time. They wait for running queries, and everybody else waits
    /// for them meanwhile, so they give up soon and are tried again at the next round.
    async fn change_tables(&self, statements: &str) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await?;
        let mut transaction = connection.begin().await?;
        transaction.execute("SET LOCAL lock_timeout = '2s'").await?;
        transaction.execute(MIGRATION_LOCK).await?;
        transaction.execute(AssertSqlSafe(statements.to_owned())).await?;
        Ok(transaction.commit().await?)
    }

    async fn delete_before(&self, before: Timestamp) -> Result<(), StoreError> {
        loop {
            let mut sql =
                Sql::new("DELETE FROM requests WHERE rowid IN (SELECT rowid FROM requests WHERE created_at < ");
            sql.bind(before.millis())?.push(" LIMIT ").bind(LOT)?.push(")");
            if self.run(sql).await? == 0 {
                return Ok(());
            }
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
