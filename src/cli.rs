//! The commands of the program. What a person reads goes to standard output; the log goes to standard error.

mod accounts;
mod export;
mod invoice;
mod keys;
mod models;
mod reconcile;
pub mod reference;

use crate::app::{self, Running, StartError};

use crate::config::{Config, Problems};
use crate::providers::{ADAPTERS, Adapter, Reach};
use crate::sandbox::Sandbox;
use crate::store::{Store, StoreError};
use crate::telemetry;
use clap::{Parser, Subcommand};
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// One gateway in front of every AI image and video provider.
#[derive(Debug, Parser)]
#[command(name = "lumenfall", version, about)]
struct Arguments {
    /// The configuration file, over the built-in defaults and under the environment.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the gateway (the default).
    Serve,
    /// Serve the provider simulators alone.
    Sandbox {
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:9090")]
        listen: SocketAddr,
    },
    /// Create, list, rotate and revoke API keys.
    Keys {
        #[command(subcommand)]
        command: keys::KeyCommand,
    },
    /// Create and list accounts, pay into them.
    Accounts {
        #[command(subcommand)]
        command: accounts::AccountCommand,
    },
    /// Take the request log out.
    Requests {
        #[command(subcommand)]
        command: export::RequestCommand,
    },
    /// Compare a provider's invoice with the log.
    Reconcile(reconcile::Reconcile),
    /// Check configuration and catalog; tell what is enabled, and why not.
    Check,
    /// List the models and their routes.
    Models {
        /// Only those that this provider serves.
        #[arg(long)]
        provider: Option<String>,
    },
    /// Compare the catalog with the lists that providers publish.
    Catalog {
        #[command(subcommand)]
        command: CatalogCommand,
    },
    /// Print the reference of models, routes and providers, in Markdown.
    Reference,
    /// Bring the database up to date and exit.
    Migrate,
    /// Ask the gateway that runs with this configuration whether it is alive.
    Health,
}

#[derive(Debug, Subcommand)]
enum CatalogCommand {
    /// Tell what providers list that is new, gone, ending, or priced differently.
    Diff {
        /// Only this provider.
        #[arg(long)]
        provider: Option<String>,
    },
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Configuration(#[from] Problems),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("{0}")]
    Said(String),
}

/// Runs the program with the arguments and the environment of the process.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no failures; clap knows where each belongs.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let environment = std::env::vars().collect();
    let runtime = tokio::runtime::Runtime::new().map_err(Failure::Io);
    match runtime.and_then(|runtime| runtime.block_on(dispatch(arguments, &environment))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(io::stderr().lock(), "lumenfall: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(arguments: Arguments, environment: &BTreeMap<String, String>) -> Result<(), Failure> {
    let load = || Config::load(arguments.config.as_deref(), environment);
    match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => serve(load()?).await,
        Command::Sandbox { listen } => serve_sandbox(listen).await,
        Command::Keys { command } => keys::manage(command, &load()?).await,
        Command::Accounts { command } => accounts::manage(command, &load()?).await,
        Command::Requests { command } => export::run(command, &load()?).await,
        Command::Reconcile(command) => reconcile::run(command, &load()?).await,
        Command::Check => check(&load()?),
        Command::Models { provider } => {
            let config = load()?;
            say(models::table(&config, &app::catalog_for(&config)?, provider.as_deref()).trim_end())
        }
        Command::Catalog { command: CatalogCommand::Diff { provider } } => {
            let config = load()?;
            compare(&config, provider.as_deref()).await
        }
        Command::Reference => {
            let page = reference::page(&app::embedded_catalog()?);
            say(page.map_err(|error| Failure::Said(error.to_string()))?.trim_end())
        }
        Command::Migrate => {
            let store = Store::open(&load()?.database.without_journal()).await?;
            store.close().await;
            say("The database is up to date.")
        }
        Command::Health => ask_health(load()?.server.listen).await,
    }
}

fn say(text: impl AsRef<str>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_ref().as_bytes())?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Boxed, as are [`app::start`], [`Store::open`] and the ledger's transaction: the compiler repeats the body of a future in
/// every unit that polls it, and these are the largest.
fn serve(config: Config) -> BoxFuture<'static, Result<(), Failure>> {
    Box::pin(run_server(config))
}

async fn run_server(config: Config) -> Result<(), Failure> {
    telemetry::start(&config.log);
    let running = app::start(&config).await?;
    tracing::info!(address = %running.address, version = env!("CARGO_PKG_VERSION"), "serving");
    if let Some(sandbox) = running.sandbox {
        tracing::warn!(
            address = %sandbox,
            "SANDBOX: no provider is configured, so simulators answer for all of them; nothing is real and nothing \
             costs money"
        );
    }
    greet(&running)?;
    wait_for_signal().await?;
    tracing::info!("stopping: running requests finish first");
    running.stop().await;
    Ok(())
}

