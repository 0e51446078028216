//! The video that an edit or an extension starts from: an MP4 of a length that the endpoint takes.

use super::error::Refusal;
use super::fields::text;
use crate::media::{Container, Probe, VideoFacts};
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// How long a video passes for that is only linked, in milliseconds: nobody fetches it here.
const UNSEEN: u64 = 5_000;

/// The video to start from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    /// Its length.
    pub(super) millis: u64,
    /// The scale of what is made of it: its own, up to 720p.
    pub(super) resolution: &'static str,
}

impl Source {
    /// Reads `video`, `{"url": …}` or `{"file_id": …}`, and holds it to these lengths in milliseconds.
    pub(super) fn read(body: &Map<String, Value>, lengths: &RangeInclusive<u64>) -> Result<Self, Refusal> {
        let given = body.get("video").filter(|given| !given.is_null());
        let given = given.ok_or_else(|| Refusal::misshapen("missing field `video`"))?;
        let fields = given.as_object();
        let fields = fields.ok_or_else(|| Refusal::misshapen("invalid type for `video`: expected a map"))?;
        let source = match (text(fields, "url")?, text(fields, "file_id")?) {
            (Some(url), None) if !url.starts_with("https://") => embedded(url)?,
            (Some(_), None) | (None, Some(_)) => Self { millis: UNSEEN, resolution: "480p" },
            _ => return Err(Refusal::invalid("Exactly one of url and file_id must be given for a video")),
        };
        if lengths.contains(&source.millis) {
            return Ok(source);
        }
        let (least, most) = (seconds(*lengths.start()), seconds(*lengths.end()));
        let text = format!("The video must last {least} to {most} seconds, found {}", seconds(source.millis));
        Err(Refusal::invalid(text))
    }
}

fn embedded(url: &str) -> Result<Source, Refusal> {
    let data = url.strip_prefix("data:video/").and_then(|rest| rest.split_once(";base64,"));
    let bytes = data.and_then(|(_, text)| base64_simd::STANDARD.decode_to_vec(text).ok());
    let bytes = bytes.ok_or_else(|| Refusal::invalid("Video url must be https or a base64 data URI"))?;
    let mut probe = Probe::default();
    match probe.feed(&bytes).and_then(|()| probe.finish()) {
        Ok(VideoFacts { container: Container::Mp4, millis: Some(millis), size, .. }) => {
            let large = size.is_some_and(|size| size.width.min(size.height) > 480);
            Ok(Source { millis, resolution: if large { "720p" } else { "480p" } })
        }
        _ => Err(Refusal::invalid("Unsupported video: must be an mp4")),
    }
}

/// `8700` as `8.7`, for messages.
fn seconds(millis: u64) -> String {
    let text = format!("{}.{:03}", millis / 1000, millis % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
