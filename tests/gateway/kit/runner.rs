//! Videos, driven by hand: the pipeline's own parts without a request around them.

use bytes::Bytes;
use lumenfall::app;
use lumenfall::config::Config;
use lumenfall::fault::Fault;
use lumenfall::job::{Brief, Source};
use lumenfall::media::{Limits, Workers};
use lumenfall::outbound::{Client, Guard};
use lumenfall::pipeline::{Finisher, Rules, Runner, Switchboard, Upstreams};
use std::net::SocketAddr;
use tokio::time::Instant;

/// What drives calls at the configured providers, or at the simulators on `sandbox`.
pub(crate) fn runner(config: &Config, sandbox: Option<SocketAddr>) -> Runner {
    let guard = Guard::new(config.outbound.allow_private, sandbox);
    Runner {
        upstreams: Upstreams::new(app::upstreams(config, sandbox)),
        finisher: Finisher {
            client: Client::new(config.outbound.clone(), guard).unwrap(),
            workers: Workers::new(2, 100),
            limits: Limits::default(),
        },
        settings: config.routing.clone(),
        board: Switchboard::new(&config.routing, Rules::default()),
    }
}

/// The files that one brief makes at a provider.
pub(crate) async fn film(
    runner: &Runner,
    provider: &str,
    brief: &Brief,
    deadline: Instant,
) -> Result<Vec<Bytes>, Fault> {
    let mut files = Vec::new();
    for output in runner.drive(provider, brief, deadline).await? {
        files.push(match output.source {
            Source::Bytes(bytes) => bytes,
            Source::Base64(text) => Bytes::from(base64_simd::STANDARD.decode_to_vec(&text).unwrap()),
            Source::Link(link) => runner.finisher.client.download(&link, deadline).await?,
        });
    }
    Ok(files)
}
