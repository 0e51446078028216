//! The log as CSV and as JSON lines, for spreadsheets and other programs. Amounts are exact decimals of dollars.

use super::record::Record;
use crate::base::{Timestamp, Usd};
use crate::job::Mode;
use serde_json::{Map, Value, json};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// RFC 4180 with a header line.
    Csv,
    /// One JSON object a line, with attempts, timeline and adjustments.
    JsonLines,
}

enum Cell<'a> {
    Text(Option<&'a str>),
    Number(Option<i64>),
    Dollars(Option<Usd>),
    Time(Timestamp),
    Bool(bool),
}

type Column = (&'static str, fn(&Record) -> Cell<'_>);

const COLUMNS: [Column; 31] = [
    ("id", |r| Cell::Text(Some(&r.id))),
    ("created_at", |r| Cell::Time(r.created_at)),
    ("account_id", |r| Cell::Text(Some(&r.account_id))),
    ("key_id", |r| Cell::Text(Some(&r.key_id))),
    ("endpoint", |r| Cell::Text(Some(&r.endpoint))),
    ("model", |r| Cell::Text(Some(&r.model))),
    ("executed_model", |r| Cell::Text(r.executed_model.as_deref())),
    ("provider", |r| Cell::Text(r.provider.as_deref())),
    ("modality", |r| Cell::Text(Some(r.modality.as_str()))),
    ("mode", |r| Cell::Text(r.mode.map(Mode::as_str))),
    ("status", |r| Cell::Text(Some(r.status.as_str()))),
    ("cost", |r| Cell::Dollars(r.cost)),
    ("currency", |_| Cell::Text(Some("usd"))),
    ("cost_source", |r| Cell::Text(r.cost_source.as_deref())),
    ("cost_note", |r| Cell::Text(r.cost_note.as_deref())),
    ("cost_estimate", |r| Cell::Dollars(r.cost_estimate)),
    ("cost_uncertain", |r| Cell::Dollars(Some(r.cost_uncertain))),
    ("duration_ms", |r| Cell::Number(r.duration_ms)),
    ("gateway_ms", |r| Cell::Number(r.gateway_ms)),
    ("provider_ms", |r| Cell::Number(r.provider_ms)),
    ("response_ms", |r| Cell::Number(r.response_ms)),
    ("image_count", |r| Cell::Number(Some(r.image_count))),
    ("size", |r| Cell::Text(r.size.as_deref())),
    ("output_format", |r| Cell::Text(r.output_format.as_deref())),
    ("error_code", |r| Cell::Text(r.error_code.as_deref())),
    ("error_message", |r| Cell::Text(r.error_message.as_deref())),
    ("session_id", |r| Cell::Text(r.session_id.as_deref())),
    ("trace_id", |r| Cell::Text(r.trace_id.as_deref())),
    ("user", |r| Cell::Text(r.user.as_deref())),
    ("request_size_bytes", |r| Cell::Number(Some(r.request_size_bytes))),
    ("sandbox", |r| Cell::Bool(r.sandbox)),
];

impl ExportFormat {
    /// The text before the first row.
    pub fn head(self) -> String {
        match self {
            Self::Csv => COLUMNS.map(|(name, _)| name).join(",") + "\r\n",
            Self::JsonLines => String::new(),
        }
    }

    pub fn rows(self, records: &[Record]) -> Vec<u8> {
        match self {
            Self::Csv => write_csv(records),
            Self::JsonLines => records.iter().flat_map(|record| (json_line(record) + "\n").into_bytes()).collect(),
        }
    }
}

fn dollars(amount: Usd) -> String {
    amount.dollars().normalize().to_string()
}

fn write_csv(records: &[Record]) -> Vec<u8> {
    let mut out = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    for record in records {
        let cells = COLUMNS.iter().map(|(_, cell)| match cell(record) {
            Cell::Text(text) => escape_formula(text.unwrap_or_default()),
            Cell::Number(number) => number.map(|number| number.to_string()).unwrap_or_default(),
            Cell::Dollars(amount) => amount.map(dollars).unwrap_or_default(),
            Cell::Time(time) => time.rfc3339(),
            Cell::Bool(value) => value.to_string(),
        });
        // Writing to memory cannot fail, and every row has as many cells.
        let _ = out.write_record(cells);
    }
    out.into_inner().unwrap_or_default()
}

/// Callers choose some texts, and a spreadsheet runs what begins like a formula: an apostrophe in front keeps it a text.
fn escape_formula(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    format!("{}{text}", if formula { "'" } else { "" })
}

fn json_line(record: &Record) -> String {
    let value = |cell| match cell {
        Cell::Text(text) => json!(text),
        Cell::Number(number) => json!(number),
        Cell::Dollars(amount) => json!(amount),
        Cell::Time(time) => json!(time.rfc3339()),
        Cell::Bool(value) => json!(value),
    };
    let mut line: Map<String, Value> =
        COLUMNS.iter().map(|(name, cell)| ((*name).to_owned(), value(cell(record)))).collect();
    for (name, text) in
        [("attempts", &record.attempts), ("timeline", &record.timeline), ("adjustments", &record.adjustments)]
    {
        line.insert(name.to_owned(), serde_json::from_str(text).unwrap_or_default());
    }
    Value::Object(line).to_string()
}
