//! Video calls and stored jobs on the wire: the body to a job, a job's row to what callers see.

use super::basics::{What, read_basics};
use super::fields::{Fields, wrong};
use crate::base::Timestamp;
use crate::error::Error;
use crate::job::{Job, Mode};
use crate::pipeline::{JobOptions, JobView, dollars, provider_name};
use crate::store::{JobRow, JobStatus};
use axum::http::HeaderMap;
use serde_json::{Map, Value, json};

/// Longest video that may be asked for, in seconds.
pub(super) const MAX_SECONDS: u64 = 600;
/// Most videos of one call.
pub(super) const MAX_VIDEOS: u64 = 4;
/// Largest notes of a caller, in bytes of JSON.
const MAX_NOTES: usize = 16 * 1024;

/// A video call, before its inputs are fetched.
pub(in crate::api) struct VideoCall {
    /// The job; its mode is settled by its inputs.
    pub(in crate::api) job: Job,
    /// How it is to be kept.
    pub(in crate::api) terms: JobOptions,
    /// The caller's grouping id.
    pub(in crate::api) session: Option<String>,
}

/// A job for `videos`. `given`: whether pictures or a video come with it, which makes a prompt optional.
pub(in crate::api) fn read_video(fields: Map<String, Value>, given: bool) -> Result<VideoCall, Error> {
    let mut fields = Fields(fields);
    let terms = take_terms(&mut fields)?;
    let what = What { mode: Mode::TextToVideo, most: MAX_VIDEOS, bare: given, example: "veo-3.1" };
    let (basics, session) = read_basics(&mut fields, &what)?;
    let (seconds, duration) = (read_seconds(&mut fields, "seconds")?, read_seconds(&mut fields, "duration")?);
    let seconds = seconds.or(duration);
    let audio = flag(&mut fields, "generate_audio")?;
    let extra = fields.0.into_iter().filter(|(_, value)| !value.is_null()).collect();
    let job = Job { seconds, audio, extra, ..basics };
    Ok(VideoCall { job, terms, session })
}

/// Takes what says how a job is kept: `webhook_url`, `metadata`, `media_retention`.
pub(in crate::api) fn take_terms(fields: &mut Fields) -> Result<JobOptions, Error> {
    let media_retention = fields.take("media_retention");
    let metadata = match fields.take("metadata").or_else(|| take_members(fields, "metadata")) {
        // Forms carry it as text.
        Some(Value::String(text)) => serde_json::from_str(&text).ok().filter(Value::is_object).map_or_else(
            || Err(wrong("metadata", "an object", &Value::String(text.clone()))),
            |notes| Ok(Some(notes)),
        )?,
        Some(notes @ Value::Object(_)) => Some(notes),
        None => None,
        Some(other) => return Err(wrong("metadata", "an object", &other)),
    };
    if metadata.as_ref().is_some_and(|notes| notes.to_string().len() > MAX_NOTES) {
        return Err(Error::invalid("metadata", format!("'metadata' has at most {MAX_NOTES} bytes.")));
    }
    Ok(JobOptions { webhook_url: fields.text("webhook_url")?, metadata, media_retention, remixed_from: None })
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

/// Whether an image call is to be answered at once and made in the background: `Prefer: respond-async`, or a boolean
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
    let said = match fields.get("background") {
        Some(Value::Bool(said)) => Some(*said),
        Some(Value::String(text)) if text == "true" || text == "false" => Some(text == "true"),
        _ => None,
    };
    if said.is_some() {
        fields.remove("background");
    }
    if !said.unwrap_or(prefers) {
        return Ok(None);
    }
    let mut taken = Fields(std::mem::take(fields));
    let terms = take_terms(&mut taken)?;
    *fields = taken.0;
    Ok(Some(terms))
}

/// `auto` is the model's own length.
fn read_seconds(fields: &mut Fields, name: &str) -> Result<Option<u32>, Error> {
    if fields.0.get(name).and_then(Value::as_str).is_some_and(|text| text.eq_ignore_ascii_case("auto")) {
        fields.take(name);
    }
    // Some write 5s.
    if let Some(Value::String(text)) = fields.0.get_mut(name)
        && let Some(number) = text.strip_suffix('s')
    {
        *text = number.to_owned();
    }
    Ok(fields.number(name, 1, MAX_SECONDS)?.and_then(|seconds| u32::try_from(seconds).ok()))
}

/// A truth value, from a form as text.
fn flag(fields: &mut Fields, name: &str) -> Result<Option<bool>, Error> {
    match fields.0.get(name).and_then(Value::as_str) {
        Some("true") => fields.0.insert(name.to_owned(), json!(true)),
        Some("false") => fields.0.insert(name.to_owned(), json!(false)),
        _ => None,
    };
    fields.truth(name)
}

/// The public status. A cancelled job has failed, with a code that says why.
const fn status(status: JobStatus) -> &'static str {
    match status {
        JobStatus::Queued => "queued",
        JobStatus::InProgress => "in_progress",
        JobStatus::Completed => "completed",
        JobStatus::Failed | JobStatus::Cancelled => "failed",
    }
}

