//! Waiting for a rate limit to end, in a queue that is bounded and fair.

use super::Switchboard;
use crate::pipeline::routing::queue::Ticket;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Between two requests that leave a queue, so that a limit that is over is not hit by all at once.
const SPACING: Duration = Duration::from_millis(20);

impl Switchboard {
    /// Waits for a rate limit to end and for this request's turn, at most until `latest`. `Err` says how long the limit
    /// still lasts: it is longer, or too many wait already.
    pub(in crate::pipeline) async fn turn(
        &self,
        route: &str,
        provider: &str,
        at: usize,
        key: &str,
        latest: Instant,
    ) -> Result<(), Duration> {
        let place = {
            let (mut state, now) = (self.state(), Instant::now());
            let wallet = state.wallet(provider, at, now);
            let open = wallet.open_at(route, now);
            let ticket = if open > latest { None } else { wallet.queue.enter(key, route, self.0.most) };
            let ticket = ticket.ok_or(open - now)?;
            Place { board: self, provider, at, ticket }
        };
        loop {
            let moved = self.0.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            let wake = {
                let (mut state, now) = (self.state(), Instant::now());
                let wallet = state.wallet(provider, at, now);
                let open = wallet.open_at(route, now);
                let first = wallet.queue.first(place.ticket);
                if first && open <= now {
                    if let Some(lane) = wallet.lanes.get_mut(route) {
                        lane.until = now + SPACING;
                    }
                    return Ok(());
                }
                if open > latest || now >= latest {
                    return Err(open - now);
                }
                if first { open } else { latest }
            };
            tokio::select! {
                () = sleep_until(wake) => {}
                () = moved => {}
            }
        }
    }
}

/// A place in a queue, given up however its holder ends.
struct Place<'a> {
    board: &'a Switchboard,
    provider: &'a str,
    at: usize,
    ticket: Ticket,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(wallet) = self.board.state().credentials.get_mut(&(self.provider.to_owned(), self.at)) {
            wallet.queue.leave(self.ticket);
        }
        self.board.0.moved.notify_waiters();
    }
}
