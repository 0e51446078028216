//! What operators set about routes, for every replica and over restarts.

use super::db::{Database, Sql, StoreError};
use crate::base::Timestamp;

#[derive(Debug, Clone, Copy)]
pub struct RoutingRepository<'a> {
    database: &'a Database,
}

impl<'a> RoutingRepository<'a> {
    pub(crate) const fn new(database: &'a Database) -> Self {
        Self { database }
    }

    /// Sets the state of a route or provider; `None` removes it.
    pub async fn set_state(self, route: &str, state: Option<&str>, now: Timestamp) -> Result<(), StoreError> {
        let sql = match state {
            Some(state) => Sql::new(
                "INSERT INTO route_states (route, state, updated_at) VALUES ($1, $2, $3) \
                 ON CONFLICT (route) DO UPDATE SET state = excluded.state, updated_at = excluded.updated_at",
            )
            .bind(route)
            .bind(state)
            .bind(now),
            None => Sql::new("DELETE FROM route_states WHERE route = $1").bind(route),
        };
        self.database.execute(sql).await.map(drop)
    }

    /// All states, by route or provider.
    pub async fn states(self) -> Result<Vec<(String, String)>, StoreError> {
        self.database.all(Sql::new("SELECT route, state FROM route_states ORDER BY route")).await
    }
}
