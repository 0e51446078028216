//! The papers of a stored job: what was asked (never changes), how far it is (the worker's), what is shown (the API's).

use super::drive::Course;
use super::fit::Adjustment;
use super::trail::Attempt;
use crate::base::{Timestamp, Usd};
use crate::fault::Fault;
use crate::job::{Input, Job, ResponseForm};
use crate::media::Size;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What was asked, as it was planned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Request {
    /// The job, its inputs aside.
    pub job: Job,
    /// Its inputs, beside the media.
    pub inputs: Vec<KeptInput>,
    /// The mask, likewise.
    pub mask: Option<KeptInput>,
    /// The canonical model.
    pub model: String,
    /// Whether the caller named the provider.
    pub forced: bool,
    /// The planned routes, first choice first: provider and upstream.
    pub routes: Vec<(String, String)>,
    /// Where the caller reaches us.
    pub origin: String,
    /// Who wants to be told of the end.
    pub webhook_url: Option<String>,
}

/// An input whose bytes lie beside the media.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct KeptInput {
    /// Its name there.
    pub name: String,
    /// The media type.
    pub mime: String,
    /// Pixels.
    pub size: Option<Size>,
}

impl KeptInput {
    /// The input with these bytes; prices and fits need none.
    pub(super) fn with(&self, bytes: Bytes) -> Input {
        Input { mime: self.mime.clone(), bytes, size: self.size }
    }
}

/// How far a job is. Everything that must survive a crash, and nothing that is large.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// The route in turn, an index into the planned ones.
    pub position: usize,
    /// The creating calls of this route; none before it has begun.
    pub tracks: Vec<Track>,
    /// What went wrong on this route.
    pub faults: Vec<Fault>,
    /// What went wrong on the route before.
    pub last: Option<Fault>,
    /// What has been made and stored.
    pub made: Vec<Made>,
    /// Every creating call that came to an end.
    pub trail: Vec<Attempt>,
    /// What the routes that served changed.
    pub adjustments: Vec<Adjustment>,
    /// The last route that made something: provider and `provider/upstream`.
    pub served: Option<(String, String)>,
    /// When the first provider was called.
    pub called: Option<Timestamp>,
    /// When the last provider was done.
    pub provider_done: Option<Timestamp>,
}

/// One creating call and what follows from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Track {
    /// The provider.
    pub provider: String,
    /// The mark of the credential that it was submitted with; its polls need the same.
    #[serde(default)]
    pub credential: String,
    /// Our id of the creating call, by which some providers know the job.
    #[serde(default)]
    pub order: String,
    /// How many outputs it is to make.
    pub n: u32,
    /// How often it was begun, rate limits included.
    pub tries: u32,
    /// How far it is.
    pub stage: Stage,
    /// When it was begun.
    pub started: Timestamp,
    /// When it is to be looked after next.
    pub due: Timestamp,
    /// When it is given up.
    pub until: Timestamp,
    /// Before this moment polls are not worth it.
    pub hold: Timestamp,
}

/// How far a track is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    /// To be submitted.
    Ready,
    /// The intent: the creating call may be under way. A process that finds it so did not make it, and does not repeat it.
    Submitting,
    /// The provider has it.
    Running(Course),
    /// Over, well or not.
    Over,
}

/// One thing that was made, in the media store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Made {
    /// Its name there.
    pub name: String,
    /// The media type.
    pub content_type: String,
    /// Bytes.
    pub size_bytes: u64,
    /// Pixels, as verified; a video may not say.
    pub size: Option<Size>,
    /// The pixels in which it came, when we resized it since: those are billed.
    #[serde(skip)]
    pub came: Option<Size>,
    /// The length of a video in milliseconds, as measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub millis: Option<u64>,
    /// The prompt as the provider rewrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revised_prompt: Option<String>,
}

/// What the API shows of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// The prompt.
    pub prompt: String,
    /// The canonical model.
    pub model: String,
    /// How many outputs were asked for.
    pub n: u32,
    /// The length of a video in seconds: foreseen, then measured.
    pub seconds: u32,
    /// Pixels: foreseen, then measured.
    pub size: Size,
    /// Whether pictures are handed over as links or base64.
    pub form: ResponseForm,
    /// The provider in turn.
    pub provider: String,
    /// `provider/upstream`
    pub executed_model: String,
    /// The bill foreseen.
    pub cost_estimate: Option<Usd>,
    /// The bill; once it is over.
    pub cost: Option<Usd>,
    /// Where the bill comes from.
    pub cost_source: String,
    /// Why the bill is unknown or estimated.
    pub cost_note: Option<String>,
    /// What may have been spent besides.
    pub cost_uncertain: Usd,
    /// Every creating call.
    pub attempts: Vec<Attempt>,
    /// What was changed or dropped.
    pub adjustments: Vec<Adjustment>,
    /// Links of what was made, with the facts.
    pub outputs: Vec<(String, Made)>,
    /// Why it failed: code and message.
    pub error: Option<(String, String)>,
    /// The caller's own notes.
    pub metadata: Option<Value>,
    /// The caller's end user.
    pub user: Option<String>,
    /// The video of ours that it was made from: it is a remix, an edit or an extension of that.
    #[serde(default)]
    pub remixed_from: Option<String>,
    /// Whether simulators made it.
    pub sandbox: bool,
}

impl State {
    /// The tracks on which another process may have made a creating call, and died before it knew the answer. Such a call
    /// is never made again.
    pub(super) fn interrupted(&self) -> Vec<usize> {
        let unsure = |stage: &Stage| match stage {
            Stage::Submitting => true,
            Stage::Running(course) => course.call.leg == crate::outbound::Leg::Submit,
            Stage::Ready | Stage::Over => false,
        };
        (0..self.tracks.len()).filter(|index| unsure(&self.tracks[*index].stage)).collect()
    }

    /// When something is to be done next; `None` when every track is over.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.tracks.iter().filter(|track| track.stage != Stage::Over).map(|track| track.due).min()
    }
}
