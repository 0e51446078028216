//! Configuration: embedded defaults, then a file, then the environment. Every mistake is told at once, with the nearest
//! right key.

use crate::base::Secret;
use crate::base::nearest::nearest;
use crate::outbound::AuthScheme;
use crate::providers::{self, ADAPTERS, Adapter, Reach};
use crate::{api, outbound, pipeline, store, telemetry};
use config::{File, FileFormat};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

mod credentials;
mod origin;

pub use credentials::{Keys, WeightedKey};
pub use origin::Origin;

/// The defaults, as documented.
pub const DEFAULTS: &str = include_str!("../config/default.toml");

/// Variables with our prefix that belong to clients of a gateway, not to the gateway.
const CLIENT_VARIABLES: [&str; 7] = [
    "LUMENFALL_CONFIG",
    "LUMENFALL_API_KEY",
    "LUMENFALL_BASE_URL",
    "LUMENFALL_API_BASE",
    "LUMENFALL_OIDC_ISSUER",
    "LUMENFALL_OIDC_CLIENT_ID",
    "LUMENFALL_CONFIG_DIR",
];

/// The whole configuration, one field for each room.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    /// How we are reached.
    pub server: api::Settings,
    /// Where the log is.
    pub database: store::Settings,
    /// Finished pictures.
    pub media: Media,
    /// Keys.
    pub auth: Auth,
    /// The operator's own models, routes and prices.
    pub catalog: Catalog,
    /// Simulators.
    pub sandbox: Sandbox,
    /// How requests are routed.
    pub routing: pipeline::Settings,
    /// Jobs that outlive their request.
    pub jobs: pipeline::JobSettings,
    /// How their ends are told.
    pub webhooks: pipeline::WebhookSettings,
    /// How we reach providers.
    pub outbound: outbound::Settings,
    /// Our own log.
    pub log: telemetry::Settings,
    /// Credentials and addresses, by provider.
    pub providers: BTreeMap<String, Provider>,
    /// Where all this was read.
    #[serde(skip)]
    pub origin: Origin,
}

/// `[media]`
#[derive(Debug, Clone, Deserialize)]
pub struct Media {
    /// `file://…`
    pub storage: String,
    /// Minutes for which a link works.
    pub lifetime_minutes: u64,
    /// Most pixels of a picture.
    pub max_pixels: u64,
    /// Conversions at once; 0 for one a core.
    pub workers: usize,
    /// Conversions that may wait.
    pub queue: usize,
}

impl Media {
    /// How long a link works.
    pub const fn lifetime(&self) -> Duration {
        Duration::from_secs(self.lifetime_minutes * 60)
    }
}

/// `[auth]`
#[derive(Debug, Clone, Deserialize)]
pub struct Auth {
    /// An admin key that exists from the start; empty for none.
    pub bootstrap_key: Secret,
}

/// `[catalog]`
#[derive(Debug, Clone, Deserialize)]
pub struct Catalog {
    /// Where the operator's own files are; empty when there are none.
    pub directory: String,
}

/// `[sandbox]`
#[derive(Debug, Clone, Deserialize)]
pub struct Sandbox {
    /// `true`, `false` or `auto`.
    pub enabled: Switch,
    /// Where it listens; empty for a free port.
    pub listen: String,
}

/// A setting that can decide for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// On.
    #[serde(alias = "1")]
    True,
    /// Off.
    #[serde(alias = "0")]
    False,
    /// As the situation asks.
    Auto,
}

/// `[providers.<id>]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Provider {
    /// Another address than the usual one; empty for the usual.
    pub base_url: String,
    /// The credential; for Google a service account's JSON, or the path of its file.
    pub api_key: Secret,
    /// Further credentials, with weights.
    pub api_keys: Keys,
    /// For a deployment under a name of its own: the adapter that speaks to it.
    pub adapter: String,
    /// The models that such a deployment serves, separated by commas.
    pub models: String,
    /// Google Cloud's project, when the service account's own is not meant.
    pub project: String,
    /// Google Cloud's region; `global` when empty.
    pub region: String,
}

impl Provider {
    /// The models of a deployment.
    pub fn models(&self) -> Vec<&str> {
        self.models.split(',').map(str::trim).filter(|model| !model.is_empty()).collect()
    }
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is not usable:")?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
    }
}

impl std::error::Error for Problems {}

