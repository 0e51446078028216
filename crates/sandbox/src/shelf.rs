//! What is kept until it is asked for: the newest things only, found by their id.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Things that are kept; older ones are forgotten.
const KEPT: usize = 4_096;

/// A shelf of small things.
pub(super) struct Shelf<T>(Mutex<Things<T>>);

struct Things<T> {
    by_id: HashMap<String, T>,
    oldest_first: VecDeque<String>,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self(Mutex::new(Things { by_id: HashMap::new(), oldest_first: VecDeque::new() }))
    }
}

impl<T: Clone> Shelf<T> {
    /// Puts a thing there; the oldest one may fall off.
    pub(super) fn add(&self, id: String, thing: T) {
        let mut things = self.locked();
        if things.by_id.insert(id.clone(), thing).is_none() {
            things.oldest_first.push_back(id);
        }
        while things.oldest_first.len() > KEPT {
            let Some(oldest) = things.oldest_first.pop_front() else { break };
            things.by_id.remove(&oldest);
        }
    }

    /// A copy of the thing.
    pub(super) fn find(&self, id: &str) -> Option<T> {
        self.locked().by_id.get(id).cloned()
    }

    /// Changes the thing and returns what `change` does.
    pub(super) fn change<R>(&self, id: &str, change: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.locked().by_id.get_mut(id).map(change)
    }

    /// Takes the thing away.
    pub(super) fn remove(&self, id: &str) -> Option<T> {
        let mut things = self.locked();
        things.oldest_first.retain(|known| known != id);
        things.by_id.remove(id)
    }

    /// Copies of all things, newest first.
    pub(super) fn all(&self) -> Vec<T> {
        let things = self.locked();
        things.oldest_first.iter().rev().filter_map(|id| things.by_id.get(id).cloned()).collect()
    }

    fn locked(&self) -> MutexGuard<'_, Things<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest() {
        let shelf = Shelf::default();
        for number in 0..=KEPT {
            shelf.add(number.to_string(), number);
        }
        assert_eq!((shelf.find("0"), shelf.find("1")), (None, Some(1)));
        assert_eq!(shelf.change("1", |thing| std::mem::replace(thing, 7)), Some(1));
        assert_eq!((shelf.remove("1"), shelf.remove("1")), (Some(7), None));
        assert_eq!((shelf.all().len(), shelf.all()[0]), (KEPT - 1, KEPT));
    }
}
