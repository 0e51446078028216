//! One SQL text for both databases: numbered placeholders that are written and bound in one step.

use super::connect::Engine;
use crate::store::StoreError;
use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, Arguments, AssertSqlSafe, Encode, Type};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Number,
}

/// Rows sent as one parameter, a JSON array of objects with these columns: `SELECT a, b FROM …`. One text and one
/// plan whatever their number, and no limit on placeholders.
pub(crate) fn rows_of_json(
    engine: Engine,
    columns: &[(&str, Kind)],
    rows: &impl serde::Serialize,
    sql: &mut Sql,
) -> Result<(), StoreError> {
    let json = serde_json::to_string(rows).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    match engine {
        Engine::Sqlite => {
            let values: Vec<String> = names.iter().map(|name| format!("value ->> '$.{name}' AS {name}")).collect();
            // WHERE, or SQLite takes a following ON CONFLICT for a join's condition.
            sql.push(&format!("SELECT {} FROM json_each(", values.join(", "))).bind(json)?.push(") WHERE true");
        }
        Engine::Postgres => {
            let word = |kind| if kind == Kind::Text { "text" } else { "bigint" };
            let typed: Vec<String> = columns.iter().map(|(name, kind)| format!("{name} {}", word(*kind))).collect();
            sql.push(&format!("SELECT {} FROM json_to_recordset(CAST(", names.join(", "))).bind(json)?;
            sql.push(&format!(" AS json)) AS given({})", typed.join(", ")));
        }
    }
    Ok(())
}

/// A value in a condition.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Text(String),
    Number(i64),
}

impl From<&str> for Value {
    /// PostgreSQL refuses a NUL even in a question, and callers can put one into any address.
    fn from(text: &str) -> Self {
        Self::Text(text.replace('\0', "\u{fffd}"))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

/// A statement in the making. Its text comes from this room only; what callers say goes in as bound values.
#[derive(Default)]
pub(crate) struct Sql {
    text: String,
    arguments: AnyArguments,
}

impl Sql {
    pub(crate) fn new(text: &str) -> Self {
        Self { text: text.to_owned(), arguments: AnyArguments::default() }
    }

    /// Goes on with the text.
    pub(crate) fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Writes the next placeholder and binds it.
    pub(crate) fn bind<'t>(&mut self, value: impl Encode<'t, Any> + Type<Any>) -> Result<&mut Self, StoreError> {
        self.arguments.add(value).map_err(sqlx::Error::Encode)?;
        let number = self.arguments.len().to_string();
        Ok(self.push("$").push(&number))
    }

    /// Writes and binds a condition's value.
    pub(crate) fn value(&mut self, value: &Value) -> Result<&mut Self, StoreError> {
        match value {
            Value::Text(text) => self.bind(text.clone()),
            Value::Number(number) => self.bind(*number),
        }
    }

    /// Writes and binds a list, `($1, $2, …)`. It must not be empty.
    pub(crate) fn list<'t>(&mut self, texts: impl IntoIterator<Item = &'t str>) -> Result<&mut Self, StoreError> {
        self.push("(");
        for (number, text) in texts.into_iter().enumerate() {
            self.push(if number == 0 { "" } else { ", " }).bind(text.to_owned())?;
        }
        Ok(self.push(")"))
    }

    /// Ready to run. Never a named statement: behind a pooler that lends connections by the transaction (PgBouncer), a name
    /// from one transaction may not be there in the next, or be there twice.
    pub(crate) fn query(self) -> Query<'static, Any, AnyArguments> {
        sqlx::query_with(AssertSqlSafe(self.text), self.arguments).persistent(false)
    }
}

/// What a list is narrowed down to. Kept apart from the statement because a page asks more than one question.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conditions(Vec<(&'static str, Option<Value>)>);

impl Conditions {
    /// Adds a condition that needs no value, such as `revoked_at IS NULL`.
    pub(crate) fn is(&mut self, condition: &'static str) {
        self.0.push((condition, None));
    }

    /// Adds `comparison value` (`comparison` is `column =` and the like) when there is a value.
    pub(crate) fn when(&mut self, comparison: &'static str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.0.push((comparison, Some(value.into())));
        }
    }

    /// Writes `WHERE …`.
    pub(crate) fn write(&self, sql: &mut Sql) -> Result<(), StoreError> {
        // A condition that always holds, so that callers can go on with AND.
        sql.push(" WHERE 1 = 1");
        for (comparison, value) in &self.0 {
            sql.push(" AND ").push(comparison);
            if let Some(value) = value {
                sql.push(" ").value(value)?;
            }
        }
        Ok(())
    }
}
