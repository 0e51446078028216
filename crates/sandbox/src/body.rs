//! A JSON body, read field by field as a provider reads it: the first mistake is told, with its field.

use crate::media::{Limits, inspect};
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// What is wrong with a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flaw {
    pub(super) field: String,
    pub(super) message: String,
}

impl Flaw {
    pub(super) fn new(field: &str, message: impl Into<String>) -> Self {
        Self { field: field.to_owned(), message: message.into() }
    }
}

/// An answer that says no: its status and its body.
#[derive(Debug, Clone)]
pub(super) struct Refusal(pub(super) u16, pub(super) Value);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (StatusCode::from_u16(self.0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), Json(self.1)).into_response()
    }
}

/// The fields of an object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a Map<String, Value>);

impl<'a> Fields<'a> {
    fn said(self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A text.
    pub(super) fn text(self, name: &str) -> Result<Option<&'a str>, Flaw> {
        let read = |value: &'a Value| value.as_str().ok_or_else(|| Flaw::new(name, "must be a string"));
        self.said(name).map(read).transpose()
    }

    /// A text that must be there, of at most so many characters.
    pub(super) fn required(self, name: &str, longest: usize) -> Result<&'a str, Flaw> {
        match self.text(name)? {
            None | Some("") => Err(Flaw::new(name, "is required")),
            Some(text) if text.chars().count() > longest => {
                Err(Flaw::new(name, format!("must have at most {longest} characters")))
            }
            Some(text) => Ok(text),
        }
    }

    /// A text that must be one of these.
    pub(super) fn one_of(self, name: &str, allowed: &[&str]) -> Result<Option<&'a str>, Flaw> {
        match self.text(name)? {
            Some(text) if !allowed.contains(&text) => {
                Err(Flaw::new(name, format!("must be one of {}", allowed.join(", "))))
            }
            text => Ok(text),
        }
    }

    /// A whole number within bounds.
    pub(super) fn whole(self, name: &str, bounds: RangeInclusive<u32>) -> Result<Option<u32>, Flaw> {
        let fits = |value: &Value| value.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| bounds.contains(n));
        let wrong = || Flaw::new(name, format!("must be an integer from {} to {}", bounds.start(), bounds.end()));
        self.said(name).map(|value| fits(value).ok_or_else(wrong)).transpose()
    }

    /// Yes or no.
    pub(super) fn flag(self, name: &str) -> Result<Option<bool>, Flaw> {
        let read = |value: &Value| value.as_bool().ok_or_else(|| Flaw::new(name, "must be a boolean"));
        self.said(name).map(read).transpose()
    }

    /// The objects or texts of a list of at most so many; none when it is not there.
    pub(super) fn list(self, name: &str, most: usize) -> Result<&'a [Value], Flaw> {
        let Some(value) = self.said(name) else { return Ok(&[]) };
        let list = value.as_array().ok_or_else(|| Flaw::new(name, "must be an array"))?;
        if list.len() > most { Err(Flaw::new(name, format!("must have at most {most} items"))) } else { Ok(list) }
    }

    /// An object.
    pub(super) fn object(self, name: &str) -> Result<Option<Fields<'a>>, Flaw> {
        let read = |value: &'a Value| value.as_object().map(Fields).ok_or_else(|| Flaw::new(name, "must be an object"));
        self.said(name).map(read).transpose()
    }
}

/// A file by its address: links on trust, since nothing here goes out; the data of a data address is looked at when it
/// is a picture.
pub(super) fn address(field: &str, value: &Value) -> Result<(), Flaw> {
    let text = value.as_str().ok_or_else(|| Flaw::new(field, "must be a string"))?;
    match text.split_once(";base64,") {
        None if text.starts_with("https://") || text.starts_with("http://") => Ok(()),
        Some((kind, data)) if kind.starts_with("data:image/") => picture(field, data),
        Some((kind, _)) if kind.starts_with("data:video/") => Ok(()),
        _ => Err(Flaw::new(field, "must be a URL or a data URI")),
    }
}

/// A picture in base64.
pub(super) fn picture(field: &str, base64: &str) -> Result<(), Flaw> {
    let wrong = || Flaw::new(field, "is not a picture");
    let data = base64_simd::STANDARD.decode_to_vec(base64).map_err(|_| wrong())?;
    inspect(&data, &Limits::default()).map(drop).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tells_the_first_mistake() {
        let body = json!({"a": "x", "n": 5, "b": true, "l": [1, 2], "o": {}, "none": null});
        let body = Fields(body.as_object().unwrap());
        assert_eq!((body.required("a", 1), body.text("none")), (Ok("x"), Ok(None)));
        assert_eq!((body.one_of("a", &["x"]), body.whole("n", 1..=5)), (Ok(Some("x")), Ok(Some(5))));
        assert_eq!((body.flag("b"), body.list("l", 2).map(<[Value]>::len)), (Ok(Some(true)), Ok(2)));
        assert!(body.object("o").unwrap().is_some());
        for flaw in [
            body.required("none", 9).unwrap_err(),
            body.required("a", 0).unwrap_err(),
            body.one_of("a", &["y"]).unwrap_err(),
            body.whole("n", 1..=4).unwrap_err(),
            body.flag("n").unwrap_err(),
            body.list("l", 1).unwrap_err(),
            body.text("n").unwrap_err(),
        ] {
            assert!(!flaw.message.is_empty());
        }
        assert!(address("a", &json!("https://x/a.png")).is_ok() && address("a", &json!("a.png")).is_err());
        assert!(address("a", &json!("data:image/png;base64,AAAA")).is_err());
    }
}
