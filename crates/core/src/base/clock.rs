//! The only place that reads the wall clock. Durations are measured with tokio's `Instant`, which tests can pause.

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A moment, in milliseconds since the Unix epoch. What the databases store and what ids are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The present moment.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn now() -> Self {
        Self(Utc::now().timestamp_millis())
    }

    /// From milliseconds since the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, as OpenAI's `created` wants them.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Whole minutes since the epoch.
    pub const fn minute(self) -> i64 {
        self.0.div_euclid(60_000)
    }

    /// Whole hours since the epoch.
    pub const fn hour(self) -> i64 {
        self.0.div_euclid(3_600_000)
    }

    /// Whole days since the epoch, in UTC.
    pub const fn day(self) -> i64 {
        self.0.div_euclid(86_400_000)
    }

    /// Whole months since January 1970, in UTC.
    pub fn month(self) -> i64 {
        let date = DateTime::from_timestamp_millis(self.0).unwrap_or_default();
        (i64::from(date.year()) - 1970) * 12 + i64::from(date.month0())
    }

    /// The first moment of a month that is counted as [`Timestamp::month`] counts.
    pub fn of_month(month: i64) -> Self {
        let year = i32::try_from(1970 + month.div_euclid(12)).unwrap_or(1970);
        let first =
            u32::try_from(month.rem_euclid(12)).ok().and_then(|month0| NaiveDate::from_ymd_opt(year, month0 + 1, 1));
        Self(first.unwrap_or_default().and_time(NaiveTime::MIN).and_utc().timestamp_millis())
    }

    /// `2026-03-15T14:32:10.000Z`.
    pub fn rfc3339(self) -> String {
        DateTime::from_timestamp_millis(self.0).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
    }

    /// Reads ISO 8601: a date (its first moment, UTC) or a date and time with an offset. `None` when it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
            return Some(Self(moment.timestamp_millis()));
        }
        let day = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
        Some(Self(day.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis()))
    }

    /// This moment and so much later.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This moment and so much earlier.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_iso_8601() {
        let moment = Timestamp::parse("2026-03-15T14:32:10Z").unwrap();
        assert_eq!(moment.rfc3339(), "2026-03-15T14:32:10.000Z");
        assert_eq!(Timestamp::parse("2026-03-15T15:32:10.000+01:00"), Some(moment));
        assert_eq!(Timestamp::parse("2026-03-15").unwrap().rfc3339(), "2026-03-15T00:00:00.000Z");
        assert_eq!(Timestamp::parse("yesterday"), None);
    }

    #[test]
    fn months_begin_where_they_should() {
        for month in [-13, -1, 0, 1, 11, 12, 682, 683] {
            let first = Timestamp::of_month(month);
            assert_eq!((first.month(), Timestamp::from_millis(first.0 - 1).month()), (month, month - 1));
        }
        assert_eq!(Timestamp::of_month(682).rfc3339(), "2026-11-01T00:00:00.000Z");
    }
}
