//! What `generateContent` takes from an image model: Google's checks of the body, and the pixels that a shape and a
//! scale mean (<https://ai.google.dev/gemini-api/docs/image-generation>). Field names may be written in snake case, as
//! in every Google API.

use super::Host;
use super::error::Refusal;
use crate::catalog::{Route, SizeRule};
use crate::media::{Format, Limits, Size, inspect};
use serde_json::{Map, Value};
use std::sync::Arc;

const TOP: [&str; 9] = [
    "contents",
    "generationConfig",
    "safetySettings",
    "systemInstruction",
    "tools",
    "toolConfig",
    "cachedContent",
    "serviceTier",
    "labels",
];
const GENERATION: [&str; 10] = [
    "responseModalities",
    "imageConfig",
    "candidateCount",
    "seed",
    "temperature",
    "topP",
    "topK",
    "maxOutputTokens",
    "thinkingConfig",
    "mediaResolution",
];
const IMAGE: [&str; 2] = ["aspectRatio", "imageSize"];
const IMAGE_AT_VERTEX: [&str; 3] = ["imageOutputOptions", "personGeneration", "prominentPeople"];

/// 1K of the Gemini 3 family; the other scales are halves, doubles and quadruples of it.
const SHAPES: [(&str, Size); 14] = [
    ("1:1", Size::new(1024, 1024)),
    ("2:3", Size::new(848, 1264)),
    ("3:2", Size::new(1264, 848)),
    ("3:4", Size::new(896, 1200)),
    ("4:3", Size::new(1200, 896)),
    ("4:5", Size::new(928, 1152)),
    ("5:4", Size::new(1152, 928)),
    ("9:16", Size::new(768, 1376)),
    ("16:9", Size::new(1376, 768)),
    ("21:9", Size::new(1584, 672)),
    ("1:4", Size::new(512, 2048)),
    ("4:1", Size::new(2048, 512)),
    ("1:8", Size::new(384, 3072)),
    ("8:1", Size::new(3072, 384)),
];

/// What `gemini-2.5-flash-image` makes of the same shapes.
const OLDER_SHAPES: [(&str, Size); 10] = [
    ("1:1", Size::new(1024, 1024)),
    ("2:3", Size::new(832, 1248)),
    ("3:2", Size::new(1248, 832)),
    ("3:4", Size::new(864, 1184)),
    ("4:3", Size::new(1184, 864)),
    ("4:5", Size::new(896, 1152)),
    ("5:4", Size::new(1152, 896)),
    ("9:16", Size::new(768, 1344)),
    ("16:9", Size::new(1344, 768)),
    ("21:9", Size::new(1536, 672)),
];

/// A legal request.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) prompt: Arc<str>,
    /// Input pictures.
    pub(super) pictures: u64,
    pub(super) size: Size,
    /// `512`, `1K`, `2K` or `4K`.
    pub(super) scale: String,
    pub(super) format: Format,
    /// Whether the model may draw; it talks when not.
    pub(super) draws: bool,
    /// Whether it may say something besides.
    pub(super) talks: bool,
    /// Whether drafts are shown.
    pub(super) thoughts: bool,
}

impl Order {
    /// Reads the body as that model's request.
    pub(super) fn read(body: &[u8], route: &Route, host: Host) -> Result<Self, Refusal> {
        let body: Value = serde_json::from_slice(body)
            .map_err(|_| Refusal::invalid("Invalid JSON payload received. Parser Error"))?;
        let body = fields(camel(body), "", &TOP)?;
        let generation =
            fields(body.get("generationConfig").cloned().unwrap_or_default(), "generation_config", &GENERATION)?;
        let known: Vec<&str> = match host {
            Host::Gemini => IMAGE.to_vec(),
            Host::Vertex => IMAGE.into_iter().chain(IMAGE_AT_VERTEX).collect(),
        };
        let image = generation.get("imageConfig").cloned().unwrap_or_default();
        let image = fields(image, "generation_config.image_config", &known)?;
        if generation.get("candidateCount").is_some_and(|count| count != 1) {
            return Err(Refusal::invalid("Multiple candidates is not enabled for this model"));
        }
        let (prompt, inputs) = contents(body.get("contents"), route)?;
        let modalities = modalities(&generation)?;
        let (size, scale) = size(&image, inputs.first().copied(), route)?;
        let wanted = |name: &str| modalities.is_empty() || modalities.iter().any(|modality| modality == name);
        Ok(Self {
            prompt: prompt.into(),
            pictures: inputs.len() as u64,
            size,
            scale,
            format: format(&image)?,
            draws: wanted("IMAGE"),
            talks: wanted("TEXT"),
            thoughts: generation.get("thinkingConfig").is_some_and(|config| config["includeThoughts"] == true),
        })
    }

