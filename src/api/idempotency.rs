//! `Idempotency-Key`: the same key and body get the outcome of the first request, errors included, on any replica and for
//! a day. The same key with another body is refused; while the first is running, later ones wait for it.
//!
//! What a crash leaves: a claim whose owner is gone and which has no outcome. It is never run again, because something may
//! have been bought under it. Whoever comes with that key is told so, with the id of the request, whose row in the log
//! says what is known.

use super::Api;
use super::form::Part;
use super::layers::REQUEST_ID;
use super::visit::Visit;
use super::wire::routing::read_timeout;
use crate::base::Timestamp;
use crate::error::{Error, ErrorKind};
use crate::store::{Claim, ExistingClaim, OutcomeBody, Record, Status, StoredOutcome};
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{TryStreamExt, stream};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Says that an answer is an earlier one.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Longest key, in characters.
const LONGEST: usize = 256;
/// Answers up to so many bytes are kept in the database, larger ones beside the media.
const SMALL: usize = 64 * 1024;
/// How often a waiting request looks: at first, and at most.
const LOOK: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(500));
/// How long after the end of its row a request may still be writing its outcome.
const WRITING: Duration = Duration::from_secs(30);
/// Added to the longest request before a claim without an outcome counts as abandoned; what replicas' clocks may differ by
/// is in it.
const GRACE: Duration = Duration::from_mins(2);

/// A request that came with a key.
#[derive(Debug)]
pub(super) struct Once {
    claim: Claim,
    deadline: Instant,
}

/// What a key means now.
enum Standing {
    /// This request runs.
    Ours,
    /// Another one ran: its answer.
    Over(Response),
}

impl Once {
    /// The key in the body, which leaves it, else the one in the header; for what these fields and files ask for.
    pub(super) fn take(
        api: &Api,
        visit: &Visit,
        fields: &mut Map<String, Value>,
        files: &[(String, Part)],
    ) -> Result<Option<Self>, Error> {
        let header = visit.headers.get("idempotency-key").map(|value| value.to_str().unwrap_or_default().to_owned());
        let (param, key) = match (fields.remove("idempotency_key"), header) {
            (Some(Value::String(key)), _) => ("idempotency_key", key),
            (None | Some(Value::Null), Some(key)) => ("Idempotency-Key", key),
            (None | Some(Value::Null), None) => return Ok(None),
            _ => return Err(Error::invalid("idempotency_key", "'idempotency_key' should be a string.")),
        };
        if !(1..=LONGEST).contains(&key.chars().count()) {
            let text = format!("'{param}' should have 1 to {LONGEST} visible characters, for example a UUID.");
            return Err(Error::invalid(param, text));
        }
        let mut fingerprint = Fingerprint::of(&visit.asker.endpoint);
        fingerprint.object(fields);
        fingerprint.files(files);
        let claim = Claim {
            account_id: visit.caller.key.account_id.clone(),
            key_hash: hex::encode(Sha256::digest(key.as_bytes())),
            fingerprint: fingerprint.finish(),
            request_id: visit.arrival.id.clone(),
        };
        let patience = read_timeout(&visit.headers)?.map_or(api.longest(), |own| own.min(api.longest()));
        Ok(Some(Self { claim, deadline: visit.arrival.instant + patience }))
    }

    /// Whether the key is this request's; else the answer of the request whose it is, once there is one.
    async fn stand(&self, api: &Api) -> Result<Standing, Error> {
        let store = &api.0.store;
        let mut pause = LOOK.0;
        loop {
            let now = Timestamp::now();
            if store.idempotency().claim(&self.claim, now).await? {
                return Ok(Standing::Ours);
            }
            // None: given back or expired a moment ago, so it can be claimed.
            let Some(claimed) = store.idempotency().find(&self.claim, now).await? else { continue };
            if claimed.fingerprint != self.claim.fingerprint {
                let text = "This Idempotency-Key was used for another request. Use a new key for a new request.";
                return Err(Error::new(ErrorKind::Conflict, text));
            }
            if let Some(kept) = &claimed.outcome {
                return replay(api, &claimed, kept).await.map(Standing::Over);
            }
            let row = store.requests().find(&claimed.request_id, Some(&self.claim.account_id)).await?;
            if abandoned(&claimed, row.as_ref(), now, api.longest()) {
                return Err(interrupted(&claimed, row.as_ref()));
            }
            if Instant::now() + pause >= self.deadline {
                let text = "The first request with this Idempotency-Key is still running. Ask again with the same key.";
                let retry_after = Some(Duration::from_secs(1));
                return Err(Error { retry_after, ..Error::new(ErrorKind::Timeout, text) });
            }
            sleep(pause).await;
            pause = (pause * 2).min(LOOK.1);
        }
    }

