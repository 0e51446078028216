//! One request from its job to its answer: the story in order.

use super::answer::{Answer, Delivery, Estimate, Handle, Timing};
use super::background::Jobs;
use super::drive::Partials;
use super::failover::{Outcome, Requester, Runner};
use super::finish::Finished;
use super::fit::Adjustment;
use super::ledger::{Asker, Ledger, OpenRecord};
use super::plan::{self, Plan, Scene};
use super::routing::{Preferences, Switchboard};
use super::trail::Bill;
use crate::base::{Live, Timestamp};
use crate::catalog::{Catalog, Route};
use crate::error::{Error, ErrorKind};
use crate::fault::{Fault, FaultKind};
use crate::job::{Job, ResponseForm};
use crate::media::storage::Storage;
use crate::media::{Format, Limits, Size, Workers};
use crate::outbound::Client;
use std::time::Duration;
use tokio::time::Instant;

/// The gateway: everything that a request needs.
#[derive(Clone)]
pub struct Gateway {
    /// What exists.
    pub catalog: Live<Catalog>,
    /// Runs plans.
    pub runner: Runner,
    /// Keeps the books.
    pub ledger: Ledger,
    /// Keeps finished media.
    pub storage: Storage,
    /// Fetches what callers name: a guard without exceptions.
    pub callers: Client,
    /// Takes what outlives its request.
    pub jobs: Jobs,
    /// Whether the providers are simulators.
    pub sandbox: bool,
}

impl Gateway {
    /// Plans without running: no row, no call, no cost.
    pub fn estimate(&self, job: &Job, preferences: &Preferences) -> Result<Estimate, Error> {
        let plan = self.plan(job, preferences)?;
        let first = plan.first();
        let charge = first.estimate(job, job.n);
        Ok(Estimate { provider: first.route.provider.clone(), model: plan.model, charge })
    }

    /// Makes pictures, unfinished ones going to `partials` where a route streams them. A failed request has closed its own
    /// row; a successful one hands it over.
    pub async fn image(&self, job: &Job, asker: Asker, partials: Option<Partials>) -> Result<Answer, Error> {
        let (plan, record) = self.admit(job, &asker).await?;
        let called = Instant::now();
        let longest = Duration::from_secs(self.runner.settings.deadline_seconds);
        let requester = Requester {
            arrived: asker.arrived,
            deadline: asker.arrived + asker.timeout.map_or(longest, |own| own.min(longest)),
            key: asker.key_id.clone(),
            hung_up: asker.hung_up.clone(),
            partials,
        };
        let outcome = self.runner.run(&plan, job, &requester).await;
        let phases = Phases { arrived: asker.arrived, called, provider_done: outcome.provider_done.unwrap_or(called) };
        if let Some(fault) = &outcome.fault {
            let error = refusal(fault, &plan);
            let made = self.keep_made(&outcome, &asker.origin).await;
            self.ledger.fail(record, &outcome.trail, phases.timing(), made, &error).await;
            return Err(error);
        }
        match self.deliver(job, &outcome, &asker.origin).await {
            Ok(deliveries) => Ok(conclude(&plan, outcome, deliveries, &phases, record)),
            Err(error) => {
                self.ledger.fail(record, &outcome.trail, phases.timing(), Vec::new(), &error).await;
                Err(error)
            }
        }
    }

