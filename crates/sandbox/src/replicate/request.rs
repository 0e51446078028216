//! What a model is asked for, checked against its schema as far as the catalog knows it.

use super::super::bill;
use super::error::{Complaint, Refusal};
use crate::catalog::Route;
use crate::catalog::size_rule::{Form as SizeForm, SizeRule, Window};
use crate::job::Mode;
use crate::media::size::to_side;
use crate::media::{Format, Limits, Ratio, Size, Tier, inspect_base64};
use serde_json::{Map, Value};
use std::sync::Arc;

/// What a legal input asks for.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) prompt: Arc<str>,
    pub(super) count: u32,
    pub(super) size: Size,
    pub(super) format: Format,
    /// The length of the video; none for pictures.
    pub(super) seconds: Option<u32>,
    /// The sizes of the pictures to work from.
    pub(super) given: Vec<Size>,
}

impl Order {
    /// Reads the input as that model's, or lists what is wrong with it.
    pub(super) fn read(input: &Map<String, Value>, route: &Route) -> Result<Self, Refusal> {
        let mut reader = Reader { input, complaints: Vec::new() };
        let prompt = reader.prompt();
        let given = reader.pictures(route);
        let size = reader.size(route, given.first().copied());
        let field = route.fields.get("n").map_or("num_outputs", String::as_str);
        let count = if route.max_n > 1 { reader.whole(field, 1, i64::from(route.max_n)) } else { None };
        let names: Vec<String> = route.formats.iter().map(|format| spelled(route, *format)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let format = if names.is_empty() { None } else { reader.choice("output_format", &names) };
        reader.whole("output_quality", 0, 100);
        reader.whole("seed", i64::MIN, i64::MAX);
        if !reader.complaints.is_empty() {
            return Err(Refusal::invalid(reader.complaints));
        }
        Ok(Self {
            prompt: prompt.into(),
            count: count.and_then(|count| u32::try_from(count).ok()).unwrap_or(1),
            size,
            format: format.and_then(Format::parse).or(route.default_format).unwrap_or(Format::Png),
            seconds: route.video.as_ref().map(|_| bill::length(route, input)),
            given,
        })
    }
}

/// `jpg` at most models, `jpeg` at some.
fn spelled(route: &Route, format: Format) -> String {
    let own = route.values.get("output_format").and_then(|names| names.get(format.name()));
    own.and_then(Value::as_str).unwrap_or(format.name()).to_owned()
}

struct Reader<'a> {
    input: &'a Map<String, Value>,
    complaints: Vec<Complaint>,
}

