//! Pictures and videos of a caller, in every form that clients use: uploads, links, data URIs, base64, objects around
//! them. Each is fetched through the guard and verified; none is ever dropped silently.

use super::call_context::CallBody;
use crate::api::body::{INPUT_PARAMETERS, InputSource};
use crate::error::{Error, ErrorKind};
use crate::job::Input;
use crate::media::{Container, Flaw, Picture, Probe, sniff};
use crate::pipeline::Gateway;
use bytes::Bytes;
use futures::future::try_join_all;
use serde_json::{Map, Value};
use std::time::Duration;
use tokio::time::Instant;

/// Most pictures of one request.
const MAX_INPUTS: usize = 16;
/// The parameter that may name a video that was made here.
const VIDEO: &str = "video";
/// Time limit of a caller's link.
const FETCH_TIMEOUT: Duration = Duration::from_secs(30);

/// The pictures and videos of a call before they are fetched: by parameter name, in order.
#[derive(Debug, Default)]
pub(super) struct InputSources {
    images: Vec<(String, InputSource)>,
    mask: Option<InputSource>,
    /// The id of a video that was made here.
    video_id: Option<String>,
}

impl InputSources {
    /// Takes them out of a body.
    pub(super) fn take(body: &mut CallBody) -> Result<Self, Error> {
        match body.form_inputs.take() {
            Some(inputs) => Self::from_form(inputs),
            None => Self::from_json(&mut body.fields),
        }
    }

    fn from_form(inputs: Vec<(String, InputSource)>) -> Result<Self, Error> {
        let mut sources = Self::default();
        for (name, source) in inputs {
            if let Some(id) = video_id_in_form(&name, &source)? {
                if sources.video_id.replace(id).is_some() {
                    return Err(Error::invalid(VIDEO, "There is more than one video."));
                }
            } else if !name.starts_with("mask") {
                sources.images.push((name, source));
            } else if sources.mask.replace(source).is_some() {
                return Err(Error::invalid("mask", "There is more than one mask."));
            }
        }
        Ok(sources)
    }

