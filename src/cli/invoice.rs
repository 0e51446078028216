//! What a provider says it billed, read from the file that its dashboard or usage API gives.
//!
//! Columns are found by name, whatever their order and whatever stands beside them. The names below are the fields of the
//! providers' usage interfaces (OpenAI: `GET /v1/organization/costs`, read 2026-11-20) and, where a provider documents no
//! export, the names of the same things in its API: those are not confirmed, so `--columns` can name others.

use crate::base::{Timestamp, Usd};
use rust_decimal::Decimal;
use std::fmt;
use std::io::Read;

/// How a provider's file is read.
pub(super) struct Layout {
    /// The provider's id in the log.
    pub(super) provider: &'static str,
    time: &'static [&'static str],
    amount: &'static [&'static str],
    what: &'static [&'static str],
    id: &'static [&'static str],
    /// Millionths of a dollar in one unit of the amount.
    unit: i64,
    /// Whether a line is the sum of a day (UTC) and not one call.
    pub(super) daily: bool,
}

const DOLLAR: i64 = 1_000_000;

pub(super) const LAYOUTS: [Layout; 5] = [
    Layout {
        provider: "openai",
        time: &["start_time_iso", "start_time", "date"],
        amount: &["amount_value", "amount", "cost"],
        what: &["line_item", "model"],
        id: &[],
        unit: DOLLAR,
        daily: true,
    },
    Layout {
        provider: "fal",
        time: &["timestamp", "created_at", "started_at", "date"],
        amount: &["cost", "cost_usd", "amount"],
        what: &["endpoint_id", "endpoint", "model"],
        id: &["request_id"],
        unit: DOLLAR,
        daily: false,
    },
    Layout {
        provider: "replicate",
        time: &["created_at", "started_at", "date"],
        amount: &["cost", "cost_usd", "amount"],
        what: &["model", "version"],
        id: &["prediction_id", "id"],
        unit: DOLLAR,
        daily: false,
    },
    Layout {
        provider: "bfl",
        time: &["created_at", "timestamp", "date"],
        amount: &["credits", "cost"],
        what: &["model", "endpoint"],
        id: &["task_id", "id"],
        // A credit is a cent (<https://docs.bfl.ai/quick_start/pricing>, 2026-11).
        unit: DOLLAR / 100,
        daily: false,
    },
    Layout {
        provider: "runware",
        time: &["createdAt", "created_at", "date"],
        amount: &["cost"],
        what: &["model", "taskType"],
        id: &["taskUUID"],
        unit: DOLLAR,
        daily: false,
    },
];

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Where it stands in the file, counting from 1.
    pub(super) number: u64,
    pub(super) at: Timestamp,
    pub(super) amount: Usd,
    /// Model, endpoint or whatever the provider calls it.
    pub(super) what: String,
    /// The provider's id of the call.
    pub(super) id: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {:<6} {}  {}  {} {}", self.number, self.at.rfc3339(), self.amount, self.what, self.id)
    }
}

/// Other names for columns: `time=…,amount=…`.
#[derive(Debug, Clone, Default)]
pub(super) struct Renamed(Vec<(String, String)>);

impl Renamed {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let known = ["time", "amount", "what", "id"];
        let pair = |pair: &str| match pair.split_once('=') {
            Some((role, name)) if known.contains(&role) => Ok((role.to_owned(), name.to_owned())),
            _ => Err(format!("'{pair}' should be one of time=, amount=, what=, id= and a column's name")),
        };
        text.split(',').map(pair).collect::<Result<_, _>>().map(Self)
    }

    fn of(&self, role: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == role).map(|(_, name)| name.as_str())
    }
}

