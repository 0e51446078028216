//! Takes typed parameters out of a JSON object; the error names the parameter and what it should be.

use crate::base::Usd;
use crate::error::Error;
use rust_decimal::Decimal;
use serde_json::{Map, Value};

/// The largest amount that is taken: a billion dollars, in millionths. Sums of such stay within 64 bits.
const MOST: i64 = 1_000_000_000_000_000;

/// A JSON object being read: what has been taken is gone, the rest remains.
pub(in crate::api) struct Fields(pub(in crate::api) Map<String, Value>);

/// Takes one parameter; `null` is the term that clears, where that can be.
pub(in crate::api) type ReadTerm<T> = fn(&mut Fields, &str) -> Result<T, Error>;

impl Fields {
    /// Reads what is named, be it `null`, each by its reader.
    pub(in crate::api) fn terms<T>(&mut self, table: &[(&str, ReadTerm<T>)]) -> Result<Vec<T>, Error> {
        let mut terms = Vec::new();
        for (name, read) in table {
            if self.0.contains_key(*name) {
                terms.push(read(self, name)?);
            }
        }
        Ok(terms)
    }

    /// Takes a value; `null` counts as absent.
    pub(in crate::api) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    /// Takes a text.
    pub(in crate::api) fn text(&mut self, name: &str) -> Result<Option<String>, Error> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(name, "a string", &other)),
        }
    }

    /// Takes a whole number within bounds. A number written as text (`"3"`) is read as one: forms send those.
    pub(in crate::api) fn number(&mut self, name: &str, least: u64, most: u64) -> Result<Option<u64>, Error> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let expected = format!("an integer from {least} to {most}");
        let number = match &value {
            Value::Number(number) => number.as_u64().or_else(|| whole(number.as_f64()?)),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        match number.filter(|number| (least..=most).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(wrong(name, &expected, &value)),
        }
    }

    /// Takes an amount of dollars, exact to the millionth: a number, or a text that is one.
    pub(in crate::api) fn dollars(&mut self, name: &str) -> Result<Option<Usd>, Error> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let text = match &value {
            // As it was written: a detour over a double would round.
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.trim().to_owned(),
            _ => String::new(),
        };
        let dollars = text.parse().ok().or_else(|| Decimal::from_scientific(&text).ok());
        let usd = dollars.and_then(Usd::from_dollars).filter(|usd| usd.micros().abs() <= MOST);
        usd.map(Some).ok_or_else(|| wrong(name, "an amount of dollars, such as 12.50", &value))
    }

    /// Takes a truth value.
    pub(in crate::api) fn truth(&mut self, name: &str) -> Result<Option<bool>, Error> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(truth)) => Ok(Some(truth)),
            // Forms have texts only.
            Some(Value::String(text)) if text == "true" || text == "false" => Ok(Some(text == "true")),
            Some(other) => Err(wrong(name, "true or false", &other)),
        }
    }

    /// Takes a list of texts.
    pub(in crate::api) fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>, Error> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let list =
            value.as_array().and_then(|items| items.iter().map(|item| item.as_str().map(str::to_owned)).collect());
        list.map(Some).ok_or_else(|| wrong(name, "a list of strings", &value))
    }

    /// Refuses whatever was not taken.
    pub(in crate::api) fn finish(self, known: &[&str]) -> Result<(), Error> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => {
                let shown: String = name.chars().take(60).collect();
                Err(Error::invalid(&shown, format!("Unknown parameter '{shown}'. Known: {}.", known.join(", "))))
            }
        }
    }
}

/// 3.0 is a whole number to clients whose numbers are all doubles.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be whole and small")]
fn whole(number: f64) -> Option<u64> {
    (number.fract() == 0.0 && (0.0..1e15).contains(&number)).then_some(number as u64)
}

/// The error for a value of the wrong kind.
pub(in crate::api) fn wrong(name: &str, expected: &str, got: &Value) -> Error {
    let got: String = match got {
        Value::String(text) => format!("'{}'", text.chars().take(40).collect::<String>()),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        other => other.to_string(),
    };
    Error::invalid(name, format!("'{name}' should be {expected}, not {got}."))
}
