//! What operators said about routes, kept for every replica and over restarts.

use super::db::sql::Sql;
use super::{Store, StoreError};
use crate::base::Timestamp;
use sqlx::Row;

impl Store {
    /// Keeps a state for a route or provider; `None` forgets it.
    pub async fn set_route_state(&self, route: &str, state: Option<&str>, now: Timestamp) -> Result<(), StoreError> {
        let mut sql;
        match state {
            Some(state) => {
                sql = Sql::new("INSERT INTO route_states (route, state, updated_at) VALUES (");
                sql.bind(route)?.push(", ").bind(state)?.push(", ").bind(now.millis())?;
                sql.push(
                    ") ON CONFLICT (route) DO UPDATE SET state = excluded.state, updated_at = excluded.updated_at",
                );
            }
            None => {
                sql = Sql::new("DELETE FROM route_states WHERE route = ");
                sql.bind(route)?;
            }
        }
        sql.query().execute(&self.pool).await?;
        Ok(())
    }

    /// All states, by route or provider.
    pub async fn route_states(&self) -> Result<Vec<(String, String)>, StoreError> {
        let rows =
            Sql::new("SELECT route, state FROM route_states ORDER BY route").query().fetch_all(&self.pool).await?;
        rows.iter().map(|row| Ok((row.try_get("route")?, row.try_get("state")?))).collect()
    }
}
