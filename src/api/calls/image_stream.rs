//! Answers an image call as a stream of events, like OpenAI's: unfinished pictures, then the finished ones, or an error.
//! Written by hand, as axum's `Sse` would copy every picture.

use super::execution::HeldPermits;
use crate::api::state::Api;
use crate::api::wire::events::{EventWriter, error_event};
use crate::error::Error;
use crate::job::{Job, Partial};
use crate::pipeline::RequestInfo;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::DropGuard;
use tracing::Instrument;

/// The headers wait this long for an early error, which then still has its status: most errors come within it.
const HEADER_DELAY: Duration = Duration::from_secs(1);
/// A comment goes out after so long a silence, for proxies that close quiet connections.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// Unfinished pictures that may wait for a slow reader; more are left out.
const MAX_WAITING_PARTIALS: usize = 6;

/// The body of the answer, while its pictures are being bought.
struct EventStream {
    writer: EventWriter,
    work: JoinHandle<Result<Vec<Bytes>, Error>>,
    partials: mpsc::Receiver<Partial>,
    /// Cancels what has not been bought yet when the caller stops reading.
    cancel_on_drop: Option<DropGuard>,
    ready: VecDeque<Bytes>,
    is_finished: bool,
}

/// Buys the pictures in a task of its own, which runs to its end, and into the ledger, when the caller stops reading.
pub(super) async fn respond(api: &Api, job: Job, info: RequestInfo, held: HeldPermits) -> Result<Response, Error> {
    let cancel_on_drop = Some(info.hung_up.clone().drop_guard());
    let (sender, partials) = mpsc::channel(MAX_WAITING_PARTIALS);
    let writer = EventWriter::of(&job);
    let work = api.tasks.spawn(completed_events(api.clone(), job, info, sender, held).in_current_span());
    let (ready, is_finished) = (VecDeque::new(), false);
    let mut events = EventStream { writer, work, partials, cancel_on_drop, ready, is_finished };
    tokio::select! {
        biased;
        Some(partial) = events.partials.recv() => events.add_partial(&partial),
        done = &mut events.work => events.finish(done.map_err(Error::internal)??),
        () = sleep(HEADER_DELAY) => {}
    }
    let body = Body::from_stream(stream::unfold(events, |mut events| async move {
        let chunk = events.next().await?;
        Some((Ok::<Bytes, Infallible>(chunk), events))
    }));
    let mut response = body.into_response();
    response.headers_mut().extend(event_headers(api.gateway.sandbox));
    Ok(response)
}

fn event_headers(sandbox: bool) -> HeaderMap {
    let fixed = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache"),
        // Some proxies would collect the events otherwise.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    let ours = sandbox.then(|| (HeaderName::from_static("x-lumenfall-sandbox"), "true"));
    fixed.into_iter().chain(ours).map(|(name, value)| (name, HeaderValue::from_static(value))).collect()
}

/// Buys the pictures and writes their events. The row is closed before the first of these can go out.
async fn completed_events(
    api: Api,
    job: Job,
    info: RequestInfo,
    partials: mpsc::Sender<Partial>,
    held: HeldPermits,
) -> Result<Vec<Bytes>, Error> {
    let gateway = &api.gateway;
    let (id, created) = (info.request_id.clone(), info.created_at.seconds());
    let writer = EventWriter::of(&job);
    let result = gateway.image(&job, info, Some(partials)).await;
    // No provider needs the inputs any more.
    drop((job, held));
    let result = result?;
    let chunks = writer.completed(&id, created, &result, gateway.sandbox);
    let length = chunks.iter().map(Bytes::len).sum();
    // Internal, not "unavailable": something was bought, so this must not count as a refusal before anything was done.
    gateway.close(result, length).await.map_err(Error::internal)?;
    Ok(chunks)
}

impl EventStream {
    fn add_partial(&mut self, partial: &Partial) {
        self.ready.extend(self.writer.partial(partial));
    }

    fn finish(&mut self, chunks: Vec<Bytes>) {
        self.ready.extend(chunks);
        self.is_finished = true;
        self.cancel_on_drop.take().map(DropGuard::disarm);
    }

    /// The next piece of the body; none after the last.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                return Some(chunk);
            }
            if self.is_finished {
                return None;
            }
            tokio::select! {
                biased;
                Some(partial) = self.partials.recv() => self.add_partial(&partial),
                done = &mut self.work => match done.map_err(Error::internal).and_then(|outcome| outcome) {
                    Ok(chunks) => self.finish(chunks),
                    Err(error) => self.finish(vec![error_event(&error)]),
                },
                () = sleep(KEEP_ALIVE_INTERVAL) => return Some(Bytes::from_static(b": keep-alive\n\n")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use tokio::time::Instant;

    fn events(lasts: u64, outcome: Result<Vec<Bytes>, Error>) -> (EventStream, mpsc::Sender<Partial>) {
        let (sender, partials) = mpsc::channel(MAX_WAITING_PARTIALS);
        let work = tokio::spawn(async move {
            sleep(Duration::from_secs(lasts)).await;
            outcome
        });
        (
            EventStream {
                writer: EventWriter::default(),
                work,
                partials,
                cancel_on_drop: None,
                ready: VecDeque::new(),
                is_finished: false,
            },
            sender,
        )
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_broken_every_fifteen_seconds() {
        let (mut events, _sender) = events(40, Ok(vec![Bytes::from_static(b"last")]));
        let start = Instant::now();
        let mut seen = Vec::new();
        while let Some(chunk) = events.next().await {
            seen.push((start.elapsed().as_secs(), chunk));
        }
        let quiet = Bytes::from_static(b": keep-alive\n\n");
        assert_eq!(seen, [(15, quiet.clone()), (30, quiet), (40, Bytes::from_static(b"last"))]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_is_the_last_event() {
        let (mut events, _sender) = events(1, Err(Error::new(ErrorKind::Exhausted, "nobody could")));
        let text = events.next().await.unwrap();
        assert!(text.starts_with(b"event: error\ndata: {\"error\":{\"message\":\"nobody could\""), "{text:?}");
        assert_eq!(events.next().await, None);
    }
}