    /// Keeps the outcome for those who ask again. Refusals before anything was done are not kept: the key stays free.
    async fn conclude(&self, api: &Api, outcome: Result<Response, Error>) -> Result<Response, Error> {
        let untouched = [ErrorKind::Unavailable, ErrorKind::RateLimited, ErrorKind::InsufficientBalance];
        let response = match outcome {
            Err(error) if untouched.contains(&error.kind) => {
                if let Err(failure) = api.0.store.idempotency().release(&self.claim).await {
                    tracing::warn!(%failure, "an idempotency key could not be given back");
                }
                return Err(error);
            }
            Err(error) => error.into_response(),
            Ok(response) => response,
        };
        let (mut parts, body) = response.into_parts();
        if let Ok(id) = HeaderValue::from_str(&self.claim.request_id) {
            parts.headers.insert(REQUEST_ID, id);
        }
        let chunks: Vec<Bytes> = body.into_data_stream().try_collect().await.map_err(Error::internal)?;
        let kept = StoredOutcome {
            status: parts.status.as_u16(),
            headers: texts(&parts.headers),
            body: keep_body(api, &chunks).await,
        };
        self.write(api, &kept).await;
        Ok(Response::from_parts(parts, body_of(chunks)))
    }

    /// The purchase is made and in the books; an outcome that cannot be written costs the replay only.
    async fn write(&self, api: &Api, kept: &StoredOutcome) {
        for pause in [100, 400, 1600] {
            match api.0.store.idempotency().store_outcome(&self.claim, kept).await {
                Ok(_) => return,
                Err(failure) => tracing::warn!(%failure, "the outcome of an idempotency key could not be written"),
            }
            sleep(Duration::from_millis(pause)).await;
        }
    }
}

/// Runs a request once for its key, or any number of times without one. To be called inside a task of its own, so that a
/// caller who hangs up leaves no claim behind.
pub(super) async fn once(
    api: &Api,
    once: Option<Once>,
    run: impl Future<Output = Result<Response, Error>>,
) -> Result<Response, Error> {
    let Some(once) = once else { return run.await };
    match once.stand(api).await? {
        Standing::Over(response) => Ok(response),
        Standing::Ours => once.conclude(api, run.await).await,
    }
}

/// Whether nobody can still be working on a claim: its row is closed, or it is older than any request can be.
fn abandoned(claimed: &ExistingClaim, row: Option<&Record>, now: Timestamp, longest: Duration) -> bool {
    if claimed.created_at.plus(longest + GRACE) < now {
        return true;
    }
    let closed = row.filter(|row| !matches!(row.status, Status::Pending | Status::Processing));
    closed.is_some_and(|row| {
        let lasted = Duration::from_millis(row.duration_ms.and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0));
        row.error_code.as_deref() == Some("INTERRUPTED") || row.created_at.plus(lasted + WRITING) < now
    })
}

fn interrupted(claimed: &ExistingClaim, row: Option<&Record>) -> Error {
    let known = match row.map(|row| row.status) {
        Some(Status::Completed) => "it was completed, but its answer was not kept",
        Some(Status::Rejected | Status::UpstreamFailure) => "it failed, and its answer was not kept",
        _ => "the gateway stopped while it was running, and it may have been bought",
    };
    let id = &claimed.request_id;
    let text = format!(
        "The request with this Idempotency-Key is {id}: {known}. GET /v1/requests/{id} says more. Use a new key to ask again."
    );
    Error::new(ErrorKind::Interrupted, text)
}

