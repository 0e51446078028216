//! Leaves out routes that may not be used and puts the others in order. Pure: what is known comes in, and so do the dice.

use super::health::Standing;
use super::operator::Operator;
use super::rules::{Place, Rules, covers};
use crate::base::{AllowedModels, Usd};
use crate::catalog::Route;
use std::time::Duration;

/// What a caller, or their key, wants of the routes of one request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Preferences {
    /// Routes to be tried first, in this order: providers, or `provider/upstream`.
    pub order: Vec<String>,
    /// Nothing but these; empty for all.
    pub only: Vec<String>,
    /// None of these.
    pub ignore: Vec<String>,
    /// What the rest is sorted by, instead of the operator's tiers and weights.
    pub sort: Option<Sort>,
    /// Whether the first choice is the only one.
    pub no_fallbacks: bool,
    /// The most that a route may cost for the whole request, by its estimate.
    pub max_price: Option<Usd>,
    /// What the key may use, by patterns for a model or for `provider/model`.
    pub allowed: AllowedModels,
}

/// What routes are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// The cheapest estimate first; unknown prices last.
    Price,
    /// The fastest first, as seen, else as the catalog says.
    Latency,
    /// The most reliable first, as seen lately.
    Success,
}

impl Preferences {
    /// Whether they can only be followed when every route's estimate is known.
    pub(in crate::pipeline) fn needs_prices(&self) -> bool {
        self.max_price.is_some() || self.sort == Some(Sort::Price)
    }
}

/// What is known of a route at the moment of planning.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::pipeline) struct View {
    /// Its health and that of its provider's credentials.
    pub(in crate::pipeline) standing: Standing,
    /// What the operator said.
    pub(in crate::pipeline) operator: Operator,
    /// How long it takes, as seen.
    pub(in crate::pipeline) latency: Option<Duration>,
    /// The share of its calls that worked lately, 0 to 1.
    pub(in crate::pipeline) success: f64,
}

/// Why a route is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pipeline) enum Excluded {
    /// The key may not use it.
    Key,
    /// The request's own preferences; with the preference.
    Wish(&'static str),
    /// The operator, or the operator's rules.
    Operator(&'static str),
    /// The provider no longer has the model.
    Gone,
}

/// A model's routes are chosen by these.
#[derive(Clone, Copy)]
pub(in crate::pipeline) struct Choice<'a> {
    /// The canonical model.
    pub(in crate::pipeline) model: &'a str,
    /// The model as it was asked for.
    pub(in crate::pipeline) asked: &'a str,
    /// Whether the caller named the provider.
    pub(in crate::pipeline) forced: bool,
    /// The operator's rules.
    pub(in crate::pipeline) rules: &'a Rules,
    /// The request's preferences.
    pub(in crate::pipeline) preferences: &'a Preferences,
}

/// Where a route stands in the order; smaller is earlier.
type Rank = (bool, usize, f64, u64, f64);

impl Choice<'_> {
    /// Why a route is left out, if it is. A route that was asked for by name is tried unless somebody forbade it.
    pub(in crate::pipeline) fn excludes(&self, route: &Route, view: &View) -> Option<Excluded> {
        let wishes = self.preferences;
        let listed = |names: &[String]| names.iter().any(|name| covers(name, route));
        if !self.permits(route) {
            return Some(Excluded::Key);
        }
        if !wishes.only.is_empty() && !listed(&wishes.only) {
            return Some(Excluded::Wish("not in 'only'"));
        }
        if listed(&wishes.ignore) {
            return Some(Excluded::Wish("in 'ignore'"));
        }
        match view.operator {
            Operator::Disabled => return Some(Excluded::Operator("switched off")),
            Operator::Draining if !self.forced => return Some(Excluded::Operator("being drained")),
            Operator::Draining | Operator::Active => {}
        }
        if !self.forced && self.rules.place(self.model, route) == Place::Out {
            return Some(Excluded::Operator("left out by a routing rule"));
        }
        (!self.forced && view.standing == Standing::Gone).then_some(Excluded::Gone)
    }

    /// Why a route is too expensive, if it is.
    pub(in crate::pipeline) fn too_expensive(&self, estimate: Option<Usd>) -> Option<Excluded> {
        let most = self.preferences.max_price?;
        match estimate {
            Some(price) if price <= most => None,
            Some(_) => Some(Excluded::Wish("over 'max_price'")),
            None => Some(Excluded::Wish("without a known price, so perhaps over 'max_price'")),
        }
    }

    /// Puts routes in order: healthy ones first; then the caller's order, else their sorting, else the operator's tiers,
    /// drawn by weight within a tier. `dice` gives numbers from 0 up to, not including, 1.
    pub(in crate::pipeline) fn order<T>(
        &self,
        offers: Vec<(T, &Route, View, Option<Usd>)>,
        dice: &mut dyn FnMut() -> f64,
    ) -> Vec<T> {
        let mut ranked: Vec<(Rank, T)> =
            offers.into_iter().map(|(item, route, view, price)| (self.rank(route, &view, price, dice), item)).collect();
        // A stable sort: equals keep the catalog's order.
        ranked.sort_by(|(a, _), (b, _)| {
            let by_wish = (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2));
            by_wish.then(a.3.cmp(&b.3)).then(a.4.total_cmp(&b.4))
        });
        let most = if self.preferences.no_fallbacks { 1 } else { usize::MAX };
        ranked.into_iter().map(|(_, item)| item).take(most).collect()
    }

    fn rank(&self, route: &Route, view: &View, price: Option<Usd>, dice: &mut dyn FnMut() -> f64) -> Rank {
        let unwell = matches!(view.standing, Standing::Unhealthy | Standing::Gone);
        let wished = self.preferences.order.iter().position(|name| covers(name, route)).unwrap_or(usize::MAX);
        let measure = match self.preferences.sort {
            None => 0.0,
            Some(Sort::Price) => price.map_or(f64::INFINITY, Usd::as_number),
            Some(Sort::Latency) => {
                view.latency.map_or(f64::from(route.typical_seconds), |latency| latency.as_secs_f64())
            }
            Some(Sort::Success) => -view.success,
        };
        let (tier, draw) = match self.rules.place(self.model, route) {
            Place::In(tier, Some(weight)) => (tier, draw(weight, dice)),
            Place::In(tier, None) => (tier, 0.0),
            // Only a route that was asked for by name gets here.
            Place::Out => (u64::MAX, 0.0),
        };
        (unwell, wished, measure, tier, draw)
    }

    /// Whether the key may use a route: a pattern fits the model, its canonical name, or `provider/model`.
    fn permits(&self, route: &Route) -> bool {
        let through = format!("{}/{}", route.provider, self.model);
        self.preferences.allowed.allow_any([self.asked, self.model, through.as_str()])
    }
}

/// Weighted choice without replacement: each takes an exponential time of its rate, the earliest goes first. A weight of
/// 0 never goes before another.
fn draw(weight: u32, dice: &mut dyn FnMut() -> f64) -> f64 {
    if weight == 0 {
        return f64::INFINITY;
    }
    -(1.0 - dice()).ln() / f64::from(weight)
}
