//! One request from its job to its result, in order: plan, admit, run, deliver, close.

use super::engine::{
    Body, Change, Clock, CostSummary, Engine, Interrupt, JobState, Next, OutputFile, OutputTarget, Partials,
    Persistence, READ_TRIES, Run, Work,
};
use super::ledger::{Closing, Ledger, OpenRecord, RequestInfo, Timing};
use super::planning::{self, Plan, Scene};
use super::response::{Delivery, Estimate, GenerationResult, OutputRef};
use super::retention::{Response, Retention};
use super::routing::{Preferences, Switchboard};
use crate::base::{Live, Timestamp};
use crate::catalog::{Catalog, Route};
use crate::error::{Error, ErrorKind};
use crate::fault::{Fault, FaultKind};
use crate::job::{Job, ResponseForm};
use crate::media::storage::Storage;
use crate::media::{Format, Limits, Size, Workers};
use crate::outbound::Client;
use crate::store::Status;
use serde_json::json;
use std::time::Duration;

/// Everything that a request needs.
#[derive(Clone)]
pub struct Gateway {
    pub catalog: Live<Catalog>,
    pub engine: Engine,
    pub ledger: Ledger,
    pub retention: Retention,
    /// The media store.
    pub storage: Storage,
    /// Fetches the links of callers: a guard without exceptions.
    pub callers: Client,
    /// Whether the providers are simulators.
    pub sandbox: bool,
}

/// A request that waits keeps its state in memory: whoever closes its row is in the same process.
struct InMemory<'a> {
    work: Work,
    job: &'a Job,
}

impl Persistence for InMemory<'_> {
    async fn work(&self) -> Result<&Work, Interrupt> {
        Ok(&self.work)
    }

    async fn inputs(&self) -> Result<Job, Interrupt> {
        Ok(self.job.clone())
    }

    async fn save(&self, _state: &JobState, _change: Change<'_>) -> Result<(), Interrupt> {
        Ok(())
    }
}

impl Gateway {
    /// Plans without running: no row, no call, no cost.
    pub fn estimate(&self, job: &Job, preferences: &Preferences) -> Result<Estimate, Error> {
        let plan = self.plan(job, preferences)?;
        let first = plan.first();
        let charge = first.estimate(job, job.n);
        Ok(Estimate { provider: first.route.provider.clone(), model: plan.model, charge })
    }

    /// Makes pictures while the caller waits; unfinished ones go to `partials` where a route streams them. A failed
    /// request has closed its own row; a successful one hands it over, for [`Gateway::close`].
    pub async fn image(
        &self,
        job: &Job,
        info: RequestInfo,
        partials: Option<Partials>,
    ) -> Result<GenerationResult, Error> {
        let asked = self.retention.note_request(job, &info);
        let result = self.make(job, &info, partials.as_ref()).await;
        self.retention.keep(asked, response(&result)).await;
        result
    }

    async fn make(
        &self,
        job: &Job,
        info: &RequestInfo,
        partials: Option<&Partials>,
    ) -> Result<GenerationResult, Error> {
        let (plan, record) = self.admit(job, info).await?;
        let longest = Duration::from_secs(self.engine.settings.deadline_seconds);
        let persistence = InMemory { work: Work::planned(&plan, job, &info.key_id), job };
        let run = Run {
            persistence: &persistence,
            id: &info.request_id,
            clock: Clock::new(info.created_at, info.arrived),
            created_at: info.created_at,
            deadline: info.created_at.plus(info.timeout.map_or(longest, |own| own.min(longest))),
            waits: true,
            reads: READ_TRIES,
            sandbox: self.sandbox,
            target: OutputTarget::Memory,
            partials,
            hung_up: Some(&info.hung_up),
        };
        let mut state = JobState::default();
        let outcome = match self.engine.run(&mut state, &run).await {
            Ok(Next::Done(outcome)) => outcome.map_err(|fault| refusal(&fault, &plan)),
            // It waits for what is due itself, and keeps its state in memory.
            Ok(Next::Wait) | Err(_) => Err(Error::internal("a waiting request was interrupted")),
        };
        let timing = |state: &JobState| Timing::of(state, info.created_at, run.clock.now());
        let delivered = match outcome {
            Ok(()) => self.deliver(job, &state.outputs, &info.origin).await.map_err(|error| (error, Vec::new())),
            // What a failed request bought stays fetchable from its row.
            Err(error) => Err((error, self.keep_outputs(&state.outputs, &info.origin).await)),
        };
        match delivered {
            Ok(deliveries) => {
                let timing = timing(&state);
                Ok(conclude(&plan, state, deliveries, timing, record))
            }
            Err((error, links)) => {
                let timing = timing(&state);
                let status = match error.kind {
                    ErrorKind::InvalidRequest | ErrorKind::ContentPolicy => Status::Rejected,
                    ErrorKind::Cancelled => Status::Cancelled,
                    _ => Status::UpstreamFailure,
                };
                let first = state.outputs.first();
                let end = Closing {
                    size: first.and_then(|file| file.size).map(|size| size.to_string()),
                    format: first.and_then(OutputFile::format).map(|format| format.name().to_owned()),
                    served: state.served,
                    count: links.len(),
                    links,
                    adjustments: state.adjustments,
                    error: Some((error.kind.code().to_owned(), error.message.clone())),
                    ..Closing::new(status, state.attempts, timing)
                };
                // The answer is an error either way; the row was tried for as long as the writer tries.
                let _ = self.ledger.close(record, end).await;
                Err(error)
            }
        }
    }

