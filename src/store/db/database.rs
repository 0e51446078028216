//! The handle on an open database: the pool, and how statements are run. No statement has a name and no session has a
//! state, so a pooler that lends connections by the transaction may stand in between.

use super::StoreError;
use super::availability::Availability;
use super::connect::{Engine, Target};
use super::row::FromRow;
use super::sql::Sql;
use sqlx::{Any, AnyPool, AssertSqlSafe, Connection, Transaction};

/// Clones share the pool.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pub(crate) engine: Engine,
    pub(crate) pool: AnyPool,
    pub(crate) availability: Availability,
    statement_timeout_seconds: u64,
}

impl Database {
    pub(crate) fn new(target: &Target, connections: u32, statement_timeout_seconds: u64) -> Self {
        Self {
            engine: target.engine(),
            pool: target.pool(connections.max(1)),
            availability: Availability::default(),
            statement_timeout_seconds: statement_timeout_seconds.max(1),
        }
    }

    /// Runs a query.
    pub(crate) async fn all<T: FromRow>(&self, sql: Sql) -> Result<Vec<T>, StoreError> {
        let mut connection = self.pool.acquire().await?;
        let rows = if self.engine == Engine::Sqlite {
            sql.query().fetch_all(&mut *connection).await?
        } else {
            // In a transaction, because only there two messages surely reach the same server through a pooler.
            let begin = AssertSqlSafe(self.engine.begin_read(self.statement_timeout_seconds));
            let mut transaction = connection.begin_with(begin).await?;
            let rows = sql.query().fetch_all(&mut *transaction).await?;
            transaction.commit().await?;
            rows
        };
        rows.iter().map(T::from_row).collect()
    }

    /// Runs a query that has one row at most.
    pub(crate) async fn optional<T: FromRow>(&self, sql: Sql) -> Result<Option<T>, StoreError> {
        Ok(self.all(sql).await?.into_iter().next())
    }

    /// Runs a statement that changes rows, and returns how many it changed.
    pub(crate) async fn execute(&self, sql: Sql) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        let done = sql.query().execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(done.rows_affected())
    }

    /// Runs a statement that changes rows, and returns what its RETURNING says.
    pub(crate) async fn execute_returning<T: FromRow>(&self, sql: Sql) -> Result<Vec<T>, StoreError> {
        let mut transaction = self.begin().await?;
        let rows = sql.query().fetch_all(&mut *transaction).await?;
        transaction.commit().await?;
        rows.iter().map(T::from_row).collect()
    }

    /// A transaction that writes.
    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Any>, StoreError> {
        Ok(self.pool.begin_with(self.engine.begin_write()).await?)
    }
}
