//! Who may ask a rate-limited credential next: a bounded queue, fair between the callers' keys, without a clock of its
//! own. A key with a hundred requests waiting does not keep out one with a single request.

use std::collections::HashMap;

/// A place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Ticket(u64);

#[derive(Debug, Clone, PartialEq)]
struct Waiting {
    ticket: Ticket,
    /// The route that it waits for: limits are often per model.
    route: String,
    /// The round in which its key's turn comes.
    round: u64,
}

/// The requests that wait for one credential.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Queue {
    waiting: Vec<Waiting>,
    next: u64,
    /// The round being served.
    round: u64,
    /// The last round in which each key has a place.
    last: HashMap<String, u64>,
}

impl Queue {
    /// Takes a place for `key`; `None` when `most` are taken.
    pub(super) fn enter(&mut self, key: &str, route: &str, most: usize) -> Option<Ticket> {
        if self.waiting.len() >= most {
            return None;
        }
        let round = self.last.get(key).map_or(self.round, |last| (last + 1).max(self.round));
        self.last.insert(key.to_owned(), round);
        let ticket = Ticket(self.next);
        self.next += 1;
        self.waiting.push(Waiting { ticket, route: route.to_owned(), round });
        Some(ticket)
    }

    /// Whether it is this ticket's turn among those who wait for its route.
    pub(super) fn first(&self, ticket: Ticket) -> bool {
        let Some(own) = self.waiting.iter().find(|one| one.ticket == ticket) else { return false };
        let rivals = self.waiting.iter().filter(|one| one.route == own.route);
        rivals.min_by_key(|one| (one.round, one.ticket)).is_some_and(|first| first.ticket == ticket)
    }

    /// Gives a place up, whether its turn came or not.
    pub(super) fn leave(&mut self, ticket: Ticket) {
        if let Some(at) = self.waiting.iter().position(|one| one.ticket == ticket) {
            let round = self.round.max(self.waiting.remove(at).round);
            self.round = round;
            // A key whose turn is long past starts anew.
            self.last.retain(|_, last| *last >= round);
        }
        if self.waiting.is_empty() {
            (self.round, self.last) = (0, HashMap::new());
        }
    }

    /// Whether anybody waits for that route.
    pub(super) fn waits(&self, route: &str) -> bool {
        self.waiting.iter().any(|one| one.route == route)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The keys in the order of their turns.
    fn served(queue: &mut Queue, mut tickets: Vec<(Ticket, String)>) -> Vec<String> {
        let mut order = Vec::new();
        while !tickets.is_empty() {
            let at = tickets.iter().position(|(ticket, _)| queue.first(*ticket)).unwrap();
            let (ticket, key) = tickets.remove(at);
            queue.leave(ticket);
            order.push(key);
        }
        order
    }

    #[test]
    fn a_crowd_does_not_keep_out_a_single_one() {
        let mut queue = Queue::default();
        let keys = ["a", "a", "a", "a", "b", "b", "c"];
        let tickets = keys.iter().map(|key| (queue.enter(key, "r", 10).unwrap(), (*key).to_owned())).collect();
        assert_eq!(served(&mut queue, tickets).concat(), "abcabaa");
    }

    #[test]
    fn it_is_bounded_and_routes_do_not_block_each_other() {
        let mut queue = Queue::default();
        let first = queue.enter("a", "one", 2).unwrap();
        let other = queue.enter("a", "two", 2).unwrap();
        assert_eq!(queue.enter("b", "one", 2), None);
        assert!(queue.first(first) && queue.first(other));
        queue.leave(first);
        queue.leave(other);
        assert_eq!((queue.len(), queue.first(first)), (0, false));
        assert!(queue.enter("b", "one", 2).is_some());
    }

    proptest! {
        /// Between two turns of one key, no key that waits all the time gets more than one turn less.
        #[test]
        fn turns_are_shared_evenly(counts in proptest::collection::vec(1..20usize, 2..6)) {
            let mut queue = Queue::default();
            let mut tickets = Vec::new();
            for (key, count) in counts.iter().enumerate() {
                for _ in 0..*count {
                    tickets.push((queue.enter(&key.to_string(), "r", 1000).unwrap(), key.to_string()));
                }
            }
            let order = served(&mut queue, tickets);
            let least = counts.iter().min().unwrap() * counts.len();
            for (key, _) in counts.iter().enumerate() {
                let early = order[..least].iter().filter(|one| **one == key.to_string()).count();
                prop_assert_eq!(early, *counts.iter().min().unwrap());
            }
        }
    }
}
