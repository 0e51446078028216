//! Which routes are tried, in which order. Pure.

use super::fit::{Fit, fit};
use crate::catalog::{Catalog, Charge, Lifecycle, Made, Model, Route};
use crate::error::{Error, ErrorKind};
use crate::job::{Job, Usage};
use crate::media::Size;
use crate::pipeline::routing::{Choice, Excluded, Preferences, Rules, View};
use std::sync::Arc;

/// One candidate: a route and the job cut to it.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The route.
    pub route: Arc<Route>,
    /// The job cut to it.
    pub fit: Fit,
}

/// The candidates, first choice first. Never empty.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The canonical model.
    pub model: String,
    /// Whether the caller named the provider: then its own error is shown.
    pub forced: bool,
    /// The candidates.
    pub candidates: Vec<Candidate>,
}

impl Plan {
    /// The first choice.
    pub fn first(&self) -> &Candidate {
        &self.candidates[0]
    }
}

impl Candidate {
    /// The provider and its id of the model.
    pub(in crate::pipeline) fn names(&self) -> (String, String) {
        (self.route.provider.clone(), self.route.upstream.clone())
    }

    /// The bill foreseen for `n` pictures, in as many calls as the route needs.
    pub fn estimate(&self, job: &Job, n: u32) -> Charge {
        let made = self.made(job, vec![self.fit.expect; n as usize], Usage::default());
        self.route.price.estimate(&Made { calls: n.div_ceil(self.route.max_n.max(1)), ..made })
    }

    /// What one call made, as prices see it.
    pub fn made(&self, job: &Job, sizes: Vec<Size>, usage: Usage) -> Made<'_> {
        Made {
            sizes,
            seconds: Made::seconds(None, self.fit.seconds),
            given: job.images.iter().filter_map(|image| image.size).collect(),
            calls: 1,
            input: Some(self.fit.parameters()),
            usage,
        }
    }
}

/// What a plan is made from, besides the job and the catalog.
pub(in crate::pipeline) struct Scene<'a> {
    /// The operator's rules.
    pub rules: &'a Rules,
    /// The request's preferences.
    pub preferences: &'a Preferences,
    /// What is known of a route; `None` when its provider is not configured.
    pub view: &'a dyn Fn(&Route) -> Option<View>,
    /// `YYYY-MM-DD`
    pub today: &'a str,
}

/// Plans a job: what cannot do it or may not be used is left out, the rest is put in order. `dice` draws among weights.
pub(in crate::pipeline) fn plan(
    job: &Job,
    catalog: &Catalog,
    scene: &Scene<'_>,
    dice: &mut dyn FnMut() -> f64,
) -> Result<Plan, Error> {
    let today = scene.today;
    let named = catalog.find(&job.model)?;
    let model = named.model;
    match model.status_on(today) {
        Lifecycle::Retired => return Err(retired(model)),
        Lifecycle::Disabled => return Err(disabled(format!("Model '{}' is switched off here.", model.id))),
        Lifecycle::Active | Lifecycle::Preview | Lifecycle::Deprecated => {}
    }
    let routes: Vec<&Arc<Route>> = catalog
        .routes(model)
        .iter()
        .filter(|route| named.provider.is_none_or(|provider| route.provider == provider))
        .filter(|route| named.upstream.is_none_or(|upstream| route.upstream == upstream))
        .collect();
    if !routes.iter().any(|route| route.modes.contains(&job.mode)) {
        return Err(wrong_mode(model, job, &routes));
    }
    let live = routes.into_iter().filter(|route| !route.retired(today));
    let live: Vec<(&Arc<Route>, View)> = live.filter_map(|route| Some((route, (scene.view)(route)?))).collect();
    if live.is_empty() {
        return Err(unserved(model, named.provider, catalog));
    }
    let forced = named.provider.is_some();
    let (rules, preferences) = (scene.rules, scene.preferences);
    let choice = Choice { model: &model.id, asked: &job.model, forced, rules, preferences };
    let mut misfits = Vec::new();
    let mut excluded = Vec::new();
    let mut offers = Vec::new();
    for (route, view) in live {
        let candidate = match fit(job, route) {
            Ok(fit) => Candidate { route: Arc::clone(route), fit },
            Err(misfit) => {
                misfits.push(format!("{}: {}", route.executed_model(), misfit.0));
                continue;
            }
        };
        let price = preferences.needs_prices().then(|| candidate.estimate(job, job.n).amount).flatten();
        match choice.excludes(route, &view).or_else(|| choice.too_expensive(price)) {
            Some(why) => excluded.push((route.executed_model(), why)),
            None => offers.push((candidate, route.as_ref(), view, price)),
        }
    }
    if offers.is_empty() && excluded.is_empty() {
        let message = format!("No route of '{}' can do this: {}.", model.id, misfits.join("; "));
        return Err(Error::new(ErrorKind::InvalidRequest, message));
    }
    if offers.is_empty() {
        return Err(none_left(model, &excluded));
    }
    Ok(Plan { model: model.id.clone(), forced, candidates: choice.order(offers, dice) })
}

