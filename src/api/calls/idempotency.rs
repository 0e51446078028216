//! `Idempotency-Key`: the same key and body get the outcome of the first request, errors included, on any replica and for
//! a day. The same key with another body is refused; while the first is running, later ones wait for it.
//!
//! A crash leaves a claim without an owner and without an outcome. It is never run again, because something may have been
//! bought under it. A repeated request gets an error with the id of the first one, whose row in the log has what is known.

use super::call_context::{CallBody, CallContext};
use super::fingerprint::Fingerprint;
use crate::api::middleware::REQUEST_ID;
use crate::api::state::Api;
use crate::api::wire::routing::read_timeout;
use crate::base::{Backoff, Timestamp};
use crate::error::{Error, ErrorKind};
use crate::store::{Claim, ExistingClaim, OutcomeBody, Record, Status, StoredOutcome};
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{TryStreamExt, stream};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Marks a replayed answer.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Longest key, in characters.
const MAX_KEY_LENGTH: usize = 256;
/// Answers up to so many bytes are stored in the database, larger ones beside the media.
const MAX_INLINE_BYTES: usize = 64 * 1024;
/// Delays between looks for the outcome of the first request.
const POLL_BACKOFF: Backoff = Backoff::new(Duration::from_millis(25), Duration::from_millis(500));
/// Delays between tries to store an outcome.
const STORE_BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
/// Tries to store an outcome.
const STORE_TRIES: u32 = 3;
/// Time after the end of its row in which a request may still be storing its outcome.
const STORE_TIME: Duration = Duration::from_secs(30);
/// Added to the longest request before a claim without an outcome counts as abandoned. Covers clocks that differ between
/// replicas.
const CLAIM_GRACE: Duration = Duration::from_mins(2);

/// The idempotency key of a call, with the fingerprint of its body.
#[derive(Debug)]
pub(super) struct IdempotencyGuard {
    claim: Claim,
    /// Until when to wait for an earlier request with this key.
    deadline: Instant,
}

/// The result of [`IdempotencyGuard::acquire`].
enum Acquired {
    /// No earlier request: this one runs.
    New,
    /// An earlier request ran: its answer.
    Replay(Response),
}

impl IdempotencyGuard {
    /// Takes the key out of the body, else from the header. To be called before anything else is taken from the body, as
    /// the fingerprint covers all of it.
    pub(super) fn from_call(api: &Api, call: &CallContext, body: &mut CallBody) -> Result<Option<Self>, Error> {
        let header = call.headers.get("idempotency-key").map(|value| value.to_str().unwrap_or_default().to_owned());
        let (param, key) = match (body.fields.remove("idempotency_key"), header) {
            (Some(Value::String(key)), _) => ("idempotency_key", key),
            (None | Some(Value::Null), Some(key)) => ("Idempotency-Key", key),
            (None | Some(Value::Null), None) => return Ok(None),
            _ => return Err(Error::invalid("idempotency_key", "'idempotency_key' should be a string.")),
        };
        if !(1..=MAX_KEY_LENGTH).contains(&key.chars().count()) {
            let text = format!("'{param}' should have 1 to {MAX_KEY_LENGTH} visible characters, for example a UUID.");
            return Err(Error::invalid(param, text));
        }
        let inputs = body.form_inputs.as_deref().unwrap_or_default();
        let claim = Claim {
            account_id: call.caller.key.account_id.clone(),
            key_hash: hex::encode(Sha256::digest(key.as_bytes())),
            fingerprint: Fingerprint::of_call(&call.info.endpoint, &body.fields, inputs),
            request_id: call.meta.id.clone(),
        };
        let longest = api.gateway.max_wait();
        let wait = read_timeout(&call.headers)?.map_or(longest, |own| own.min(longest));
        Ok(Some(Self { claim, deadline: call.meta.started + wait }))
    }

    /// Claims the key for this request, or waits for the answer of the request that has claimed it.
    async fn acquire(&self, api: &Api) -> Result<Acquired, Error> {
        let store = &api.store;
        let mut looks = 0;
        loop {
            looks += 1;
            let now = Timestamp::now();
            if store.idempotency().claim(&self.claim, now).await? {
                return Ok(Acquired::New);
            }
            // None: released or expired a moment ago, so it can be claimed.
            let Some(claimed) = store.idempotency().find(&self.claim, now).await? else { continue };
            if claimed.fingerprint != self.claim.fingerprint {
                let text = "This Idempotency-Key was used for another request. Use a new key for a new request.";
                return Err(Error::new(ErrorKind::Conflict, text));
            }
            if let Some(outcome) = &claimed.outcome {
                return replay(api, &claimed, outcome).await.map(Acquired::Replay);
            }
            let row = store.requests().find(&claimed.request_id, Some(&self.claim.account_id)).await?;
            if is_abandoned(&claimed, row.as_ref(), now, api.gateway.max_wait()) {
                return Err(interrupted(&claimed, row.as_ref()));
            }
            let pause = POLL_BACKOFF.delay(looks);
            if Instant::now() + pause >= self.deadline {
                let text = "The first request with this Idempotency-Key is still running. Retry with the same key.";
                let retry_after = Some(Duration::from_secs(1));
                return Err(Error { retry_after, ..Error::new(ErrorKind::Timeout, text) });
            }
            sleep(pause).await;
        }
    }