impl Config {
    /// Loads defaults, the file (`path`, else `LUMENFALL_CONFIG`) and the environment given as pairs.
    pub fn load(path: Option<&Path>, environment: &BTreeMap<String, String>) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let named = path.map(Path::to_path_buf).or_else(|| environment.get("LUMENFALL_CONFIG").map(Into::into));
        let file = match &named {
            None => String::new(),
            Some(path) => std::fs::read_to_string(path).unwrap_or_else(|error| {
                problems.push(format!("{}: {error}", path.display()));
                String::new()
            }),
        };
        let table = file.parse::<toml::Table>().unwrap_or_else(|error| {
            let path = named.as_deref().unwrap_or(Path::new("configuration"));
            problems.push(format!("{}: {error}", path.display()));
            toml::Table::new()
        });
        let mut keys = Vec::new();
        flatten("", &table, &mut keys);
        let variables = environment.keys().filter_map(|name| name.strip_prefix("LUMENFALL_")).map(key_of_variable);
        let known = known_keys(keys.iter().cloned().chain(variables));
        problems.extend(keys.iter().filter_map(|key| unknown(key, key, &known)));
        let overrides = read_environment(environment, &known, &mut problems);
        if !problems.is_empty() {
            return Err(Problems(problems));
        }
        let mut config = merge(&file, overrides).map_err(|error| Problems(vec![error.to_string()]))?;
        config.origin = Origin { file: named, environment: environment.clone() };
        config.read_service_accounts()?;
        let wrong = config.check();
        if wrong.is_empty() { Ok(config) } else { Err(Problems(wrong)) }
    }

    /// Google's credentials are usually given as the path of a file.
    fn read_service_accounts(&mut self) -> Result<(), Problems> {
        for card in ADAPTERS.iter().map(|adapter| adapter.card()).filter(|card| card.auth == AuthScheme::Google) {
            let Some(provider) = self.providers.get_mut(card.id) else { continue };
            let key = provider.api_key.expose();
            // A key is JSON or a token; neither has a dot and an ending as a file's name has.
            if Path::new(key).extension().is_some_and(|ending| ending == "json") {
                let text = std::fs::read_to_string(key)
                    .map_err(|error| Problems(vec![format!("providers.{}.api_key: {key}: {error}", card.id)]))?;
                provider.api_key = Secret::new(text);
            }
            if provider.project.is_empty() {
                let file: serde_json::Value = serde_json::from_str(provider.api_key.expose()).unwrap_or_default();
                file["project_id"].as_str().unwrap_or_default().clone_into(&mut provider.project);
            }
        }
        Ok(())
    }

    /// What is wrong with values that parse.
    fn check(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut require = |holds: bool, text: &str| {
            if !holds {
                wrong.push(text.to_owned());
            }
        };
        require(self.server.max_concurrent > 0, "server.max_concurrent should be at least 1");
        let held = self.server.max_held_bytes >= self.server.max_body_bytes.saturating_mul(2);
        require(held, "server.max_held_bytes should be at least twice server.max_body_bytes");
        require(self.server.max_body_bytes >= 1024, "server.max_body_bytes should be at least 1024");
        let days = [0, 7, 30].contains(&self.server.payload_days);
        require(days, "server.payload_days should be 0, 7 or 30");
        require(self.media.max_pixels > 0, "media.max_pixels should be at least 1");
        require(self.media.lifetime_minutes > 0, "media.lifetime_minutes should be at least 1");
        require(self.media.queue > 0, "media.queue should be at least 1");
        require(self.routing.deadline_seconds > 0, "routing.deadline_seconds should be at least 1");
        require(self.jobs.deadline_seconds > 0, "jobs.deadline_seconds should be at least 1");
        require(self.jobs.lease_seconds >= 5, "jobs.lease_seconds should be at least 5");
        require(self.jobs.max_concurrent > 0, "jobs.max_concurrent should be at least 1");
        require(self.jobs.keep_days > 0, "jobs.keep_days should be at least 1");
        require(self.webhooks.timeout_seconds > 0, "webhooks.timeout_seconds should be at least 1");
        require(self.database.max_connections > 0, "database.max_connections should be at least 1");
        let public = &self.server.public_url;
        let absolute = public.is_empty() || public.starts_with("https://") || public.starts_with("http://");
        require(absolute, "server.public_url should start with https:// or http://");
        let listen = self.sandbox.listen.is_empty() || self.sandbox.listen.parse::<SocketAddr>().is_ok();
        require(listen, "sandbox.listen should be an address and a port, such as 127.0.0.1:9090");
        for (id, provider) in &self.providers {
            let base = &provider.base_url;
            let absolute = base.is_empty() || base.starts_with("https://") || base.starts_with("http://");
            require(absolute, &format!("providers.{id}.base_url should start with https:// or http://"));
            if provider.adapter.is_empty() {
                continue;
            }
            let named = providers::find(&provider.adapter).is_some_and(|adapter| adapter.card().reach == Reach::Named);
            require(named, &format!("providers.{id}.adapter should be openai-compatible"));
            require(!base.is_empty(), &format!("providers.{id}.base_url is missing"));
            require(!provider.models().is_empty(), &format!("providers.{id}.models is missing: name1,name2"));
            let taken = providers::find(id).is_some() && *id != provider.adapter;
            require(!taken, &format!("providers.{id}: this name belongs to a provider"));
        }
        wrong.extend(pipeline::Rules::new(&self.routing.rules).err().unwrap_or_default());
        if let Err(error) = self.log.check() {
            wrong.push(format!("log.level: {error}"));
        }
        wrong
    }

    /// The credential and address of a provider.
    pub fn provider(&self, id: &str) -> Provider {
        self.providers.get(id).cloned().unwrap_or_default()
    }

    /// Deployments under names of their own, with the adapters that speak to them. One may simply bear its adapter's name.
    pub fn deployments(&self) -> Vec<(&str, &'static dyn Adapter, &Provider)> {
        let find = |name: &str, provider: &Provider| {
            let adapter = if provider.adapter.is_empty() { name } else { provider.adapter.as_str() };
            let named = |adapter: &&'static dyn Adapter| adapter.card().reach == Reach::Named;
            providers::find(adapter).filter(named).filter(|_| !provider.base_url.is_empty())
        };
        let all = self.providers.iter();
        all.filter_map(|(name, provider)| Some((name.as_str(), find(name, provider)?, provider))).collect()
    }

    /// Whether simulators stand in: as said, else when no provider has a credential or an address of its own.
    pub fn simulated(&self) -> bool {
        match self.sandbox.enabled {
            Switch::True => true,
            Switch::False => false,
            Switch::Auto => !self.providers.values().any(|p| p.has_key() || !p.base_url.is_empty()),
        }
    }
}

