//! A bounded pool for work that occupies a core: decoding and encoding pictures.

use super::Flaw;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// So many jobs run at once, so many wait, and the next one is refused at once.
#[derive(Debug, Clone)]
pub struct Workers {
    /// One permit for each job that runs or waits.
    places: Arc<Semaphore>,
    /// One permit for each job that runs.
    cores: Arc<Semaphore>,
}

impl Workers {
    /// A pool of `threads` (at least one) with a waiting line of `queue`.
    pub fn new(threads: usize, queue: usize) -> Self {
        let threads = threads.clamp(1, Semaphore::MAX_PERMITS / 2);
        let places = threads + queue.min(Semaphore::MAX_PERMITS / 2);
        Self { places: Arc::new(Semaphore::new(places)), cores: Arc::new(Semaphore::new(threads)) }
    }

    /// Runs the work on a blocking thread. When the caller goes away, work that runs is finished and still counted.
    ///
    /// # Errors
    /// [`Flaw::Busy`] when the line is full, [`Flaw::Broken`] when the work panicked.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Flaw> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Flaw::Busy)?;
        let core = Arc::clone(&self.cores).acquire_owned().await.map_err(|_| Flaw::Busy)?;
        let job = tokio::task::spawn_blocking(move || {
            let _until_done = (place, core);
            work()
        });
        job.await.map_err(|fault| {
            tracing::error!(%fault, "work on an image did not finish");
            Flaw::broken("the image could not be processed")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test]
    async fn refuses_when_the_line_is_full() {
        let workers = Workers::new(1, 1);
        let (release, wait) = mpsc::channel::<()>();
        let first = tokio::spawn({
            let workers = workers.clone();
            async move { workers.run(move || wait.recv().is_ok()).await }
        });
        while workers.cores.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let second = tokio::spawn({
            let workers = workers.clone();
            async move { workers.run(|| 2).await }
        });
        while workers.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(workers.run(|| 3).await, Err(Flaw::Busy));
        release.send(()).unwrap();
        assert_eq!(first.await.unwrap(), Ok(true));
        assert_eq!(second.await.unwrap(), Ok(2));
        assert_eq!(workers.run(|| 4).await, Ok(4));
    }

    #[tokio::test]
    async fn contains_a_panic() {
        let workers = Workers::new(1, 0);
        let crash: Result<(), Flaw> = workers.run(|| panic!("on purpose")).await;
        assert!(matches!(crash, Err(Flaw::Broken(_))), "{crash:?}");
        assert_eq!(workers.run(|| 1).await, Ok(1));
    }
}
