//! How many bytes of request bodies are held at once. Uploads are megabytes: a hundred at a time must not decide how much
//! memory this process has.

use crate::error::{Error, ErrorKind};
use axum::body::Body;
use futures::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// How long a refused body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes that one permit stands for.
const UNIT: usize = 4096;

/// The room for bodies.
#[derive(Debug, Clone)]
pub(super) struct Intake {
    free: Arc<Semaphore>,
    most: usize,
}

/// Room taken by one request, given back when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Claim(Option<OwnedSemaphorePermit>);

impl Intake {
    /// Room for so many bytes.
    pub(super) fn new(most: usize) -> Self {
        Self { free: Arc::new(Semaphore::new((most / UNIT).min(Semaphore::MAX_PERMITS))), most }
    }

    /// Takes more room for a request, at once or not at all: whoever waits holds what has arrived meanwhile.
    pub(super) fn claim(&self, claim: &mut Claim, bytes: usize) -> Result<(), Error> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        match Arc::clone(&self.free).try_acquire_many_owned(units) {
            Ok(more) => {
                match &mut claim.0 {
                    Some(held) => held.merge(more),
                    none => *none = Some(more),
                }
                Ok(())
            }
            Err(_) => {
                let most = self.most;
                let text =
                    format!("This gateway holds {most} bytes of request bodies, as many as it may. Try again shortly.");
                let retry_after = Some(Duration::from_secs(1));
                Err(Error { retry_after, ..Error::new(ErrorKind::Unavailable, text) })
            }
        }
    }
}

/// Reads a body to its end and keeps nothing: a client that is still sending would not hear the answer.
pub(super) async fn discard(body: Body, limit: usize) {
    let (mut chunks, mut left) = (body.into_data_stream(), limit);
    let read = async {
        while let Some(Ok(chunk)) = chunks.next().await {
            left = left.saturating_sub(chunk.len());
            if left == 0 {
                break;
            }
        }
    };
    // Whoever sends slowly is cut off.
    let _ = timeout(PATIENCE, read).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded_and_given_back() {
        let intake = Intake::new(10 * UNIT);
        let (mut one, mut two) = (Claim::default(), Claim::default());
        intake.claim(&mut one, 4 * UNIT).unwrap();
        intake.claim(&mut one, 1).unwrap();
        intake.claim(&mut two, 5 * UNIT).unwrap();
        let error = intake.claim(&mut two, 1).unwrap_err();
        assert_eq!((error.kind, error.retry_after), (ErrorKind::Unavailable, Some(Duration::from_secs(1))));
        drop(one);
        intake.claim(&mut two, 5 * UNIT).unwrap();
    }
}