async fn replay(api: &Api, claimed: &ExistingClaim, kept: &StoredOutcome) -> Result<Response, Error> {
    let storage = &api.0.gateway.storage;
    let body = match &kept.body {
        OutcomeBody::Inline(text) => Some(Bytes::from(text.clone())),
        OutcomeBody::InStorage(name) => storage.read_answer(name).await.map_err(Error::internal)?,
        OutcomeBody::Lost => None,
    };
    let Some(body) = body else {
        let row = api.0.store.requests().find(&claimed.request_id, None).await?;
        return Err(interrupted(claimed, row.as_ref()));
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(kept.status).map_err(Error::internal)?;
    for (name, value) in &kept.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

/// Small text goes into the row, the rest beside the media.
async fn keep_body(api: &Api, chunks: &[Bytes]) -> OutcomeBody {
    let size: usize = chunks.iter().map(Bytes::len).sum();
    if size <= SMALL
        && let Ok(text) = String::from_utf8(chunks.concat())
        && !text.contains('\0')
    {
        return OutcomeBody::Inline(text);
    }
    match api.0.gateway.storage.put_answer(chunks).await {
        Ok(name) => OutcomeBody::InStorage(name),
        Err(failure) => {
            tracing::error!(%failure, "an answer could not be kept for its idempotency key");
            OutcomeBody::Lost
        }
    }
}

fn body_of(chunks: Vec<Bytes>) -> Body {
    Body::from_stream(stream::iter(chunks.into_iter().map(Ok::<Bytes, Infallible>)))
}

/// Headers that say something about the answer. Its length follows from the body.
fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    let pairs = headers.iter().filter(|(name, _)| *name != header::CONTENT_LENGTH);
    pairs.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned()))).collect()
}

/// A hash over what was asked for. Parts are told apart by their lengths, and an object's members count in any order.
#[derive(Debug)]
struct Fingerprint(Sha256);

impl Fingerprint {
    /// For a path; both prefixes of the compatible routes mean the same.
    fn of(path: &str) -> Self {
        let mut print = Self(Sha256::new());
        print.add(path.strip_prefix("/openai").unwrap_or(path).as_bytes());
        print
    }

    /// Adds a JSON object.
    fn object(&mut self, fields: &Map<String, Value>) {
        let mut members: Vec<(&String, &Value)> = fields.iter().collect();
        members.sort_by_key(|(name, _)| *name);
        self.add(format!("{{{}", members.len()).as_bytes());
        for (name, value) in members {
            self.add(name.as_bytes());
            self.value(value);
        }
    }

    /// Adds the files of a form.
    fn files(&mut self, files: &[(String, Part)]) {
        for (name, part) in files {
            self.add(name.as_bytes());
            match part {
                Part::File(bytes) => self.add(bytes),
                Part::Text(text) => self.add(text.as_bytes()),
            }
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Object(fields) => self.object(fields),
            Value::Array(items) => {
                self.add(format!("[{}", items.len()).as_bytes());
                for item in items {
                    self.value(item);
                }
            }
            plain => self.add(plain.to_string().as_bytes()),
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    fn finish(self) -> String {
        hex::encode(self.0.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn print(path: &str, body: &Value) -> String {
        let mut print = Fingerprint::of(path);
        print.object(body.as_object().unwrap());
        print.finish()
    }

    #[test]
    fn the_same_request_has_the_same_fingerprint() {
        let one = print("/v1/images/generations", &json!({"model": "m", "n": 2, "o": {"a": 1, "b": [1, 2]}}));
        let same = print("/openai/v1/images/generations", &json!({"o": {"b": [1, 2], "a": 1}, "n": 2, "model": "m"}));
        assert_eq!(one, same);
        for other in [
            json!({"model": "m", "n": 3, "o": {"a": 1, "b": [1, 2]}}),
            json!({"model": "m", "n": "2", "o": {"a": 1, "b": [1, 2]}}),
            json!({"model": "m", "n": 2, "o": {"a": 1, "b": [12]}}),
            json!({"model": "m", "n": 2, "o": {"a": 1, "b": [[1], 2]}}),
            json!({"model": "m", "n": 2, "o": {"a": 1, "b": [1, 2]}, "user": "u"}),
        ] {
            assert_ne!(one, print("/v1/images/generations", &other), "{other}");
        }
        assert_ne!(print("/v1/images/edits", &json!({})), print("/v1/videos", &json!({})));
    }

    #[test]
    fn form_parts_do_not_run_into_each_other() {
        let files = |parts: &[(&str, &str)]| {
            let mut print = Fingerprint::of("/");
            let parts: Vec<(String, Part)> =
                parts.iter().map(|(name, text)| ((*name).to_owned(), Part::Text((*text).to_owned()))).collect();
            print.files(&parts);
            print.finish()
        };
        assert_ne!(files(&[("a", "bc")]), files(&[("ab", "c")]));
        assert_ne!(files(&[("a", "b"), ("c", "d")]), files(&[("c", "d"), ("a", "b")]));
    }
}
