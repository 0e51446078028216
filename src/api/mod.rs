//! The HTTP face: paths, bodies, envelopes. Knows no provider.

mod accounts;
mod body;
mod caller;
mod error;
mod form;
mod health;
mod idempotency;
mod images;
mod inputs;
mod intake;
mod keys;
mod layers;
mod media;
mod models;
mod payloads;
mod requests;
mod router;
mod routing;
mod settings;
mod stream;
mod videos;
mod visit;
mod webhooks;
mod wire;

pub use settings::Settings;

use crate::pipeline::{Gateway, Jobs};
use crate::store::Store;
use axum::http::HeaderMap;
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_util::task::TaskTracker;

/// What handlers need.
#[derive(Clone)]
pub struct Api(Arc<Inner>);

struct Inner {
    gateway: Gateway,
    jobs: Jobs,
    store: Store,
    public_url: String,
    max_body_bytes: usize,
    intake: intake::Intake,
    max_concurrent: usize,
    tasks: TaskTracker,
    running: Arc<tokio::sync::Semaphore>,
    stopping: AtomicBool,
    metrics: PrometheusHandle,
}

impl Api {
    /// Over that gateway and store.
    pub fn new(gateway: Gateway, jobs: Jobs, store: Store, metrics: PrometheusHandle, settings: &Settings) -> Self {
        Self(Arc::new(Inner {
            gateway,
            jobs,
            store,
            public_url: settings.public_url.trim_end_matches('/').to_owned(),
            max_body_bytes: settings.max_body_bytes,
            intake: intake::Intake::new(settings.max_held_bytes),
            tasks: TaskTracker::new(),
            max_concurrent: settings.max_concurrent,
            running: Arc::new(tokio::sync::Semaphore::new(settings.max_concurrent)),
            stopping: AtomicBool::new(false),
            metrics,
        }))
    }

    /// Makes readiness false: a load balancer sends nothing more.
    pub fn stop(&self) {
        self.0.stopping.store(true, Ordering::Relaxed);
    }

    /// Waits for requests whose callers have gone but whose purchases are not yet in the books.
    pub async fn drained(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Where this caller reaches us: as configured, else as their own Host header says.
    fn origin(&self, headers: &HeaderMap) -> String {
        if !self.0.public_url.is_empty() {
            return self.0.public_url.clone();
        }
        let said = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let plain = |host: &&str| host.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:[]".contains(c));
        let host = said("host").filter(plain).unwrap_or("localhost");
        let scheme = if said("x-forwarded-proto") == Some("https") { "https" } else { "http" };
        format!("{scheme}://{host}")
    }

    /// How long a request may take at most.
    fn longest(&self) -> Duration {
        Duration::from_secs(self.0.gateway.engine.settings.deadline_seconds)
    }
}
