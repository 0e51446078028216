//! What this process knows of every route and credential, shared by all its requests: health, rate limits, what the
//! operator said, and the rules. Each replica keeps its own; only the operator's words are shared, through the database.

use super::choose::View;
use super::health::{Health, Sign, Standing, Thresholds};
use super::operator::Operator;
use super::queue::Queue;
use super::rules::Rules;
use super::settings::Settings;
use crate::fault::{Fault, FaultKind};
use crate::pipeline::upstream::Upstream;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

mod report;
mod turn;

pub use report::Report;

/// The credential that a call goes out with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pipeline) enum Pick {
    /// This one, at once.
    Ready(usize),
    /// This one, when its rate limit is over.
    Wait(usize),
    /// None that is worth asking.
    Nothing,
}

/// The switchboard. Clones share it.
#[derive(Clone)]
pub struct Switchboard(Arc<Inner>);

struct Inner {
    at: Thresholds,
    /// Requests that may wait for one credential.
    most: usize,
    rules: RwLock<Arc<Rules>>,
    state: Mutex<State>,
    /// Somebody left a queue.
    moved: Notify,
}

#[derive(Default)]
struct State {
    routes: HashMap<String, Health>,
    operators: BTreeMap<String, Operator>,
    credentials: HashMap<(String, usize), Wallet>,
}

/// A credential's health, and where it is rate-limited.
struct Wallet {
    health: Health,
    lanes: HashMap<String, Lane>,
    queue: Queue,
}

/// A credential on a route: limits are often per model.
#[derive(Clone, Copy)]
struct Lane {
    /// When it may be asked again.
    until: Instant,
    /// Rate limits in a row.
    row: u32,
}

/// The shortest pause after a rate limit, and the usual first one.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));
/// The longest pause that a provider can ask for.
const LONGEST: Duration = Duration::from_mins(10);
impl Wallet {
    fn new(now: Instant) -> Self {
        Self { health: Health::new(now), lanes: HashMap::new(), queue: Queue::default() }
    }

    /// When it may be asked on that route.
    fn open_at(&self, route: &str, now: Instant) -> Instant {
        self.lanes.get(route).map_or(now, |lane| lane.until.max(now))
    }
}

impl State {
    fn operator(&self, route: &str) -> Operator {
        let provider = route.split('/').next().unwrap_or_default();
        self.operators.get(route).or_else(|| self.operators.get(provider)).copied().unwrap_or_default()
    }

    fn standing(&self, route: &str, upstream: &Upstream, now: Instant) -> Standing {
        let own = self.routes.get(route).map_or(Standing::Healthy, |health| health.standing(now));
        let usable = (0..upstream.credentials.len()).any(|at| self.ready(upstream, at, route, now));
        if own == Standing::Gone || usable { own } else { Standing::Unhealthy }
    }

    /// Whether a credential is good, not limited on that route, and nobody waits for it there.
    fn ready(&self, upstream: &Upstream, at: usize, route: &str, now: Instant) -> bool {
        self.credentials.get(&(upstream.name.clone(), at)).is_none_or(|wallet| {
            !wallet.health.refused() && wallet.open_at(route, now) <= now && !wallet.queue.waits(route)
        })
    }

    fn wallet(&mut self, provider: &str, at: usize, now: Instant) -> &mut Wallet {
        self.credentials.entry((provider.to_owned(), at)).or_insert_with(|| Wallet::new(now))
    }
}

impl Switchboard {
    /// With nothing known yet.
    pub fn new(settings: &Settings, rules: Rules) -> Self {
        Self(Arc::new(Inner {
            at: settings.thresholds(),
            most: settings.rate_limit_queue,
            rules: RwLock::new(Arc::new(rules)),
            state: Mutex::default(),
            moved: Notify::new(),
        }))
    }

    /// The rules in force.
    pub fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.0.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts new rules in force, and gives refused credentials another chance: the configuration changed.
    pub fn reload(&self, rules: Rules) {
        *self.0.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        let now = Instant::now();
        for wallet in self.state().credentials.values_mut() {
            wallet.health = Health::new(now);
        }
    }

    /// What is known of a route.
    pub(in crate::pipeline) fn view(&self, route: &str, upstream: &Upstream) -> View {
        let (state, now) = (self.state(), Instant::now());
        let health = state.routes.get(route);
        View {
            standing: state.standing(route, upstream, now),
            operator: state.operator(route),
            latency: health.and_then(Health::latency),
            success: health.map_or(1.0, Health::success),
        }
    }

    /// Lets a request turn to a route; `None` when the operator has switched it off meanwhile. A half-open route takes
    /// one request at a time: for the others it is unhealthy.
    pub(in crate::pipeline) fn begin(&self, route: &str, upstream: &Upstream) -> Option<Standing> {
        let (mut state, now) = (self.state(), Instant::now());
        if state.operator(route) == Operator::Disabled {
            return None;
        }
        let standing = state.standing(route, upstream, now);
        if standing != Standing::HalfOpen {
            return Some(standing);
        }
        Some(state.routes.entry(route.to_owned()).or_insert_with(|| Health::new(now)).begin(now))
    }

