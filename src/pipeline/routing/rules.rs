//! The operator's routing rules: for models by pattern, which routes in which order and share.

use crate::catalog::Route;
use globset::{Glob, GlobMatcher};
use serde::{Deserialize, Deserializer, Serialize};

/// One `[[routing.rules]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The models: a name, or a pattern such as `flux.*` or `*`.
    pub model: String,
    /// The routes that it orders.
    #[serde(default)]
    pub routes: Vec<Share>,
    /// What becomes of routes that it does not name.
    #[serde(default)]
    pub others: Others,
}

/// A route's place in a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// The provider, or one of its endpoints: `fal`, `fal/fal-ai/flux-2-pro`.
    pub route: String,
    /// Its tier: lower ones are tried first.
    #[serde(default)]
    pub priority: u32,
    /// Its share of the requests within the tier; 0 makes it the tier's last choice.
    #[serde(default = "one")]
    pub weight: u32,
    /// Whether it is left out.
    #[serde(default)]
    pub disabled: bool,
}

const fn one() -> u32 {
    1
}

/// What becomes of routes that a rule does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Others {
    /// They follow the named ones, in the catalog's order.
    #[default]
    After,
    /// They are not used.
    Never,
}

/// Where a rule puts a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Nowhere.
    Out,
    /// In a tier, with a weight; without one it keeps the catalog's order.
    In(u64, Option<u32>),
}

/// All rules, ready to be asked.
#[derive(Debug, Clone, Default)]
pub struct Rules(Vec<(GlobMatcher, Rule)>);

impl Rules {
    /// Reads rules; the problems name the rule that has them.
    pub fn new(rules: &[Rule]) -> Result<Self, Vec<String>> {
        let mut wrong = Vec::new();
        let mut ready = Vec::new();
        for rule in rules {
            match Glob::new(&rule.model) {
                Ok(glob) => ready.push((glob.compile_matcher(), rule.clone())),
                Err(error) => wrong.push(format!("routing.rules: model '{}': {error}", rule.model)),
            }
            if rule.routes.is_empty() && rule.others == Others::Never {
                wrong.push(format!("routing.rules: model '{}' is left without a route", rule.model));
            }
        }
        if wrong.is_empty() { Ok(Self(ready)) } else { Err(wrong) }
    }

    /// The rules as they were given.
    pub(super) fn list(&self) -> Vec<&Rule> {
        self.0.iter().map(|(_, rule)| rule).collect()
    }

    /// The places of a model's routes: the first rule that matches the model counts, and in it the first share that
    /// covers the route. Without a rule the catalog's order holds.
    pub(super) fn place(&self, model: &str, route: &Route) -> Place {
        let by_catalog = u64::from(route.priority);
        let Some((_, rule)) = self.0.iter().find(|(glob, _)| glob.is_match(model)) else {
            return Place::In(by_catalog, None);
        };
        match rule.routes.iter().find(|share| covers(&share.route, route)) {
            Some(share) if share.disabled => Place::Out,
            Some(share) => Place::In(u64::from(share.priority), Some(share.weight)),
            None if rule.others == Others::Never => Place::Out,
            // Behind every tier that a rule can have.
            None => Place::In((1 << 32) + by_catalog, None),
        }
    }
}

/// Whether a name means the route: its provider, or `provider/upstream`.
pub(super) fn covers(name: &str, route: &Route) -> bool {
    match name.strip_prefix(route.provider.as_str()) {
        Some("") => true,
        Some(rest) => rest.strip_prefix('/') == Some(route.upstream.as_str()),
        None => false,
    }
}

/// Rules as a list, or as JSON in a text: the environment knows texts only.
pub(in crate::pipeline) fn read_rules<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Rule>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given {
        Text(String),
        List(Vec<Rule>),
    }
    match Given::deserialize(from)? {
        Given::List(rules) => Ok(rules),
        Given::Text(text) if text.trim().is_empty() => Ok(Vec::new()),
        Given::Text(text) => serde_json::from_str(&text).map_err(serde::de::Error::custom),
    }
}
