//! The predictions. They are small: their pictures are drawn when somebody asks for them.

use super::super::identity::fresh_hex;
use super::super::shelf::Shelf;
use super::request::Order;
use crate::base::{Timestamp, Usd};
use crate::catalog::Route;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long outputs are kept.
const OUTPUT_LIFE: Duration = Duration::from_hours(1);

/// What becomes of a prediction. It is settled when the prediction is taken, and told when it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Pictures.
    Made,
    /// Flagged, before or after.
    Refused,
    /// The model fell over.
    Failed,
    /// Given up by the caller.
    Canceled,
}

/// How far a prediction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nobody works on it.
    Starting,
    /// It runs.
    Processing,
    /// Finished, one way or the other.
    Done,
}

/// One prediction.
#[derive(Debug, Clone)]
pub(super) struct Prediction {
    /// 26 lower-case letters and digits.
    pub(super) id: String,
    pub(super) route: Arc<Route>,
    pub(super) input: Map<String, Value>,
    pub(super) order: Order,
    pub(super) fate: Fate,
    pub(super) billed: Usd,
    /// How many polls find it unfinished.
    pub(super) polls: u32,
    /// How long it takes at least.
    pub(super) latency: Duration,
    pub(super) created: Timestamp,
    born: Instant,
    polled: u32,
}

impl Prediction {
    /// A prediction that is done already, and free.
    pub(super) fn new(route: Arc<Route>, input: Map<String, Value>, order: Order, fate: Fate) -> Self {
        Self {
            id: fresh_hex().chars().take(26).collect(),
            route,
            input,
            order,
            fate,
            billed: Usd::ZERO,
            polls: 0,
            latency: Duration::ZERO,
            created: Timestamp::now(),
            born: Instant::now(),
            polled: 0,
        }
    }

    /// How long the model is said to have run.
    pub(super) fn seconds(&self) -> f64 {
        if self.latency.is_zero() { 0.5 } else { self.latency.as_secs_f64() }
    }

    /// Whether its outputs have been removed.
    pub(super) fn removed(&self) -> bool {
        self.born.elapsed() >= OUTPUT_LIFE + self.latency
    }

    fn phase(&self) -> Phase {
        let elapsed = self.born.elapsed();
        let polled = |beyond: u32| self.polls == 0 || self.polled > beyond;
        if self.fate == Fate::Canceled || (polled(self.polls) && elapsed >= self.latency) {
            Phase::Done
        } else if polled(self.polls.div_ceil(2)) && elapsed * 4 >= self.latency {
            Phase::Processing
        } else {
            Phase::Starting
        }
    }
}

/// All predictions.
#[derive(Default)]
pub(super) struct Predictions(Shelf<Arc<Prediction>>);

impl Predictions {
    pub(super) fn add(&self, prediction: Prediction) {
        self.0.add(prediction.id.clone(), Arc::new(prediction));
    }

    /// The prediction as it is.
    pub(super) fn look(&self, id: &str) -> Option<(Arc<Prediction>, Phase)> {
        self.with(id, |_| {})
    }

    /// Somebody asks after a prediction: it moves one step.
    pub(super) fn advance(&self, id: &str) -> Option<(Arc<Prediction>, Phase)> {
        self.with(id, |prediction| prediction.polled = prediction.polled.saturating_add(1))
    }

    /// Gives a prediction up when it is not done: what it is now, and what is no longer billed.
    pub(super) fn cancel(&self, id: &str) -> Option<(Arc<Prediction>, Phase, Usd)> {
        let mut refund = Usd::ZERO;
        let (prediction, phase) = self.with(id, |prediction| match prediction.phase() {
            Phase::Done => {}
            Phase::Processing => prediction.fate = Fate::Canceled,
            Phase::Starting => {
                refund = std::mem::take(&mut prediction.billed);
                prediction.fate = Fate::Canceled;
            }
        })?;
        Some((prediction, phase, refund))
    }

    fn with(&self, id: &str, change: impl FnOnce(&mut Prediction)) -> Option<(Arc<Prediction>, Phase)> {
        self.0.change(id, |held| {
            let prediction = Arc::make_mut(held);
            change(prediction);
            let phase = prediction.phase();
            (Arc::clone(held), phase)
        })
    }
}
