//! The input object of a model, as its runner reads it: every complaint at once, unknown fields ignored.

use super::endpoint;
use super::error::complaint;
use crate::catalog::size_rule::Window;
use crate::catalog::{LengthForm, Route, SizeRule};
use crate::media::size::to_side;
use crate::media::{Format, Ratio, Size, Tier};
use rand::RngExt;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The longest side that fal's size type takes.
const LONGEST_SIDE: i64 = 14_142;

/// What a video lasts of which nothing is known, and the most frames that any endpoint takes.
const USUAL_SECONDS: u32 = 5;
const MOST_FRAMES: i64 = 1_000;

/// The named sizes.
const PRESETS: [(&str, Size); 6] = [
    ("square_hd", Size::new(1024, 1024)),
    ("square", Size::new(512, 512)),
    ("portrait_4_3", Size::new(768, 1024)),
    ("portrait_16_9", Size::new(576, 1024)),
    ("landscape_4_3", Size::new(1024, 768)),
    ("landscape_16_9", Size::new(1024, 576)),
];

/// What a legal input asks for.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) prompt: Arc<str>,
    pub(super) count: u32,
    pub(super) size: Size,
    pub(super) format: Format,
    pub(super) seed: i64,
    /// Whether files come as data URIs.
    pub(super) inline: bool,
    /// The sizes of the pictures to work from.
    pub(super) pictures: Vec<Size>,
    /// How long a video is to be; `None` for pictures.
    pub(super) seconds: Option<u32>,
}

impl Default for Order {
    fn default() -> Self {
        Self {
            prompt: Arc::from(""),
            count: 0,
            size: PRESETS[4].1,
            format: Format::Png,
            seed: 0,
            inline: false,
            pictures: Vec::new(),
            seconds: None,
        }
    }
}

impl Order {
    /// Reads the input as that endpoint's, or lists what is wrong with it.
    pub(super) fn read(input: &Map<String, Value>, route: &Route) -> Result<Self, Vec<Value>> {
        let mut reader = Reader { input, complaints: Vec::new() };
        let prompt = route.field("prompt").map_or("", |name| reader.prompt(name, route.max_prompt));
        for name in endpoint::required(route) {
            if reader.get(name).is_none() {
                reader.missing(name);
            }
        }
        let pictures = reader.pictures(route);
        let size = reader.size(route, pictures.first().copied());
        let count = if route.max_n > 1 { reader.whole("num_images", 1, i64::from(route.max_n)) } else { None };
        let names: Vec<&str> = route.formats.iter().map(|format| format.name()).collect();
        let format = match route.field("output_format") {
            Some(field) if !names.is_empty() => reader.choice(field, &names),
            _ => None,
        };
        for (field, words) in endpoint::choices(route) {
            reader.choice(field, words);
        }
        let seconds = endpoint::makes_video(route).then(|| reader.seconds(route));
        let seed = reader.whole("seed", i64::MIN, i64::MAX);
        let inline = reader.flag("sync_mode");
        if !reader.complaints.is_empty() {
            return Err(reader.complaints);
        }
        Ok(Self {
            prompt: prompt.into(),
            count: count.and_then(|count| u32::try_from(count).ok()).unwrap_or(1),
            size,
            format: format.and_then(Format::parse).or(route.default_format).unwrap_or(Format::Png),
            seed: seed.unwrap_or_else(|| rand::rng().random::<u32>().into()),
            inline,
            pictures,
            seconds,
        })
    }

    /// The media type of the files.
    pub(super) fn mime(&self) -> &'static str {
        if self.seconds.is_some() { "video/mp4" } else { self.format.mime() }
    }

    /// The extension of the files' names.
    pub(super) fn extension(&self) -> &'static str {
        if self.seconds.is_some() { "mp4" } else { self.format.extension() }
    }
}

/// Reads fields one by one and gathers what is wrong with them.
pub(super) struct Reader<'a> {
    input: &'a Map<String, Value>,
    complaints: Vec<Value>,
}