impl<'a> Reader<'a> {
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.input.get(name).filter(|value| !value.is_null())
    }

    fn complain(&mut self, field: &str, kind: &'static str, words: &str) {
        self.complaints.push((format!("input.{field}"), kind, format!("input.{field} {words}")));
    }

    fn prompt(&mut self) -> &'a str {
        match self.get("prompt") {
            Some(Value::String(text)) => text,
            Some(_) => {
                self.complain("prompt", "invalid_type", "must be a string");
                ""
            }
            None => {
                self.complain("prompt", "required", "is required");
                ""
            }
        }
    }

    fn whole(&mut self, name: &str, least: i64, most: i64) -> Option<i64> {
        let value = self.get(name)?;
        match value.as_i64() {
            Some(number) if number < least => self.complain(name, "number_gte", &format!("must be at least {least}")),
            Some(number) if number > most => self.complain(name, "number_lte", &format!("must be at most {most}")),
            Some(number) => return Some(number),
            None => self.complain(name, "invalid_type", "must be an integer"),
        }
        None
    }

    fn choice(&mut self, name: &str, allowed: &[&str]) -> Option<&'a str> {
        let value = self.get(name)?;
        let chosen = value.as_str().filter(|text| allowed.contains(text));
        if chosen.is_none() {
            let list: Vec<String> = allowed.iter().map(|one| format!("\"{one}\"")).collect();
            self.complain(name, "enum", &format!("must be one of {}", list.join(", ")));
        }
        chosen
    }

    /// Looks at the pictures given: their sizes.
    fn pictures(&mut self, route: &Route) -> Vec<Size> {
        let Some(inputs) = route.inputs.as_ref() else { return Vec::new() };
        let field = inputs.field.as_str();
        let given: Vec<&Value> = match self.get(field) {
            Some(Value::Array(items)) => items.iter().collect(),
            Some(one) => vec![one],
            None => Vec::new(),
        };
        let from_text = route.modes.iter().any(|mode| matches!(mode, Mode::TextToImage | Mode::TextToVideo));
        if given.is_empty() && !from_text {
            self.complain(field, "required", "is required");
        }
        if given.len() > inputs.max {
            self.complain(field, "array_max_items", &format!("must have at most {} items", inputs.max));
        }
        let sizes: Vec<Option<Size>> = given.iter().map(|value| measure(value)).collect();
        if sizes.iter().any(Option::is_none) {
            self.complain(field, "invalid_uri", "must be a valid URI");
        }
        sizes.into_iter().flatten().collect()
    }

    /// The pixels that will be made.
    fn size(&mut self, route: &Route, picture: Option<Size>) -> Size {
        let usual = route.default_size.unwrap_or(Size::new(1024, 1024));
        match &route.size {
            SizeRule::Pixels(window) => self.pixels(window, route, usual),
            SizeRule::List { sizes, field, form, .. } => {
                let sign = if *form == SizeForm::Asterisk { "*" } else { "x" };
                let names: Vec<String> = sizes.iter().map(|size| size.to_string().replace('x', sign)).collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let said = self.choice(field, &names).map(|said| said.replace('*', "x"));
                said.and_then(|said| Size::parse(&said)).unwrap_or(usual)
            }
            SizeRule::Ratios { ratios, tiers, tier_field, .. } => {
                let more = ["match_input_image", "custom", "auto"].map(str::to_owned);
                let shapes: Vec<String> = ratios.iter().map(ToString::to_string).chain(more).collect();
                let shapes: Vec<&str> = shapes.iter().map(String::as_str).collect();
                let shape = self.choice("aspect_ratio", &shapes).and_then(Ratio::parse).map(|ratio| ratio.value());
                let shape = shape.or(picture.map(Size::ratio)).unwrap_or(usual.ratio());
                let scales: Vec<String> = tiers.iter().map(ToString::to_string).collect();
                let scales: Vec<&str> =
                    scales.iter().map(String::as_str).chain(["match_input_image", "custom"]).collect();
                let scale = tier_field.as_ref().and_then(|field| self.choice(field, &scales)).and_then(Tier::parse);
                shaped(shape, scale.as_ref().or(tiers.first()).map_or(1024.0, Tier::edge))
            }
            SizeRule::None => usual,
        }
    }

    /// `width` and `height`: looked at only when the shape is `custom`, where a model has shapes at all, and rounded
    /// without a word.
    fn pixels(&mut self, window: &Window, route: &Route, usual: Size) -> Size {
        let shapes = route.defaults.contains_key("aspect_ratio");
        let (least, most) = (i64::from(window.min_side), i64::from(window.max_side));
        let [width, height] = ["width", "height"].map(|name| self.whole(name, least, most));
        if shapes && self.get("aspect_ratio").is_none_or(|shape| shape != "custom") {
            let shape = self.get("aspect_ratio").and_then(Value::as_str).and_then(Ratio::parse);
            return shaped(shape.map_or(1.0, |ratio| ratio.value()), 1024.0);
        }
        let rounded = |side: Option<i64>, usual: u32| {
            let side = side.and_then(|side| u32::try_from(side).ok()).unwrap_or(usual);
            (side / window.multiple * window.multiple).max(window.min_side)
        };
        Size::new(rounded(width, usual.width), rounded(height, usual.height))
    }
}

/// A picture's size: of a data address as it is, of any other address a guess.
fn measure(value: &Value) -> Option<Size> {
    let text = value.as_str()?;
    if text.starts_with("https://") || text.starts_with("http://") {
        return Some(Size::new(1024, 1024));
    }
    let (_, data) = text.strip_prefix("data:")?.split_once(";base64,")?;
    inspect_base64(data.as_bytes(), &Limits::default()).ok().map(|facts| facts.size)
}

/// Pixels of a shape at a scale, on a grid of 16.
fn shaped(ratio: f64, edge: f64) -> Size {
    let side = |side: f64| to_side((side / 16.0).round().max(1.0)) * 16;
    Size::new(side(edge * ratio.sqrt()), side(edge / ratio.sqrt()))
}
