//! What a provider says it billed, read from the file that its dashboard or usage API gives.
//!
//! Columns are found by the names of [`Invoice`]. Where a provider documents no export these are not confirmed, so
//! `--columns` can name others.

use crate::base::{Timestamp, Usd};
use crate::providers::invoice::{DOLLAR, Invoice};
use rust_decimal::Decimal;
use std::fmt;
use std::io::Read;

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
pub(super) fn read(layout: &Invoice, renamed: &Renamed, file: impl Read) -> Result<Vec<Line>, String> {
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
    use crate::providers::{ADAPTERS, Adapter, find};

    fn layout(provider: &str) -> &'static Invoice {
        find(provider).and_then(Adapter::invoice).unwrap()
    }

    #[test]
    fn every_layout_reads_its_own_columns() {
        let layouts = ADAPTERS.iter().filter_map(|adapter| Some((adapter.card().id, adapter.invoice()?)));
        for (provider, layout) in layouts {
            let file = format!("extra,{},{}\nx,2026-11-01 10:00:00,2\n", layout.time[0], layout.amount[0]);
            let lines = read(layout, &Renamed::default(), file.as_bytes()).unwrap();
            assert_eq!(lines[0].at.rfc3339(), "2026-11-01T10:00:00.000Z");
            let expected = if provider == "bfl" { 20_000 } else { 2_000_000 };
            assert_eq!(lines[0].amount.micros(), expected, "{provider}");
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