impl<'a> Reader<'a> {
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.input.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn complain(&mut self, field: &[&str], kind: &str, message: &str, context: &Value, input: &Value) {
        self.complaints.push(complaint(field, kind, message, context, input));
    }

    pub(super) fn missing(&mut self, name: &str) {
        self.complain(&[name], "missing", "Field required", &json!({}), &json!(self.input));
    }

    fn prompt(&mut self, name: &str, most: Option<usize>) -> &'a str {
        match self.input.get(name) {
            Some(Value::String(text)) => {
                if let Some(most) = most.filter(|most| text.chars().count() > *most) {
                    let message = format!("String should have at most {most} characters");
                    self.complain(&[name], "string_too_long", &message, &json!({"max_length": most}), &json!(text));
                }
                text
            }
            Some(other) => {
                self.complain(&[name], "string_type", "Input should be a valid string", &json!({}), other);
                ""
            }
            None => {
                self.missing(name);
                ""
            }
        }
    }

    fn flag(&mut self, name: &str) -> bool {
        match self.get(name) {
            None => false,
            Some(Value::Bool(flag)) => *flag,
            Some(other) => {
                self.complain(&[name], "bool_type", "Input should be a valid boolean", &json!({}), other);
                false
            }
        }
    }

    fn whole(&mut self, name: &str, least: i64, most: i64) -> Option<i64> {
        let value = self.get(name)?;
        self.bounded(&[name], value, least, most)
    }

    fn bounded(&mut self, place: &[&str], value: &Value, least: i64, most: i64) -> Option<i64> {
        let Some(number) = value.as_i64() else {
            self.complain(place, "int_type", "Input should be a valid integer", &json!({}), value);
            return None;
        };
        if number < least {
            let message = format!("Input should be greater than or equal to {least}");
            self.complain(place, "greater_than_equal", &message, &json!({"ge": least}), value);
            return None;
        }
        if number > most {
            let message = format!("Input should be less than or equal to {most}");
            self.complain(place, "less_than_equal", &message, &json!({"le": most}), value);
            return None;
        }
        Some(number)
    }

    fn choice(&mut self, name: &str, allowed: &[&str]) -> Option<&'a str> {
        let value = self.get(name)?;
        match value.as_str().filter(|text| allowed.contains(text)) {
            Some(text) => Some(text),
            None => {
                let list: Vec<String> = allowed.iter().map(|one| format!("'{one}'")).collect();
                let expected = list.join(", ");
                let message = format!("unexpected value; permitted: {expected}");
                self.complain(&[name], "literal_error", &message, &json!({"expected": expected}), value);
                None
            }
        }
    }

    /// How long the video will be. The catalog lists what an endpoint takes; those that are ordered by frames take others
    /// in between.
    fn seconds(&mut self, route: &Route) -> u32 {
        let Some(video) = &route.video else { return USUAL_SECONDS };
        if let Some(switch) = &video.audio {
            self.flag(switch);
        }
        let name = video.field.as_str();
        let Some(value) = self.get(name).filter(|_| !video.seconds.is_empty()) else { return video.default };
        if video.form == LengthForm::Frames {
            let frames = self.bounded(&[name], value, 1, MOST_FRAMES).and_then(|frames| u32::try_from(frames).ok());
            return frames.map_or(video.default, |frames| frames / video.fps.unwrap_or(1));
        }
        if value == "auto" {
            return video.default;
        }
        let allowed: Vec<Value> = video.seconds.iter().map(|seconds| video.spell(*seconds)).collect();
        if let Some(at) = allowed.iter().position(|one| one == value) {
            return video.seconds[at];
        }
        let expected = allowed.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let message = format!("unexpected value; permitted: {expected}");
        self.complain(&[name], "literal_error", &message, &json!({"expected": expected}), value);
        video.default
    }

    /// The pixels that will be made: what was said, the input's, or the endpoint's own default.
    fn size(&mut self, route: &Route, given: Option<Size>) -> Size {
        // A picture that is given decides how large a picture gets; a video has its scale from elsewhere.
        let own =
            if endpoint::makes_video(route) { route.default_size.or(given) } else { given.or(route.default_size) };
        let usual = own.unwrap_or(PRESETS[4].1);
        let said = match &route.size {
            SizeRule::Pixels(window) => self.pixels(window, route),
            SizeRule::List { sizes, field, .. } => {
                let names: Vec<String> = sizes.iter().map(ToString::to_string).chain(["auto".to_owned()]).collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                self.choice(field, &names).and_then(Size::parse)
            }
            SizeRule::Ratios { ratios, tiers, field, tier_field, auto } => {
                let auto = auto.then(|| "auto".to_owned());
                let shapes: Vec<String> = ratios.iter().map(ToString::to_string).chain(auto).collect();
                let shapes: Vec<&str> = shapes.iter().map(String::as_str).collect();
                let scales: Vec<String> = tiers.iter().map(ToString::to_string).collect();
                let scales: Vec<&str> = scales.iter().map(String::as_str).collect();
                let shape = self.choice(field, &shapes).and_then(Ratio::parse);
                let scale = tier_field.as_ref().and_then(|field| self.choice(field, &scales)).and_then(Tier::parse);
                let said = shape.is_some() || scale.is_some();
                let edge = scale.as_ref().or(tiers.first()).map_or(1024.0, Tier::edge);
                said.then(|| shaped(shape.map_or_else(|| usual.ratio(), |shape| shape.value()), edge))
            }
            SizeRule::None => None,
        };
        said.unwrap_or(usual)
    }

    /// `image_size`: a preset, `auto`, or both sides.
    fn pixels(&mut self, window: &Window, route: &Route) -> Option<Size> {
        let name = window.field.as_str();
        let value = self.get(name)?;
        let Value::Object(sides) = value else {
            let auto = window.auto || route.upstream.starts_with("openai/");
            let names: Vec<&str> = PRESETS.iter().map(|(name, _)| *name).chain(auto.then_some("auto")).collect();
            let chosen = self.choice(name, &names)?;
            return PRESETS.iter().find(|(name, _)| *name == chosen).map(|(_, size)| *size);
        };
        let half = json!(512);
        let [width, height] = ["width", "height"]
            .map(|side| self.bounded(&[name, side], sides.get(side).unwrap_or(&half), 1, LONGEST_SIDE));
        let size = Size::new(u32::try_from(width?).ok()?, u32::try_from(height?).ok()?);
        self.limits(window, route, size, value);
        Some(size)
    }

    /// The pixel limits of one model on top of the size type's. Most models round to their grid on their own; OpenAI's
    /// do not.
    fn limits(&mut self, window: &Window, route: &Route, size: Size, value: &Value) {
        let name = window.field.as_str();
        let pixels = u64::from(size.width) * u64::from(size.height);
        if pixels > window.max_area {
            let message = format!("The image must have at most {} pixels", window.max_area);
            self.complain(&[name], "image_too_large", &message, &json!({"max_pixels": window.max_area}), value);
        }
        if pixels < window.min_area {
            let message = format!("The image must have at least {} pixels", window.min_area);
            self.complain(&[name], "image_too_small", &message, &json!({"min_pixels": window.min_area}), value);
        }
        let strict = route.upstream.starts_with("openai/");
        if strict && (!size.width.is_multiple_of(window.multiple) || !size.height.is_multiple_of(window.multiple)) {
            let message = format!("Width and height should be multiples of {}", window.multiple);
            self.complain(&[name], "multiple_of", &message, &json!({"multiple_of": window.multiple}), value);
        }
        let (long, short) = (size.width.max(size.height), size.width.min(size.height));
        let stretched = window.max_ratio.is_some_and(|most| f64::from(long) > most * f64::from(short));
        if strict && (long > window.max_side || stretched) {
            self.complain(&[name], "value_error", "The image is too long or too narrow", &json!({}), value);
        }
    }
}

/// Pixels of a shape at a scale, on a grid of 16.
fn shaped(ratio: f64, edge: f64) -> Size {
    let on_grid = |side: f64| to_side((side / 16.0).round().max(1.0)) * 16;
    Size::new(on_grid(edge * ratio.sqrt()), on_grid(edge / ratio.sqrt()))
}
