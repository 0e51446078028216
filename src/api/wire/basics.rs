//! What every creating call may say, of pictures and of videos.

use super::fields::Fields;
use crate::error::Error;
use crate::job::{Job, Mode};
use crate::media::SizeAsk;

/// Longest prompt that any route takes, in characters.
pub(super) const MAX_PROMPT: usize = 100_000;

/// What a call makes.
pub(super) struct What {
    pub(super) mode: Mode,
    /// Most of them in one call.
    pub(super) most: u64,
    /// Whether it needs no prompt.
    pub(super) bare: bool,
    /// A model, for whoever names none.
    pub(super) example: &'static str,
}

/// Model, prompt, count, size and end user, and the grouping id that came with them.
pub(super) fn read_basics(fields: &mut Fields, what: &What) -> Result<(Job, Option<String>), Error> {
    let model = fields.text("model")?.filter(|model| !model.trim().is_empty());
    let example = || format!("'model' is required, for example '{}'.", what.example);
    let model = model.ok_or_else(|| Error::invalid("model", example()))?;
    let prompt = fields.text("prompt")?.filter(|prompt| !prompt.trim().is_empty());
    if prompt.is_none() && !what.bare {
        return Err(Error::invalid("prompt", "'prompt' is required and may not be empty."));
    }
    let prompt = prompt.unwrap_or_default();
    if prompt.chars().count() > MAX_PROMPT {
        return Err(Error::invalid("prompt", format!("'prompt' is longer than {MAX_PROMPT} characters.")));
    }
    let n = fields.number("n", 1, what.most)?.and_then(|n| u32::try_from(n).ok()).unwrap_or(1);
    let (size, ratio, tier) = (fields.text("size")?, fields.text("aspect_ratio")?, fields.text("resolution")?);
    let size = SizeAsk::parse(size.as_deref(), ratio.as_deref(), tier.as_deref())
        .map_err(|(param, message)| Error::invalid(param, format!("{message}.")))?;
    let (user, session) = (fields.text("user")?, fields.text("session_id")?);
    Ok((Job { n, size, user, ..Job::new(model, what.mode, prompt) }, session))
}
