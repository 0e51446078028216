//! Tasks that run at intervals for as long as the gateway does.

use crate::base::Timestamp;
use crate::config::Config;
use crate::media::storage::Storage;
use crate::pipeline::{Operator, Switchboard};
use crate::store::{Store, StoreError};
use metrics_exporter_prometheus::PrometheusHandle;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

const LOG_INTERVAL: Duration = Duration::from_mins(1);
const SWEEP_INTERVAL: Duration = Duration::from_mins(5);
const ROUTES_INTERVAL: Duration = Duration::from_secs(5);

/// Rows that a crash left open. On a shared database, only those that no replica can still be working on.
pub(super) async fn settle_interrupted(store: &Store, config: &Config) -> Result<(), StoreError> {
    let shared = config.database.url.starts_with("postgres");
    let grace = if shared { Duration::from_secs(config.routing.deadline_seconds + 120) } else { Duration::ZERO };
    let settled = store.requests().settle_interrupted(Timestamp::now().minus(grace)).await?;
    if settled > 0 {
        tracing::warn!(settled, "requests that a crash interrupted were closed; their estimates are marked uncertain");
    }
    Ok(())
}

/// Deletes expired media and idempotency keys.
pub(super) async fn sweep_media(storage: Storage, store: Store, mut stopped: watch::Receiver<bool>) {
    while timeout(SWEEP_INTERVAL, stopped.changed()).await.is_err() {
        match storage.sweep().await {
            Ok(0) => {}
            Ok(deleted) => tracing::debug!(deleted, "expired media deleted"),
            Err(error) => tracing::warn!(%error, "expired media could not be deleted"),
        }
        if let Err(error) = store.idempotency().remove_expired(Timestamp::now()).await {
            tracing::warn!(%error, "expired idempotency keys could not be deleted");
        }
    }
}

/// Applies the route overrides that operators set on other replicas, and keeps the metrics small.
pub(super) async fn watch_routes(
    board: Switchboard,
    store: Store,
    metrics: PrometheusHandle,
    mut stopped: watch::Receiver<bool>,
) {
    while timeout(ROUTES_INTERVAL, stopped.changed()).await.is_err() {
        metrics.run_upkeep();
        match store.routing().states().await {
            Ok(states) => board.obey(states.iter().filter_map(Operator::read)),
            Err(error) => tracing::debug!(%error, "the states of routes could not be read"),
        }
    }
}

/// Maintains the request log: makes partitions ahead of time, deletes old months and payloads, settles rows that another
/// replica left behind.
pub(super) async fn maintain_log(store: Store, config: Config, mut stopped: watch::Receiver<bool>) {
    while timeout(LOG_INTERVAL, stopped.changed()).await.is_err() {
        let now = Timestamp::now();
        let shared = config.database.url.starts_with("postgres");
        let done = async {
            if shared {
                settle_interrupted(&store, &config).await?;
            }
            store.requests().maintain(now, config.database.retention_months).await?;
            store.payloads().remove_expired(now).await.map(drop)
        };
        if let Err(error) = done.await {
            tracing::warn!(%error, "request log maintenance failed; will retry");
        }
    }
}
