//! The one place that wires: every room from its settings, the listeners, the stop.

pub mod lists;
mod maintenance;
mod reload;

use crate::api::Api;
use crate::base::{Live, Secret};
use crate::catalog::{self, Catalog, Overlay};
use crate::config::{Config, Problems, Provider, WeightedKey};
use crate::media::storage::{Storage, StorageError};
use crate::media::{Limits, Workers};
use crate::outbound::{AuthScheme, Client, Destination, Guard};
use crate::pipeline::{
    Credential, Engine, Gateway, Jobs, Ledger, Operator, PostProcessor, Retention, Rules, Switchboard, Upstream,
    Upstreams, WebhookDispatcher, Worker,
};
use crate::providers::{ADAPTERS, Adapter, Reach, Site};
use crate::sandbox::Sandbox;
use crate::store::{NewKey, Store, StoreError};
use crate::telemetry;
use futures::future::BoxFuture;
use maintenance::{maintain_log, settle_interrupted, sweep_media, watch_routes};
use reload::Reloadable;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Models that no single provider's file owns.
const MODELS: &str = include_str!("../config/catalog/models.toml");
/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The catalog has mistakes.
    #[error(transparent)]
    Catalog(Problems),
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(Problems),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The media directory cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The HTTP client cannot be built.
    #[error("the HTTP client could not be built: {0}")]
    Client(String),
    /// An address cannot be listened on.
    #[error("cannot listen on {0}: {1}. Is another process using it? Set {2} to change it.")]
    Listen(String, io::Error, &'static str),
}

/// A gateway that is serving.
pub struct Running {
    /// Where.
    pub address: SocketAddr,
    /// Where the simulators are, when they stand in for the providers.
    pub sandbox: Option<SocketAddr>,
    /// The first admin key, when this start made it. It is shown once.
    pub first_key: Option<Secret>,
    api: Api,
    store: Store,
    drain: Duration,
    stop: watch::Sender<bool>,
    server: JoinHandle<io::Result<()>>,
    /// Those that have something to give back when they stop.
    working: Vec<JoinHandle<()>>,
    aside: Vec<JoinHandle<()>>,
}

/// The catalog embedded in the program.
pub fn embedded_catalog() -> Result<Catalog, Problems> {
    read_catalog(&[], &[])
}

fn read_catalog(overlays: &[Overlay], deployments: &[&str]) -> Result<Catalog, Problems> {
    let providers = ADAPTERS.iter().map(|adapter| (adapter.card().id, adapter.card().catalog));
    catalog::load_over(std::iter::once(("models", MODELS)).chain(providers), overlays, deployments).map_err(told)
}

fn told(problems: Vec<catalog::Problem>) -> Problems {
    Problems(problems.into_iter().map(|problem| problem.to_string()).collect())
}

/// The catalog with the operator's own files and deployments.
pub fn catalog_for(config: &Config) -> Result<Catalog, Problems> {
    let deployments: Vec<&str> = config.deployments().iter().map(|(name, ..)| *name).collect();
    let directory = own_files(config);
    let overlays = directory.map_or(Ok(Vec::new()), |path| Overlay::read_all(&path)).map_err(told)?;
    let mut catalog = read_catalog(&overlays, &deployments)?;
    for (name, adapter, deployment) in config.deployments() {
        catalog.add_deployment(name, adapter.card().id, &deployment.models());
    }
    Ok(catalog)
}

/// The directory of the operator's own catalog files.
fn own_files(config: &Config) -> Option<PathBuf> {
    let directory = &config.catalog.directory;
    (!directory.is_empty()).then(|| directory.into())
}

fn reloadable_catalog(config: &Config, catalog: &Live<Catalog>) -> Reloadable {
    let places = own_files(config).into_iter().collect();
    let (config, catalog) = (config.clone(), catalog.clone());
    let reload = Box::new(move || catalog_for(&config).map(|read| catalog.set(read)));
    Reloadable { what: "the catalog", places, reload }
}

/// The routing rules, when the configuration's file changes and on SIGHUP.
fn reloadable_rules(config: &Config, board: &Switchboard) -> Reloadable {
    let (origin, board) = (config.origin.clone(), board.clone());
    let places = origin.file.iter().cloned().collect();
    let reload = Box::new(move || {
        let rules = Rules::new(&origin.reread()?.routing.rules).map_err(Problems)?;
        board.reload(rules);
        Ok(())
    });
    Reloadable { what: "the routing rules", places, reload }
}