    /// Chooses a credential: good ones by weight; else one that waits for the end of a rate limit; else a refused one, as
    /// the last resort. `out` are those that this request has found refused.
    pub(in crate::pipeline) fn pick(
        &self,
        route: &str,
        upstream: &Upstream,
        out: &[usize],
        dice: &mut dyn FnMut() -> f64,
    ) -> Pick {
        let (state, now) = (self.state(), Instant::now());
        let left: Vec<usize> = (0..upstream.credentials.len()).filter(|at| !out.contains(at)).collect();
        let ready: Vec<usize> = left.iter().copied().filter(|at| state.ready(upstream, *at, route, now)).collect();
        if let Some(at) = upstream.draw(&ready, dice) {
            return Pick::Ready(at);
        }
        let wallet = |at: &usize| state.credentials.get(&(upstream.name.clone(), *at));
        let good = left.iter().filter_map(|at| Some((at, wallet(at)?))).filter(|(_, wallet)| !wallet.health.refused());
        if let Some((at, _)) = good.min_by_key(|(_, wallet)| wallet.open_at(route, now)) {
            return Pick::Wait(*at);
        }
        upstream.draw(&left, dice).map_or(Pick::Nothing, Pick::Ready)
    }

    /// Takes in what came of a call.
    pub(in crate::pipeline) fn judge(&self, route: &str, provider: &str, at: usize, outcome: Result<Duration, &Fault>) {
        let (mut state, now) = (self.state(), Instant::now());
        let (on_route, on_credential) = signs(&outcome);
        let health = state.routes.entry(route.to_owned()).or_insert_with(|| Health::new(now));
        let before = health.standing(now);
        health.sign(on_route, now, &self.0.at);
        let after = health.standing(now);
        tell(route, before, after);
        let wallet = state.wallet(provider, at, now);
        let was_refused = wallet.health.refused();
        wallet.health.sign(on_credential, now, &self.0.at);
        if wallet.health.refused() && !was_refused {
            tracing::error!(
                provider.id = provider,
                credential = at,
                "the provider refuses this credential; fix or replace it"
            );
        }
        match outcome {
            Ok(_) => drop(wallet.lanes.remove(route)),
            Err(fault) if fault.kind == FaultKind::RateLimited => {
                let row = wallet.lanes.get(route).map_or(0, |lane| lane.row + 1);
                let usual = PAUSE.1 * 2u32.pow(row.min(4));
                let pause = fault.retry_after.unwrap_or(usual).clamp(PAUSE.0, LONGEST);
                let known = wallet.open_at(route, now);
                wallet.lanes.insert(route.to_owned(), Lane { until: known.max(now + pause), row });
            }
            Err(_) => {}
        }
        drop(state);
        self.0.moved.notify_waiters();
    }

    /// How long a route's calls take, as seen.
    pub(in crate::pipeline) fn latency(&self, route: &str) -> Option<Duration> {
        self.state().routes.get(route).and_then(Health::latency)
    }

    /// Takes over what operators said, for routes (`provider/upstream`) or whole providers. One that becomes active again
    /// starts afresh: what was held against it is forgotten.
    pub fn obey(&self, words: impl IntoIterator<Item = (String, Operator)>) {
        let mut state = self.state();
        let words: BTreeMap<String, Operator> =
            words.into_iter().filter(|(_, operator)| *operator != Operator::Active).collect();
        let freed: Vec<String> = state.operators.keys().filter(|name| !words.contains_key(*name)).cloned().collect();
        state.operators = words;
        for name in &freed {
            state.forget(name);
        }
    }

    /// Forgets what is held against a route or a whole provider.
    pub fn forget(&self, name: &str) {
        self.state().forget(name);
        self.0.moved.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn forget(&mut self, name: &str) {
        let provider = name.split('/').next().unwrap_or_default();
        let within = |route: &str| route == name || (name == provider && route.split('/').next() == Some(name));
        self.routes.retain(|route, _| !within(route));
        for ((owner, _), wallet) in &mut self.credentials {
            if owner == provider {
                wallet.lanes.retain(|route, _| !within(route));
                wallet.health = Health::new(Instant::now());
            }
        }
    }
}

/// What an outcome says of the route and of the credential.
fn signs(outcome: &Result<Duration, &Fault>) -> (Sign, Sign) {
    match outcome {
        Ok(took) => (Sign::Worked(*took), Sign::Worked(*took)),
        Err(fault) => match fault.kind {
            FaultKind::BadRequest | FaultKind::Moderated => (Sign::Answered, Sign::Answered),
            FaultKind::Auth => (Sign::Nothing, Sign::Refused),
            FaultKind::RateLimited | FaultKind::Cancelled => (Sign::Nothing, Sign::Nothing),
            FaultKind::Gone => (Sign::Gone, Sign::Nothing),
            FaultKind::Unavailable | FaultKind::Empty | FaultKind::Timeout | FaultKind::Malformed => {
                (Sign::Failed, Sign::Nothing)
            }
        },
    }
}

/// Says in the log when a route turns.
fn tell(route: &str, before: Standing, after: Standing) {
    if before == after {
        return;
    }
    match after {
        Standing::Gone => tracing::error!(route, "the provider no longer has this model; the route is left out"),
        Standing::Healthy => tracing::info!(route, "the route is healthy again"),
        Standing::Unhealthy if before == Standing::Healthy => {
            tracing::warn!(route, "the route keeps failing; it is the last resort until a trial succeeds");
        }
        Standing::Unhealthy | Standing::HalfOpen => {}
    }
}

#[cfg(test)]
mod tests;