    /// Whether the prompt asks to be refused or to fail.
    pub(super) fn doomed(&self) -> bool {
        self.prompt.contains("[refuse]") || self.prompt.contains("[fail]")
    }
}

/// An object whose names are all known there.
fn fields(value: Value, place: &str, known: &[&str]) -> Result<Map<String, Value>, Refusal> {
    let fields = match value {
        Value::Object(fields) => fields,
        Value::Null => Map::new(),
        _ => return Err(Refusal::invalid(format!("Invalid value at '{place}'"))),
    };
    match fields.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(Refusal::unknown(name, place)),
        None => Ok(fields),
    }
}

/// `aspect_ratio` is `aspectRatio`, at any depth.
pub(crate) fn camel(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (rename(&name), camel(value))).collect(),
        Value::Array(items) => items.into_iter().map(camel).collect(),
        other => other,
    }
}

fn rename(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |mut name, word| {
        let mut letters = word.chars();
        name.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        name.push_str(letters.as_str());
        name
    })
}

/// The text of all parts, and the sizes of the pictures among them.
fn contents(value: Option<&Value>, route: &Route) -> Result<(String, Vec<Size>), Refusal> {
    let turns = value.and_then(Value::as_array).filter(|turns| !turns.is_empty());
    let turns =
        turns.ok_or_else(|| Refusal::invalid("* GenerateContentRequest.contents: contents is not specified\n"))?;
    let (mut text, mut pictures) = (Vec::new(), Vec::new());
    for part in turns.iter().flat_map(|turn| turn["parts"].as_array().into_iter().flatten()) {
        match (&part["text"], &part["inlineData"]) {
            (Value::String(said), _) => text.push(said.as_str()),
            (_, Value::Object(blob)) => pictures.push(picture(blob)?),
            _ => {
                let text = "* GenerateContentRequest.contents[0].parts[0].data: required oneof field 'data' must have one \
                            initialized field\n";
                return Err(Refusal::invalid(text));
            }
        }
    }
    if text.is_empty() {
        return Err(Refusal::invalid("Unable to submit request because it must have a text parameter."));
    }
    let most = route.inputs.as_ref().map_or(0, |inputs| inputs.max);
    if pictures.len() > most {
        return Err(Refusal::invalid(format!("Too many images in the request; at most {most} are supported.")));
    }
    Ok((text.join("\n"), pictures))
}

fn picture(blob: &Map<String, Value>) -> Result<Size, Refusal> {
    let text = |name: &str| blob.get(name).and_then(Value::as_str).unwrap_or_default();
    if !text("mimeType").starts_with("image/") {
        return Err(Refusal::invalid(format!("Unsupported MIME type: {}", text("mimeType"))));
    }
    let bytes = decode(text("data")).ok_or_else(|| {
        Refusal::invalid(
            "Invalid value at 'contents[0].parts[0].inline_data.data' (TYPE_BYTES), Base64 decoding failed",
        )
    })?;
    let facts = inspect(&bytes, &Limits::default());
    facts
        .map(|facts| facts.size)
        .map_err(|_| Refusal::invalid("Unable to process input image. Please retry or report."))
}

