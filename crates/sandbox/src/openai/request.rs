//! What `POST /images/generations` and `POST /images/edits` take: every check that OpenAI makes before it spends a token.

use super::error::Refusal;
use super::form::Form;
use crate::catalog::size_rule::Window;
use crate::catalog::{Route, SizeRule};
use crate::job::Mode;
use crate::media::{Facts, Format, Limits, Size, inspect};
use bytes::Bytes;
use serde_json::{Map, Value};
use std::sync::Arc;

/// The parameters of the GPT Image models.
const PARAMETERS: [&str; 11] = [
    "model",
    "prompt",
    "n",
    "size",
    "quality",
    "background",
    "output_format",
    "output_compression",
    "stream",
    "partial_images",
    "user",
];

/// The most pictures of an edit, and the bytes of each; a mask is smaller.
const MOST_IMAGES: usize = 16;
const LARGEST_IMAGE: usize = 50_000_000;
const LARGEST_MASK: usize = 4_000_000;

/// A legal request, with `auto` resolved.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) model: String,
    pub(super) prompt: Arc<str>,
    pub(super) n: u32,
    pub(super) size: Size,
    pub(super) quality: String,
    pub(super) background: &'static str,
    pub(super) format: Format,
    /// The pictures to edit.
    pub(super) inputs: Vec<Size>,
    /// Whether it is an edit.
    pub(super) edit: bool,
    /// The unfinished pictures to show, when the answer is to be events.
    pub(super) stream: Option<u32>,
}

/// The model that the request names.
pub(super) fn model(body: &Map<String, Value>) -> Result<String, Refusal> {
    match text(body, "model")? {
        Some(model) if !model.is_empty() => Ok(model.to_owned()),
        _ => Err(Refusal::bad("model", "missing_required_parameter", "you must provide a model parameter")),
    }
}

impl Order {
    /// Reads the body of a generation as that model's request.
    pub(super) fn of_generation(body: &Map<String, Value>, route: &Route) -> Result<Self, Refusal> {
        Self::read(body, route, Mode::TextToImage)
    }

    /// Reads the form of an edit as that model's request.
    pub(super) fn of_edit(form: &Form, route: &Route) -> Result<Self, Refusal> {
        let order = Self::read(&form.fields, route, Mode::ImageEdit)?;
        let fidelity = one_of(&form.fields, "input_fidelity", &["low", "high"])?;
        if fidelity.is_some() && route.upstream != "gpt-image-1.5" {
            let message = format!("The model '{}' does not support the 'input_fidelity' parameter.", route.upstream);
            return Err(Refusal::bad("input_fidelity", "invalid_input_fidelity_model", message));
        }
        Ok(Self { inputs: pictures(form)?, ..order })
    }

    fn read(body: &Map<String, Value>, route: &Route, mode: Mode) -> Result<Self, Refusal> {
        if !route.modes.contains(&mode) {
            return Err(Refusal::no_model(&route.upstream));
        }
        let newest = route.upstream.starts_with("gpt-image-2.6");
        let known = |name: &str| match name {
            "moderation" => mode == Mode::TextToImage,
            "input_fidelity" => mode == Mode::ImageEdit,
            "complexity" => newest,
            _ => PARAMETERS.contains(&name),
        };
        if let Some(name) = body.keys().find(|name| !known(name)) {
            return Err(Refusal::bad(name, "unknown_parameter", format!("Unknown parameter: '{name}'.")));
        }
        let prompt = prompt(body, route)?;
        let n = whole(body, "n", 1, 10)?.unwrap_or(1);
        let size = size(body, route)?;
        let quality = quality(body, &route.upstream)?;
        one_of(body, "moderation", &["low", "auto"])?;
        one_of(body, "complexity", &["low", "medium", "high"])?;
        text(body, "user")?;
        let format = format(body, route)?;
        let background = background(body, format)?;
        compression(body, format)?;
        let (quality, inputs, edit) = (quality.to_owned(), Vec::new(), mode == Mode::ImageEdit);
        let stream = streaming(body)?;
        let model = route.upstream.clone();
        Ok(Self { model, prompt: prompt.into(), n, size, quality, background, format, inputs, edit, stream })
    }

    /// Whether the prompt asks to be refused or to fail.
    pub(super) fn doomed(&self) -> bool {
        self.prompt.contains("[refuse]") || self.prompt.contains("[fail]")
    }
}

