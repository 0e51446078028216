//! Pages of a list, newest first, that stay put while rows are being added. The place in a list is a row, not a number.

use super::sql::{Conditions, Sql};
use crate::base::Timestamp;
use crate::store::{Store, StoreError};
use sqlx::Row;
use sqlx::any::AnyRow;

/// Which rows of a list are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// How many at most.
    pub limit: u32,
    /// From where.
    pub cursor: Cursor,
}

/// A place in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cursor {
    /// The newest rows.
    Start,
    /// The rows just older than this id.
    After(String),
    /// The rows just newer than this id.
    Before(String),
    /// The oldest rows.
    End,
}

/// A page as it was read.
pub(crate) struct Walked {
    /// Newest first.
    pub(crate) rows: Vec<AnyRow>,
    pub(crate) has_older: bool,
    pub(crate) has_newer: bool,
}

/// A list that can be paged: a table with `id`, `created_at` and `account_id`.
pub(crate) struct List<'a> {
    pub(crate) table: &'static str,
    /// The columns to read, `id` and `created_at` among them.
    pub(crate) columns: &'a str,
    pub(crate) conditions: &'a Conditions,
    /// Whose rows can serve as a cursor; everybody's when absent.
    pub(crate) account: Option<&'a str>,
    /// Whether an index holds the places of all that match, far apart as they may lie: then a page of them is picked there,
    /// and nothing else is read.
    pub(crate) picked: bool,
}

/// The order of a list: time, then id for rows of one millisecond.
type Place = (i64, String);

impl List<'_> {
    /// Reads one page; `None` when the cursor is no row of the table (or another account's).
    pub(crate) async fn walk(&self, store: &Store, page: &Page) -> Result<Option<Walked>, StoreError> {
        let limit = page.limit.clamp(1, 1000) as usize;
        let (cursor, newer) = match &page.cursor {
            Cursor::Start => (None, false),
            Cursor::After(id) => (Some(id), false),
            Cursor::Before(id) => (Some(id), true),
            Cursor::End => (None, true),
        };
        let place = match cursor {
            None => None,
            Some(id) => match self.place(store, id).await? {
                None => return Ok(None),
                place => place,
            },
        };
        let comparison = if newer { ">" } else { "<" };
        // One more than asked for tells whether the list goes on.
        let mut rows = self.rows(store, self.columns, place.as_ref(), comparison, limit + 1).await?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        // And on the other side of the page? Rows there are the cursor itself (if it matches) and what lies behind it.
        let behind = match place {
            None => false,
            Some(place) => {
                let comparison = if newer { "<=" } else { ">=" };
                !self.rows(store, "id", Some(&place), comparison, 1).await?.is_empty()
            }
        };
        if newer {
            rows.reverse();
        }
        let (has_older, has_newer) = if newer { (behind, more) } else { (more, behind) };
        Ok(Some(Walked { rows, has_older, has_newer }))
    }

    async fn place(&self, store: &Store, id: &str) -> Result<Option<Place>, StoreError> {
        let mut conditions = Conditions::default();
        conditions.when("id =", Some(id));
        conditions.when("account_id =", self.account);
        let mut sql = Sql::new(&format!("SELECT created_at FROM {}", self.table));
        conditions.write(&mut sql)?;
        let row = store.row(sql).await?;
        Ok(row.map(|row| row.try_get("created_at")).transpose()?.map(|moment| (moment, id.to_owned())))
    }

    async fn rows(
        &self,
        store: &Store,
        columns: &str,
        place: Option<&Place>,
        comparison: &str,
        limit: usize,
    ) -> Result<Vec<AnyRow>, StoreError> {
        let table = self.table;
        let mut sql = Sql::new(&format!("SELECT {columns} FROM {table}"));
        if self.picked {
            sql.push(&format!(" WHERE (created_at, id) IN (SELECT created_at, id FROM {table}"));
        }
        self.conditions.write(&mut sql)?;
        if let Some((moment, id)) = place {
            sql.push(" AND (created_at, id) ").push(comparison).push(" (");
            sql.bind(*moment)?.push(", ").bind(id.clone())?.push(")");
        }
        let order = if comparison.starts_with('>') { "ASC" } else { "DESC" };
        let order = format!(" ORDER BY created_at {order}, id {order}");
        sql.push(&order).push(" LIMIT ").bind(i64::try_from(limit).unwrap_or(i64::MAX))?;
        if self.picked {
            sql.push(")").push(&order);
        }
        store.rows(sql).await
    }
}

/// Reads a moment that may be missing.
pub(crate) fn moment(row: &AnyRow, column: &str) -> Result<Option<Timestamp>, sqlx::Error> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(Timestamp::from_millis))
}
