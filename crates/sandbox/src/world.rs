//! What the simulators share: the catalog, the rules that steer them, the call book and the easel.

use super::book::Book;
use super::easel::Easel;
use super::mischief;
use super::received::Received;
use super::steering::Rules;
use crate::base::Timestamp;
use crate::catalog::{Catalog, Route};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::watch;

/// How long a hanging call hangs when nobody ends it.
const LONGEST_HANG: Duration = Duration::from_mins(10);

/// The state that all simulators share.
pub(super) struct World {
    pub(super) catalog: Arc<Catalog>,
    pub(super) rules: Rules,
    pub(super) book: Book,
    pub(super) easel: Easel,
    pub(super) received: Received,
    address: OnceLock<SocketAddr>,
    closing: watch::Sender<bool>,
    hanging: AtomicUsize,
}

impl World {
    pub(super) fn new(catalog: Arc<Catalog>) -> Self {
        Self {
            catalog,
            rules: Rules::default(),
            book: Book::default(),
            easel: Easel::default(),
            received: Received::default(),
            address: OnceLock::new(),
            closing: watch::Sender::new(false),
            hanging: AtomicUsize::new(0),
        }
    }

    /// The route behind a provider's model id, as long as the provider serves it.
    pub(super) fn route(&self, provider: &str, upstream: &str) -> Option<Arc<Route>> {
        let today = today();
        let mut routes = self.catalog.routes_of(provider);
        routes.find(|route| route.upstream == upstream && !route.retired(&today)).map(Arc::clone)
    }

    /// Remembers where we listen, for links in answers to clients that send no `Host`.
    pub(super) fn settle(&self, address: SocketAddr) {
        // Only the first address counts; a sandbox serves one listener.
        let _ = self.address.set(address);
    }

    /// `http://HOST`, as the client calls us.
    pub(super) fn base_url(&self, headers: &HeaderMap) -> String {
        match headers.get(header::HOST).and_then(|host| host.to_str().ok()) {
            Some(host) => format!("http://{host}"),
            None => self.address.get().map_or_else(|| "http://127.0.0.1".to_owned(), |at| format!("http://{at}")),
        }
    }

    /// Never answers: ends after ten minutes, when the client goes, or when the sandbox closes.
    pub(super) async fn hang(&self) -> Response {
        let _counted = Hanging::new(&self.hanging);
        let mut closing = self.closing.subscribe();
        tokio::select! {
            () = tokio::time::sleep(LONGEST_HANG) => {}
            _ = closing.wait_for(|closing| *closing) => {}
        }
        mischief::reset()
    }

    /// How many calls hang at the moment.
    #[cfg(test)]
    pub(super) fn hanging(&self) -> usize {
        self.hanging.load(Ordering::SeqCst)
    }

    /// Ends what hangs.
    pub(super) fn close(&self) {
        self.closing.send_replace(true);
    }
}

/// Today's date, `YYYY-MM-DD`.
pub(super) fn today() -> String {
    Timestamp::now().rfc3339().chars().take(10).collect()
}

/// Counts a hanging call for as long as it lives.
struct Hanging<'a>(&'a AtomicUsize);

impl<'a> Hanging<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Hanging<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
