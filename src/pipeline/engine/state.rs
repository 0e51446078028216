//! The state of a request between two steps of the engine: everything that must survive a crash, and nothing large.

use super::attempts::Attempt;
use super::step::JobCursor;
use crate::base::Timestamp;
use crate::fault::Fault;
use crate::media::{Format, Size};
use crate::outbound::Leg;
use crate::pipeline::engine::postprocess::Body;
use crate::pipeline::planning::Adjustment;
use serde::{Deserialize, Serialize};

/// The state of one request. A stored job keeps it in its row; a request that waits keeps it in memory.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(in crate::pipeline) struct JobState {
    /// The current route, an index into the planned ones.
    pub route: usize,
    /// Routes that are finished with.
    pub tried: Vec<usize>,
    /// Unhealthy routes that are tried after all others.
    pub postponed: Vec<usize>,
    /// The creating calls of the current route; none before it has begun.
    pub submissions: Vec<Submission>,
    /// The faults of the current route.
    pub faults: Vec<Fault>,
    /// The fault of the route before.
    pub last_fault: Option<Fault>,
    /// What has been made.
    pub outputs: Vec<OutputFile>,
    /// Every creating call that came to an end.
    pub attempts: Vec<Attempt>,
    /// What the routes that served changed.
    pub adjustments: Vec<Adjustment>,
    /// The last route that made something: provider and `provider/upstream`.
    pub served: Option<(String, String)>,
    /// When the first provider was called.
    pub called: Option<Timestamp>,
    /// When the last provider was done.
    pub provider_done: Option<Timestamp>,
}

/// One creating call and the calls that follow from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::pipeline) struct Submission {
    /// An index into the planned routes.
    pub route: usize,
    pub provider: String,
    /// The fingerprint of the credential that it was submitted with; its polls need the same.
    pub credential: String,
    /// Our id of the creating call, by which some providers know the job. Empty before the first submit.
    pub call_id: String,
    /// How many outputs it is to make.
    pub n: u32,
    pub stage: Stage,
    /// When it was submitted.
    pub started: Timestamp,
    /// When it is to be looked after next.
    pub due: Timestamp,
    /// When it is given up.
    pub deadline: Timestamp,
    /// Before this moment polls are not worth it.
    pub first_poll: Timestamp,
    /// The pixels of its input pictures, after conversion: prices depend on them.
    pub input_sizes: Vec<Size>,
    /// The conversions of its input pictures.
    pub conversions: Vec<Adjustment>,
    pub retries: Retries,
    /// Its creating calls that came to an end; moved to the request's when the route is done.
    pub attempts: Vec<Attempt>,
    /// What it made; likewise.
    pub outputs: Vec<OutputFile>,
}

/// The history of a submission that was refused and is submitted again.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(in crate::pipeline) struct Retries {
    /// Fingerprints of the credentials that were refused.
    pub refused: Vec<String>,
    /// Calls that ended with a rate limit.
    pub rate_limited: usize,
    /// Rate limits that were waited for.
    pub waits: u32,
    /// How the last call ended.
    pub last: Option<Fault>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::pipeline) enum Stage {
    /// To be submitted.
    Ready,
    /// The intent: the creating call may be under way. A process that finds it so did not make it, and does not repeat it.
    Submitting,
    /// The provider has it.
    Running(JobCursor),
    /// Finished, successfully or not.
    Over,
}

/// A verified file that was made: in the media store under `name`, or in memory for a request that waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutputFile {
    /// The name in the media store; empty while it is in memory.
    pub name: String,
    pub content_type: String,
    pub size_bytes: u64,
    /// Pixels, as verified; a video may not say.
    pub size: Option<Size>,
    /// The pixels in which the provider made it, before any resize of ours: those are billed.
    #[serde(skip)]
    pub provider_size: Option<Size>,
    /// The length of a video in milliseconds, as measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub millis: Option<u64>,
    /// The prompt as the provider rewrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revised_prompt: Option<String>,
    /// The file, while it is in memory.
    #[serde(skip)]
    pub body: Option<Body>,
    /// What our conversion lost.
    #[serde(skip)]
    pub notes: Vec<&'static str>,
}

impl OutputFile {
    /// The format of a picture.
    pub fn format(&self) -> Option<Format> {
        Format::of_mime(&self.content_type)
    }
}

impl JobState {
    /// The submissions on which another process may have made a creating call, and died before it knew the answer. Such
    /// a call is never made again.
    pub(in crate::pipeline) fn interrupted(&self) -> Vec<usize> {
        let unsure = |stage: &Stage| match stage {
            Stage::Submitting => true,
            Stage::Running(cursor) => cursor.call.leg == Leg::Submit,
            Stage::Ready | Stage::Over => false,
        };
        (0..self.submissions.len()).filter(|index| unsure(&self.submissions[*index].stage)).collect()
    }

    /// When something is to be done next; `None` when every submission is over.
    pub(in crate::pipeline) fn next_due(&self) -> Option<Timestamp> {
        self.submissions.iter().filter(|one| one.stage != Stage::Over).map(|one| one.due).min()
    }

    /// Takes attempts and outputs over from the submissions, in the order of these, whichever ended first.
    pub(in crate::pipeline) fn collect(&mut self) {
        for submission in &mut self.submissions {
            self.outputs.append(&mut submission.outputs);
            for attempt in submission.attempts.drain(..) {
                self.attempts.push(Attempt { index: self.attempts.len(), ..attempt });
            }
        }
    }

    /// Ends a submission that made nothing.
    pub(in crate::pipeline) fn fail(&mut self, index: usize, fault: Fault) {
        self.submissions[index].stage = Stage::Over;
        self.faults.push(fault);
    }

    /// Reports each adjustment once.
    pub(in crate::pipeline) fn adjust(&mut self, changed: impl IntoIterator<Item = Adjustment>) {
        for adjustment in changed {
            if !self.adjustments.contains(&adjustment) {
                self.adjustments.push(adjustment);
            }
        }
    }
}
