//! The state that all handlers share.

use super::body_budget::BodyBudget;
use super::settings::Settings;
use crate::base::AllowedModelsCache;
use crate::pipeline::{Gateway, Jobs};
use crate::store::Store;
use axum::http::HeaderMap;
use metrics_exporter_prometheus::PrometheusHandle;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

/// The API over one gateway and store. Cheap to clone.
#[derive(Clone)]
pub struct Api(Arc<ApiState>);

/// The fields of [`Api`].
pub struct ApiState {
    pub(super) gateway: Gateway,
    pub(super) jobs: Jobs,
    pub(super) store: Store,
    public_url: String,
    pub(super) max_body_bytes: usize,
    pub(super) body_budget: BodyBudget,
    pub(super) allowed_models: AllowedModelsCache,
    pub(super) max_concurrent: usize,
    /// Tasks that finish a call after its caller has hung up.
    pub(super) tasks: TaskTracker,
    pub(super) running: Arc<Semaphore>,
    stopping: AtomicBool,
    pub(super) metrics: PrometheusHandle,
}

impl Deref for Api {
    type Target = ApiState;

    fn deref(&self) -> &ApiState {
        &self.0
    }
}

impl Api {
    /// Over that gateway and store.
    pub fn new(gateway: Gateway, jobs: Jobs, store: Store, metrics: PrometheusHandle, settings: &Settings) -> Self {
        Self(Arc::new(ApiState {
            gateway,
            jobs,
            store,
            public_url: settings.public_url.trim_end_matches('/').to_owned(),
            max_body_bytes: settings.max_body_bytes,
            body_budget: BodyBudget::new(settings.max_held_bytes),
            allowed_models: AllowedModelsCache::default(),
            max_concurrent: settings.max_concurrent,
            tasks: TaskTracker::new(),
            running: Arc::new(Semaphore::new(settings.max_concurrent)),
            stopping: AtomicBool::new(false),
            metrics,
        }))
    }

    /// Makes the readiness probe fail, so that a load balancer sends no more requests.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Waits for requests whose callers have gone but whose purchases are not yet in the ledger.
    pub async fn drained(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// The scheme and host for links to this gateway: as configured, else from the request's Host header.
    pub(super) fn origin(&self, headers: &HeaderMap) -> String {
        if !self.public_url.is_empty() {
            return self.public_url.clone();
        }
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let is_plain = |host: &&str| host.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:[]".contains(c));
        let host = header("host").filter(is_plain).unwrap_or("localhost");
        let scheme = if header("x-forwarded-proto") == Some("https") { "https" } else { "http" };
        format!("{scheme}://{host}")
    }
}
