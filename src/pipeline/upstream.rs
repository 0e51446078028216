//! The configured providers: an adapter, where its calls go, and with which credentials.

use crate::outbound::{Client, Destination};
use crate::providers::{Adapter, Site};
use std::collections::HashMap;

/// One configured provider.
#[derive(Clone)]
pub struct Upstream {
    /// Its id, or the name of the deployment.
    pub name: String,
    /// Its dialect.
    pub adapter: &'static dyn Adapter,
    /// Where its calls are addressed.
    pub site: Site,
    /// The credentials, never none: a provider that needs no key has one without.
    pub credentials: Vec<Credential>,
}

/// One credential of a provider.
#[derive(Clone)]
pub struct Credential {
    /// Where calls may go, and the key.
    pub destination: Destination,
    /// Its share of the calls.
    pub weight: u32,
    /// Tells it from others without giving it away: a stored job goes on with the credential that it was begun with.
    pub mark: String,
}

impl Upstream {
    /// The credential of that mark; the first, when it is not configured any more.
    pub(super) fn marked(&self, mark: &str) -> Option<(usize, &Credential)> {
        let all = || self.credentials.iter().enumerate();
        all().find(|(_, credential)| credential.mark == mark).or_else(|| all().next())
    }

    /// Draws one of these credentials by weight. Those of weight 0 come last.
    pub(super) fn draw(&self, among: &[usize], dice: &mut dyn FnMut() -> f64) -> Option<usize> {
        let weight = |at: &usize| self.credentials.get(*at).map_or(0, |credential| u64::from(credential.weight));
        let all: u64 = among.iter().map(weight).sum();
        let mut left = dice() * f64::from(u32::try_from(all).unwrap_or(u32::MAX));
        let drawn = among.iter().find(|at| {
            let own = f64::from(u32::try_from(weight(at)).unwrap_or(u32::MAX));
            left -= own;
            own > 0.0 && left < 0.0
        });
        drawn.or_else(|| among.first()).copied()
    }
}

/// Every configured provider, by id, and the client that calls them.
#[derive(Clone)]
pub struct Upstreams {
    by_id: HashMap<String, Upstream>,
    client: Client,
}

impl Upstreams {
    pub fn new(upstreams: impl IntoIterator<Item = Upstream>, client: Client) -> Self {
        let by_id = upstreams.into_iter().map(|upstream| (upstream.name.clone(), upstream)).collect();
        Self { by_id, client }
    }

    /// The client for their calls and result links.
    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    /// The provider of that id, when it is configured.
    pub fn get(&self, id: &str) -> Option<&Upstream> {
        self.by_id.get(id)
    }

    /// Whether the provider of that id is configured.
    pub fn has(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }
}