    fn from_json(fields: &mut Map<String, Value>) -> Result<Self, Error> {
        let mut sources = Self::default();
        for name in INPUT_PARAMETERS {
            match fields.remove(name) {
                None | Some(Value::Null) => {}
                Some(Value::Object(fields)) if name == VIDEO && fields.contains_key("id") => {
                    sources.video_id = Some(read_video_id(&fields)?);
                }
                Some(Value::Array(items)) => {
                    for item in items {
                        sources.images.push((name.to_owned(), read_source(name, &item)?));
                    }
                }
                Some(one) => sources.images.push((name.to_owned(), read_source(name, &one)?)),
            }
        }
        sources.mask = match fields.remove("mask") {
            None | Some(Value::Null) => None,
            Some(mask) => Some(read_source("mask", &mask)?),
        };
        Ok(sources)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// Takes the id of a video that was made here, when the call names one.
    pub(super) fn take_video_id(&mut self) -> Option<String> {
        self.video_id.take()
    }

    /// Fetches and verifies everything. A video named by its id has to be taken out before.
    pub(super) async fn fetch(self, gateway: &Gateway) -> Result<(Vec<Input>, Option<Input>), Error> {
        if self.video_id.is_some() {
            let text = "'video' names a video by its 'id', which only videos/edits and videos/extensions take.";
            return Err(Error::invalid(VIDEO, text));
        }
        if self.images.len() > MAX_INPUTS {
            let text = format!("At most {MAX_INPUTS} input images, not {}.", self.images.len());
            return Err(Error::invalid("image", text));
        }
        let images = try_join_all(self.images.into_iter().map(|(name, source)| fetch(gateway, name, source))).await?;
        let mask = match self.mask {
            Some(source) => Some(fetch(gateway, "mask".to_owned(), source).await?),
            None => None,
        };
        Ok((images, mask))
    }
}

/// The id of a video that was made here, when a part of a form holds one: `video[id]`, as OpenAI's SDKs spell it, or
/// `video` as JSON.
fn video_id_in_form(name: &str, source: &InputSource) -> Result<Option<String>, Error> {
    let fields = match (name, source) {
        ("video[id]", InputSource::Text(id)) => Map::from_iter([("id".to_owned(), Value::from(id.as_str()))]),
        ("video[id]", InputSource::File(_)) => Map::from_iter([("id".to_owned(), Value::Null)]),
        (VIDEO, InputSource::Text(text)) => match serde_json::from_str(text) {
            Ok(Value::Object(fields)) if fields.contains_key("id") => fields,
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    read_video_id(&fields).map(Some)
}

/// `{"id": "req_…"}` and nothing beside it: of two videos, one would be dropped.
fn read_video_id(fields: &Map<String, Value>) -> Result<String, Error> {
    match fields.get("id").and_then(Value::as_str).map(str::trim) {
        Some(id) if !id.is_empty() && fields.len() == 1 => Ok(id.to_owned()),
        _ => {
            let text = "'video' should be {\"id\": \"req_…\"} with the id of a video that was made here, or a link, a \
                        data URI, base64 or an upload.";
            Err(Error::invalid(VIDEO, text))
        }
    }
}

/// A text, or an object such as `{"image_url": "…"}` or `{"image_url": {"url": "…"}}`.
fn read_source(name: &str, value: &Value) -> Result<InputSource, Error> {
    let nested = |value: &Value| {
        ["image_url", "video_url", "url", "image_base64", "b64_json"].iter().find_map(|key| value.get(key).cloned())
    };
    let found = match value {
        Value::Object(_) => nested(value).map(|inner| nested(&inner).unwrap_or(inner)),
        other => Some(other.clone()),
    };
    if value.get("file_id").is_some() {
        let text =
            format!("'{name}' names a 'file_id', and there are no stored files here: give the picture or its link.");
        return Err(Error::invalid(name, text));
    }
    match found {
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(InputSource::Text(text.trim().to_owned())),
        _ => {
            let text = format!("'{name}' should hold links, data URIs or base64, or objects with an 'image_url'.");
            Err(Error::invalid(name, text))
        }
    }
}

async fn fetch(gateway: &Gateway, name: String, source: InputSource) -> Result<Input, Error> {
    let bytes = match source {
        InputSource::File(bytes) => bytes,
        InputSource::Text(text) if text.starts_with("https://") || text.starts_with("http://") => {
            let fetched = gateway.callers.download(&text, Instant::now() + FETCH_TIMEOUT).await;
            fetched.map_err(|fault| {
                Error::invalid(&name, format!("The picture at '{name}' could not be fetched: {fault}."))
            })?
        }
        InputSource::Text(text) => decode_base64(&name, &text)?,
    };
    // A route that takes no video refuses it when the job is mapped to it.
    if Container::sniff(&bytes).is_some() && !is_avif(&bytes) {
        return verify_video(&name, bytes);
    }
    let limits = gateway.image_limits();
    // Base64 of hostile files can be slow to walk: off the runtime's threads.
    let picture = gateway.image_workers().run(move || Picture::verify(bytes, &limits)).await;
    match picture.and_then(|verified| verified) {
        Ok(picture) => {
            let (facts, bytes) = (picture.facts, picture.bytes);
            Ok(Input { mime: facts.format.mime().to_owned(), bytes, size: Some(facts.size) })
        }
        Err(Flaw::Busy) => Err(Error::new(ErrorKind::Unavailable, "Too many pictures are waiting to be read.")),
        Err(flaw) => Err(Error::invalid(&name, format!("Invalid image file provided: {flaw}."))),
    }
}

/// AVIF is an MP4 of another brand.
fn is_avif(bytes: &[u8]) -> bool {
    sniff(bytes).is_some()
}

fn verify_video(name: &str, bytes: Bytes) -> Result<Input, Error> {
    let mut probe = Probe::default();
    let facts = probe.feed(&bytes).and_then(|()| probe.finish());
    let facts = facts.map_err(|flaw| Error::invalid(name, format!("Invalid video file provided: {flaw}.")))?;
    Ok(Input { mime: facts.container.mime().to_owned(), bytes, size: facts.size })
}

/// A data URI or bare base64.
fn decode_base64(name: &str, text: &str) -> Result<Bytes, Error> {
    let body = match text.strip_prefix("data:") {
        Some(data) => data.split_once(";base64,").map(|(_, body)| body),
        None => Some(text),
    };
    let bytes = body.and_then(|body| base64_simd::STANDARD.decode_to_vec(body).ok());
    let wrong = || Error::invalid(name, format!("'{name}' is neither an address nor valid base64."));
    bytes.map(Bytes::from).ok_or_else(wrong)
}
