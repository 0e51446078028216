//! Image calls: request body to job, answer to response body. A picture's base64 is written as a slice of the provider's
//! reply, which is why the body is not serialised as a whole.

use super::call_parameters::{CallKind, read_call_parameters};
use super::fields::{Fields, invalid_value};
use crate::error::Error;
use crate::job::{Job, Mode, ResponseForm};
use crate::media::{Format, Shaping, SizeAsk};
use crate::pipeline::{Delivery, Estimate, GenerationResult, JobOptions, OutputRef, dollars, provider_name};
use bytes::Bytes;
use serde_json::{Map, Value, json};

/// Most pictures of one call.
pub(super) const MAX_IMAGES: u64 = 10;

/// A parsed image call, before its inputs are fetched.
pub(in crate::api) struct ImageCall {
    pub(in crate::api) job: Job,
    pub(in crate::api) session_id: Option<String>,
    /// Set when the call is to be answered at once and run as a stored job.
    pub(in crate::api) background: Option<JobOptions>,
}

/// Parses the body of `images/generations`.
pub(in crate::api) fn read_generation(fields: Map<String, Value>) -> Result<ImageCall, Error> {
    read_call(Fields(fields), Mode::TextToImage)
}

/// The prompt of a variation without one, since an edit needs a prompt.
const VARIATION_PROMPT: &str =
    "Make a variation of this image: the same subject, style and mood, in another composition.";

/// Parses the body of `images/variations`: an edit, with our prompt unless the caller has one.
pub(in crate::api) fn read_variation(mut fields: Map<String, Value>) -> Result<ImageCall, Error> {
    let has_prompt = fields.get("prompt").and_then(Value::as_str).is_some_and(|prompt| !prompt.trim().is_empty());
    if !has_prompt {
        fields.insert("prompt".to_owned(), json!(VARIATION_PROMPT));
    }
    let mut call = read_call(Fields(fields), Mode::ImageEdit)?;
    call.job.variation = !has_prompt;
    Ok(call)
}

/// Parses the body of `images/edits`: with `scale_factor` it is an upscale, which needs no prompt.
pub(in crate::api) fn read_edit(fields: Map<String, Value>) -> Result<ImageCall, Error> {
    let is_upscale = fields.get("scale_factor").is_some_and(|value| !value.is_null());
    read_call(Fields(fields), if is_upscale { Mode::Upscale } else { Mode::ImageEdit })
}

fn read_call(mut fields: Fields, mode: Mode) -> Result<ImageCall, Error> {
    let prompt_optional = mode == Mode::Upscale;
    let kind = CallKind { mode, max_n: MAX_IMAGES, prompt_optional, example_model: "gpt-image-2" };
    let (job, session_id) = read_call_parameters(&mut fields, &kind)?;
    let stream = read_stream(&mut fields)?;
    let form = match fields.string("response_format")?.as_deref() {
        // As OpenAI's own events: the picture is in them, unless a link is asked for.
        None if stream.is_some() => ResponseForm::B64Json,
        None | Some("url") => ResponseForm::Url,
        Some("b64_json") => ResponseForm::B64Json,
        Some(other) => return Err(invalid_value("response_format", "'url' or 'b64_json'", &json!(other))),
    };
    let format = match fields.string("output_format")? {
        None => None,
        Some(name) => Some(read_format(&name)?),
    };
    let compression = fields.integer("output_compression", 0, 100)?.and_then(|number| u8::try_from(number).ok());
    let resize = read_resize(&mut fields, &job.size)?;
    if mode == Mode::Upscale {
        read_scale(&mut fields)?;
    }
    let extra = fields.0.into_iter().filter(|(_, value)| !value.is_null()).collect();
    let job = Job { resize, form, format, compression, stream, extra, ..job };
    Ok(ImageCall { job, session_id, background: None })
}

fn read_format(name: &str) -> Result<Format, Error> {
    let expected = "one of png, jpeg, webp, gif, avif, or svg from models that draw vectors";
    Format::parse(name).ok_or_else(|| invalid_value("output_format", expected, &json!(name)))
}

/// `stream`, and how many unfinished pictures to send. Without a stream the latter means nothing to any provider.
fn read_stream(fields: &mut Fields) -> Result<Option<u32>, Error> {
    let partials = fields.integer("partial_images", 0, 3)?.and_then(|number| u32::try_from(number).ok()).unwrap_or(0);
    Ok((fields.bool("stream")? == Some(true)).then_some(partials))
}

/// `resize`: how to get to exactly the pixels of `size`.
fn read_resize(fields: &mut Fields, size: &SizeAsk) -> Result<Option<Shaping>, Error> {
    let Some(name) = fields.string("resize")? else { return Ok(None) };
    let shaping = Shaping::parse(&name).ok_or_else(|| {
        invalid_value("resize", "one of exact (stretched), cover (cropped), contain (padded)", &json!(name))
    })?;
    match size {
        SizeAsk::Exact(_) => Ok(Some(shaping)),
        _ => Err(Error::invalid("resize", "'resize' needs a 'size' in pixels, such as 1024x768.")),
    }
}

/// `scale_factor` stays among the extra parameters, as a number: forms send texts.
fn read_scale(fields: &mut Fields) -> Result<(), Error> {
    let Some(value) = fields.take("scale_factor") else { return Ok(()) };
    let number = value.as_f64().or_else(|| value.as_str()?.trim().trim_matches('x').parse().ok());
    let number = number.filter(|number| (1.0..=16.0).contains(number));
    let number = number.ok_or_else(|| invalid_value("scale_factor", "a number from 1 to 16", &value))?;
    fields.0.insert("scale_factor".to_owned(), json!(number));
    Ok(())
}

