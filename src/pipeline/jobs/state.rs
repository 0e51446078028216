//! The JSON columns of a job row: the request (immutable) and the view (returned by the API). The third, the state, is
//! the engine's.

use crate::base::Usd;
use crate::error::Error;
use crate::job::{Input, Job, ResponseForm};
use crate::media::Size;
use crate::pipeline::engine::{Attempt, OutputFile};
use crate::pipeline::planning::Adjustment;
use crate::store::JobRow;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The request of a stored job, as it was planned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct JobRequest {
    /// The job, its inputs aside.
    pub job: Job,
    /// Its inputs, in the media store.
    pub inputs: Vec<StoredInput>,
    /// The mask, likewise.
    pub mask: Option<StoredInput>,
    /// The canonical model.
    pub model: String,
    /// Whether the caller named the provider.
    pub forced: bool,
    /// The planned routes, first choice first: provider and upstream.
    pub routes: Vec<(String, String)>,
    /// Scheme and host under which the caller reaches us.
    pub origin: String,
    pub webhook_url: Option<String>,
}

/// An input whose bytes are in the media store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct StoredInput {
    /// Its name there.
    pub name: String,
    /// The media type.
    pub mime: String,
    /// Pixels.
    pub size: Option<Size>,
}

impl StoredInput {
    /// The input with these bytes; prices and fits need none.
    pub(super) fn with(&self, bytes: Bytes) -> Input {
        Input { mime: self.mime.clone(), bytes, size: self.size }
    }
}

/// The view of a job that the API returns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobView {
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
    pub outputs: Vec<(String, OutputFile)>,
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

/// The view of a job row.
pub fn read_view(row: &JobRow) -> Result<JobView, Error> {
    serde_json::from_str(&row.view).map_err(Error::internal)
}
