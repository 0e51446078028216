//! The fields of a body, read one by one.

use super::error::Refusal;
use serde_json::{Map, Value};

/// A text of the body.
pub(super) fn text<'a>(body: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Refusal> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Refusal::misshapen(&format!("invalid type for `{name}`: expected a string"))),
    }
}

pub(super) fn one_of<'a>(
    body: &'a Map<String, Value>,
    name: &str,
    allowed: &[&str],
) -> Result<Option<&'a str>, Refusal> {
    match text(body, name)? {
        Some(value) if !allowed.contains(&value) => {
            let text = format!("Invalid value '{value}' for {name}, expected one of: {}", allowed.join(", "));
            Err(Refusal::invalid(text))
        }
        value => Ok(value),
    }
}

pub(super) fn whole(body: &Map<String, Value>, name: &str, least: u64, most: u64) -> Result<Option<u32>, Refusal> {
    let value = match body.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value.as_u64(),
    };
    match value {
        None => Err(Refusal::misshapen(&format!("invalid type for `{name}`: expected u32"))),
        Some(number) if !(least..=most).contains(&number) => {
            Err(Refusal::invalid(format!("{name} must be between {least} and {most}, found {number}")))
        }
        Some(number) => Ok(u32::try_from(number).ok()),
    }
}