/// The first key with everything needed to use it, once.
fn greet(running: &Running) -> Result<(), Failure> {
    let Some(key) = &running.first_key else { return Ok(()) };
    let key = key.expose();
    let address = running.address;
    say(format!(
        r#"
This is the first start. Here is an admin key; it is shown this once:

  {key}

Try it:

  curl -s http://{address}/openai/v1/images/generations \
    -H "Authorization: Bearer {key}" -H "Content-Type: application/json" \
    -d '{{"model": "gpt-image-2", "prompt": "a lighthouse at dusk", "size": "16:9", "output_format": "webp"}}'

Or with the OpenAI SDK:

  from openai import OpenAI
  client = OpenAI(base_url="http://{address}/openai/v1", api_key="{key}")
  print(client.images.generate(model="flux.1-schnell", prompt="a lighthouse at dusk").data[0].url)
"#
    ))
}

async fn wait_for_signal() -> Result<(), Failure> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    Ok(())
}

async fn serve_sandbox(listen: SocketAddr) -> Result<(), Failure> {
    let catalog = Arc::new(app::embedded_catalog()?);
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    say(format!("Simulators on http://{address}/<provider>, for example http://{address}/openai."))?;
    let stopped = async {
        let _ = wait_for_signal().await;
    };
    Ok(Sandbox::new(catalog).serve(listener, stopped).await?)
}

fn check(config: &Config) -> Result<(), Failure> {
    let catalog = app::catalog_for(config)?;
    let simulated = config.simulated();
    say("Configuration and catalog are sound.")?;
    say(format!("Sandbox: {}", if simulated { "on, simulators answer for every provider" } else { "off" }))?;
    for adapter in crate::providers::ADAPTERS {
        let card = adapter.card();
        let routes = catalog.routes_of(card.id).count();
        let own = config.provider(card.id);
        let state = if card.reach == Reach::Named {
            "one route for each model of each deployment: providers.<name>.adapter".to_owned()
        } else if card.reach == Reach::Inside {
            "enabled (built in)".to_owned()
        } else if simulated {
            "simulated".to_owned()
        } else if !own.api_key.is_empty() || !own.base_url.is_empty() {
            "enabled".to_owned()
        } else {
            format!("off: neither {} nor providers.{}.api_key is set", card.key_env, card.id)
        };
        say(format!("{:<18} {routes:>4} routes  {state}", card.id))?;
    }
    for (name, adapter, _) in config.deployments() {
        let (routes, kind) = (catalog.routes_of(name).count(), adapter.card().id);
        say(format!("{name:<18} {routes:>4} routes  {}", if simulated { "off: the sandbox is on" } else { kind }))?;
    }
    Ok(())
}

/// The differences, provider by provider. A list that cannot be read is a failure, a difference is none.
async fn compare(config: &Config, provider: Option<&str>) -> Result<(), Failure> {
    let catalog = app::catalog_for(config)?;
    let compared = app::lists::compare(config, &catalog, provider).await?;
    if compared.is_empty() {
        let known = providers_with(|adapter| adapter.listing().is_some());
        return Err(Failure::Said(format!(
            "Nothing to compare: {known} publish lists; give one of them a credential."
        )));
    }
    let mut unread = Vec::new();
    for (name, told) in compared {
        match told {
            Ok(differences) if differences.is_empty() => say(format!("{name}: as the catalog says"))?,
            Ok(differences) => {
                say(format!("{name}:"))?;
                differences.iter().try_for_each(|difference| say(format!("  {difference}")))?;
            }
            Err(why) => unread.push(format!("{name}: its list cannot be read: {why}")),
        }
    }
    if unread.is_empty() { Ok(()) } else { Err(Failure::Said(unread.join("\n"))) }
}

/// The ids of the providers of which that holds.
fn providers_with(holds: impl Fn(&dyn Adapter) -> bool) -> String {
    ADAPTERS.iter().filter(|adapter| holds(**adapter)).map(|adapter| adapter.card().id).collect::<Vec<_>>().join(", ")
}

/// For the container's health check: no shell and no curl there.
async fn ask_health(listen: SocketAddr) -> Result<(), Failure> {
    let mut address = listen;
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"GET /healthz HTTP/1.0\r\nhost: localhost\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.take(4096).read_to_end(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    let answer = tokio::time::timeout(Duration::from_secs(3), asked).await;
    match answer {
        Ok(Ok(answer)) if answer.starts_with(b"HTTP/1.") && answer[9..].starts_with(b"200") => say("alive"),
        Ok(Ok(_)) => Err(Failure::Said(format!("the gateway on {address} is not well"))),
        Ok(Err(error)) => Err(Failure::Said(format!("no gateway answers on {address}: {error}"))),
        Err(_) => Err(Failure::Said(format!("the gateway on {address} does not answer in time"))),
    }
}
