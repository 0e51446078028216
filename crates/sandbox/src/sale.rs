//! One making call, answered at once or with a job: which rule acts on it, what is written in the book, and the
//! endings that have nothing to do with a dialect. What is said, and what is delivered, is each simulator's own.

use super::book::{Entry, Operation};
use super::easel::Motif;
use super::mischief;
use super::steering::{Fault, Rule};
use super::world::World;
use crate::base::Usd;
use crate::catalog::Route;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use std::time::Duration;

/// How long an answer at once takes unless a rule says otherwise. The real ones take seconds.
const LATENCY: Duration = Duration::from_millis(20);

/// How many polls find a job unfinished unless a rule says otherwise.
const POLLS: u32 = 2;

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
    model: String,
    rule: Option<Rule>,
    /// The status of the answer when nothing comes in between.
    pub(super) made: StatusCode,
}

impl<'a> Sale<'a> {
    /// A call that is answered with what was made: any fault acts on it.
    pub(super) fn open(world: &'a World, provider: &'static str, route: &Route) -> Self {
        Self::steered(world, provider, route, |_| true)
    }

    /// A call that is answered with a job. What spoils results acts on later calls.
    pub(super) fn of_job(world: &'a World, provider: &'static str, route: &Route) -> Self {
        Self::steered(world, provider, route, |fault| fault.is_none_or(Fault::at_creation))
    }

    /// A call on which the faults act that `acts` names.
    pub(super) fn steered(
        world: &'a World,
        provider: &'static str,
        route: &Route,
        acts: impl Fn(Option<Fault>) -> bool,
    ) -> Self {
        let rule = world.rules.pick(provider, route, acts);
        Self { world, provider, model: route.upstream.clone(), rule, made: StatusCode::OK }
    }

    /// What spoils the call.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.rule.as_ref().and_then(|rule| rule.fault)
    }

    /// What the rule or the prompt has against it.
    pub(super) fn why(&self, prompt: &str) -> Option<Why> {
        match self.fault() {
            Some(Fault::Status) => Some(Why::Status(self.status())),
            Some(Fault::Gone) => Some(Why::Gone),
            Some(Fault::Refuse) => Some(Why::Refused),
            _ if prompt.contains("[refuse]") => Some(Why::Refused),
            _ if prompt.contains("[fail]") => Some(Why::Failed),
            _ => None,
        }
    }

    /// The refusal that the rule asks for where moderation is told otherwise: that status, or that the model is gone.
    pub(super) fn refusal<R: IntoResponse>(
        &self,
        of_status: impl FnOnce(u16) -> R,
        gone: impl FnOnce() -> R,
    ) -> Option<Response> {
        match self.fault()? {
            Fault::Status => Some(of_status(self.status()).into_response()),
            Fault::Gone => Some(gone().into_response()),
            _ => None,
        }
    }

    /// Whether moderation refuses it, whatever else goes wrong.
    pub(super) fn refuses(&self, prompt: &str) -> bool {
        self.fault() == Some(Fault::Refuse) || prompt.contains("[refuse]")
    }

    /// Whether nothing is ever answered.
    pub(super) fn silent(&self) -> bool {
        matches!(self.fault(), Some(Fault::Hang | Fault::Reset))
    }

    /// Whether the fault comes after the job was taken.
    pub(super) fn after_accept(&self) -> bool {
        self.rule.as_ref().is_some_and(|rule| rule.after_accept)
    }

    /// Whether something is made, and billed.
    pub(super) fn taken(&self, refused: bool) -> bool {
        !(self.silent() || refused) || self.after_accept()
    }

    /// How many polls the rule wants to find the job unfinished.
    pub(super) fn polls(&self) -> Option<u32> {
        self.rule.as_ref().and_then(|rule| rule.job_polls)
    }

    /// How many polls find the job unfinished, and how long it takes at least. A rule with a time means the time alone.
    pub(super) fn pace(&self) -> (u32, Duration) {
        let latency = self.latency();
        let polls = self.polls().unwrap_or(if latency.is_some() { 0 } else { POLLS });
        (polls, latency.unwrap_or_default())
    }

    /// The seconds after which to ask again, for a dialect that does not say them in the usual header: it is left out.
    pub(super) fn take_retry_after(&mut self) -> Option<u64> {
        self.rule.as_mut().and_then(|rule| rule.retry_after.take())
    }

    /// The call as the book has it, before it is billed; `refused` is the status of the refusal.
    pub(super) fn entry(&self, refused: Option<StatusCode>) -> Entry {
        let status = if self.silent() { 0 } else { refused.unwrap_or(self.made).as_u16() };
        Entry::new(self.provider, Operation::Create, status).model(&self.model)
    }

    /// Writes the call down. `true`: the job is taken, and written down at that price.
    #[must_use]
    pub(super) fn take(&self, refusal: Option<&Response>, job: &str, bill: Usd) -> bool {
        let taken = self.taken(refusal.is_some());
        let entry = self.entry(refusal.map(Response::status));
        self.world.book.write(if taken { entry.job(job).billed(bill) } else { entry });
        taken
    }

    /// Lets an answer at once take its time.
    pub(super) async fn wait(&self) {
        tokio::time::sleep(self.latency().unwrap_or(LATENCY)).await;
    }

    /// The answer that comes instead of the real one: `refusal`, or what a fault of transport leaves.
    pub(super) async fn instead(&self, refusal: Option<Response>) -> Option<Response> {
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

    /// Writes an answer at once down and lets it take its time. `Some` is the answer that comes instead. A refusal with
    /// the status of an error costs nothing, one in a success was made; where that costs nothing either, `bill` is zero.
    pub(super) async fn settle(&self, refusal: Option<Response>, bill: Usd) -> Option<Response> {
        let refused = refusal.as_ref().map(Response::status);
        let bill = if self.taken(refused.is_some_and(|status| status != StatusCode::OK)) { bill } else { Usd::ZERO };
        self.world.book.write(self.entry(refused).billed(bill));
        self.wait().await;
        self.instead(refusal).await
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

    /// The status that the rule wants.
    fn status(&self) -> u16 {
        self.rule.as_ref().and_then(|rule| rule.status).unwrap_or(503)
    }

    /// The time that the rule wants.
    fn latency(&self) -> Option<Duration> {
        self.rule.as_ref().and_then(Rule::latency)
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
