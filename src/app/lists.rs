//! Our catalog against the lists that providers publish: what is new there, gone, ending, or priced differently.

use super::{StartError, upstreams};
use crate::base::Timestamp;
use crate::catalog::{Catalog, Route};
use crate::config::Config;
use crate::fault::{Fault, FaultKind};
use crate::outbound::{Client, Guard};
use crate::pipeline::Upstream;
use crate::providers::lists::{Listed, Listing, Reading};
use futures::stream::{self, StreamExt};
use rust_decimal::Decimal;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Answers that are waited for at once.
const AT_ONCE: usize = 8;

/// One difference between the catalog and a provider's list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// The provider has it, the catalog does not.
    New {
        /// The provider's id.
        id: String,
    },
    /// The catalog has it, the provider does not.
    Gone {
        /// The provider's id.
        id: String,
    },
    /// The provider says another day than the catalog.
    Ends {
        /// The provider's id.
        id: String,
        /// The provider's day.
        listed: String,
        /// The catalog's.
        known: Option<String>,
    },
    /// None of the provider's prices is in the catalog's lines.
    Price {
        /// The provider's id.
        id: String,
        /// The provider's prices.
        listed: String,
        /// The catalog's.
        known: String,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New { id } => write!(f, "new    {id}"),
            Self::Gone { id } => write!(f, "gone   {id}"),
            Self::Ends { id, listed, known } => {
                let known = known.as_deref().unwrap_or("no end");
                write!(f, "ends   {id}: {listed}, the catalog says {known}")
            }
            Self::Price { id, listed, known } => write!(f, "price  {id}: {listed}, the catalog says {known}"),
        }
    }
}

/// What came of one provider: its differences, or why there are none to tell.
pub type Compared = (String, Result<Vec<Difference>, String>);

/// Compares every configured provider that publishes a list, or the one named.
pub async fn compare(config: &Config, catalog: &Catalog, only: Option<&str>) -> Result<Vec<Compared>, StartError> {
    let guard = Guard::new(config.outbound.allow_private, None);
    let client = Client::new(config.outbound.clone(), guard).map_err(|error| StartError::Client(error.to_string()))?;
    let mut compared = Vec::new();
    for upstream in upstreams(config, None) {
        if only.is_some_and(|only| only != upstream.name) {
            continue;
        }
        let routes: Vec<&Arc<Route>> = catalog.routes_of(&upstream.name).collect();
        let endpoints: BTreeSet<&str> = routes.iter().map(|route| route.upstream.as_str()).collect();
        let endpoints: Vec<&str> = endpoints.into_iter().collect();
        let Some(listing) = upstream.adapter.listing() else { continue };
        let readings = (listing.readings)(&upstream.site, &endpoints);
        let found = read_all(&client, &upstream, listing, readings).await;
        let told = found.map(|found| differences(&routes, catalog, &found)).map_err(|fault| fault.to_string());
        compared.push((upstream.name, told));
    }
    Ok(compared)
}

/// What a provider's lists say.
#[derive(Default)]
struct Found {
    listed: Vec<Listed>,
    /// The endpoints that it was asked about; none when it listed everything.
    about: BTreeSet<String>,
}

async fn read_all(
    client: &Client,
    upstream: &Upstream,
    listing: Listing,
    readings: Vec<Reading>,
) -> Result<Found, Fault> {
    let answers = stream::iter(readings).map(|reading| read_one(client, upstream, listing, reading)).buffered(AT_ONCE);
    let answers: Vec<_> = answers.collect().await;
    let mut found = Found::default();
    for answer in answers {
        let (listed, about) = answer?;
        found.listed.extend(listed);
        found.about.extend(about);
    }
    Ok(found)
}

/// One list. What the provider does not know is an empty one.
async fn read_one(
    client: &Client,
    upstream: &Upstream,
    listing: Listing,
    reading: Reading,
) -> Result<(Vec<Listed>, Vec<String>), Fault> {
    let deadline = Instant::now() + PATIENCE;
    let body = if reading.open {
        match client.download(&reading.call.url, deadline).await {
            Err(fault) if fault.upstream_status == Some(404) => return Ok((Vec::new(), reading.about)),
            body => body?,
        }
    } else {
        let unset = || Fault::new(FaultKind::Auth, "there is no credential for it");
        let credential = upstream.credentials.first().ok_or_else(unset)?;
        let reply = client.send(&reading.call, &credential.destination, deadline, &mut |_| Ok(())).await?;
        match reply.status {
            404 if !reading.about.is_empty() => return Ok((Vec::new(), reading.about)),
            200 => reply.body,
            _ => return Err(upstream.adapter.fault(&reading.call, &reply)),
        }
    };
    Ok((listing.read(&body, &reading.about)?, reading.about))
}

fn differences(routes: &[&Arc<Route>], catalog: &Catalog, found: &Found) -> Vec<Difference> {
    let today = Timestamp::now().rfc3339();
    let alive = |route: &Route| {
        let open = catalog.find(&route.model).is_ok_and(|named| named.model.status_on(&today[..10]).is_open());
        open && !route.retired(&today[..10])
    };
    let mut told = BTreeSet::new();
    for route in routes {
        let (id, listed) = (route.upstream.clone(), found.listed.iter().find(|one| one.id == route.upstream));
        let Some(listed) = listed else {
            if alive(route) {
                told.insert(Difference::Gone { id });
            }
            continue;
        };
        let model = catalog.find(&route.model).ok().and_then(|named| named.model.retires.clone());
        let known = route.retires.clone().or(model);
        if let Some(ends) = listed.ends.clone().filter(|ends| known.as_ref() != Some(ends)) {
            told.insert(Difference::Ends { id: id.clone(), listed: ends, known });
        }
        let ours: Vec<Decimal> = route.price.lines.iter().map(|line| line.unit_price.normalize()).collect();
        if !listed.prices.is_empty() && !listed.prices.iter().any(|price| ours.contains(price)) {
            let known = if ours.is_empty() { "nothing".to_owned() } else { dollars(&ours) };
            told.insert(Difference::Price { id, listed: dollars(&listed.prices), known });
        }
    }
    // A list of what was asked about tells nothing new.
    let fresh = found.listed.iter().filter(|one| !found.about.contains(&one.id));
    told.extend(fresh.filter(|one| !known(routes, &one.id)).map(|one| Difference::New { id: one.id.clone() }));
    told.into_iter().collect()
}

/// Whether the catalog has it, or what it is a dated copy of.
fn known(routes: &[&Arc<Route>], id: &str) -> bool {
    let dated = |upstream: &str| id.strip_prefix(upstream).is_some_and(|rest| rest.starts_with("-20"));
    routes.iter().any(|route| route.upstream == id || dated(&route.upstream))
}

fn dollars(prices: &[Decimal]) -> String {
    prices.iter().map(|price| format!("${price}")).collect::<Vec<_>>().join(", ")
}
