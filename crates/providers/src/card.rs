//! What is fixed about a provider: its card.

use crate::outbound::auth::AuthScheme;

/// What is fixed about a provider.
#[derive(Debug)]
pub struct Card {
    /// Its id in routes, logs and configuration.
    pub id: &'static str,
    /// Its name for people.
    pub name: &'static str,
    /// Where its API lives; empty when it is inside this process, or when every deployment says where it is.
    pub base_url: &'static str,
    /// Who says where it is.
    pub reach: Reach,
    /// How it wants our key.
    pub auth: AuthScheme,
    /// The environment variable that usually holds the key.
    pub key_env: &'static str,
    /// Domains, besides its base address's, that its follow-up links name and that may see our key.
    pub hosts: &'static [&'static str],
    /// Its documentation.
    pub docs: &'static str,
    /// Its catalog file.
    pub catalog: &'static str,
}

/// How a provider is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// At its own address, with a credential.
    Hosted,
    /// Inside this process: always there.
    Inside,
    /// Wherever the operator says, any number of times, each under a name.
    Named,
}
