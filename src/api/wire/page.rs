//! Cursor pages: `limit`, `starting_after`, `ending_before` in; relative links to both neighbours out.

use crate::error::Error;
use crate::store::{Cursor, Page};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The query of a list call, being read: each method removes the parameter that it reads.
pub(in crate::api) struct ListQuery(pub(in crate::api) BTreeMap<String, String>);

impl ListQuery {
    /// One parameter; an empty one counts as absent.
    pub(in crate::api) fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name).filter(|value| !value.is_empty())
    }

    /// The page: 20 rows from the newest by default.
    pub(in crate::api) fn page(&mut self) -> Result<Page, Error> {
        let limit = match self.take("limit") {
            None => 20,
            Some(text) => match text.parse() {
                Ok(limit @ 1..=100) => limit,
                _ => return Err(Error::invalid("limit", "'limit' should be an integer from 1 to 100.")),
            },
        };
        let cursor = match (self.take("starting_after"), self.take("ending_before")) {
            (None, None) => Cursor::Start,
            (Some(id), None) => Cursor::After(id),
            (None, Some(id)) => Cursor::Before(id),
            _ => {
                let text = "'starting_after' and 'ending_before' cannot be combined.";
                return Err(Error::invalid("ending_before", text));
            }
        };
        Ok(Page { limit, cursor })
    }

    /// Refuses the parameters that are left.
    pub(in crate::api) fn refuse_unknown(self, known: &[&str]) -> Result<(), Error> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => {
                let shown: String = name.chars().take(60).collect();
                let known = known.join(", ");
                Err(Error::invalid(
                    &shown,
                    format!("Unknown parameter '{shown}'. Known: {known}, limit, starting_after, ending_before."),
                ))
            }
        }
    }
}

/// The error for a cursor that is not a row.
pub(in crate::api) fn no_such_cursor(page: &Page) -> Error {
    let param = if matches!(page.cursor, Cursor::Before(_)) { "ending_before" } else { "starting_after" };
    Error::invalid(param, format!("'{param}' is not the id of a row in this list."))
}

/// One page of a list.
pub(in crate::api) struct PageBody<'a> {
    pub(in crate::api) path: &'a str,
    /// The query of the request: the links to the neighbouring pages keep its filters.
    pub(in crate::api) query: &'a BTreeMap<String, String>,
    /// Items, newest first, with their ids.
    pub(in crate::api) items: Vec<(String, Value)>,
    pub(in crate::api) has_older: bool,
    pub(in crate::api) has_newer: bool,
}

impl PageBody<'_> {
    /// `{"object": "list", "data": […], "next_page_url": …, "previous_page_url": …}`
    pub(in crate::api) fn into_value(self) -> Value {
        let next = self.items.last().filter(|_| self.has_older).map(|(id, _)| self.link("starting_after", id));
        let previous = self.items.first().filter(|_| self.has_newer).map(|(id, _)| self.link("ending_before", id));
        let data: Vec<Value> = self.items.into_iter().map(|(_, item)| item).collect();
        json!({"object": "list", "data": data, "next_page_url": next, "previous_page_url": previous})
    }

    fn link(&self, cursor: &str, id: &str) -> String {
        let mut pairs = vec![(cursor, id)];
        let kept = self.query.iter().filter(|(name, _)| !matches!(name.as_str(), "starting_after" | "ending_before"));
        pairs.extend(kept.map(|(name, value)| (name.as_str(), value.as_str())));
        let query: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
        format!("{}?{}", self.path, query.join("&"))
    }
}

/// Percent-encodes all but unreserved characters.
fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => {
                // Writing to a string cannot fail.
                let _ = write!(out, "%{byte:02X}");
            }
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_keep_every_filter() {
        let query = BTreeMap::from([
            ("limit".to_owned(), "5".to_owned()),
            ("model".to_owned(), "a b&c".to_owned()),
            ("starting_after".to_owned(), "old".to_owned()),
        ]);
        let items = vec![("req_1".to_owned(), json!(1)), ("req_2".to_owned(), json!(2))];
        let shown =
            PageBody { path: "/v1/requests", query: &query, items, has_older: true, has_newer: false }.into_value();
        assert_eq!(shown["next_page_url"], "/v1/requests?starting_after=req_2&limit=5&model=a%20b%26c");
        assert_eq!(shown["previous_page_url"], Value::Null);
    }
}
