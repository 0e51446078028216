//! A value that is replaced while others read it: what can be reloaded without a restart.

use arc_swap::ArcSwap;
use std::fmt;
use std::sync::Arc;

/// A shared value. Whoever has taken it keeps what they took; the next to take it gets the new one.
pub struct Live<T>(Arc<ArcSwap<T>>);

impl<T> Live<T> {
    /// Starts with `value`.
    pub fn new(value: T) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(value)))
    }

    /// The value as it is now.
    pub fn get(&self) -> Arc<T> {
        self.0.load_full()
    }

    /// Replaces it, for everyone who takes it from now on.
    pub fn set(&self, value: T) {
        self.0.store(Arc::new(value));
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: fmt::Debug> fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_keep_what_they_took() {
        let live = Live::new(1);
        let (taken, other) = (live.get(), live.clone());
        live.set(2);
        assert_eq!((*taken, *live.get(), *other.get()), (1, 2, 2));
    }
}
