//! Video calls, and the parameters of calls that run as stored jobs.

use super::call_parameters::{CallKind, read_call_parameters};
use super::fields::{Fields, invalid_value};
use crate::error::Error;
use crate::job::{Job, Mode};
use crate::pipeline::JobOptions;
use axum::http::HeaderMap;
use serde_json::{Map, Value};

/// Longest video that may be requested.
pub(super) const MAX_SECONDS: u64 = 600;
/// Most videos of one call.
pub(super) const MAX_VIDEOS: u64 = 4;
/// Largest `metadata`, in bytes of JSON.
const MAX_METADATA_BYTES: usize = 16 * 1024;

/// A parsed video call, before its inputs are fetched.
pub(in crate::api) struct VideoCall {
    /// The job; its inputs decide its mode.
    pub(in crate::api) job: Job,
    pub(in crate::api) options: JobOptions,
    pub(in crate::api) session_id: Option<String>,
}

/// Parses the body of a video call. The prompt is optional when pictures or a video come with it.
pub(in crate::api) fn read_video(fields: Map<String, Value>, prompt_optional: bool) -> Result<VideoCall, Error> {
    let mut fields = Fields(fields);
    let options = take_job_options(&mut fields)?;
    let kind = CallKind { mode: Mode::TextToVideo, max_n: MAX_VIDEOS, prompt_optional, example_model: "veo-3.1" };
    let (job, session_id) = read_call_parameters(&mut fields, &kind)?;
    let (seconds, duration) = (read_seconds(&mut fields, "seconds")?, read_seconds(&mut fields, "duration")?);
    let seconds = seconds.or(duration);
    let audio = fields.bool("generate_audio")?;
    let extra = fields.0.into_iter().filter(|(_, value)| !value.is_null()).collect();
    let job = Job { seconds, audio, extra, ..job };
    Ok(VideoCall { job, options, session_id })
}

/// Takes `webhook_url`, `metadata` and `media_retention`.
fn take_job_options(fields: &mut Fields) -> Result<JobOptions, Error> {
    let media_retention = fields.take("media_retention");
    let metadata = match fields.take("metadata").or_else(|| take_members(fields, "metadata")) {
        // Forms send it as text.
        Some(Value::String(text)) => serde_json::from_str(&text).ok().filter(Value::is_object).map_or_else(
            || Err(invalid_value("metadata", "an object", &Value::String(text.clone()))),
            |object| Ok(Some(object)),
        )?,
        Some(object @ Value::Object(_)) => Some(object),
        None => None,
        Some(other) => return Err(invalid_value("metadata", "an object", &other)),
    };
    if metadata.as_ref().is_some_and(|object| object.to_string().len() > MAX_METADATA_BYTES) {
        return Err(Error::invalid("metadata", format!("'metadata' has at most {MAX_METADATA_BYTES} bytes.")));
    }
    Ok(JobOptions { webhook_url: fields.string("webhook_url")?, metadata, media_retention, remixed_from: None })
}

/// An object that a form spells member by member: `metadata[order]`, as OpenAI's SDKs do.
fn take_members(fields: &mut Fields, name: &str) -> Option<Value> {
    let prefix = format!("{name}[");
    let member = |key: &String| key.strip_prefix(&prefix)?.strip_suffix(']').map(str::to_owned);
    let found: Vec<(String, String)> = fields.0.keys().filter_map(|key| Some((key.clone(), member(key)?))).collect();
    let members: Map<String, Value> =
        found.into_iter().filter_map(|(key, member)| Some((member, fields.0.remove(&key)?))).collect();
    (!members.is_empty()).then_some(Value::Object(members))
}

/// The job options of an image call that asks for background mode: `Prefer: respond-async`, or a boolean
/// `background`. As a text, `background` is OpenAI's (`transparent`, `opaque`, `auto`) and stays where it is; forms know
/// text only, so there `true` and `false` are taken for booleans.
pub(in crate::api) fn take_background(
    fields: &mut Map<String, Value>,
    headers: &HeaderMap,
) -> Result<Option<JobOptions>, Error> {
    let prefers =
        headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok()).any(|value| {
            value.split([',', ';']).any(|preference| preference.trim().eq_ignore_ascii_case("respond-async"))
        });
    let asked = match fields.get("background") {
        Some(Value::Bool(asked)) => Some(*asked),
        Some(Value::String(text)) if text == "true" || text == "false" => Some(text == "true"),
        _ => None,
    };
    if asked.is_some() {
        fields.remove("background");
    }
    if !asked.unwrap_or(prefers) {
        return Ok(None);
    }
    let mut taken = Fields(std::mem::take(fields));
    let options = take_job_options(&mut taken)?;
    *fields = taken.0;
    Ok(Some(options))
}