fn merge(file: &str, overrides: Vec<(String, String)>) -> Result<Config, config::ConfigError> {
    let mut builder = config::Config::builder()
        .add_source(File::from_str(DEFAULTS, FileFormat::Toml))
        .add_source(File::from_str(file, FileFormat::Toml));
    for (key, value) in overrides {
        builder = builder.set_override(key, value)?;
    }
    builder.build()?.try_deserialize()
}

/// The environment as `(key, value)`, weakest first: usual variables of others, then ours.
fn read_environment(
    environment: &BTreeMap<String, String>,
    known: &BTreeSet<String>,
    problems: &mut Vec<String>,
) -> Vec<(String, String)> {
    let mut overrides = Vec::new();
    let usual = ADAPTERS.iter().map(|adapter| adapter.card()).filter(|card| !card.key_env.is_empty());
    for card in usual {
        if let Some(value) = environment.get(card.key_env).filter(|value| !value.is_empty()) {
            overrides.push((format!("providers.{}.api_key", card.id), value.clone()));
        }
    }
    for (name, key) in [("GOOGLE_CLOUD_PROJECT", "project"), ("GOOGLE_CLOUD_LOCATION", "region")] {
        let cloud = ADAPTERS.iter().map(|adapter| adapter.card()).filter(|card| card.base_url.contains("{project}"));
        if let Some(value) = environment.get(name).filter(|value| !value.is_empty()) {
            overrides.extend(cloud.map(|card| (format!("providers.{}.{key}", card.id), value.clone())));
        }
    }
    if let Some(url) = environment.get("DATABASE_URL").filter(|url| !url.is_empty()) {
        overrides.push(("database.url".to_owned(), url.clone()));
    }
    for (name, value) in environment {
        let Some(rest) = name.strip_prefix("LUMENFALL_") else { continue };
        if CLIENT_VARIABLES.contains(&name.as_str()) {
            continue;
        }
        let key = key_of_variable(rest);
        match unknown(&key, name, known) {
            Some(problem) => problems.push(problem),
            None => overrides.push((key, value.clone())),
        }
    }
    overrides
}

/// The key that a variable sets, its prefix taken off. Names of providers have dashes, variables cannot.
fn key_of_variable(rest: &str) -> String {
    let key = rest.to_lowercase().replace("__", ".");
    let Some(provider) = key.strip_prefix("providers.") else { return key };
    let (name, setting) = provider.split_once('.').unwrap_or((provider, ""));
    format!("providers.{}.{setting}", name.replace('_', "-"))
}