/// Starts everything and returns once it serves.
pub fn start(config: &Config) -> BoxFuture<'_, Result<Running, StartError>> {
    Box::pin(start_parts(config)) // boxed so that it is compiled once
}

async fn start_parts(config: &Config) -> Result<Running, StartError> {
    let catalog = Live::new(catalog_for(config).map_err(StartError::Catalog)?);
    let listener = bind(&config.server.listen.to_string(), "LUMENFALL_SERVER__LISTEN").await?;
    let address = local(&listener)?;
    let store = Store::open(&config.database).await?;
    settle_interrupted(&store, config).await?;
    let storage = Storage::open(&config.media.storage, config.media.lifetime())?;
    let (stop, stopped) = watch::channel(false);
    let mut aside = Vec::new();
    let sandbox = if config.simulated() {
        let listen = if config.sandbox.listen.is_empty() { "127.0.0.1:0" } else { config.sandbox.listen.as_str() };
        let listener = bind(listen, "LUMENFALL_SANDBOX__LISTEN").await?;
        let address = local(&listener)?;
        aside.push(serve_sandbox(Sandbox::new(catalog.get()), listener, stopped.clone()));
        Some(address)
    } else {
        None
    };
    let rules = Rules::new(&config.routing.rules).map_err(|wrong| StartError::Config(Problems(wrong)))?;
    let board = Switchboard::new(&config.routing, rules);
    board.obey(store.routing().states().await?.iter().filter_map(Operator::read));
    let guard = Guard::new(config.outbound.allow_private, sandbox);
    let client = Client::new(config.outbound.clone(), guard).map_err(|error| StartError::Client(error.to_string()))?;
    let callers = Client::new(config.outbound.clone(), Guard::default())
        .map_err(|error| StartError::Client(error.to_string()))?;
    let reloadables = vec![reloadable_catalog(config, &catalog), reloadable_rules(config, &board)];
    let gateway = Gateway {
        catalog,
        engine: Engine {
            upstreams: Upstreams::new(upstreams(config, sandbox), client),
            post: post_processor(config),
            settings: config.routing.clone(),
            board: board.clone(),
        },
        ledger: Ledger::new(store.clone(), sandbox.is_some()),
        retention: Retention::new(store.clone(), config.server.payload_days),
        storage: storage.clone(),
        callers,
        sandbox: sandbox.is_some(),
    };
    let (jobs, receivers) =
        Jobs::new(gateway.clone(), store.clone(), config.jobs.clone(), config.webhooks.allow_private);
    let webhooks = WebhookDispatcher {
        jobs: jobs.clone(),
        client: Client::new(config.outbound.clone(), Guard::new(config.webhooks.allow_private, None))
            .map_err(|error| StartError::Client(error.to_string()))?,
        settings: config.webhooks.clone(),
    };
    aside.push(tokio::spawn(sweep_media(storage, store.clone(), stopped.clone())));
    aside.push(tokio::spawn(maintain_log(store.clone(), config.clone(), stopped.clone())));
    aside.push(tokio::spawn(reload::watch(reloadables, stopped.clone())));
    // Last of what can fail: a first key is shown once, so it is made only by a start that succeeds.
    let first_key = prepare_keys(&store, &config.auth.bootstrap_key).await?;
    let metrics = telemetry::metrics();
    aside.push(tokio::spawn(watch_routes(board, store.clone(), metrics.clone(), stopped.clone())));
    let working = vec![
        tokio::spawn(Worker::run(jobs.clone(), receivers, stopped.clone())),
        tokio::spawn(webhooks.run(stopped.clone())),
    ];
    let api = Api::new(gateway, jobs, store.clone(), metrics, &config.server);
    let server = axum::serve(listener, api.router()).with_graceful_shutdown(until(stopped));
    let server = tokio::spawn(server.into_future());
    let drain = Duration::from_secs(config.server.drain_seconds);
    Ok(Running { address, sandbox, first_key, api, store, drain, stop, server, working, aside })
}

impl Running {
    /// The open database.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Stops: readiness goes false, running requests finish within the drain time, the log is flushed.
    pub async fn stop(self) {
        self.api.stop();
        // A watcher that is gone has stopped already.
        let _ = self.stop.send(true);
        let served = async {
            let _ = self.server.await;
            self.api.drained().await;
        };
        if timeout(self.drain, served).await.is_err() {
            tracing::warn!("stopped with requests still running; their rows will be settled at the next start");
        }
        for task in self.working {
            // They bound their own goodbyes.
            let _ = task.await;
        }
        for task in self.aside {
            task.abort();
        }
        self.store.close().await;
    }
}