fn error(view: &JobView) -> Value {
    view.error.as_ref().map_or(Value::Null, |(code, message)| json!({"code": code, "message": message}))
}

/// A video, as OpenAI shows it, with what the contract adds.
pub(in crate::api) fn show_video(row: &JobRow, view: &JobView) -> Value {
    let output = |(link, made): &(String, crate::pipeline::OutputFile)| {
        let seconds = made.millis.map(|millis| json!(f64::from(u32::try_from(millis).unwrap_or(u32::MAX)) / 1000.0));
        json!({
            "url": link,
            "content_type": made.content_type,
            "size_bytes": made.size_bytes,
            "size": made.size,
            "duration_seconds": seconds,
        })
    };
    let completed = row.status == JobStatus::Completed;
    let mut shown = json!({
        "id": row.id,
        "object": "video",
        "created_at": row.created_at.seconds(),
        "completed_at": row.completed_at.filter(|_| completed).map(Timestamp::seconds),
        "expires_at": row.expires_at.filter(|_| completed).map(Timestamp::seconds),
        "status": status(row.status),
        "progress": if completed { 100 } else { 0 },
        "model": view.model,
        "prompt": view.prompt,
        "seconds": view.seconds.to_string(),
        "size": view.size,
        "remixed_from_video_id": view.remixed_from,
        "output": view.outputs.first().filter(|_| completed).map(output),
        "error": error(view),
        "metadata": metadata(row, view),
    });
    if completed && view.outputs.len() > 1 {
        shown["outputs"] = view.outputs.iter().map(output).collect();
    }
    shown
}

/// Images made in the background. `data` is there once they are.
pub(in crate::api) fn show_images(row: &JobRow, view: &JobView, data: Option<Vec<Value>>) -> Value {
    let mut shown = json!({
        "id": row.id,
        "object": "image.generation",
        "created": row.created_at.seconds(),
        "created_at": row.created_at.seconds(),
        "completed_at": row.completed_at.map(Timestamp::seconds),
        "expires_at": row.expires_at.map(Timestamp::seconds),
        "status": status(row.status),
        "model": view.model,
        "size": view.size,
        "metadata": metadata(row, view),
    });
    if let Some((_, made)) = view.outputs.first().filter(|_| data.is_some()) {
        shown["output_format"] = json!(made.content_type.split('/').nth(1));
    }
    if let Some(data) = data {
        shown["data"] = Value::Array(data);
    }
    // Some clients take any `error` for a failure, so a good answer has none.
    if view.error.is_some() {
        shown["error"] = error(view);
    }
    shown
}

fn metadata(row: &JobRow, view: &JobView) -> Value {
    let mut metadata = json!({
        "model": view.model,
        "executed_model": view.executed_model,
        "provider": view.provider,
        "provider_name": provider_name(&view.provider),
        "cost_currency": "USD",
        "adjustments": view.adjustments,
    });
    if let Some(id) = view.attempts.iter().rev().find_map(|attempt| attempt.upstream_id.as_ref()) {
        metadata["upstream_id"] = json!(id);
    }
    if row.status.is_final() {
        metadata["cost"] = dollars(view.cost);
        metadata["cost_source"] = json!(view.cost_source);
        metadata["attempts"] = json!(view.attempts);
    }
    metadata["cost_estimate"] = dollars(view.cost_estimate);
    if let Some(note) = &view.cost_note {
        metadata["cost_note"] = json!(note);
    }
    if view.cost_uncertain.micros() > 0 {
        metadata["cost_uncertain"] = dollars(Some(view.cost_uncertain));
    }
    if let Some(notes) = &view.metadata {
        metadata["custom"] = notes.clone();
    }
    if view.sandbox {
        metadata["sandbox"] = json!(true);
    }
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(call.terms.metadata, Some(json!({"order": 7})));
        assert_eq!(call.terms.webhook_url.as_deref(), Some("https://example.com/"));
        let call = read(json!({"model": "m", "prompt": "p", "metadata[order]": "7", "metadata[who]": "me"})).unwrap();
        assert_eq!(call.terms.metadata, Some(json!({"order": "7", "who": "me"})));
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
            ("metadata", json!({"long": "x".repeat(MAX_NOTES)})),
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
            let later = take_background(&mut fields, &headers).unwrap().is_some();
            (later, Value::Object(fields))
        };
        assert_eq!(take(json!({"background": "transparent"}), None), (false, json!({"background": "transparent"})));
        assert_eq!(take(json!({"background": true}), None), (true, json!({})));
        assert_eq!(take(json!({"background": "true"}), None), (true, json!({})));
        assert_eq!(take(json!({"background": false}), Some("respond-async")), (false, json!({})));
        assert!(take(json!({}), Some("wait=5, respond-async")).0);
        assert!(!take(json!({}), Some("return=minimal")).0);
    }
}
