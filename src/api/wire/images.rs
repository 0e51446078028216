//! Image calls on the wire: the body to a job, the answer to bytes. A picture's base64 is written as a slice.

use super::basics::{What, read_basics};
use super::fields::{Fields, wrong};
use crate::error::Error;
use crate::job::{Job, Mode, ResponseForm};
use crate::media::{Format, Shaping, SizeAsk};
use crate::pipeline::{Delivery, Estimate, GenerationResult, OutputRef, dollars, provider_name};
use bytes::Bytes;
use serde_json::{Map, Value, json};

/// Most pictures of one call.
pub(super) const MAX_PICTURES: u64 = 10;

/// A job for `images/generations`, and the grouping id that came with it. Here alone 400s are born.
pub(in crate::api) fn read_generation(fields: Map<String, Value>) -> Result<(Job, Option<String>), Error> {
    read_job(Fields(fields), Mode::TextToImage)
}

/// What a variation is asked for with, since an edit needs words.
const VARIATION: &str = "Make a variation of this image: the same subject, style and mood, in another composition.";

/// A job for `images/variations`: an edit whose words are ours, unless the caller has some.
pub(in crate::api) fn read_variation(mut fields: Map<String, Value>) -> Result<(Job, Option<String>), Error> {
    let said = fields.get("prompt").and_then(Value::as_str).is_some_and(|prompt| !prompt.trim().is_empty());
    if !said {
        fields.insert("prompt".to_owned(), json!(VARIATION));
    }
    let (job, session) = read_job(Fields(fields), Mode::ImageEdit)?;
    Ok((Job { variation: !said, ..job }, session))
}

/// A job for `images/edits`, before its pictures: with `scale_factor` it is an upscale, which needs no prompt.
pub(in crate::api) fn read_edit(fields: Map<String, Value>) -> Result<(Job, Option<String>), Error> {
    let upscale = fields.get("scale_factor").is_some_and(|value| !value.is_null());
    read_job(Fields(fields), if upscale { Mode::Upscale } else { Mode::ImageEdit })
}

fn read_job(mut fields: Fields, mode: Mode) -> Result<(Job, Option<String>), Error> {
    let what = What { mode, most: MAX_PICTURES, bare: mode == Mode::Upscale, example: "gpt-image-2" };
    let (basics, session) = read_basics(&mut fields, &what)?;
    let stream = read_stream(&mut fields)?;
    let form = match fields.text("response_format")?.as_deref() {
        // As OpenAI's own events: the picture is in them, unless a link is asked for.
        None if stream.is_some() => ResponseForm::B64Json,
        None | Some("url") => ResponseForm::Url,
        Some("b64_json") => ResponseForm::B64Json,
        Some(other) => return Err(wrong("response_format", "'url' or 'b64_json'", &json!(other))),
    };
    let format = match fields.text("output_format")? {
        None => None,
        Some(name) => Some(read_format(&name)?),
    };
    let compression = fields.number("output_compression", 0, 100)?.and_then(|number| u8::try_from(number).ok());
    let resize = read_resize(&mut fields, &basics.size)?;
    if mode == Mode::Upscale {
        read_scale(&mut fields)?;
    }
    let extra = fields.0.into_iter().filter(|(_, value)| !value.is_null()).collect();
    let job = Job { resize, form, format, compression, stream, extra, ..basics };
    Ok((job, session))
}

fn read_format(name: &str) -> Result<Format, Error> {
    let right = "one of png, jpeg, webp, gif, avif, or svg from models that draw vectors";
    Format::parse(name).ok_or_else(|| wrong("output_format", right, &json!(name)))
}

/// `stream`, and how many unfinished pictures to show. Without a stream the latter means nothing to any provider.
fn read_stream(fields: &mut Fields) -> Result<Option<u32>, Error> {
    let partials = fields.number("partial_images", 0, 3)?.and_then(|number| u32::try_from(number).ok()).unwrap_or(0);
    Ok((fields.truth("stream")? == Some(true)).then_some(partials))
}

/// `resize` says how to come to precisely the pixels of `size`.
fn read_resize(fields: &mut Fields, size: &SizeAsk) -> Result<Option<Shaping>, Error> {
    let Some(name) = fields.text("resize")? else { return Ok(None) };
    let shaping = Shaping::parse(&name).ok_or_else(|| {
        wrong("resize", "one of exact (stretched), cover (cut), contain (with margins)", &json!(name))
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
    let number = number.ok_or_else(|| wrong("scale_factor", "a number from 1 to 16", &value))?;
    fields.0.insert("scale_factor".to_owned(), json!(number));
    Ok(())
}

/// The body of a success, in pieces: text of ours around slices of pictures.
pub(in crate::api) struct ImagesBody {
    /// To be sent one after the other.
    pub(in crate::api) chunks: Vec<Bytes>,
}

impl ImagesBody {
    /// Writes the answer of request `id`, made at `created` (Unix seconds).
    pub(in crate::api) fn write(id: &str, created: i64, answer: &GenerationResult, sandbox: bool) -> Self {
        let head = json!({
            "id": id, "created": created, "size": answer.size, "output_format": answer.format,
        });
        let mut chunks = Vec::with_capacity(answer.deliveries.len() * 3 + 2);
        let mut text = head.to_string();
        text.pop();
        text.push_str(",\"data\":[");
        for (index, delivery) in answer.deliveries.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            write_item(delivery, &mut text, &mut chunks);
        }
        text.push_str("],\"metadata\":");
        text.push_str(&metadata(answer, sandbox).to_string());
        text.push('}');
        chunks.push(Bytes::from(text));
        Self { chunks }
    }

    /// Bytes of the whole.
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

/// What is told of an answer besides its pictures.
pub(super) fn metadata(answer: &GenerationResult, sandbox: bool) -> Value {
    let mut metadata = json!({
        "model": answer.model,
        "executed_model": answer.executed_model,
        "provider": answer.provider,
        "provider_name": provider_name(&answer.provider),
        "cost": dollars(answer.costs.cost),
        "cost_currency": "USD",
        "cost_source": answer.costs.source,
        "attempts": answer.attempts,
        "adjustments": answer.adjustments,
        "timing": answer.timing,
    });
    if let Some(note) = &answer.costs.note {
        metadata["cost_note"] = json!(note);
    }
    if answer.costs.uncertain.micros() > 0 {
        metadata["cost_uncertain"] = dollars(Some(answer.costs.uncertain));
    }
    if sandbox {
        metadata["sandbox"] = json!(true);
    }
    metadata
}

/// The answer of a dry run, in the exact shape of the contract: none of the words that a real answer has.
pub(in crate::api) fn estimate(estimate: &Estimate) -> Value {
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
    use super::super::basics::MAX_PROMPT;
    use super::*;

    fn read(body: Value) -> Result<Job, Error> {
        read_generation(serde_json::from_value(body).unwrap()).map(|(job, _)| job)
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