/// Every key that means something. Whoever sets `providers.<name>.adapter` has named a deployment.
fn known_keys(set: impl Iterator<Item = String>) -> BTreeSet<String> {
    let defaults = DEFAULTS.parse::<toml::Table>().unwrap_or_default();
    let mut keys = Vec::new();
    flatten("", &defaults, &mut keys);
    for card in ADAPTERS.iter().map(|adapter| adapter.card()) {
        let own = ["api_key", "api_keys", "base_url"].into_iter();
        // Only an address that speaks of a project and a region has use for them.
        let cloud = ["project", "region"].into_iter().filter(|_| card.base_url.contains("{project}"));
        let named = ["models"].into_iter().filter(|_| card.reach == Reach::Named);
        keys.extend(own.chain(cloud).chain(named).map(|name| format!("providers.{}.{name}", card.id)));
    }
    for key in set {
        if let Some(name) = key.strip_prefix("providers.").and_then(|rest| rest.strip_suffix(".adapter")) {
            keys.extend(
                ["adapter", "base_url", "api_key", "api_keys", "models"]
                    .map(|setting| format!("providers.{name}.{setting}")),
            );
        }
    }
    keys.into_iter().collect()
}

fn flatten(prefix: &str, table: &toml::Table, keys: &mut Vec<String>) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            toml::Value::Table(inner) => flatten(&key, inner, keys),
            _ => keys.push(key),
        }
    }
}

/// The complaint about an unknown key, as it was `written`.
fn unknown(key: &str, written: &str, known: &BTreeSet<String>) -> Option<String> {
    if known.contains(key) {
        return None;
    }
    // `server_listen` is `server.listen` with one underscore too few.
    let dotted = key.replacen('_', ".", 1);
    let near = nearest(&dotted, known.iter().map(String::as_str));
    let hint = match near {
        Some(near) if key == written => format!("; did you mean '{near}'?"),
        Some(near) => format!("; did you mean LUMENFALL_{}?", near.to_uppercase().replace('.', "__")),
        None => String::new(),
    };
    Some(format!("unknown key '{written}'{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(pairs: &[(&str, &str)]) -> Result<Config, Problems> {
        let environment = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Config::load(None, &environment)
    }

    #[test]
    fn the_defaults_serve_alone() {
        let config = load(&[]).unwrap();
        assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
        assert!(config.simulated());
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lumenfall.toml");
        std::fs::write(
            &path,
            "[server]\nlisten = \"127.0.0.1:1\"\nmax_concurrent = 7\n[providers.fal]\napi_key = \"007\"",
        )
        .unwrap();
        let environment = BTreeMap::from([("LUMENFALL_SERVER__LISTEN".to_owned(), "127.0.0.1:2".to_owned())]);
        let config = Config::load(Some(&path), &environment).unwrap();
        assert_eq!((config.server.listen.port(), config.server.max_concurrent), (2, 7));
        assert_eq!(config.provider("fal").api_key.expose(), "007");
        assert!(!config.simulated());
    }

    #[test]
    fn the_usual_variables_are_understood() {
        let config = load(&[
            ("OPENAI_API_KEY", "0123"),
            ("FAL_KEY", "a:b"),
            ("LUMENFALL_PROVIDERS__FAL__API_KEY", "c:d"),
            ("DATABASE_URL", "postgres://h/d"),
            ("LUMENFALL_API_KEY", "lmnfl_x.y"),
        ])
        .unwrap();
        assert_eq!(config.provider("openai").api_key.expose(), "0123");
        assert_eq!(config.provider("fal").api_key.expose(), "c:d");
        assert_eq!(config.database.url, "postgres://h/d");
        assert!(!config.simulated());
        assert!(load(&[("OPENAI_API_KEY", "k"), ("LUMENFALL_SANDBOX__ENABLED", "true")]).unwrap().simulated());
    }

    #[test]
    fn unknown_keys_are_named_with_the_nearest() {
        let text =
            load(&[("LUMENFALL_SERVER__LISTN", "x"), ("LUMENFALL_SERVER_PUBLIC_URL", "y")]).unwrap_err().to_string();
        assert!(text.contains("'LUMENFALL_SERVER__LISTN'; did you mean LUMENFALL_SERVER__LISTEN?"), "{text}");
        assert!(text.contains("did you mean LUMENFALL_SERVER__PUBLIC_URL?"), "{text}");
        let text = load(&[("LUMENFALL_PROVIDERS__FALL__API_KEY", "secret")]).unwrap_err().to_string();
        assert!(text.contains("LUMENFALL_PROVIDERS__FAL__API_KEY") && !text.contains("secret"), "{text}");
    }

    #[test]
    fn bad_values_say_which() {
        let text = load(&[("LUMENFALL_SERVER__LISTEN", "here")]).unwrap_err().to_string();
        assert!(text.contains("server.listen"), "{text}");
        let text = load(&[("LUMENFALL_MEDIA__QUEUE", "0"), ("LUMENFALL_SERVER__MAX_CONCURRENT", "0")]).unwrap_err();
        assert_eq!(text.0.len(), 2);
        assert!(load(&[("LUMENFALL_SANDBOX__ENABLED", "maybe")]).is_err());
        assert!(Config::load(Some(Path::new("/nowhere/x.toml")), &BTreeMap::new()).is_err());
    }
}
