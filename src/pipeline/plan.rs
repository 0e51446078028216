//! Which routes are tried, in which order. Pure.

use super::fit::{Fit, fit};
use crate::catalog::{Catalog, Charge, Lifecycle, Made, Model, Route};
use crate::error::{Error, ErrorKind};
use crate::job::{Job, Usage};
use crate::media::Size;
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

/// Plans a job. `usable` says which providers are configured; `today` is `YYYY-MM-DD`.
pub(super) fn plan(job: &Job, catalog: &Catalog, usable: impl Fn(&str) -> bool, today: &str) -> Result<Plan, Error> {
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
    let live: Vec<&Arc<Route>> =
        routes.into_iter().filter(|route| usable(&route.provider) && !route.retired(today)).collect();
    if live.is_empty() {
        return Err(unserved(model, named.provider, catalog));
    }
    let mut misfits = Vec::new();
    let mut candidates = Vec::new();
    for route in live {
        match fit(job, route) {
            Ok(fit) => candidates.push(Candidate { route: Arc::clone(route), fit }),
            Err(misfit) => misfits.push(format!("{}: {}", route.executed_model(), misfit.0)),
        }
    }
    if candidates.is_empty() {
        let message = format!("No route of '{}' can do this: {}.", model.id, misfits.join("; "));
        return Err(Error::new(ErrorKind::InvalidRequest, message));
    }
    Ok(Plan { model: model.id.clone(), forced: named.provider.is_some(), candidates })
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