    /// Stores the outcome for repeated requests. A refusal before anything was done is not stored: the key stays free.
    async fn finish(&self, api: &Api, outcome: Result<Response, Error>) -> Result<Response, Error> {
        let not_begun = [ErrorKind::Unavailable, ErrorKind::RateLimited, ErrorKind::InsufficientBalance];
        let response = match outcome {
            Err(error) if not_begun.contains(&error.kind) => {
                if let Err(failure) = api.store.idempotency().release(&self.claim).await {
                    tracing::warn!(%failure, "failed to release an idempotency key");
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
        let stored = StoredOutcome {
            status: parts.status.as_u16(),
            headers: stored_headers(&parts.headers),
            body: store_body(api, &chunks).await,
        };
        self.store_outcome(api, &stored).await;
        let chunks = stream::iter(chunks.into_iter().map(Ok::<Bytes, Infallible>));
        Ok(Response::from_parts(parts, Body::from_stream(chunks)))
    }

    /// The purchase is made and in the ledger; an outcome that cannot be stored costs only the replay.
    async fn store_outcome(&self, api: &Api, outcome: &StoredOutcome) {
        for tries in 1..=STORE_TRIES {
            match api.store.idempotency().store_outcome(&self.claim, outcome).await {
                Ok(_) => return,
                Err(failure) => tracing::warn!(%failure, "failed to store the outcome of an idempotency key"),
            }
            sleep(STORE_BACKOFF.delay(tries)).await;
        }
    }
}

/// Runs a call once for its key; without a key, always. To be called inside a task of its own, so that a caller who hangs
/// up leaves no claim without an outcome.
pub(super) async fn run_once(
    api: &Api,
    guard: Option<IdempotencyGuard>,
    work: impl Future<Output = Result<Response, Error>>,
) -> Result<Response, Error> {
    let Some(guard) = guard else { return work.await };
    match guard.acquire(api).await? {
        Acquired::Replay(response) => Ok(response),
        Acquired::New => guard.finish(api, work.await).await,
    }
}

/// True when no process can still be working on a claim: its row is closed, or it is older than any request can be.
fn is_abandoned(claimed: &ExistingClaim, row: Option<&Record>, now: Timestamp, longest: Duration) -> bool {
    if claimed.created_at.plus(longest + CLAIM_GRACE) < now {
        return true;
    }
    let closed = row.filter(|row| !matches!(row.status, Status::Pending | Status::Processing));
    closed.is_some_and(|row| {
        let lasted = Duration::from_millis(row.duration_ms.and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0));
        row.error_code.as_deref() == Some("INTERRUPTED") || row.created_at.plus(lasted + STORE_TIME) < now
    })
}

fn interrupted(claimed: &ExistingClaim, row: Option<&Record>) -> Error {
    let known = match row.map(|row| row.status) {
        Some(Status::Completed) => "it was completed, but its answer was not stored",
        Some(Status::Rejected | Status::UpstreamFailure) => "it failed, and its answer was not stored",
        _ => "the gateway stopped while it was running, and it may have been bought",
    };
    let id = &claimed.request_id;
    let text = format!(
        "The request with this Idempotency-Key is {id}: {known}. See GET /v1/requests/{id}. Use a new key for another attempt."
    );
    Error::new(ErrorKind::Interrupted, text)
}

async fn replay(api: &Api, claimed: &ExistingClaim, outcome: &StoredOutcome) -> Result<Response, Error> {
    let storage = &api.gateway.storage;
    let body = match &outcome.body {
        OutcomeBody::Inline(text) => Some(Bytes::from(text.clone())),
        OutcomeBody::InStorage(name) => storage.read_answer(name).await.map_err(Error::internal)?,
        OutcomeBody::Lost => None,
    };
    let Some(body) = body else {
        let row = api.store.requests().find(&claimed.request_id, None).await?;
        return Err(interrupted(claimed, row.as_ref()));
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(outcome.status).map_err(Error::internal)?;
    for (name, value) in &outcome.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

/// Small text goes into the row, the rest beside the media.
async fn store_body(api: &Api, chunks: &[Bytes]) -> OutcomeBody {
    let size: usize = chunks.iter().map(Bytes::len).sum();
    if size <= MAX_INLINE_BYTES
        && let Ok(text) = String::from_utf8(chunks.concat())
        && !text.contains('\0')
    {
        return OutcomeBody::Inline(text);
    }
    match api.gateway.storage.put_answer(chunks).await {
        Ok(name) => OutcomeBody::InStorage(name),
        Err(failure) => {
            tracing::error!(%failure, "failed to store the answer of an idempotency key");
            OutcomeBody::Lost
        }
    }
}

/// The headers of an answer, without its length, which follows from the body.
fn stored_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let pairs = headers.iter().filter(|(name, _)| *name != header::CONTENT_LENGTH);
    pairs.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned()))).collect()
}
