//! One exchange with a provider, as plain data: no key inside, so it may be stored, logged and put in a fixture.

use crate::base::Timestamp;
use crate::fault::{Accepted, Fault, FaultKind};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

/// What a call is for. Only a `Submit` may buy something; everything else may be repeated freely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leg {
    /// Creates: the provider may bill it.
    Submit,
    /// Asks how a job is doing.
    Poll,
    /// Reads a finished job.
    Fetch,
    /// Stops a job.
    Cancel,
}

/// HTTP methods that providers use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verb {
    /// GET.
    Get,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// DELETE.
    Delete,
}

impl Verb {
    /// As on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// The body of a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// None.
    Empty,
    /// A JSON document.
    Json(Value),
    /// `multipart/form-data`.
    Form(Vec<Part>),
}

/// One part of a form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// The field's name.
    pub name: String,
    /// What it holds.
    pub content: Content,
}

/// What a form part holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// A text field.
    Text(String),
    /// A file.
    File {
        /// Its name.
        name: String,
        /// Its media type.
        mime: String,
        /// Its bytes. Not stored: only calls made after the submit are, and those carry no file.
        #[serde(skip)]
        bytes: Bytes,
    },
}

/// A complete request to a provider, all but the credential.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// What it is for.
    pub leg: Leg,
    /// The method.
    pub verb: Verb,
    /// The whole address.
    pub url: String,
    /// Headers besides the credential and the body's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// The body.
    pub payload: Payload,
    /// The one text an adapter may carry from leg to leg.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memo: Option<String>,
}

impl Call {
    /// A creating POST with a JSON body.
    pub fn submit(url: String, body: Value) -> Self {
        Self { leg: Leg::Submit, verb: Verb::Post, url, headers: Vec::new(), payload: Payload::Json(body), memo: None }
    }

    /// A GET that asks how a job is doing.
    pub fn poll(url: String) -> Self {
        Self { leg: Leg::Poll, verb: Verb::Get, url, headers: Vec::new(), payload: Payload::Empty, memo: None }
    }

    /// A GET that reads a finished job.
    pub fn fetch(url: String) -> Self {
        Self { leg: Leg::Fetch, ..Self::poll(url) }
    }

    /// A bare call that stops a job.
    pub fn cancel(verb: Verb, url: String) -> Self {
        Self { leg: Leg::Cancel, verb, ..Self::poll(url) }
    }

    /// The same, carrying a memo.
    #[must_use]
    pub fn memo(mut self, memo: impl Into<String>) -> Self {
        self.memo = Some(memo.into());
        self
    }
}

/// The media type of a stream of events.
pub const EVENTS: &str = "text/event-stream";

/// A provider's answer, whole; of one that came as events, the head only.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// When the provider wants to be asked again, counted from the arrival of this reply.
    pub retry_after: Option<Duration>,
    /// The body. Inline pictures are slices of it.
    pub body: Bytes,
}

impl Reply {
    /// A reply that arrived at `now`.
    pub fn new(status: u16, headers: Vec<(String, String)>, body: Bytes, now: Timestamp) -> Self {
        let retry_after = retry_after(&headers, now);
        Self { status, headers, retry_after, body }
    }

    /// The first header of that lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// Whether it came as events, each of which has been handed over already.
    pub fn streamed(&self) -> bool {
        self.ok() && self.header("content-type").is_some_and(|kind| kind.starts_with(EVENTS))
    }

    /// Whether the status is 2xx.
    pub const fn ok(&self) -> bool {
        self.status >= 200 && self.status < 300
    }

    /// The body as JSON, borrowed from it. A fault says what did not fit; an answer to a submit may have been billed.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Fault> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Fault::new(FaultKind::Malformed, format!("the provider's answer is not what it should be: {error}"))
                .status(self.status)
                .accepted(if self.ok() { Accepted::Maybe } else { Accepted::No })
        })
    }
}

/// `retry-after-ms`, or `retry-after` in seconds or as a date.
fn retry_after(headers: &[(String, String)], now: Timestamp) -> Option<Duration> {
    let header = |name: &str| headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.trim());
    if let Some(millis) = header("retry-after-ms").and_then(|text| text.parse::<f64>().ok()) {
        return Duration::try_from_secs_f64(millis / 1000.0).ok();
    }
    let text = header("retry-after")?;
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = chrono::DateTime::parse_from_rfc2822(text).ok()?;
    let wait = date.timestamp_millis().saturating_sub(now.millis());
    Some(Duration::from_millis(u64::try_from(wait).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn reads_every_form_of_retry_after() {
        let now = Timestamp::parse("2026-11-20T10:00:00Z").unwrap();
        let wait = |headers: &[(&str, &str)]| {
            let headers = headers.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
            Reply::new(429, headers, Bytes::new(), now).retry_after
        };
        assert_eq!(wait(&[("retry-after", "3")]), Some(Duration::from_secs(3)));
        assert_eq!(wait(&[("retry-after-ms", "250"), ("retry-after", "3")]), Some(Duration::from_millis(250)));
        assert_eq!(wait(&[("retry-after", "Fri, 20 Nov 2026 10:00:05 GMT")]), Some(Duration::from_secs(5)));
        assert_eq!(wait(&[("retry-after", "Fri, 20 Nov 2026 09:00:05 GMT")]), Some(Duration::ZERO));
        assert_eq!(wait(&[("retry-after", "-1")]), None);
        assert_eq!(wait(&[("retry-after", "soon")]), None);
        assert_eq!(wait(&[]), None);
    }

    #[test]
    fn a_call_survives_storage() {
        let call = Call::poll("https://queue.fal.run/a/requests/1/status".into()).memo("x");
        let text = serde_json::to_string(&call).unwrap();
        assert_eq!(serde_json::from_str::<Call>(&text).unwrap(), call);
    }
}
