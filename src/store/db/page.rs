//! Pages of a list, newest first, that stay put while rows are being added: a cursor is a row, not a number.

use super::StoreError;
use super::database::Database;
use super::row::FromRow;
use super::sql::{Conditions, Sql};

/// Which rows of a list are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// At most so many.
    pub limit: u32,
    pub cursor: Cursor,
}

/// A position in a list.
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

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// Newest first.
    pub items: Vec<T>,
    pub has_older: bool,
    pub has_newer: bool,
}

/// A table that can be paged: it has `id`, `created_at` and `account_id`.
pub(crate) struct List<'a> {
    pub(crate) table: &'static str,
    /// The columns to read.
    pub(crate) columns: &'a str,
    pub(crate) conditions: &'a Conditions,
    /// The account whose rows can serve as a cursor; any account when absent.
    pub(crate) account: Option<&'a str>,
    /// Whether an index holds the positions of all rows that match, few and far apart as they may be. Then the ids of a page
    /// are selected there first, and only their rows are read.
    pub(crate) select_ids_first: bool,
}

/// The order of a list: time, then id for rows of one millisecond.
type Position = (i64, String);

impl List<'_> {
    /// Reads one page; `None` when the cursor is no row of the table (or another account's).
    pub(crate) async fn page<T: FromRow>(
        &self,
        database: &Database,
        page: &Page,
    ) -> Result<Option<Listed<T>>, StoreError> {
        let limit = page.limit.clamp(1, 1000) as usize;
        let (cursor, newer) = match &page.cursor {
            Cursor::Start => (None, false),
            Cursor::After(id) => (Some(id), false),
            Cursor::Before(id) => (Some(id), true),
            Cursor::End => (None, true),
        };
        let position = match cursor {
            None => None,
            Some(id) => match self.position(database, id).await? {
                None => return Ok(None),
                position => position,
            },
        };
        let comparison = if newer { ">" } else { "<" };
        // One more than asked for shows whether the list goes on.
        let sql = self.select(self.columns, position.as_ref(), comparison, limit + 1);
        let mut items: Vec<T> = database.all(sql).await?;
        let more = items.len() > limit;
        items.truncate(limit);
        // And on the other side of the page? Rows there are the cursor itself (if it matches) and those behind it.
        let behind = match position {
            None => false,
            Some(position) => {
                let comparison = if newer { "<=" } else { ">=" };
                let sql = self.select("id", Some(&position), comparison, 1);
                database.optional::<String>(sql).await?.is_some()
            }
        };
        if newer {
            items.reverse();
        }
        let (has_older, has_newer) = if newer { (behind, more) } else { (more, behind) };
        Ok(Some(Listed { items, has_older, has_newer }))
    }

    async fn position(&self, database: &Database, id: &str) -> Result<Option<Position>, StoreError> {
        let mut conditions = Conditions::default();
        conditions.when("id =", Some(id));
        conditions.when("account_id =", self.account);
        let mut sql = Sql::new(format!("SELECT created_at FROM {}", self.table));
        conditions.write(&mut sql);
        let created_at = database.optional::<i64>(sql).await?;
        Ok(created_at.map(|created_at| (created_at, id.to_owned())))
    }

    fn select(&self, columns: &str, position: Option<&Position>, comparison: &str, limit: usize) -> Sql {
        let table = self.table;
        let mut sql = Sql::new(format!("SELECT {columns} FROM {table}"));
        if self.select_ids_first {
            sql.push(&format!(" WHERE (created_at, id) IN (SELECT created_at, id FROM {table}"));
        }
        self.conditions.write(&mut sql);
        if let Some((created_at, id)) = position {
            sql.push(&format!(" AND (created_at, id) {comparison} ("));
            sql.push_bind(*created_at).push(", ").push_bind(id).push(")");
        }
        let order = if comparison.starts_with('>') { "ASC" } else { "DESC" };
        let order = format!(" ORDER BY created_at {order}, id {order}");
        sql.push(&order).push(" LIMIT ").push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
        if self.select_ids_first {
            sql.push(")").push(&order);
        }
        sql
    }
}