    /// Plans a job and lets it in: its intent is durable when this returns, and what it may cost is reserved. Who is not
    /// let in has a row that says why.
    pub(super) async fn admit(&self, job: &Job, asker: &Asker) -> Result<(Plan, OpenRecord), Error> {
        let refused = match self.plan(job, &asker.preferences) {
            Ok(plan) => {
                // The dearest route that may be taken: whoever is let in can pay for wherever failover leads.
                let estimate = plan.candidates.iter().filter_map(|one| one.estimate(job, job.n).amount).max();
                match self.ledger.open(asker, &plan, job, estimate).await {
                    Ok(record) => return Ok((plan, record)),
                    // There is nowhere to write it down.
                    Err(error) if error.kind == ErrorKind::Unavailable => return Err(error),
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        Err(self.ledger.reject(asker, &job.model, &refused).await)
    }

    fn plan(&self, job: &Job, preferences: &Preferences) -> Result<Plan, Error> {
        let today = Timestamp::now().rfc3339();
        let (upstreams, board) = (&self.runner.upstreams, &self.runner.board);
        let view = |route: &Route| Some(board.view(&route.executed_model(), upstreams.get(&route.provider)?));
        let scene = Scene { rules: &board.rules(), preferences, view: &view, today: &today[..10] };
        plan::plan(job, &self.catalog.get(), &scene, &mut rand::random)
    }

    async fn deliver(&self, job: &Job, outcome: &Outcome, origin: &str) -> Result<Vec<Delivery>, Error> {
        let mut deliveries = Vec::with_capacity(outcome.pictures.len());
        for picture in &outcome.pictures {
            let handle = match job.form {
                ResponseForm::B64Json => Handle::Base64(picture.body.clone().into_base64()),
                ResponseForm::Url => Handle::Url(self.keep(picture, origin).await?),
            };
            deliveries.push(Delivery { handle, revised_prompt: picture.revised_prompt.clone() });
        }
        Ok(deliveries)
    }

    /// Stores a picture and returns its link.
    async fn keep(&self, picture: &Finished, origin: &str) -> Result<String, Error> {
        let bytes = picture.body.clone().into_bytes().map_err(Error::internal)?;
        let name = self.storage.put(bytes, picture.facts.format).await.map_err(Error::internal)?;
        Ok(format!("{origin}/media/{name}"))
    }

    /// The pictures of a request that failed half-way were paid for: they stay fetchable from its row.
    async fn keep_made(&self, outcome: &Outcome, origin: &str) -> Vec<String> {
        let mut links = Vec::new();
        for picture in &outcome.pictures {
            links.extend(self.keep(picture, origin).await.ok());
        }
        links
    }
}

/// What the API asks about the gateway.
impl Gateway {
    /// The longest time that a request may wait for its answer.
    pub const fn max_wait(&self) -> Duration {
        Duration::from_secs(self.runner.settings.deadline_seconds)
    }

    /// Limits on pictures, from callers and from providers.
    pub const fn image_limits(&self) -> Limits {
        self.runner.finisher.limits
    }

    /// The threads that decode and encode pictures.
    pub const fn image_workers(&self) -> &Workers {
        &self.runner.finisher.workers
    }

    /// Whether a provider is configured here.
    pub fn is_configured(&self, provider: &str) -> bool {
        self.runner.upstreams.has(provider)
    }

    /// Rules, route states and health.
    pub const fn switchboard(&self) -> &Switchboard {
        &self.runner.board
    }
}

/// The moments of a request.
struct Phases {
    arrived: Instant,
    called: Instant,
    provider_done: Instant,
}

impl Phases {
    fn timing(&self) -> Timing {
        let now = Instant::now();
        let between = |from: Instant, to: Instant| u64::try_from((to - from).as_millis()).unwrap_or(u64::MAX);
        Timing {
            gateway_ms: between(self.arrived, self.called),
            provider_ms: between(self.called, self.provider_done),
            response_ms: between(self.provider_done, now),
            total_ms: between(self.arrived, now),
        }
    }
}

fn conclude(plan: &Plan, outcome: Outcome, deliveries: Vec<Delivery>, phases: &Phases, record: OpenRecord) -> Answer {
    let facts = outcome.pictures.first().map(|picture| picture.facts);
    let (provider, executed_model) = outcome.served.unwrap_or_default();
    let mut adjustments = outcome.adjustments;
    for note in outcome.pictures.iter().flat_map(|picture| &picture.notes) {
        let adjustment = Adjustment::of_conversion(note);
        if !adjustments.contains(&adjustment) {
            adjustments.push(adjustment);
        }
    }
    Answer {
        size: facts.map_or(Size::new(1, 1), |facts| facts.size),
        format: facts.map_or(Format::Png, |facts| facts.format),
        deliveries,
        model: plan.model.clone(),
        provider,
        executed_model,
        bill: Bill::of(&outcome.trail),
        attempts: outcome.trail,
        adjustments,
        timing: phases.timing(),
        record,
    }
}

/// What the caller is told when pictures are missing.
pub(super) fn refusal(fault: &Fault, plan: &Plan) -> Error {
    let base = |kind: ErrorKind, message: String| Error {
        retry_after: fault.retry_after,
        upstream_status: fault.upstream_status,
        ..Error::new(kind, message)
    };
    match fault.kind {
        FaultKind::BadRequest => base(ErrorKind::InvalidRequest, fault.message.clone()),
        FaultKind::Cancelled => base(ErrorKind::Cancelled, fault.message.clone()),
        FaultKind::Moderated => base(ErrorKind::ContentPolicy, fault.message.clone()),
        FaultKind::Auth => {
            let text = format!("The provider refused this gateway's credential or account: {}", fault.message);
            // The status is about our key: the caller's is good.
            Error { upstream_status: None, ..base(ErrorKind::Upstream, text) }
        }
        // However the provider said it: some tell a rate limit with HTTP 200.
        FaultKind::RateLimited if plan.forced => {
            Error { upstream_status: Some(429), ..base(ErrorKind::Upstream, fault.message.clone()) }
        }
        _ if plan.forced => base(ErrorKind::Upstream, fault.message.clone()),
        _ => {
            let last = format!("All providers of '{}' failed. The last report: {}", plan.model, fault.message);
            base(ErrorKind::Exhausted, last)
        }
    }
}
