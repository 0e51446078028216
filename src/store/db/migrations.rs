//! Brings the tables to this version.

use crate::base::Backoff;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{AnyConnection, Connection, Executor};
use std::borrow::Cow;
use std::time::Duration;
use tokio::time::sleep;

static SQLITE: Migrator = sqlx::migrate!("./migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("./migrations/postgres");

const SQLITE_ATTEMPTS: u32 = 10;
const SQLITE_BACKOFF: Backoff = Backoff::new(Duration::from_millis(25), Duration::from_millis(100));

/// One number for everything that changes tables. Held until the transaction ends.
pub(crate) const MIGRATION_LOCK: &str = "SELECT pg_advisory_xact_lock(7021390514)";

/// SQLite has no lock for migrations: of two processes that start together one fails, its step is rolled back, and when it
/// tries again the step is done.
pub(crate) async fn migrate_sqlite(connection: &mut AnyConnection) -> Result<(), MigrateError> {
    let mut failures = 0;
    loop {
        // Not `run`: through it the compiler cannot see that this future is `Send`.
        match SQLITE.run_direct(None, connection, false).await {
            Err(MigrateError::Execute(_) | MigrateError::ExecuteMigration(..)) if failures + 1 < SQLITE_ATTEMPTS => {
                failures += 1;
                sleep(SQLITE_BACKOFF.delay(failures)).await;
            }
            done => return done,
        }
    }
}

/// In one transaction: all of it or nothing, one process at a time, and also over a pooler that lends connections by the
/// transaction (sqlx's own lock belongs to a session, and so do the statements that it prepares, which are deallocated for
/// that reason).
pub(crate) async fn migrate_postgres(connection: &mut AnyConnection) -> Result<(), MigrateError> {
    let migrator = Migrator { locking: false, migrations: Cow::Borrowed(&POSTGRES.migrations), ..Migrator::DEFAULT };
    let mut transaction = connection.begin().await?;
    transaction.execute(MIGRATION_LOCK).await?;
    migrator.run_direct(None, &mut *transaction, false).await?;
    transaction.execute("DEALLOCATE ALL").await?;
    Ok(transaction.commit().await?)
}