/// Routes could do it, and none may.
fn none_left(model: &Model, excluded: &[(String, Excluded)]) -> Error {
    let id = &model.id;
    if excluded.iter().all(|(_, why)| *why == Excluded::Key) {
        let message = format!("This key may not use '{id}' through any of its providers.");
        return Error { param: Some("model".to_owned()), ..Error::new(ErrorKind::Forbidden, message) };
    }
    let reasons = |(route, why): &(String, Excluded)| match why {
        Excluded::Key => format!("{route} (not for this key)"),
        Excluded::Wish(text) | Excluded::Operator(text) => format!("{route} ({text})"),
        Excluded::Gone => format!("{route} (no longer offered by the provider)"),
    };
    let list = excluded.iter().map(reasons).collect::<Vec<_>>().join(", ");
    if excluded.iter().any(|(_, why)| matches!(why, Excluded::Wish(_))) {
        let message = format!("The preferences in 'provider' leave no route of '{id}': {list}.");
        return Error::invalid("provider", message);
    }
    disabled(format!("Model '{id}' cannot be used here at present: {list}."))
}

fn disabled(message: String) -> Error {
    Error { param: Some("model".to_owned()), ..Error::new(ErrorKind::ModelDisabled, message) }
}

fn retired(model: &Model) -> Error {
    let when = model.retires.as_ref().map(|day| format!(" on {day}")).unwrap_or_default();
    let instead = model.successor.as_ref().map(|name| format!(" Use '{name}' instead.")).unwrap_or_default();
    disabled(format!("Model '{}' was retired{when}.{instead}", model.id))
}

fn unserved(model: &Model, provider: Option<&str>, catalog: &Catalog) -> Error {
    let mut providers: Vec<&str> = catalog.routes(model).iter().map(|route| route.provider.as_str()).collect();
    providers.sort_unstable();
    providers.dedup();
    let wanted = match provider {
        Some(provider) => provider.to_owned(),
        None => providers.join(", "),
    };
    disabled(format!("Model '{}' is not available here: no credential is configured for {wanted}.", model.id))
}

fn wrong_mode(model: &Model, job: &Job, routes: &[&Arc<Route>]) -> Error {
    let mut modes: Vec<&str> = routes.iter().flat_map(|route| &route.modes).map(|mode| mode.as_str()).collect();
    modes.sort_unstable();
    modes.dedup();
    let message = if routes.is_empty() {
        format!("Model '{}' has no such route.", job.model)
    } else {
        format!("Model '{}' does not support {}. Supported modes: {}", model.id, job.mode, modes.join(", "))
    };
    let kind = if routes.is_empty() { ErrorKind::ModelNotFound } else { ErrorKind::InvalidRequest };
    Error { param: Some("model".to_owned()), ..Error::new(kind, message) }
}
