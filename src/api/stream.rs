//! An answer as events, as OpenAI's: unfinished pictures, then the finished ones, or an error.

use super::Api;
use super::images::{Held, make};
use super::wire::events;
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

/// How long an early error may still be told by its status: most are found within it.
const EARLY: Duration = Duration::from_secs(1);
/// A comment goes out after so long a silence, for proxies that close quiet connections.
const QUIET: Duration = Duration::from_secs(15);
/// Unfinished pictures that may wait for a slow reader; more are left out.
const WAITING: usize = 6;

/// A purchase on its way.
struct Watched {
    job: events::Frame,
    work: JoinHandle<Result<Vec<Bytes>, Error>>,
    partials: mpsc::Receiver<Partial>,
    /// Whoever stops watching wants the pictures no longer; told to what has not been bought yet.
    leaving: Option<DropGuard>,
    ready: VecDeque<Bytes>,
    over: bool,
}

/// Runs the job in a task of its own, as any other: it goes on, and into the books, when nobody watches any more.
pub(super) async fn answer(api: Api, job: Job, asker: RequestInfo, held: Held) -> Result<Response, Error> {
    let leaving = Some(asker.hung_up.clone().drop_guard());
    let (unfinished, partials) = mpsc::channel(WAITING);
    let frame = events::Frame::of(&job);
    let sandbox = api.0.gateway.sandbox;
    let work = api.0.tasks.spawn(serve(api.clone(), job, asker, unfinished, held).in_current_span());
    let mut watched = Watched { job: frame, work, partials, leaving, ready: VecDeque::new(), over: false };
    tokio::select! {
        biased;
        Some(partial) = watched.partials.recv() => watched.show(&partial),
        done = &mut watched.work => watched.finish(done.map_err(Error::internal)??),
        () = sleep(EARLY) => {}
    }
    let body = Body::from_stream(stream::unfold(watched, |mut watched| async move {
        let chunk = watched.next().await?;
        Some((Ok::<Bytes, Infallible>(chunk), watched))
    }));
    let mut response = body.into_response();
    response.headers_mut().extend(headers(sandbox));
    Ok(response)
}

fn headers(sandbox: bool) -> HeaderMap {
    let fixed = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache"),
        // Some proxies would collect the events otherwise.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    let ours = sandbox.then(|| (HeaderName::from_static("x-lumenfall-sandbox"), "true"));
    fixed.into_iter().chain(ours).map(|(name, value)| (name, HeaderValue::from_static(value))).collect()
}

/// The finished events. The row is closed before the last of them can go out.
async fn serve(
    api: Api,
    job: Job,
    asker: RequestInfo,
    partials: mpsc::Sender<Partial>,
    held: Held,
) -> Result<Vec<Bytes>, Error> {
    let gateway = &api.0.gateway;
    let (id, created) = (asker.request_id.clone(), asker.created_at.seconds());
    let frame = events::Frame::of(&job);
    let answer = make(&api, job, asker, Some(partials), held).await?;
    let chunks = frame.completed(&id, created, &answer, gateway.sandbox);
    let length = chunks.iter().map(Bytes::len).sum();
    // Something was bought: not the refusal of a request that came to nothing.
    gateway.close(answer, length).await.map_err(Error::internal)?;
    Ok(chunks)
}

impl Watched {
    fn show(&mut self, partial: &Partial) {
        self.ready.extend(self.job.partial(partial));
    }

    fn finish(&mut self, chunks: Vec<Bytes>) {
        self.ready.extend(chunks);
        self.over = true;
        self.leaving.take().map(DropGuard::disarm);
    }

    /// The next piece of the body; none after the last.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                return Some(chunk);
            }
            if self.over {
                return None;
            }
            tokio::select! {
                biased;
                Some(partial) = self.partials.recv() => self.show(&partial),
                done = &mut self.work => match done.map_err(Error::internal).and_then(|outcome| outcome) {
                    Ok(chunks) => self.finish(chunks),
                    Err(error) => self.finish(vec![events::error(&error)]),
                },
                () = sleep(QUIET) => return Some(Bytes::from_static(b": keep-alive\n\n")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use tokio::time::Instant;

    fn watched(lasts: u64, outcome: Result<Vec<Bytes>, Error>) -> (Watched, mpsc::Sender<Partial>) {
        let (sender, partials) = mpsc::channel(WAITING);
        let work = tokio::spawn(async move {
            sleep(Duration::from_secs(lasts)).await;
            outcome
        });
        (
            Watched {
                job: events::Frame::default(),
                work,
                partials,
                leaving: None,
                ready: VecDeque::new(),
                over: false,
            },
            sender,
        )
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_broken_every_fifteen_seconds() {
        let (mut watched, _sender) = watched(40, Ok(vec![Bytes::from_static(b"last")]));
        let start = Instant::now();
        let mut seen = Vec::new();
        while let Some(chunk) = watched.next().await {
            seen.push((start.elapsed().as_secs(), chunk));
        }
        let quiet = Bytes::from_static(b": keep-alive\n\n");
        assert_eq!(seen, [(15, quiet.clone()), (30, quiet), (40, Bytes::from_static(b"last"))]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_is_the_last_event() {
        let (mut watched, _sender) = watched(1, Err(Error::new(ErrorKind::Exhausted, "nobody could")));
        let text = watched.next().await.unwrap();
        assert!(text.starts_with(b"event: error\ndata: {\"error\":{\"message\":\"nobody could\""), "{text:?}");
        assert_eq!(watched.next().await, None);
    }
}