/// The sizes of the pictures of an edit, once they and the mask are found to be usable.
fn pictures(form: &Form) -> Result<Vec<Size>, Refusal> {
    let files = form.files(&["image", "image[]"]);
    if files.is_empty() {
        return Err(Refusal::bad("image", "missing_required_parameter", "Missing required parameter: 'image'."));
    }
    if files.len() > MOST_IMAGES {
        let message = format!(
            "Invalid 'image': array too long. Expected an array with maximum length {MOST_IMAGES}, but got an array \
             with length {} instead.",
            files.len()
        );
        return Err(Refusal::bad("image", "array_above_max_length", message));
    }
    let sizes = files.iter().map(|file| Ok(usable(file, "image", LARGEST_IMAGE)?.size));
    let sizes: Vec<Size> = sizes.collect::<Result<_, Refusal>>()?;
    if let Some(mask) = form.files(&["mask"]).first() {
        let mask = usable(mask, "mask", LARGEST_MASK)?;
        if mask.format != Format::Png {
            return Err(Refusal::bad_file("mask", "Invalid mask image format - mask must be a PNG image."));
        }
        if mask.size != sizes[0] {
            let message = "Invalid mask image dimensions - mask must be the same size as the first image.";
            return Err(Refusal::bad_file("mask", message));
        }
    }
    Ok(sizes)
}

fn usable(file: &Bytes, param: &str, most: usize) -> Result<Facts, Refusal> {
    if file.len() > most {
        let message = format!("Invalid image file: the maximum size is {} MB.", most / 1_000_000);
        return Err(Refusal::bad_file(param, &message));
    }
    let facts = inspect(file, &Limits::default()).ok();
    facts.filter(|facts| matches!(facts.format, Format::Png | Format::Webp | Format::Jpeg)).ok_or_else(|| {
        let message = "Invalid image file or mode for image. Supported formats are PNG, WEBP and JPEG.";
        Refusal::bad_file(param, message)
    })
}

fn prompt<'a>(body: &'a Map<String, Value>, route: &Route) -> Result<&'a str, Refusal> {
    let Some(prompt) = text(body, "prompt")? else {
        return Err(Refusal::bad("prompt", "missing_required_parameter", "Missing required parameter: 'prompt'."));
    };
    let (length, most) = (prompt.chars().count(), route.max_prompt.unwrap_or(32_000));
    if length == 0 {
        let message =
            "Invalid 'prompt': empty string. Expected a string with minimum length 1, but got an empty string instead.";
        return Err(Refusal::bad("prompt", "empty_string", message));
    }
    if length > most {
        let message = format!(
            "Invalid 'prompt': string too long. Expected a string with maximum length {most}, but got a string with \
             length {length} instead."
        );
        return Err(Refusal::bad("prompt", "string_above_max_length", message));
    }
    Ok(prompt)
}

fn size(body: &Map<String, Value>, route: &Route) -> Result<Size, Refusal> {
    let usual = route.default_size.unwrap_or(Size::new(1024, 1024));
    let Some(said) = text(body, "size")?.filter(|said| *said != "auto") else { return Ok(usual) };
    let plain = said.chars().all(|letter| letter.is_ascii_digit() || letter == 'x');
    let Some(size) = Size::parse(said).filter(|_| plain) else {
        return Err(Refusal::bad_size(said, "Expected 'auto' or a string of the form 'WIDTHxHEIGHT'."));
    };
    match &route.size {
        SizeRule::Pixels(window) => match breach(window, size) {
            Some(why) => Err(Refusal::bad_size(said, &why)),
            None => Ok(size),
        },
        SizeRule::List { sizes, .. } if !sizes.contains(&size) => {
            let names: Vec<String> = sizes.iter().map(ToString::to_string).chain(["auto".to_owned()]).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            Err(Refusal::bad_value("size", said, &names))
        }
        _ => Ok(size),
    }
}

/// Which rule of the model's window the size breaks.
fn breach(window: &Window, size: Size) -> Option<String> {
    let Size { width, height } = size;
    let (long, short) = if width > height { (width, height) } else { (height, width) };
    let pixels = u64::from(width) * u64::from(height);
    if !width.is_multiple_of(window.multiple) || !height.is_multiple_of(window.multiple) {
        return Some(format!("Width and height must both be divisible by {}.", window.multiple));
    }
    if long > window.max_side {
        return Some(format!("The longest edge must be less than or equal to {} pixels.", window.max_side));
    }
    if window.max_ratio.is_some_and(|most| f64::from(long) > most * f64::from(short)) {
        return Some("The ratio of the long edge to the short edge must not be greater than 3:1.".to_owned());
    }
    if pixels < window.min_area {
        return Some(format!("The image must have at least {} pixels.", window.min_area));
    }
    (pixels > window.max_area).then(|| format!("The image must have at most {} pixels.", window.max_area))
}