/// Base64 in either alphabet, padded or not: Google takes all of them, and its Python SDK sends the one for URLs.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let plain = text.trim_end_matches('=').replace('-', "+").replace('_', "/");
    base64_simd::STANDARD_NO_PAD.decode_to_vec(plain).ok().filter(|bytes| !bytes.is_empty())
}

fn modalities(generation: &Map<String, Value>) -> Result<Vec<String>, Refusal> {
    let said = generation.get("responseModalities").and_then(Value::as_array).into_iter().flatten();
    said.map(|value| match value.as_str().map(str::to_uppercase).as_deref() {
        Some(name @ ("TEXT" | "IMAGE")) => Ok(name.to_owned()),
        _ => Err(Refusal::invalid(format!("Invalid value at 'generation_config.response_modalities[0]', {value}"))),
    })
    .collect()
}

/// The pixels and the scale: what was said, else the shape of the first input picture, else a square of 1K.
fn size(image: &Map<String, Value>, input: Option<Size>, route: &Route) -> Result<(Size, String), Refusal> {
    let older = route.upstream.starts_with("gemini-2.5");
    let shapes: &[(&str, Size)] = if older { &OLDER_SHAPES } else { &SHAPES };
    let (ratios, scales) = allowed(route, older);
    let ratio = choice(image, "aspectRatio", "aspect_ratio", &ratios)?;
    let scale = choice(image, "imageSize", "image_size", &scales)?.unwrap_or("1K").to_owned();
    let nearest = |like: Size| {
        let far = |size: &Size| (size.ratio() / like.ratio()).ln().abs();
        shapes
            .iter()
            .filter(|(name, _)| ratios.iter().any(|ratio| ratio == name))
            .min_by(|a, b| far(&a.1).total_cmp(&far(&b.1)))
    };
    let shape = match (ratio, input) {
        (Some(ratio), _) => shapes.iter().find(|(name, _)| *name == ratio),
        (None, Some(input)) => nearest(input),
        (None, None) => None,
    };
    let Size { width, height } = shape.map_or(Size::new(1024, 1024), |(_, size)| *size);
    let size = match scale.as_str() {
        "512" => Size::new(width / 2, height / 2),
        "2K" => Size::new(width * 2, height * 2),
        "4K" => Size::new(width * 4, height * 4),
        _ => Size::new(width, height),
    };
    Ok((size, scale))
}

/// The shapes and scales of a model.
fn allowed(route: &Route, older: bool) -> (Vec<String>, Vec<String>) {
    match &route.size {
        SizeRule::Ratios { ratios, tiers, .. } => {
            let scales = tiers.iter().map(ToString::to_string).filter(|_| !older).collect();
            (ratios.iter().map(ToString::to_string).collect(), scales)
        }
        _ => (Vec::new(), Vec::new()),
    }
}

fn choice<'a>(
    image: &'a Map<String, Value>,
    name: &str,
    told: &str,
    allowed: &[String],
) -> Result<Option<&'a str>, Refusal> {
    let Some(value) = image.get(name).filter(|value| !value.is_null()) else { return Ok(None) };
    match value.as_str().filter(|text| allowed.iter().any(|one| one == text)) {
        Some(text) => Ok(Some(text)),
        None => {
            let quoted: Vec<String> = allowed.iter().map(|one| format!("'{one}'")).collect();
            let list = match quoted.split_last() {
                Some((last, rest)) if !rest.is_empty() => format!("{}, or {last}", rest.join(", ")),
                _ => quoted.concat(),
            };
            let place = format!("GenerateContentRequest.generation_config.image_config.{told}");
            Err(Refusal::invalid(format!("* {place}: {told} must be one of {list}.\n")))
        }
    }
}

fn format(image: &Map<String, Value>) -> Result<Format, Refusal> {
    match image.get("imageOutputOptions").and_then(|options| options.get("mimeType")).map(Value::as_str) {
        None | Some(Some("image/png")) => Ok(Format::Png),
        Some(Some("image/jpeg")) => Ok(Format::Jpeg),
        Some(_) => Err(Refusal::invalid("Unsupported output MIME type: it must be image/png or image/jpeg.")),
    }
}