/// A length in seconds; `auto` is the model's own.
fn read_seconds(fields: &mut Fields, name: &str) -> Result<Option<u32>, Error> {
    if fields.0.get(name).and_then(Value::as_str).is_some_and(|text| text.eq_ignore_ascii_case("auto")) {
        fields.take(name);
    }
    // Some clients write 5s.
    if let Some(Value::String(text)) = fields.0.get_mut(name)
        && let Some(number) = text.strip_suffix('s')
    {
        *text = number.to_owned();
    }
    Ok(fields.integer(name, 1, MAX_SECONDS)?.and_then(|seconds| u32::try_from(seconds).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(body: Value) -> Result<VideoCall, Error> {
        read_video(serde_json::from_value(body).unwrap(), false)
    }

    #[test]
    fn reads_what_clients_send() {
        for seconds in [json!(8), json!("8"), json!("8s"), json!(8.0)] {
            let call = read(json!({"model": "m", "prompt": "p", "seconds": seconds})).unwrap();
            assert_eq!(call.job.seconds, Some(8), "{seconds}");
        }
        let call = read(json!({"model": "m", "prompt": "p", "duration": 5, "generate_audio": "false", "n": "2",
            "negative_prompt": "rain", "webhook_url": "https://example.com/",
            "metadata": "{\"order\": 7}", "media_retention": "none", "seconds": "auto"}))
        .unwrap();
        assert_eq!((call.job.seconds, call.job.audio, call.job.n), (Some(5), Some(false), 2));
        assert_eq!(Value::Object(call.job.extra), json!({"negative_prompt": "rain"}));
        assert_eq!(call.options.metadata, Some(json!({"order": 7})));
        assert_eq!(call.options.webhook_url.as_deref(), Some("https://example.com/"));
        let call = read(json!({"model": "m", "prompt": "p", "metadata[order]": "7", "metadata[who]": "me"})).unwrap();
        assert_eq!(call.options.metadata, Some(json!({"order": "7", "who": "me"})));
        assert!(call.job.extra.is_empty());
    }

    #[test]
    fn every_mistake_names_its_parameter() {
        for (param, value) in [
            ("model", json!("")),
            ("prompt", json!(" ")),
            ("seconds", json!(0)),
            ("seconds", json!("long")),
            ("duration", json!(100_000)),
            ("n", json!(5)),
            ("size", json!("big")),
            ("resolution", json!("huge")),
            ("generate_audio", json!("loud")),
            ("metadata", json!("notes")),
            ("metadata", json!([1])),
            ("metadata", json!({"long": "x".repeat(MAX_METADATA_BYTES)})),
            ("webhook_url", json!(7)),
        ] {
            let mut body = json!({"model": "m", "prompt": "p"});
            body[param] = value.clone();
            let error = read(body).err().unwrap();
            assert_eq!(error.param.as_deref(), Some(param), "{value}");
        }
    }

    #[test]
    fn background_keeps_its_meaning_as_a_text() {
        let take = |body: Value, prefer: Option<&str>| {
            let mut headers = HeaderMap::new();
            prefer.map(|prefer| headers.insert("prefer", prefer.parse().unwrap()));
            let mut fields = body.as_object().unwrap().clone();
            let background = take_background(&mut fields, &headers).unwrap().is_some();
            (background, Value::Object(fields))
        };
        assert_eq!(take(json!({"background": "transparent"}), None), (false, json!({"background": "transparent"})));
        assert_eq!(take(json!({"background": true}), None), (true, json!({})));
        assert_eq!(take(json!({"background": "true"}), None), (true, json!({})));
        assert_eq!(take(json!({"background": false}), Some("respond-async")), (false, json!({})));
        assert!(take(json!({}), Some("wait=5, respond-async")).0);
        assert!(!take(json!({}), Some("return=minimal")).0);
    }
}
