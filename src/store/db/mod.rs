//! The database: how it is opened and asked, on SQLite and PostgreSQL alike.

pub(crate) mod connect;
pub(crate) mod error;
pub(crate) mod page;
pub(crate) mod partitions;
pub(crate) mod sql;
