//! From rows to types. Moments are milliseconds since 1970, amounts are micro-dollars, yes and no are 1 and 0, enums are
//! their serde names.

use super::StoreError;
use crate::base::{Timestamp, Usd};
use crate::job::{Modality, Mode};
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, IntoDeserializer};
use sqlx::any::AnyRow;
use sqlx::{Any, ColumnIndex, Decode, Row, Type};

/// A type that a whole row is read into.
pub(crate) trait FromRow: Sized {
    fn from_row(row: &AnyRow) -> Result<Self, StoreError>;
}

/// A type that one column is read into.
pub(crate) trait FromColumn: Sized {
    type Stored: for<'r> Decode<'r, Any> + Type<Any>;

    fn from_column(stored: Self::Stored) -> Result<Self, StoreError>;
}

pub(crate) fn column<T: FromColumn>(row: &AnyRow, column: impl ColumnIndex<AnyRow>) -> Result<T, StoreError> {
    T::from_column(row.try_get::<T::Stored, _>(column)?)
}

/// Reads an enum by its serde name.
pub(crate) fn enum_column<T: DeserializeOwned>(what: &'static str, stored: String) -> Result<T, StoreError> {
    let deserializer: StrDeserializer<'_, serde::de::value::Error> = stored.as_str().into_deserializer();
    T::deserialize(deserializer).map_err(|_| StoreError::Unknown { what, value: stored })
}

/// A query of one column.
impl<T: FromColumn> FromRow for T {
    fn from_row(row: &AnyRow) -> Result<Self, StoreError> {
        column(row, 0)
    }
}

/// A query of two columns.
impl<A: FromColumn, B: FromColumn> FromRow for (A, B) {
    fn from_row(row: &AnyRow) -> Result<Self, StoreError> {
        Ok((column(row, 0)?, column(row, 1)?))
    }
}

/// A query of three columns.
impl<A: FromColumn, B: FromColumn, C: FromColumn> FromRow for (A, B, C) {
    fn from_row(row: &AnyRow) -> Result<Self, StoreError> {
        Ok((column(row, 0)?, column(row, 1)?, column(row, 2)?))
    }
}

impl<T: FromColumn> FromColumn for Option<T> {
    type Stored = Option<T::Stored>;

    fn from_column(stored: Self::Stored) -> Result<Self, StoreError> {
        stored.map(T::from_column).transpose()
    }
}

impl FromColumn for String {
    type Stored = Self;

    fn from_column(stored: Self) -> Result<Self, StoreError> {
        Ok(stored)
    }
}

impl FromColumn for i64 {
    type Stored = Self;

    fn from_column(stored: Self) -> Result<Self, StoreError> {
        Ok(stored)
    }
}

impl FromColumn for bool {
    type Stored = i64;

    fn from_column(stored: i64) -> Result<Self, StoreError> {
        Ok(stored != 0)
    }
}

impl FromColumn for Usd {
    type Stored = i64;

    fn from_column(stored: i64) -> Result<Self, StoreError> {
        Ok(Self::from_micros(stored))
    }
}

impl FromColumn for Timestamp {
    type Stored = i64;

    fn from_column(stored: i64) -> Result<Self, StoreError> {
        Ok(Self::from_millis(stored))
    }
}

impl FromColumn for Modality {
    type Stored = String;

    fn from_column(stored: String) -> Result<Self, StoreError> {
        enum_column("modality", stored)
    }
}

impl FromColumn for Mode {
    type Stored = String;

    fn from_column(stored: String) -> Result<Self, StoreError> {
        enum_column("mode", stored)
    }
}
