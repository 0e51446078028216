//! Takes typed parameters out of a JSON object; the error names the parameter and what it should be.

use crate::base::Usd;
use crate::error::Error;
use rust_decimal::Decimal;
use serde_json::{Map, Value};

/// The largest amount that is taken: a billion dollars, in millionths. Sums of such stay within 64 bits.
const MAX_MICROS: i64 = 1_000_000_000_000_000;

/// A JSON object being read: each method removes the parameter that it reads.
pub(in crate::api) struct Fields(pub(in crate::api) Map<String, Value>);

impl Fields {
    /// Any value; `null` counts as absent.
    pub(in crate::api) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    pub(in crate::api) fn string(&mut self, name: &str) -> Result<Option<String>, Error> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(invalid_value(name, "a string", &other)),
        }
    }

    /// An integer within bounds. A number written as text (`"3"`) is read as one: forms send those.
    pub(in crate::api) fn integer(&mut self, name: &str, min: u64, max: u64) -> Result<Option<u64>, Error> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let expected = format!("an integer from {min} to {max}");
        let number = match &value {
            Value::Number(number) => number.as_u64().or_else(|| exact_integer(number.as_f64()?)),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        match number.filter(|number| (min..=max).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(invalid_value(name, &expected, &value)),
        }
    }

    /// An amount of dollars, exact to the millionth: a number, or a text that is one.
    pub(in crate::api) fn dollars(&mut self, name: &str) -> Result<Option<Usd>, Error> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let text = match &value {
            // As it was written: a detour over a double would round.
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.trim().to_owned(),
            _ => String::new(),
        };
        let dollars = text.parse().ok().or_else(|| Decimal::from_scientific(&text).ok());
        let usd = dollars.and_then(Usd::from_dollars).filter(|usd| usd.micros().abs() <= MAX_MICROS);
        usd.map(Some).ok_or_else(|| invalid_value(name, "an amount of dollars, such as 12.50", &value))
    }

    pub(in crate::api) fn bool(&mut self, name: &str) -> Result<Option<bool>, Error> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(value)),
            // Forms have texts only.
            Some(Value::String(text)) if text == "true" || text == "false" => Ok(Some(text == "true")),
            Some(other) => Err(invalid_value(name, "true or false", &other)),
        }
    }

    pub(in crate::api) fn strings(&mut self, name: &str) -> Result<Option<Vec<String>>, Error> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let list =
            value.as_array().and_then(|items| items.iter().map(|item| item.as_str().map(str::to_owned)).collect());
        list.map(Some).ok_or_else(|| invalid_value(name, "a list of strings", &value))
    }

    /// Refuses the parameters that are left.
    pub(in crate::api) fn refuse_unknown(self, known: &[&str]) -> Result<(), Error> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => {
                let shown: String = name.chars().take(60).collect();
                Err(Error::invalid(&shown, format!("Unknown parameter '{shown}'. Known: {}.", known.join(", "))))
            }
        }
    }
}

/// 3.0 is an integer to clients whose numbers are all doubles.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be whole and small")]
fn exact_integer(number: f64) -> Option<u64> {
    (number.fract() == 0.0 && (0.0..1e15).contains(&number)).then_some(number as u64)
}

/// The error for a value of the wrong type or out of range.
pub(in crate::api) fn invalid_value(name: &str, expected: &str, got: &Value) -> Error {
    let got: String = match got {
        Value::String(text) => format!("'{}'", text.chars().take(40).collect::<String>()),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        other => other.to_string(),
    };
    Error::invalid(name, format!("'{name}' should be {expected}, not {got}."))
}
