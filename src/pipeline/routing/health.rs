//! How well something is: a state machine without a clock of its own. One runs for every route and one for every
//! credential.
//!
//! Failures trip a breaker, by a row of them or by their share in a window that decays. An open breaker is tried again
//! by real traffic, one request at a time; each trial that fails doubles the pause. A refused credential stays refused
//! until one works or the configuration changes.

use serde::Serialize;
use std::time::Duration;
use tokio::time::Instant;

/// When something counts as unwell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::pipeline) struct Thresholds {
    /// So many failures in a row trip the breaker.
    pub(in crate::pipeline) row: u32,
    /// The half-life of what is remembered.
    pub(in crate::pipeline) half_life: Duration,
    /// More than this share of failures trips it too, 0 to 1…
    pub(in crate::pipeline) share: f64,
    /// …once so many calls are remembered.
    pub(in crate::pipeline) calls: f64,
    /// How long an open breaker waits for its first trial.
    pub(in crate::pipeline) pause: Duration,
    /// How long at most, after trials that failed.
    pub(in crate::pipeline) longest_pause: Duration,
    /// How long a model that the provider no longer has is left alone.
    pub(in crate::pipeline) gone: Duration,
}

/// What a call said about the health of what it used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// It worked, and took so long.
    Worked(Duration),
    /// It answered, with a refusal that is about the request: it is alive.
    Answered,
    /// It failed.
    Failed,
    /// The credential was refused.
    Refused,
    /// The provider no longer has the model.
    Gone,
    /// It says nothing: the caller hung up, or it was a rate limit.
    Nothing,
}

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// To be used.
    Healthy,
    /// To be tried by one request.
    HalfOpen,
    /// To be used when nothing else is left.
    Unhealthy,
    /// Not to be used: the provider no longer has it.
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Breaker {
    Closed,
    /// Until when, and how long the pause is.
    Open(Instant, Duration),
}

/// The health of one thing.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Health {
    worked: f64,
    failed: f64,
    /// When the two counters were last decayed.
    counted: Instant,
    row: u32,
    breaker: Breaker,
    /// Since when a trial is under way.
    trial: Option<Instant>,
    refused: bool,
    gone: Option<Instant>,
    latency: Option<Duration>,
}

