//! What is kept until it is asked for: the newest things only, found by their id.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Things that are kept; older ones are forgotten.
const KEPT: usize = 2_000;

/// A shelf of small things.
pub(in crate::sandbox) struct Shelf<T>(Mutex<VecDeque<(String, T)>>);

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Shelf<T> {
    pub(in crate::sandbox) fn add(&self, id: String, thing: T) {
        let mut things = self.locked();
        things.push_front((id, thing));
        things.truncate(KEPT);
    }

    /// A copy of the thing.
    pub(in crate::sandbox) fn find(&self, id: &str) -> Option<T> {
        self.change(id, |_| {})
    }

    /// Changes the thing and returns a copy of it.
    pub(in crate::sandbox) fn change(&self, id: &str, change: impl FnOnce(&mut T)) -> Option<T> {
        let mut things = self.locked();
        let (_, thing) = things.iter_mut().find(|(known, _)| known == id)?;
        change(thing);
        Some(thing.clone())
    }

    fn locked(&self) -> MutexGuard<'_, VecDeque<(String, T)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
