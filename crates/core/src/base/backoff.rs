//! Delays between retries: exponential, capped, with jitter, so that callers who failed together do not return together.

use std::time::Duration;

/// The first delay, and the longest. The delays double in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
}

impl Backoff {
    /// From `first` up to `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest }
    }

    /// The delay after so many failures (1 after the first): a random time between half of the exponential delay and all of it.
    pub fn delay(self, failures: u32) -> Duration {
        self.jittered(failures, rand::random())
    }

    /// The same with a random number from 0 to 1.
    fn jittered(self, failures: u32, random: f64) -> Duration {
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
        let half = doubled.min(self.longest) / 2;
        half + half.mul_f64(random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));

    #[test]
    fn delays_double_up_to_the_longest() {
        let longest = |failures| BACKOFF.jittered(failures, 1.0).as_millis();
        assert_eq!([0, 1, 2, 3, 4, 5, u32::MAX].map(longest), [100, 100, 200, 400, 800, 1000, 1000]);
    }

    proptest! {
        #[test]
        fn delays_are_at_least_half_and_at_most_all(failures: u32, random in 0.0..1.0) {
            let (all, delay) = (BACKOFF.jittered(failures, 1.0), BACKOFF.jittered(failures, random));
            prop_assert!(all / 2 <= delay && delay <= all);
            prop_assert!((all / 2..=all).contains(&BACKOFF.delay(failures)));
        }
    }
}
