//! Stored jobs as callers see them: videos, and images made in the background.

use crate::base::Timestamp;
use crate::pipeline::{JobView, OutputFile, dollars, provider_name};
use crate::store::{JobRow, JobStatus};
use serde_json::{Value, json};

/// The public status. A cancelled job has failed, with a code that says why.
const fn public_status(status: JobStatus) -> &'static str {
    match status {
        JobStatus::Queued => "queued",
        JobStatus::InProgress => "in_progress",
        JobStatus::Completed => "completed",
        JobStatus::Failed | JobStatus::Cancelled => "failed",
    }
}

fn error_json(view: &JobView) -> Value {
    view.error.as_ref().map_or(Value::Null, |(code, message)| json!({"code": code, "message": message}))
}

/// A video object as OpenAI has it, with our additional fields.
pub(in crate::api) fn video_json(row: &JobRow, view: &JobView) -> Value {
    let output = |(link, made): &(String, OutputFile)| {
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
    let mut body = json!({
        "id": row.id,
        "object": "video",
        "created_at": row.created_at.seconds(),
        "completed_at": row.completed_at.filter(|_| completed).map(Timestamp::seconds),
        "expires_at": row.expires_at.filter(|_| completed).map(Timestamp::seconds),
        "status": public_status(row.status),
        "progress": if completed { 100 } else { 0 },
        "model": view.model,
        "prompt": view.prompt,
        "seconds": view.seconds.to_string(),
        "size": view.size,
        "remixed_from_video_id": view.remixed_from,
        "output": view.outputs.first().filter(|_| completed).map(output),
        "error": error_json(view),
        "metadata": metadata_json(row, view),
    });
    if completed && view.outputs.len() > 1 {
        body["outputs"] = view.outputs.iter().map(output).collect();
    }
    body
}

/// Images made in the background; `data` once they are there.
pub(in crate::api) fn images_json(row: &JobRow, view: &JobView, data: Option<Vec<Value>>) -> Value {
    let mut body = json!({
        "id": row.id,
        "object": "image.generation",
        "created": row.created_at.seconds(),
        "created_at": row.created_at.seconds(),
        "completed_at": row.completed_at.map(Timestamp::seconds),
        "expires_at": row.expires_at.map(Timestamp::seconds),
        "status": public_status(row.status),
        "model": view.model,
        "size": view.size,
        "metadata": metadata_json(row, view),
    });
    if let Some((_, made)) = view.outputs.first().filter(|_| data.is_some()) {
        body["output_format"] = json!(made.content_type.split('/').nth(1));
    }
    if let Some(data) = data {
        body["data"] = Value::Array(data);
    }
    // Some clients take any `error` for a failure, so a successful answer has no such field.
    if view.error.is_some() {
        body["error"] = error_json(view);
    }
    body
}

fn metadata_json(row: &JobRow, view: &JobView) -> Value {
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
