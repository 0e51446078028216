//! Parameters that image and video calls have in common.

use super::fields::Fields;
use crate::error::Error;
use crate::job::{Job, Mode};
use crate::media::SizeAsk;

/// Longest prompt that any route takes, in characters.
pub(super) const MAX_PROMPT: usize = 100_000;

/// The differences between image and video calls in these parameters.
pub(super) struct CallKind {
    pub(super) mode: Mode,
    pub(super) max_n: u64,
    pub(super) prompt_optional: bool,
    /// A model for the error message when none is named.
    pub(super) example_model: &'static str,
}

/// Reads model, prompt, count, size and end user; returned with the session id.
pub(super) fn read_call_parameters(fields: &mut Fields, kind: &CallKind) -> Result<(Job, Option<String>), Error> {
    let model = fields.string("model")?.filter(|model| !model.trim().is_empty());
    let example = || format!("'model' is required, for example '{}'.", kind.example_model);
    let model = model.ok_or_else(|| Error::invalid("model", example()))?;
    let prompt = fields.string("prompt")?.filter(|prompt| !prompt.trim().is_empty());
    if prompt.is_none() && !kind.prompt_optional {
        return Err(Error::invalid("prompt", "'prompt' is required and may not be empty."));
    }
    let prompt = prompt.unwrap_or_default();
    if prompt.chars().count() > MAX_PROMPT {
        return Err(Error::invalid("prompt", format!("'prompt' is longer than {MAX_PROMPT} characters.")));
    }
    let n = fields.integer("n", 1, kind.max_n)?.and_then(|n| u32::try_from(n).ok()).unwrap_or(1);
    let (size, ratio, tier) = (fields.string("size")?, fields.string("aspect_ratio")?, fields.string("resolution")?);
    let size = SizeAsk::parse(size.as_deref(), ratio.as_deref(), tier.as_deref())
        .map_err(|(param, message)| Error::invalid(param, format!("{message}.")))?;
    let (user, session) = (fields.string("user")?, fields.string("session_id")?);
    Ok((Job { n, size, user, ..Job::new(model, kind.mode, prompt) }, session))
}