    /// Closes the row of a successful request, before the last byte of its answer goes out.
    pub async fn close(&self, result: GenerationResult, response_bytes: usize) -> Result<(), Error> {
        let (record, end) = result.closing(response_bytes);
        self.ledger.close(record, end).await
    }

    /// Plans a job and lets it in: its intent is durable when this returns, and what it may cost is reserved. Who is not
    /// let in has a row that says why.
    pub(super) async fn admit(&self, job: &Job, info: &RequestInfo) -> Result<(Plan, OpenRecord), Error> {
        let refused = match self.plan(job, &info.preferences) {
            Ok(plan) => {
                // The dearest route that may be taken: whoever is let in can pay for wherever failover leads.
                let estimate = plan.candidates.iter().filter_map(|one| one.estimate(job, job.n).amount).max();
                match self.ledger.open(info, &plan, job, estimate).await {
                    Ok(record) => return Ok((plan, record)),
                    // There is nowhere to write it down.
                    Err(error) if error.kind == ErrorKind::Unavailable => return Err(error),
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        Err(self.ledger.reject(info, &job.model, &refused).await)
    }

    fn plan(&self, job: &Job, preferences: &Preferences) -> Result<Plan, Error> {
        let today = Timestamp::now().rfc3339();
        let (upstreams, board) = (&self.engine.upstreams, &self.engine.board);
        let view = |route: &Route| Some(board.view(&route.executed_model(), upstreams.get(&route.provider)?));
        let scene = Scene { rules: &board.rules(), preferences, view: &view, today: &today[..10] };
        planning::plan(job, &self.catalog.get(), &scene, &mut rand::random)
    }

    async fn deliver(&self, job: &Job, outputs: &[OutputFile], origin: &str) -> Result<Vec<Delivery>, Error> {
        let mut deliveries = Vec::with_capacity(outputs.len());
        for file in outputs {
            let body = || file.body.clone().unwrap_or(Body::Bytes(bytes::Bytes::new()));
            let output = match job.form {
                ResponseForm::B64Json => OutputRef::Base64(body().into_base64()),
                ResponseForm::Url => OutputRef::Url(self.keep_output(file, body(), origin).await?),
            };
            deliveries.push(Delivery { output, revised_prompt: file.revised_prompt.clone() });
        }
        Ok(deliveries)
    }

    /// Stores a picture and returns its link.
    async fn keep_output(&self, file: &OutputFile, body: Body, origin: &str) -> Result<String, Error> {
        let bytes = body.into_bytes().map_err(Error::internal)?;
        let format = file.format().unwrap_or(Format::Png);
        let name = self.storage.put(bytes, format).await.map_err(Error::internal)?;
        Ok(format!("{origin}/media/{name}"))
    }

    async fn keep_outputs(&self, outputs: &[OutputFile], origin: &str) -> Vec<String> {
        let mut links = Vec::new();
        for file in outputs {
            if let Some(body) = file.body.clone() {
                links.extend(self.keep_output(file, body, origin).await.ok());
            }
        }
        links
    }
}

/// Answers for the API, which need not know the parts of the engine.
impl Gateway {
    /// The longest time that a request may wait for its answer.
    pub const fn max_wait(&self) -> Duration {
        Duration::from_secs(self.engine.settings.deadline_seconds)
    }

    /// Limits on pictures, from callers and from providers.
    pub const fn image_limits(&self) -> Limits {
        self.engine.post.limits
    }

    /// The threads that decode and encode pictures.
    pub const fn image_workers(&self) -> &Workers {
        &self.engine.post.workers
    }

    /// Whether a provider is configured here.
    pub fn is_configured(&self, provider: &str) -> bool {
        self.engine.upstreams.has(provider)
    }

    /// Rules, route states and health.
    pub const fn switchboard(&self) -> &Switchboard {
        &self.engine.board
    }
}

fn conclude(
    plan: &Plan,
    state: JobState,
    deliveries: Vec<Delivery>,
    timing: Timing,
    record: OpenRecord,
) -> GenerationResult {
    let first = state.outputs.first();
    let (provider, executed_model) = state.served.unwrap_or_default();
    GenerationResult {
        size: first.and_then(|file| file.size).unwrap_or(Size::new(1, 1)),
        format: first.and_then(OutputFile::format).unwrap_or(Format::Png),
        deliveries,
        model: plan.model.clone(),
        provider,
        executed_model,
        costs: CostSummary::of(&state.attempts),
        attempts: state.attempts,
        adjustments: state.adjustments,
        timing,
        record,
    }
}

/// What is kept of a result, where payloads are kept.
fn response(result: &Result<GenerationResult, Error>) -> Response {
    let result = match result {
        Ok(result) => result,
        Err(error) => return Response::of_error(error),
    };
    let shown = result.deliveries.iter().map(|delivery| match &delivery.output {
        OutputRef::Url(url) => json!({"url": url, "revised_prompt": delivery.revised_prompt}),
        OutputRef::Base64(text) => json!({"b64_json_bytes": text.len(), "revised_prompt": delivery.revised_prompt}),
    });
    let names = result.deliveries.iter().filter_map(|delivery| match &delivery.output {
        OutputRef::Url(url) => url.rsplit('/').next().map(str::to_owned),
        OutputRef::Base64(_) => None,
    });
    Response { shown: shown.collect(), media: names.collect() }
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
