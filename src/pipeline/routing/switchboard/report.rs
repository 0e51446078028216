//! What the switchboard knows, as `GET /v1/routing` shows it.

use super::{Switchboard, Wallet};
use crate::pipeline::routing::health::{Health, Standing};
use crate::pipeline::routing::operator::Operator;
use crate::pipeline::routing::rules::Rule;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// What `GET /v1/routing` shows.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The rules in force.
    pub rules: Vec<Rule>,
    /// What the operator said, by route or provider.
    pub states: BTreeMap<String, Operator>,
    /// Every route that was used, or that something is known of.
    pub routes: BTreeMap<String, RouteReport>,
    /// Every credential that was used, by provider and number.
    pub credentials: BTreeMap<String, CredentialReport>,
}

/// A route in the report.
#[derive(Debug, Clone, Serialize)]
pub struct RouteReport {
    /// What the operator said.
    pub state: Operator,
    /// Its health.
    pub health: Standing,
    /// The share of its calls that worked lately, 0 to 1.
    pub success_rate: f64,
    /// Failures in a row.
    pub failures_in_a_row: u32,
    /// How long a call usually takes, in milliseconds.
    pub latency_ms: Option<u64>,
    /// Milliseconds until it is tried again, when it is not healthy.
    pub retry_in_ms: Option<u64>,
}

/// A credential in the report.
#[derive(Debug, Clone, Serialize)]
pub struct CredentialReport {
    /// Its health.
    pub health: Standing,
    /// Whether the provider refused it.
    pub refused: bool,
    /// Requests that wait for its rate limits.
    pub waiting: usize,
    /// Milliseconds for which it is rate-limited, by route.
    pub limited_ms: BTreeMap<String, u64>,
}

impl Switchboard {
    /// Everything that is known.
    pub fn report(&self) -> Report {
        let (state, now) = (self.state(), Instant::now());
        let left = |until: Instant| millis(until.saturating_duration_since(now));
        let route = |(name, health): (&String, &Health)| {
            let report = RouteReport {
                state: state.operator(name),
                health: health.standing(now),
                success_rate: health.success(),
                failures_in_a_row: health.row(),
                latency_ms: health.latency().map(millis),
                retry_in_ms: health.next_trial(now).map(left),
            };
            (name.clone(), report)
        };
        let credential = |((provider, at), wallet): (&(String, usize), &Wallet)| {
            let limited = wallet.lanes.iter().filter(|(_, lane)| lane.until > now);
            let report = CredentialReport {
                health: wallet.health.standing(now),
                refused: wallet.health.refused(),
                waiting: wallet.queue.len(),
                limited_ms: limited.map(|(route, lane)| (route.clone(), left(lane.until))).collect(),
            };
            (format!("{provider}#{at}"), report)
        };
        Report {
            rules: self.rules().list().into_iter().cloned().collect(),
            states: state.operators.clone(),
            routes: state.routes.iter().map(route).collect(),
            credentials: state.credentials.iter().map(credential).collect(),
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
