//! The tasks. They are small: their pictures are drawn when somebody asks for them.

use super::super::identity::fresh_uuid;
use super::super::shelf::Shelf;
use super::request::Order;
use crate::base::Usd;
use crate::catalog::Route;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a result link works after it was first told.
const LINK_LIFE: Duration = Duration::from_mins(10);

/// What becomes of a task. It is settled when the task is taken, and told when it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// A picture.
    Made,
    /// The prompt or an input picture is refused, before the work.
    RequestModerated,
    /// What was made is refused.
    ContentModerated,
    /// The model fell over.
    Failed,
}

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nobody works on it, as far as is told.
    Pending,
    /// It is being worked on.
    Generating,
    /// Finished, one way or the other.
    Done,
}

/// One task.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) id: String,
    pub(super) route: Arc<Route>,
    pub(super) order: Order,
    pub(super) fate: Fate,
    /// What it costs when it runs.
    pub(super) cost: Usd,
    /// How many polls find it unfinished.
    pub(super) polls: u32,
    /// How long it takes at least.
    pub(super) latency: Duration,
    born: Instant,
    told: Option<Instant>,
    polled: u32,
}

impl Task {
    /// A task that is done already, and free.
    pub(super) fn new(route: Arc<Route>, order: Order, fate: Fate) -> Self {
        Self {
            id: fresh_uuid(),
            route,
            order,
            fate,
            cost: Usd::ZERO,
            polls: 0,
            latency: Duration::ZERO,
            born: Instant::now(),
            told: None,
            polled: 0,
        }
    }

    /// What is taken for it: work that was done, refused or not.
    pub(super) fn billed(&self) -> Usd {
        match self.fate {
            Fate::Made | Fate::ContentModerated => self.cost,
            Fate::RequestModerated | Fate::Failed => Usd::ZERO,
        }
    }

    /// How long the model is said to have run.
    pub(super) fn seconds(&self) -> f64 {
        if self.latency.is_zero() { 0.5 } else { self.latency.as_secs_f64() }
    }

    /// Whether its link still works.
    pub(super) fn linked(&self) -> bool {
        self.fate == Fate::Made && self.told.is_some_and(|told| told.elapsed() < LINK_LIFE)
    }

    fn phase(&self) -> Phase {
        let elapsed = self.born.elapsed();
        let polled = |beyond: u32| self.polls == 0 || self.polled > beyond;
        if polled(self.polls) && elapsed >= self.latency {
            Phase::Done
        } else if self.route.upstream.starts_with("flux-3-") && polled(self.polls / 2) && elapsed * 4 >= self.latency {
            Phase::Generating
        } else {
            Phase::Pending
        }
    }
}

/// All tasks.
#[derive(Default)]
pub(super) struct Tasks(Shelf<Arc<Task>>);

impl Tasks {
    pub(super) fn add(&self, task: Task) {
        self.0.add(task.id.clone(), Arc::new(task));
    }

    /// The task as its files know it.
    pub(super) fn find(&self, id: &str) -> Option<Arc<Task>> {
        self.0.find(id)
    }

    /// Somebody asks after a task: it moves one step.
    pub(super) fn advance(&self, id: &str) -> Option<(Arc<Task>, Phase)> {
        self.0.change(id, |held| {
            let task = Arc::make_mut(held);
            task.polled = task.polled.saturating_add(1);
            let phase = task.phase();
            if phase == Phase::Done {
                task.told.get_or_insert_with(Instant::now);
            }
            (Arc::clone(held), phase)
        })
    }
}
