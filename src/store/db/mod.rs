//! The database: connections, migrations, statements, rows, pages. Knows SQLite and PostgreSQL, and no table besides the
//! partitions of the request log.

pub(crate) mod availability;
pub(crate) mod connect;
pub(crate) mod database;
pub(crate) mod error;
mod migrations;
pub(crate) mod page;
pub(crate) mod partitions;
pub(crate) mod row;
pub(crate) mod sql;
pub(crate) mod text;

pub(crate) use database::Database;
pub(crate) use error::StoreError;
pub(crate) use row::{FromColumn, FromRow, column, enum_column};
pub(crate) use sql::{Conditions, Sql};