/// The providers that can be used: all of them simulated, or those with a credential or an address of their own.
pub fn upstreams(config: &Config, sandbox: Option<SocketAddr>) -> Vec<Upstream> {
    let known = ADAPTERS.iter().filter_map(|adapter| upstream(*adapter, config, sandbox));
    if sandbox.is_some() {
        return known.collect();
    }
    let deployments = config.deployments().into_iter().map(|(name, adapter, own)| {
        let (base_url, card) = (own.base_url.trim_end_matches('/').to_owned(), adapter.card());
        reach(name, adapter, &base_url, card.auth, own.credentials())
    });
    known.chain(deployments).collect()
}

fn reach(
    name: &str,
    adapter: &'static dyn Adapter,
    base_url: &str,
    auth: AuthScheme,
    keys: Vec<WeightedKey>,
) -> Upstream {
    let credential = |WeightedKey { key, weight }: WeightedKey| {
        let mark = key.mark();
        // A deployment without a key is asked without one.
        let auth = if key.is_empty() { AuthScheme::None } else { auth };
        let destination = Destination { base_url: base_url.to_owned(), hosts: adapter.card().hosts, auth, key };
        Credential { destination, weight, mark }
    };
    let credentials = keys.into_iter().map(credential).collect();
    Upstream { name: name.to_owned(), adapter, site: Site { base_url: base_url.to_owned() }, credentials }
}

fn upstream(adapter: &'static dyn Adapter, config: &Config, sandbox: Option<SocketAddr>) -> Option<Upstream> {
    let card = adapter.card();
    let own = config.provider(card.id);
    if card.reach == Reach::Named {
        return None;
    }
    let inside = card.reach == Reach::Inside;
    let (base_url, keys) = match sandbox {
        Some(address) if !inside => {
            let key = Secret::new(format!("sandbox-{}", card.id));
            (format!("http://{address}/{}", card.id), vec![WeightedKey { key, weight: 1 }])
        }
        _ => {
            let usable = inside || own.has_key() || !own.base_url.is_empty();
            let keys = own.credentials();
            let base_url = if own.base_url.is_empty() { located(card.base_url, &own) } else { own.base_url };
            usable.then_some((base_url, keys))?
        }
    };
    Some(reach(card.id, adapter, base_url.trim_end_matches('/'), card.auth, keys))
}

/// An address with its project and region filled in. Google's regions have hosts of their own, `global` has none.
fn located(base_url: &str, own: &Provider) -> String {
    let region = if own.region.is_empty() { "global" } else { own.region.as_str() };
    let filled = base_url.replace("{project}", &own.project).replace("{region}", region);
    if filled == base_url || region == "global" {
        return filled;
    }
    filled.replacen("https://", &format!("https://{region}-"), 1)
}

fn post_processor(config: &Config) -> PostProcessor {
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let threads = if config.media.workers == 0 { cores } else { config.media.workers };
    PostProcessor {
        workers: Workers::new(threads, config.media.queue),
        limits: Limits { max_pixels: config.media.max_pixels, ..Limits::default() },
    }
}

/// The configured admin key exists, or some admin key does; a first one is made when there is none.
async fn prepare_keys(store: &Store, bootstrap: &Secret) -> Result<Option<Secret>, StoreError> {
    let admin = |name: &str| NewKey {
        account_id: "default".to_owned(),
        name: Some(name.to_owned()),
        admin: true,
        ..NewKey::default()
    };
    if !bootstrap.is_empty() {
        store.keys().ensure(bootstrap, admin("bootstrap")).await?;
        return Ok(None);
    }
    if store.keys().has_admin().await? {
        return Ok(None);
    }
    let (_, secret) = store.keys().create(admin("first")).await?;
    Ok(Some(secret))
}

async fn bind(address: &str, setting: &'static str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| StartError::Listen(address.to_owned(), error, setting))
}

fn local(listener: &TcpListener) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|error| StartError::Listen("a free port".to_owned(), error, "server.listen"))
}

fn serve_sandbox(sandbox: Sandbox, listener: TcpListener, stopped: watch::Receiver<bool>) -> JoinHandle<()> {
    tokio::spawn(async move {
        // The simulators outlive the gateway's listener: running requests still need them.
        let never = async {
            let _keep = stopped;
            std::future::pending::<()>().await;
        };
        if let Err(error) = sandbox.serve(listener, never).await {
            tracing::error!(%error, "the sandbox stopped");
        }
    })
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // A sender that is gone means a stop as well.
    let _ = stopped.changed().await;
}