/// Reads the file. Every mistake is named with its line.
pub(super) fn read(layout: &Layout, renamed: &Renamed, file: impl Read) -> Result<Vec<Line>, String> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(file);
    let heads = reader.headers().map_err(|error| error.to_string())?.clone();
    let find = |role: &str, names: &[&str]| match renamed.of(role) {
        Some(name) => heads.iter().position(|head| head == name),
        None => names.iter().find_map(|name| heads.iter().position(|head| head.eq_ignore_ascii_case(name))),
    };
    let need = |role: &str, names: &[&str]| {
        find(role, names).ok_or_else(|| {
            let (known, seen) = (names.join(", "), heads.iter().collect::<Vec<_>>().join(", "));
            format!("no column for the {role} (known: {known}; in the file: {seen}). Name it: --columns {role}=…")
        })
    };
    let (time, amount) = (need("time", layout.time)?, need("amount", layout.amount)?);
    let (what, id) = (find("what", layout.what), find("id", layout.id));
    let mut lines = Vec::new();
    for row in reader.records() {
        let row = row.map_err(|error| error.to_string())?;
        let number = row.position().map_or(0, csv::Position::line);
        let cell = |column: Option<usize>| column.and_then(|column| row.get(column)).unwrap_or_default().to_owned();
        let (at, money) = (cell(Some(time)), cell(Some(amount)));
        let at = moment(&at).ok_or_else(|| format!("line {number}: '{at}' is no moment"))?;
        let money = usd(&money, layout.unit).ok_or_else(|| format!("line {number}: '{money}' is no amount"))?;
        if money != Usd::ZERO {
            lines.push(Line { number, at, amount: money, what: cell(what), id: cell(id) });
        }
    }
    Ok(lines)
}

/// ISO 8601, with a space for the T and without a zone too (UTC then), or seconds since 1970.
fn moment(text: &str) -> Option<Timestamp> {
    if let Ok(seconds) = text.parse::<i64>() {
        return Some(Timestamp::from_millis(seconds.checked_mul(1000)?));
    }
    let text = text.replacen(' ', "T", 1).replace(" UTC", "Z");
    Timestamp::parse(&text).or_else(|| Timestamp::parse(&format!("{text}Z")))
}

/// An amount, with or without a dollar sign; what was billed is positive however the file writes it.
fn usd(text: &str, unit: i64) -> Option<Usd> {
    let text = text.replace(['$', ','], "");
    let number: Decimal = text.parse().ok().or_else(|| Decimal::from_scientific(&text).ok())?;
    Usd::from_dollars((number * Decimal::from(unit)).checked_div(Decimal::from(DOLLAR))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(provider: &str) -> &'static Layout {
        LAYOUTS.iter().find(|layout| layout.provider == provider).unwrap()
    }

    #[test]
    fn every_layout_reads_its_own_columns() {
        for layout in &LAYOUTS {
            let file = format!("extra,{},{}\nx,2026-11-01 10:00:00,2\n", layout.time[0], layout.amount[0]);
            let lines = read(layout, &Renamed::default(), file.as_bytes()).unwrap();
            assert_eq!(lines[0].at.rfc3339(), "2026-11-01T10:00:00.000Z");
            let expected = if layout.provider == "bfl" { 20_000 } else { 2_000_000 };
            assert_eq!(lines[0].amount.micros(), expected, "{}", layout.provider);
        }
    }

    #[test]
    fn mistakes_are_named() {
        let renamed = Renamed::parse("time=When").unwrap();
        let read = |file: &str| read(layout("fal"), &renamed, file.as_bytes());
        assert!(read("timestamp,cost\n").unwrap_err().contains("--columns time="));
        assert!(read("When,cost\nyesterday,1\n").unwrap_err().contains("line 2: 'yesterday'"));
        assert!(read("When,cost\n2026-11-01,much\n").unwrap_err().contains("line 2: 'much'"));
        assert_eq!(read("When,cost\n1762000000,\"$1,000.50\"\n").unwrap()[0].amount.micros(), 1_000_500_000);
        assert!(Renamed::parse("when=x").is_err());
    }
}