fn quality<'a>(body: &'a Map<String, Value>, model: &str) -> Result<&'a str, Refusal> {
    let finer = model.starts_with("gpt-image-2.5") || model.starts_with("gpt-image-2.6");
    let levels: &[&str] =
        if finer { &["low", "medium", "high", "xhigh", "max", "auto"] } else { &["low", "medium", "high", "auto"] };
    Ok(one_of(body, "quality", levels)?.filter(|level| *level != "auto").unwrap_or("medium"))
}

fn format(body: &Map<String, Value>, route: &Route) -> Result<Format, Refusal> {
    let names: Vec<&str> = route.formats.iter().map(|format| format.name()).collect();
    let said = one_of(body, "output_format", &names)?;
    Ok(said.and_then(Format::parse).or(route.default_format).unwrap_or(Format::Png))
}

fn background(body: &Map<String, Value>, format: Format) -> Result<&'static str, Refusal> {
    match one_of(body, "background", &["transparent", "opaque", "auto"])? {
        Some("transparent") if !matches!(format, Format::Png | Format::Webp) => {
            let message =
                format!("Transparent background is not supported for {} output format", format.name().to_uppercase());
            Err(Refusal::bad("background", "invalid_value", message))
        }
        Some("transparent") => Ok("transparent"),
        _ => Ok("opaque"),
    }
}

fn compression(body: &Map<String, Value>, format: Format) -> Result<(), Refusal> {
    let said = whole(body, "output_compression", 0, 100)?;
    if said.is_some() && !matches!(format, Format::Jpeg | Format::Webp) {
        let message = format!("Output compression is not supported for {} output format", format.name().to_uppercase());
        return Err(Refusal::bad("output_compression", "invalid_value", message));
    }
    Ok(())
}

/// Whether to answer as events, and how many unfinished pictures to show.
fn streaming(body: &Map<String, Value>) -> Result<Option<u32>, Refusal> {
    let partial = whole(body, "partial_images", 0, 3)?;
    match body.get("stream") {
        Some(Value::Bool(true)) => Ok(Some(partial.unwrap_or(0))),
        None | Some(Value::Null | Value::Bool(false)) if partial.is_none() => Ok(None),
        None | Some(Value::Null | Value::Bool(_)) => {
            let message = "'partial_images' is only supported when 'stream' is true.";
            Err(Refusal::bad("partial_images", "invalid_value", message))
        }
        Some(other) => Err(mistyped("stream", "a boolean", other)),
    }
}

fn text<'a>(body: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Refusal> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(mistyped(name, "a string", other)),
    }
}

fn one_of<'a>(body: &'a Map<String, Value>, name: &str, allowed: &[&str]) -> Result<Option<&'a str>, Refusal> {
    match text(body, name)? {
        Some(value) if !allowed.contains(&value) => Err(Refusal::bad_value(name, value, allowed)),
        value => Ok(value),
    }
}

fn whole(body: &Map<String, Value>, name: &str, least: i64, most: i64) -> Result<Option<u32>, Refusal> {
    let value = match body.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value.as_i64().ok_or_else(|| mistyped(name, "an integer", value))?,
    };
    let wrong = |code, side: &str, sign: &str, bound: i64| {
        let message = format!(
            "Invalid '{name}': integer {side} value. Expected a value {sign} {bound}, but got {value} instead."
        );
        Err(Refusal::bad(name, code, message))
    };
    if value < least {
        wrong("integer_below_min_value", "below minimum", ">=", least)
    } else if value > most {
        wrong("integer_above_max_value", "above maximum", "<=", most)
    } else {
        Ok(u32::try_from(value).ok())
    }
}

fn mistyped(name: &str, wanted: &str, got: &Value) -> Refusal {
    let got = match got {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a decimal number",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    Refusal::bad(name, "invalid_type", format!("Invalid type for '{name}': expected {wanted}, but got {got} instead."))
}