impl Health {
    /// Of something that nothing is known about.
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            worked: 0.0,
            failed: 0.0,
            counted: now,
            row: 0,
            breaker: Breaker::Closed,
            trial: None,
            refused: false,
            gone: None,
            latency: None,
        }
    }

    /// Takes in what a call said.
    pub(super) fn sign(&mut self, sign: Sign, now: Instant, at: &Thresholds) {
        self.decay(now, at.half_life);
        let was_trial = self.trial.take().is_some();
        match sign {
            Sign::Worked(took) => {
                self.worked += 1.0;
                // An average that a dozen calls turn over.
                self.latency = Some(self.latency.map_or(took, |known| (known * 7 + took) / 8));
                self.recover();
            }
            Sign::Answered => self.recover(),
            Sign::Failed => {
                self.failed += 1.0;
                self.row = self.row.saturating_add(1);
                self.fail(was_trial, now, at);
            }
            Sign::Refused => self.refused = true,
            Sign::Gone => self.gone = Some(now + at.gone),
            Sign::Nothing => {}
        }
    }

    /// How it stands.
    pub(super) fn standing(&self, now: Instant) -> Standing {
        if self.gone.is_some_and(|until| now < until) {
            return Standing::Gone;
        }
        match self.breaker {
            _ if self.refused => Standing::Unhealthy,
            Breaker::Closed => Standing::Healthy,
            Breaker::Open(until, _) if now < until => Standing::Unhealthy,
            Breaker::Open(_, pause) => {
                // A trial whose end was never heard of does not block the next for ever.
                let busy = self.trial.is_some_and(|since| now < since + pause);
                if busy { Standing::Unhealthy } else { Standing::HalfOpen }
            }
        }
    }

    /// Lets a call begin, and says how things stood. A call to something half-open is its trial.
    pub(super) fn begin(&mut self, now: Instant) -> Standing {
        let standing = self.standing(now);
        if standing == Standing::HalfOpen {
            self.trial = Some(now);
        }
        standing
    }

    /// How long it usually takes, as seen.
    pub(super) const fn latency(&self) -> Option<Duration> {
        self.latency
    }

    /// The share of calls that worked, 0 to 1; without any, 1.
    pub(super) fn success(&self) -> f64 {
        let all = self.worked + self.failed;
        if all < 0.01 { 1.0 } else { self.worked / all }
    }

    /// Failures in a row.
    pub(super) const fn row(&self) -> u32 {
        self.row
    }

    /// Whether a credential was refused.
    pub(super) const fn refused(&self) -> bool {
        self.refused
    }

    /// When it will next be tried, when it stands ill now.
    pub(super) fn next_trial(&self, now: Instant) -> Option<Instant> {
        let breaker = match self.breaker {
            Breaker::Closed => None,
            Breaker::Open(until, _) => Some(until),
        };
        self.gone.max(breaker).filter(|until| *until > now)
    }

    fn recover(&mut self) {
        if self.breaker != Breaker::Closed {
            // What tripped it is over.
            self.failed = 0.0;
        }
        self.breaker = Breaker::Closed;
        (self.row, self.refused, self.gone) = (0, false, None);
    }

    fn fail(&mut self, was_trial: bool, now: Instant, at: &Thresholds) {
        let all = self.worked + self.failed;
        let tripped = self.row >= at.row || (all >= at.calls && self.failed > all * at.share);
        self.breaker = match self.breaker {
            Breaker::Closed if tripped => Breaker::Open(now + at.pause, at.pause),
            Breaker::Open(until, pause) if was_trial || now >= until => {
                let pause = (pause * 2).min(at.longest_pause).max(at.pause);
                Breaker::Open(now + pause, pause)
            }
            same => same,
        };
    }

    fn decay(&mut self, now: Instant, half_life: Duration) {
        let lives = now.saturating_duration_since(self.counted).as_secs_f64() / half_life.as_secs_f64().max(0.001);
        let left = (-lives).exp2();
        (self.worked, self.failed, self.counted) = (self.worked * left, self.failed * left, now.max(self.counted));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AT: Thresholds = Thresholds {
        row: 3,
        half_life: Duration::from_mins(1),
        share: 0.5,
        calls: 10.0,
        pause: Duration::from_secs(30),
        longest_pause: Duration::from_mins(5),
        gone: Duration::from_hours(1),
    };

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn broken(now: Instant) -> Health {
        let mut health = Health::new(now);
        for _ in 0..3 {
            health.sign(Sign::Failed, now, &AT);
        }
        health
    }

    #[test]
    fn a_row_of_failures_opens_and_one_trial_closes() {
        let start = Instant::now();
        let mut health = broken(start);
        assert_eq!(health.standing(start + seconds(29)), Standing::Unhealthy);
        let later = start + seconds(30);
        assert_eq!(health.begin(later), Standing::HalfOpen);
        assert_eq!(health.begin(later), Standing::Unhealthy, "one request at a time tries it");
        health.sign(Sign::Worked(seconds(1)), later, &AT);
        assert_eq!(health.standing(later), Standing::Healthy);
    }

    /// A breaker must open again after a failed trial, however often: peers forget it after the first time.
    #[test]
    fn failed_trials_open_it_again_for_longer() {
        let mut now = Instant::now();
        let mut health = broken(now);
        for pause in [30, 60, 120, 240, 300, 300] {
            assert_eq!(health.standing(now + seconds(pause - 1)), Standing::Unhealthy, "{pause}");
            now += seconds(pause);
            assert_eq!(health.begin(now), Standing::HalfOpen, "{pause}");
            health.sign(Sign::Failed, now, &AT);
        }
    }

    #[test]
    fn a_lost_trial_does_not_block_the_next() {
        let start = Instant::now();
        let mut health = broken(start);
        assert_eq!(health.begin(start + seconds(30)), Standing::HalfOpen);
        assert_eq!(health.begin(start + seconds(59)), Standing::Unhealthy);
        assert_eq!(health.begin(start + seconds(60)), Standing::HalfOpen);
    }

    #[test]
    fn a_share_of_failures_opens_and_the_past_is_forgotten() {
        let start = Instant::now();
        let mut health = Health::new(start);
        for round in 0..6 {
            assert_eq!(health.standing(start), Standing::Healthy, "{round}");
            health.sign(Sign::Failed, start, &AT);
            health.sign(Sign::Failed, start, &AT);
            health.sign(Sign::Worked(seconds(1)), start, &AT);
            if health.standing(start) != Standing::Healthy {
                break;
            }
        }
        // 2 of 3 failed, never three in a row: the share alone trips it.
        let mut mixed = Health::new(start);
        let mut tripped = false;
        for call in 0..12 {
            let sign = if call % 3 == 0 { Sign::Worked(seconds(1)) } else { Sign::Failed };
            mixed.sign(sign, start, &AT);
            tripped |= mixed.standing(start) != Standing::Healthy;
        }
        assert!(tripped);
        let mut spread = Health::new(start);
        for call in 0..40u64 {
            let sign = if call % 3 == 0 { Sign::Worked(seconds(1)) } else { Sign::Failed };
            let now = start + seconds(call * 60);
            spread.sign(sign, now, &AT);
            assert_eq!(spread.standing(now), Standing::Healthy, "one call a minute is no window to judge by");
        }
    }

    #[test]
    fn refused_credentials_and_gone_models_stay_so() {
        let start = Instant::now();
        let mut refused = Health::new(start);
        refused.sign(Sign::Refused, start, &AT);
        assert_eq!(refused.standing(start + seconds(1_000_000)), Standing::Unhealthy);
        refused.sign(Sign::Worked(seconds(1)), start, &AT);
        assert_eq!(refused.standing(start), Standing::Healthy);
        let mut gone = Health::new(start);
        gone.sign(Sign::Gone, start, &AT);
        assert_eq!(gone.standing(start + seconds(3_599)), Standing::Gone);
        assert_eq!(gone.standing(start + seconds(3_600)), Standing::Healthy, "asked again after its time");
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Call(Sign),
        Pass(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let sign = prop_oneof![
            3 => Just(Sign::Failed),
            2 => (1..5_000u64).prop_map(|ms| Sign::Worked(Duration::from_millis(ms))),
            1 => Just(Sign::Answered),
            1 => Just(Sign::Refused),
            1 => Just(Sign::Gone),
            1 => Just(Sign::Nothing),
        ];
        proptest::collection::vec(prop_oneof![sign.prop_map(Step::Call), (0..4_000u64).prop_map(Step::Pass)], 0..200)
    }

    proptest! {
        #[test]
        fn whatever_happened_it_can_get_well(steps in steps()) {
            let mut now = Instant::now();
            let mut health = Health::new(now);
            for step in steps {
                match step {
                    Step::Pass(span) => now += seconds(span),
                    Step::Call(sign) => {
                        health.begin(now);
                        health.sign(sign, now, &AT);
                    }
                }
                prop_assert!((0.0..=1.0).contains(&health.success()));
                prop_assert!(health.next_trial(now).is_none_or(|at| at <= now + AT.gone));
            }
            // Left alone for long enough, it is tried again; one call that works makes it well.
            now += AT.gone.max(AT.longest_pause);
            prop_assert!(health.refused() || health.standing(now) != Standing::Unhealthy);
            health.sign(Sign::Worked(seconds(1)), now, &AT);
            prop_assert_eq!(health.standing(now), Standing::Healthy);
        }

        #[test]
        fn at_most_one_trial_at_a_time(calls in 1..50usize) {
            let start = Instant::now();
            let mut health = broken(start);
            let later = start + AT.pause;
            let trials = (0..calls).filter(|_| health.begin(later) == Standing::HalfOpen).count();
            prop_assert_eq!(trials, 1);
        }

        #[test]
        fn no_row_of_failures_goes_unnoticed(before in 0..100usize, gap in 0..100u64) {
            let mut now = Instant::now();
            let mut health = Health::new(now);
            for _ in 0..before {
                health.sign(Sign::Worked(seconds(1)), now, &AT);
            }
            for _ in 0..AT.row {
                now += seconds(gap);
                health.sign(Sign::Failed, now, &AT);
            }
            prop_assert_eq!(health.standing(now), Standing::Unhealthy);
        }
    }
}
