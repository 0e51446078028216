//! Whether the database answered when it was last asked. After a failure it is left alone for a moment, so that not every
//! request waits for a timeout.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

const RETRY_DELAY: Duration = Duration::from_millis(500);

/// Shared by all clones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Availability(Arc<Mutex<Option<Instant>>>);

impl Availability {
    /// Whether the database should be asked, rather than taken for unavailable.
    pub(crate) fn should_ask(&self) -> bool {
        self.retry_at().is_none_or(|retry_at| retry_at <= Instant::now())
    }

    pub(crate) fn record(&self, answered: bool) {
        let retry_at = (!answered).then(|| Instant::now() + RETRY_DELAY);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = retry_at;
    }

    fn retry_at(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
