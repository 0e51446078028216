//! What exists: canonical models and the routes that serve them. Pure data, read once from TOML.

mod check;
mod load;
mod model;
mod overlay;
pub mod price;
mod problem;
mod route;
pub mod size_rule;
mod starting;

pub use crate::job::Modality;
pub use load::{load, load_over};
pub use model::{Lifecycle, Model};
pub use overlay::Overlay;
pub use price::{Charge, Component, Made, Price, Rounding, TokenEstimate};
pub use problem::Problem;
pub use route::{InputForm, InputShape, Inputs, LengthForm, Route, Upscale, Video};
pub use size_rule::{SizeChoice, SizeRule};

use crate::base::nearest::near;
use std::collections::HashMap;
use std::sync::Arc;

/// All models and routes.
#[derive(Debug, Default)]
pub struct Catalog {
    models: Vec<Model>,
    by_name: HashMap<String, usize>,
    routes: HashMap<String, Vec<Arc<Route>>>,
    /// Rows for the model `*`: how deployments that name their own models are asked.
    patterns: Vec<Route>,
    providers: Vec<String>,
}

/// What a model name means.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// The canonical model.
    pub model: &'a Model,
    /// The provider that the name forces, as in `fal/flux.2-max`.
    pub provider: Option<&'a str>,
    /// The provider's own id, when the name was that: `fal/fal-ai/flux/schnell`. It forces the one route.
    pub upstream: Option<&'a str>,
}

/// No model of that name. The message says which names may have been meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct UnknownModel {
    /// For the caller.
    pub message: String,
}

impl Catalog {
    /// Every model, in the order of the files.
    pub fn models(&self) -> &[Model] {
        &self.models
    }

    /// The routes of a model, first choice first.
    pub fn routes(&self, model: &Model) -> &[Arc<Route>] {
        self.routes.get(&model.id).map_or(&[], Vec::as_slice)
    }

    /// Every route of one provider: what its simulator serves.
    pub fn routes_of<'a>(&'a self, provider: &'a str) -> impl Iterator<Item = &'a Arc<Route>> {
        self.models.iter().flat_map(|model| self.routes(model)).filter(move |route| route.provider == provider)
    }

    /// Adds a deployment of `adapter` under a name of its own, with the models that it serves. A model that the catalog
    /// knows gets one more route; any other becomes a model of its own. What a file of the operator's says of the
    /// deployment's models stands.
    pub fn add_deployment(&mut self, name: &str, adapter: &str, models: &[&str]) {
        let patterns: Vec<Route> = self.patterns.iter().filter(|route| route.provider == adapter).cloned().collect();
        for &model in models {
            let at = *self.by_name.entry(model.to_owned()).or_insert(self.models.len());
            if at == self.models.len() {
                self.models.push(Model::unknown(model, name));
            }
            let id = self.models[at].id.clone();
            let told = |route: &Arc<Route>| route.provider == name && route.upstream == model;
            if self.routes.get(&id).is_some_and(|routes| routes.iter().any(told)) {
                continue;
            }
            for pattern in &patterns {
                let (provider, upstream) = (name.to_owned(), model.to_owned());
                let route = Route { provider, upstream, model: id.clone(), ..pattern.clone() };
                self.routes.entry(id.clone()).or_default().push(Arc::new(route));
            }
        }
        if !self.providers.iter().any(|known| known == name) {
            self.providers.push(name.to_owned());
        }
    }

    /// The providers that have a catalog file.
    pub fn providers(&self) -> &[String] {
        &self.providers
    }

    /// Finds a model by name, alias or `provider/name`. A miss is told with the nearest names.
    pub fn find<'a>(&'a self, name: &'a str) -> Result<Named<'a>, UnknownModel> {
        if let Some(model) = self.by_name.get(name) {
            return Ok(Named { model: &self.models[*model], provider: None, upstream: None });
        }
        let forced = name.split_once('/').filter(|(provider, _)| self.providers.iter().any(|known| known == provider));
        if let Some((provider, rest)) = forced {
            if let Some(model) = self.by_name.get(rest) {
                return Ok(Named { model: &self.models[*model], provider: Some(provider), upstream: None });
            }
            // The provider's own id works as well: `fal/fal-ai/flux/schnell`.
            if let Some(route) = self.routes_of(provider).find(|route| route.upstream == rest)
                && let Some(model) = self.by_name.get(&route.model)
            {
                return Ok(Named { model: &self.models[*model], provider: Some(provider), upstream: Some(rest) });
            }
        }
        let sought = forced.map_or(name, |(_, rest)| rest);
        let mut names: Vec<&str> = self.by_name.keys().map(String::as_str).collect();
        names.sort_unstable();
        let shown: String = name.chars().take(120).collect();
        let mut seen = Vec::new();
        let mut meant = near(sought, names);
        // One name for each model that may have been meant, three at most.
        meant.retain(|name| {
            let model = self.by_name.get(*name);
            let new = !seen.contains(&model);
            seen.push(model);
            new
        });
        let prefix = forced.map_or(String::new(), |(provider, _)| format!("{provider}/"));
        let meant: Vec<String> = meant.iter().take(3).map(|name| format!("'{prefix}{name}'")).collect();
        let hint = match meant.as_slice() {
            [] => "GET /v1/models lists them.".to_owned(),
            [one] => format!("Did you mean {one}?"),
            [first @ .., last] => format!("Did you mean {} or {last}?", first.join(", ")),
        };
        Err(UnknownModel { message: format!("Model '{shown}' not found. {hint}") })
    }
}