/// The body of a successful answer, in pieces: our text around slices of pictures.
pub(in crate::api) struct ImagesBody {
    pub(in crate::api) chunks: Vec<Bytes>,
}

impl ImagesBody {
    /// Writes the answer to request `id`, which came at `created` (Unix seconds).
    pub(in crate::api) fn write(id: &str, created: i64, result: &GenerationResult, sandbox: bool) -> Self {
        let head = json!({
            "id": id, "created": created, "size": result.size, "output_format": result.format,
        });
        let mut chunks = Vec::with_capacity(result.deliveries.len() * 3 + 2);
        let mut text = head.to_string();
        text.pop();
        text.push_str(",\"data\":[");
        for (index, delivery) in result.deliveries.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            write_item(delivery, &mut text, &mut chunks);
        }
        text.push_str("],\"metadata\":");
        text.push_str(&metadata_json(result, sandbox).to_string());
        text.push('}');
        chunks.push(Bytes::from(text));
        Self { chunks }
    }

    pub(in crate::api) fn len(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }
}

fn write_item(delivery: &Delivery, text: &mut String, chunks: &mut Vec<Bytes>) {
    match &delivery.output {
        OutputRef::Url(url) => {
            text.push_str("{\"url\":");
            text.push_str(&json!(url).to_string());
        }
        OutputRef::Base64(picture) => {
            text.push_str("{\"b64_json\":\"");
            chunks.push(Bytes::from(std::mem::take(text)));
            chunks.push(picture.clone());
            text.push('"');
        }
    }
    if let Some(revised) = &delivery.revised_prompt {
        text.push_str(",\"revised_prompt\":");
        text.push_str(&json!(revised).to_string());
    }
    text.push('}');
}

/// The `metadata` of a result.
pub(super) fn metadata_json(result: &GenerationResult, sandbox: bool) -> Value {
    let mut metadata = json!({
        "model": result.model,
        "executed_model": result.executed_model,
        "provider": result.provider,
        "provider_name": provider_name(&result.provider),
        "cost": dollars(result.costs.cost),
        "cost_currency": "USD",
        "cost_source": result.costs.source,
        "attempts": result.attempts,
        "adjustments": result.adjustments,
        "timing": result.timing,
    });
    if let Some(note) = &result.costs.note {
        metadata["cost_note"] = json!(note);
    }
    if result.costs.uncertain.micros() > 0 {
        metadata["cost_uncertain"] = dollars(Some(result.costs.uncertain));
    }
    if sandbox {
        metadata["sandbox"] = json!(true);
    }
    metadata
}

/// The answer to a dry run, with the fields of the contract and none of a real answer's.
pub(in crate::api) fn estimate_json(estimate: &Estimate) -> Value {
    let charge = &estimate.charge;
    let mut body = json!({
        "estimated": true,
        "model": estimate.model,
        "provider": estimate.provider,
        "total_cost_micros": charge.amount.map(crate::base::Usd::micros),
        "currency": "USD",
        "components": charge.components,
    });
    if let Some(note) = &charge.note {
        body["note"] = json!(note);
    }
    body
}

#[cfg(test)]
mod tests {
    use super::super::call_parameters::MAX_PROMPT;
    use super::*;

    fn read(body: Value) -> Result<Job, Error> {
        read_generation(serde_json::from_value(body).unwrap()).map(|call| call.job)
    }

    #[test]
    fn reads_what_clients_send() {
        let job = read(
            json!({"model": "gpt-image-2", "prompt": "a fox", "n": 3.0, "size": "16:9", "response_format": "b64_json",
            "output_format": "jpg", "output_compression": 85, "user": "u1", "quality": "high", "seed": null}),
        )
        .unwrap();
        assert_eq!(
            (job.n, job.form, job.format, job.compression),
            (3, ResponseForm::B64Json, Some(Format::Jpeg), Some(85))
        );
        assert_eq!(Value::Object(job.extra), json!({"quality": "high"}));
        assert_eq!(job.user.as_deref(), Some("u1"));
    }

    #[test]
    fn every_mistake_names_its_parameter() {
        let base = json!({"model": "m", "prompt": "p"});
        for (param, value) in [
            ("model", json!("")),
            ("model", json!(7)),
            ("prompt", json!(["a"])),
            ("prompt", json!("  ")),
            ("prompt", json!("x".repeat(MAX_PROMPT + 1))),
            ("n", json!(11)),
            ("n", json!(0)),
            ("n", json!(-1)),
            ("n", json!(1.5)),
            ("n", json!("many")),
            ("size", json!("big")),
            ("size", json!(1024)),
            ("aspect_ratio", json!("wide")),
            ("response_format", json!("png")),
            ("output_format", json!("bmp")),
            ("output_compression", json!(101)),
            ("user", json!({})),
            ("stream", json!("yes")),
            ("partial_images", json!(4)),
            ("resize", json!("shrink")),
            ("resize", json!("cover")),
        ] {
            let mut body = base.clone();
            body[param] = value.clone();
            let error = read(body).unwrap_err();
            assert_eq!(error.param.as_deref(), Some(param), "{value}");
            assert!(error.message.len() < 300, "{}", error.message);
        }
    }
}
