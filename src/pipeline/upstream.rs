//! The configured providers: an adapter, where its calls go, and with which key.

use super::drive::Transport;
use crate::fault::Fault;
use crate::outbound::{Call, Client, Destination, Reply, Watch};
use crate::providers::{Adapter, Site};
use std::collections::HashMap;
use tokio::time::Instant;

/// One configured provider.
#[derive(Clone)]
pub struct Upstream {
    /// Its id, or the name of the deployment.
    pub name: String,
    /// Its dialect.
    pub adapter: &'static dyn Adapter,
    /// Where its calls are addressed.
    pub site: Site,
    /// Where they may go, and the key.
    pub destination: Destination,
}

/// Every configured provider, by id.
#[derive(Clone, Default)]
pub struct Upstreams(HashMap<String, Upstream>);

impl Upstreams {
    /// Of these.
    pub fn new(upstreams: impl IntoIterator<Item = Upstream>) -> Self {
        Self(upstreams.into_iter().map(|upstream| (upstream.name.clone(), upstream)).collect())
    }

    /// The provider of that id, when it is configured.
    pub fn get(&self, id: &str) -> Option<&Upstream> {
        self.0.get(id)
    }

    /// Whether the provider of that id is configured.
    pub fn has(&self, id: &str) -> bool {
        self.0.contains_key(id)
    }
}

/// The real wire: our client with the provider's key.
pub(super) struct Wire<'a> {
    pub(super) client: &'a Client,
    pub(super) to: &'a Destination,
}

impl Transport for Wire<'_> {
    async fn send(&self, call: &Call, deadline: Instant, watch: &mut Watch<'_>) -> Result<Reply, Fault> {
        self.client.send(call, self.to, deadline, watch).await
    }
}
