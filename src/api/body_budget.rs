//! A global budget for request bodies in memory. A request reserves its Content-Length before it is read, or gets 503: a
//! hundred uploads at once must not exhaust the memory of this process.

use crate::error::{Error, ErrorKind};
use axum::body::Body;
use futures::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Time limit for the rest of a refused body to arrive.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes that one permit of the semaphore stands for.
const UNIT: usize = 4096;

/// The bytes of request bodies that may be in memory at once.
#[derive(Debug, Clone)]
pub(super) struct BodyBudget {
    free: Arc<Semaphore>,
    max_bytes: usize,
}

/// Bytes reserved by one request, given back when it is dropped.
#[derive(Debug, Default)]
pub(super) struct BudgetPermit(Option<OwnedSemaphorePermit>);

impl BodyBudget {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { free: Arc::new(Semaphore::new((max_bytes / UNIT).min(Semaphore::MAX_PERMITS))), max_bytes }
    }

    /// Reserves more bytes for a request, at once or not at all: one that waited would hold what has arrived meanwhile.
    pub(super) fn reserve(&self, permit: &mut BudgetPermit, bytes: usize) -> Result<(), Error> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        match Arc::clone(&self.free).try_acquire_many_owned(units) {
            Ok(more) => {
                match &mut permit.0 {
                    Some(held) => held.merge(more),
                    none => *none = Some(more),
                }
                Ok(())
            }
            Err(_) => {
                let max = self.max_bytes;
                let text = format!(
                    "This gateway has no memory left for this request body: all bodies together may take {max} bytes. \
                     Try again shortly."
                );
                let retry_after = Some(Duration::from_secs(1));
                Err(Error { retry_after, ..Error::new(ErrorKind::Unavailable, text) })
            }
        }
    }
}

/// Reads a body to its end and keeps nothing: a client that is still sending would not see the answer.
pub(super) async fn drain(body: Body, limit: usize) {
    let (mut chunks, mut left) = (body.into_data_stream(), limit);
    let read = async {
        while let Some(Ok(chunk)) = chunks.next().await {
            left = left.saturating_sub(chunk.len());
            if left == 0 {
                break;
            }
        }
    };
    // A client that sends too slowly is cut off.
    let _ = timeout(DRAIN_TIMEOUT, read).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_is_bounded_and_given_back() {
        let budget = BodyBudget::new(10 * UNIT);
        let (mut one, mut two) = (BudgetPermit::default(), BudgetPermit::default());
        budget.reserve(&mut one, 4 * UNIT).unwrap();
        budget.reserve(&mut one, 1).unwrap();
        budget.reserve(&mut two, 5 * UNIT).unwrap();
        let error = budget.reserve(&mut two, 1).unwrap_err();
        assert_eq!((error.kind, error.retry_after), (ErrorKind::Unavailable, Some(Duration::from_secs(1))));
        drop(one);
        budget.reserve(&mut two, 5 * UNIT).unwrap();
    }
}
