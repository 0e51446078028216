//! SQL that both databases take. A statement is one whole text with `$1`, `$2`, ... where it is known, and put together
//! from pieces only where it depends on what is asked.

use super::StoreError;
use super::connect::Engine;
use super::text::clean;
use crate::base::{Timestamp, Usd};
use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe};
use std::borrow::Cow;
use std::convert::identity;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Number,
}

/// A value to bind. PostgreSQL refuses a NUL in a text, and callers can put one into any id, so it is replaced here.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Text(Option<String>),
    Number(Option<i64>),
}

/// Values and optional values of each type.
macro_rules! values {
    ($($type:ty => $kind:ident, $convert:expr;)*) => {$(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::$kind(Some($convert(value)))
            }
        }

        impl From<Option<$type>> for Value {
            fn from(value: Option<$type>) -> Self {
                Self::$kind(value.map($convert))
            }
        }
    )*};
}

values! {
    &str => Text, to_text;
    &String => Text, to_text;
    String => Text, without_nul;
    i64 => Number, identity;
    u32 => Number, i64::from;
    u16 => Number, i64::from;
    bool => Number, i64::from;
    Usd => Number, Usd::micros;
    Timestamp => Number, Timestamp::millis;
}

fn to_text(text: impl AsRef<str>) -> String {
    without_nul(text.as_ref().to_owned())
}

fn without_nul(mut text: String) -> String {
    clean(&mut text, usize::MAX);
    text
}

/// A statement. Its text comes from this module's callers only; what users say goes in as bound values.
#[derive(Debug)]
pub(crate) struct Sql {
    text: Cow<'static, str>,
    values: Vec<Value>,
}

impl Sql {
    pub(crate) fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: text.into(), values: Vec::new() }
    }

    /// Binds the next placeholder of a whole text.
    #[must_use]
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Adds to the text.
    pub(crate) fn push(&mut self, text: &str) -> &mut Self {
        self.text.to_mut().push_str(text);
        self
    }

    /// Adds a placeholder and binds it.
    pub(crate) fn push_bind(&mut self, value: impl Into<Value>) -> &mut Self {
        self.values.push(value.into());
        let placeholder = format!("${}", self.values.len());
        self.push(&placeholder)
    }

    /// Adds a list, `($1, $2, ...)`. It must not be empty.
    pub(crate) fn push_list<'t>(&mut self, texts: impl IntoIterator<Item = &'t str>) -> &mut Self {
        self.push("(");
        for (number, text) in texts.into_iter().enumerate() {
            self.push(if number == 0 { "" } else { ", " }).push_bind(text);
        }
        self.push(")")
    }

    /// Adds `SELECT a, b FROM ...` over rows that are sent as one parameter, a JSON array of objects with these columns: one
    /// text and one plan whatever their number, and no limit on placeholders.
    pub(crate) fn push_rows(
        &mut self,
        engine: Engine,
        columns: &[(&str, Kind)],
        rows: &impl serde::Serialize,
    ) -> Result<&mut Self, StoreError> {
        let json = serde_json::to_string(rows).map_err(|error| sqlx::Error::Encode(error.into()))?;
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        Ok(match engine {
            Engine::Sqlite => {
                let values: Vec<String> = names.iter().map(|name| format!("value ->> '$.{name}' AS {name}")).collect();
                // WHERE, or SQLite takes a following ON CONFLICT for a join's condition.
                self.push(&format!("SELECT {} FROM json_each(", values.join(", "))).push_bind(json).push(") WHERE true")
            }
            Engine::Postgres => {
                let word = |kind| if kind == Kind::Text { "text" } else { "bigint" };
                let typed: Vec<String> = columns.iter().map(|(name, kind)| format!("{name} {}", word(*kind))).collect();
                self.push(&format!("SELECT {} FROM json_to_recordset(CAST(", names.join(", ")))
                    .push_bind(json)
                    .push(&format!(" AS json)) AS given({})", typed.join(", ")))
            }
        })
    }

    /// Ready to run. Never a named statement: behind a pooler that lends connections by the transaction (PgBouncer), a name
    /// from one transaction may not be there in the next, or be there twice.
    pub(crate) fn query(self) -> Query<'static, Any, AnyArguments> {
        let query = sqlx::query(AssertSqlSafe(self.text)).persistent(false);
        self.values.into_iter().fold(query, |query, value| match value {
            Value::Text(text) => query.bind(text),
            Value::Number(number) => query.bind(number),
        })
    }
}

/// A condition of a query, with the value that it compares with. Kept apart from the statement because a page asks more
/// than one query.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conditions(Vec<(&'static str, Option<Value>)>);

impl Conditions {
    /// Adds a condition without a value, such as `revoked_at IS NULL`.
    pub(crate) fn is(&mut self, condition: &'static str) {
        self.0.push((condition, None));
    }

    /// Adds `comparison value` (`comparison` is `column =` and the like) when there is a value.
    pub(crate) fn when(&mut self, comparison: &'static str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.0.push((comparison, Some(value.into())));
        }
    }

    /// Writes `WHERE ...`.
    pub(crate) fn write(&self, sql: &mut Sql) {
        // A condition that always holds, so that callers can go on with AND.
        sql.push(" WHERE 1 = 1");
        for (comparison, value) in &self.0 {
            sql.push(" AND ").push(comparison);
            if let Some(value) = value {
                sql.push(" ").push_bind(value.clone());
            }
        }
    }
}

/// An UPDATE of one row that names only the columns that change, so that two changes at once cannot undo each other. It
/// begins with `first`, an assignment that changes nothing, as there may be no other.
pub(crate) fn update(table: &str, first: &str, assignments: Vec<(&'static str, Value)>) -> Sql {
    let mut sql = Sql::new(format!("UPDATE {table} SET {first}"));
    for (column, value) in assignments {
        sql.push(&format!(", {column} = ")).push_bind(value);
    }
    sql
}
