//! One making call of a provider that answers at once: which rule acts on it, what is written in the book, and the
//! endings that have nothing to do with a dialect. What is said, and what is delivered, is each simulator's own.

use super::book::{Entry, Operation};
use super::easel::Motif;
use super::mischief;
use super::steering::{Fault, Rule};
use super::world::World;
use crate::base::Usd;
use crate::catalog::Route;
use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use std::time::Duration;

/// How long a call takes unless a rule says otherwise. The real ones take seconds.
const LATENCY: Duration = Duration::from_millis(20);

/// Why nothing is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// A rule wants this status.
    Status(u16),
    /// The model is no longer there.
    Gone,
    /// Moderation refuses.
    Refused,
    /// The model breaks down.
    Failed,
}

/// A call that was admitted.
pub(super) struct Sale<'a> {
    world: &'a World,
    provider: &'static str,
    route: &'a Route,
    rule: Option<Rule>,
    /// Why nothing is made, when that is so.
    pub(super) why: Option<Why>,
}

impl<'a> Sale<'a> {
    /// Asks the rules and the prompt what is to happen.
    pub(super) fn open(world: &'a World, provider: &'static str, route: &'a Route, prompt: &str) -> Self {
        let rule = world.rules.pick(provider, route, |_| true);
        let why = match rule.as_ref().and_then(|rule| rule.fault) {
            Some(Fault::Status) => Some(Why::Status(rule.as_ref().and_then(|rule| rule.status).unwrap_or(503))),
            Some(Fault::Gone) => Some(Why::Gone),
            Some(Fault::Refuse) => Some(Why::Refused),
            _ if prompt.contains("[refuse]") => Some(Why::Refused),
            _ if prompt.contains("[fail]") => Some(Why::Failed),
            _ => None,
        };
        Self { world, provider, route, rule, why }
    }

    /// What spoils the call.
    fn fault(&self) -> Option<Fault> {
        self.rule.as_ref().and_then(|rule| rule.fault)
    }

    /// Writes the call down and lets it take its time. `Some` is the answer: `refusal`, or the fault that comes before
    /// anything is delivered. A refusal with a status of an error costs nothing, one in a success was made.
    pub(super) async fn settle(&self, refusal: Option<Response>, bill: Usd) -> Option<Response> {
        let silent = matches!(self.fault(), Some(Fault::Hang | Fault::Reset));
        let status = if silent { 0 } else { refusal.as_ref().map_or(200, |refusal| refusal.status().as_u16()) };
        let taken = status == 200 || self.rule.as_ref().is_some_and(|rule| rule.after_accept);
        let bill = if taken { bill } else { Usd::ZERO };
        let entry = Entry::new(self.provider, Operation::Create, status).model(&self.route.upstream);
        self.world.book.write(entry.billed(bill));
        tokio::time::sleep(self.rule.as_ref().and_then(Rule::latency).unwrap_or(LATENCY)).await;
        match (self.fault(), refusal) {
            (Some(Fault::Hang), _) => Some(self.world.hang().await),
            (Some(Fault::Reset), _) => Some(mischief::reset()),
            (_, Some(mut refusal)) => {
                if let Some(seconds) = self.rule.as_ref().and_then(|rule| rule.retry_after) {
                    mischief::put(&mut refusal, "retry-after", &seconds.to_string());
                }
                Some(refusal)
            }
            (Some(Fault::Garbage), None) => Some(mischief::garbage()),
            (_, None) => None,
        }
    }

    /// How many of `count` pictures are delivered.
    pub(super) fn delivered(&self, count: u32) -> u32 {
        if self.fault() == Some(Fault::Empty) { 0 } else { count }
    }

    /// The picture that is drawn instead of this one.
    pub(super) fn spoil(&self, motif: Motif) -> Motif {
        match self.fault() {
            Some(Fault::WrongType) => motif.wrong_type(),
            Some(Fault::WrongSize) => motif.wrong_size(),
            _ => motif,
        }
    }

    /// The answer, or the half of it that a fault leaves. `linked`: the pictures are fetched by link, and it is there
    /// that they break off.
    pub(super) fn answer(&self, body: &Value, linked: bool) -> Response {
        match self.fault() {
            Some(Fault::Truncate) if !linked => mischief::truncate("application/json", &body.to_string().into()),
            _ => Json(body).into_response(),
        }
    }

    /// Whether the linked file breaks off.
    pub(super) fn breaks_off(&self) -> bool {
        self.fault() == Some(Fault::Truncate)
    }
}

/// Writes a call down that was not admitted, and costs nothing.
pub(super) fn turn_away(world: &World, provider: &'static str, model: Option<&str>, refusal: Response) -> Response {
    let entry = Entry::new(provider, Operation::Create, refusal.status().as_u16());
    world.book.write(match model {
        Some(model) => entry.model(model),
        None => entry,
    });
    refusal
}
