//! One SQL text for both databases: numbered placeholders that are written and bound in one step.

use super::StoreError;
use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, Arguments, AssertSqlSafe, Encode, Type};

/// A value in a condition.
#[derive(Debug, Clone)]
pub(super) enum Value {
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
pub(super) struct Sql {
    text: String,
    arguments: AnyArguments,
}

impl Sql {
    pub(super) fn new(text: &str) -> Self {
        Self { text: text.to_owned(), arguments: AnyArguments::default() }
    }

    /// Goes on with the text.
    pub(super) fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Writes the next placeholder and binds it.
    pub(super) fn bind<'t>(&mut self, value: impl Encode<'t, Any> + Type<Any>) -> Result<&mut Self, StoreError> {
        self.arguments.add(value).map_err(sqlx::Error::Encode)?;
        let number = self.arguments.len().to_string();
        Ok(self.push("$").push(&number))
    }

    /// Writes and binds a condition's value.
    pub(super) fn value(&mut self, value: &Value) -> Result<&mut Self, StoreError> {
        match value {
            Value::Text(text) => self.bind(text.clone()),
            Value::Number(number) => self.bind(*number),
        }
    }

    /// Ready to run.
    pub(super) fn query(self) -> Query<'static, Any, AnyArguments> {
        sqlx::query_with(AssertSqlSafe(self.text), self.arguments)
    }
}

/// What a list is narrowed down to. Kept apart from the statement because a page asks more than one question.
#[derive(Debug, Clone, Default)]
pub(super) struct Conditions(Vec<(&'static str, Option<Value>)>);

impl Conditions {
    /// Adds a condition that needs no value, such as `revoked_at IS NULL`.
    pub(super) fn is(&mut self, condition: &'static str) {
        self.0.push((condition, None));
    }

    /// Adds `comparison value` (`comparison` is `column =` and the like) when there is a value.
    pub(super) fn when(&mut self, comparison: &'static str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.0.push((comparison, Some(value.into())));
        }
    }

    /// Writes `WHERE …`.
    pub(super) fn write(&self, sql: &mut Sql) -> Result<(), StoreError> {
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
