//! Runs the part of a call that may cost money in a task of its own, once for its idempotency key.

use super::idempotency::{IdempotencyGuard, run_once};
use crate::api::body_budget::BudgetPermit;
use crate::api::middleware::ConcurrencyPermit;
use crate::api::state::Api;
use crate::error::Error;
use axum::response::Response;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Instrument;

/// Permits that a call holds until no provider needs its body any more, even when its caller has hung up.
pub(super) struct HeldPermits {
    _concurrency: ConcurrencyPermit,
    _body: BudgetPermit,
}

impl HeldPermits {
    pub(super) const fn new(concurrency: ConcurrencyPermit, body: BudgetPermit) -> Self {
        Self { _concurrency: concurrency, _body: body }
    }
}

/// Runs `work` in a task of its own: when the caller hangs up, what was bought is still written down. A caller with an
/// idempotency key may come back for the answer; one without a key does not want it any more, which cancels `hung_up`.
pub(super) async fn run_detached(
    api: &Api,
    guard: Option<IdempotencyGuard>,
    hung_up: CancellationToken,
    work: impl Future<Output = Result<Response, Error>> + Send + 'static,
) -> Result<Response, Error> {
    let cancel_on_drop = guard.is_none().then(|| hung_up.drop_guard());
    let task_api = api.clone();
    let task = async move { run_once(&task_api, guard, Box::pin(work)).await };
    let response = api.tasks.spawn(task.in_current_span()).await;
    cancel_on_drop.map(DropGuard::disarm);
    response.map_err(Error::internal)?
}
