//! Runs one leased job until its next wait. Write order: the intent before a submit, the provider's job id after it, outputs
//! before the end.

use super::completion::JobOutcome;
use super::context::WorkerContext;
use super::leased_row::{ActiveJob, LeasedRow};
use crate::base::Timestamp;
use crate::fault::{Accepted, Fault, FaultKind};
use crate::pipeline::engine::{
    Change, Clock, Interrupt, Next, OutputTarget, Persistence, Run, STORED_READ_TRIES, Stage,
};
use crate::pipeline::gateway::refusal;
use tokio::time::Instant;

impl WorkerContext {
    /// Runs a job until it has to wait (`false`) or is over (`true`).
    pub(super) async fn run(&self, job: &mut ActiveJob) -> Result<bool, Interrupt> {
        let (id, created_at, deadline) = (job.id.clone(), job.created_at, job.deadline_at);
        let row = LeasedRow::new(self, &id);
        let gateway = &self.jobs.gateway;
        let run = Run {
            persistence: &row,
            id: &id,
            clock: Clock::new(Timestamp::now(), Instant::now()),
            created_at,
            deadline,
            waits: false,
            reads: STORED_READ_TRIES,
            sandbox: gateway.sandbox,
            target: OutputTarget::Store(&gateway.storage),
            partials: None,
            hung_up: None,
        };
        if std::mem::take(&mut job.inherited) {
            self.resume(&run, job).await.inspect_err(|_| job.inherited = true)?;
        }
        let unfinished = job.state.submissions.is_empty() || job.state.next_due().is_some();
        if unfinished && (job.cancel || run.clock.now() >= deadline) {
            return self.wind_up(&run, job).await.map(|()| true);
        }
        match gateway.engine.run(&mut job.state, &run).await? {
            Next::Wait => Ok(false),
            Next::Done(outcome) => {
                let loaded = row.load().await?;
                let outcome = match outcome {
                    Ok(()) => JobOutcome::Completed,
                    Err(fault) => JobOutcome::Failed(refusal(&fault, &loaded.plan())),
                };
                self.end(job, &row, outcome).await.map(|()| true)
            }
        }
    }

    /// A creating call that a process died over is not made again. Where the provider knows the job, it goes on; otherwise
    /// it counts as possibly bought, and the next route is tried.
    async fn resume(&self, run: &Run<'_, LeasedRow<'_>>, job: &mut ActiveJob) -> Result<(), Interrupt> {
        let interrupted = job.state.interrupted();
        if interrupted.is_empty() {
            return Ok(());
        }
        let engine = &self.jobs.gateway.engine;
        for index in interrupted {
            if let Some(cursor) = engine.look_up(run, &job.state.submissions[index]).await? {
                job.state.submissions[index].stage = Stage::Running(cursor);
                continue;
            }
            let text = "the gateway stopped while the provider was being asked, and what became of it is not known";
            let fault = Fault::new(FaultKind::Unavailable, text).accepted(Accepted::Maybe);
            engine.abandon(run, &mut job.state, index, fault).await?;
        }
        run.persistence.save(&job.state, Change::Progress).await
    }
}
