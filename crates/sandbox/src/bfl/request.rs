//! What a model is asked for: its fields, checked as the service checks them.

use super::error::{Refusal, complaint};
use crate::catalog::Route;
use crate::catalog::size_rule::{SizeRule, Window};
use crate::media::size::to_side;
use crate::media::{Format, Limits, Ratio, Size, Tier, inspect_base64};
use rand::RngExt;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Shapes of about one megapixel that Kontext makes, wide ones first; each also stands upright.
const KONTEXT: [Size; 5] =
    [Size::new(1568, 672), Size::new(1392, 752), Size::new(1184, 880), Size::new(1248, 832), Size::new(1024, 1024)];

/// Shapes of about four megapixels that Ultra makes, likewise.
const ULTRA: [Size; 5] =
    [Size::new(3136, 1344), Size::new(2752, 1536), Size::new(2368, 1792), Size::new(2496, 1664), Size::new(2048, 2048)];

/// The longest base64 of an input picture.
const LONGEST_BASE64: usize = 20_000_000;

/// What FLUX.2 takes, all of it; and the two generations of FLUX 3.
const FLUX_2: [&str; 8] =
    ["prompt", "seed", "width", "height", "safety_tolerance", "output_format", "webhook_url", "webhook_secret"];
const FLUX_3_IMAGE: [&str; 8] = [
    "prompt",
    "aspect_ratio",
    "resolution",
    "images",
    "grounding",
    "safety_tolerance",
    "webhook_url",
    "webhook_secret",
];
const FLUX_3_VIDEO: [&str; 14] = [
    "prompt",
    "mode",
    "keyframes",
    "start_video",
    "aspect_ratio",
    "resolution",
    "duration",
    "generate_audio",
    "version",
    "draft",
    "draft_cache",
    "safety_tolerance",
    "webhook_url",
    "webhook_secret",
];

/// What a legal input asks for.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) prompt: Arc<str>,
    pub(super) size: Size,
    pub(super) format: Format,
    pub(super) seed: i64,
    /// The pictures given.
    pub(super) pictures: Vec<Size>,
    /// Whether it is a video.
    pub(super) film: bool,
}

impl Order {
    /// Reads the input as that model's, or says what is wrong with it.
    pub(super) fn read(input: &Map<String, Value>, route: &Route) -> Result<Self, Refusal> {
        let mut reader = Reader { input, model: &route.upstream, complaints: Vec::new() };
        reader.refuse_strangers(route);
        let prompt = reader.prompt();
        let pictures = reader.pictures(route);
        let size = reader.size(route, &pictures);
        let names: Vec<&str> = route.formats.iter().map(|format| format.name()).collect();
        let format = if names.is_empty() { None } else { reader.choice("output_format", &names) };
        let seed = reader.whole("seed", i64::MIN, i64::MAX);
        reader.whole("safety_tolerance", 0, reader.most_tolerant());
        reader.knobs();
        if !reader.complaints.is_empty() {
            return Err(Refusal::invalid(reader.complaints));
        }
        check_area(route, size)?;
        Ok(Self {
            prompt: prompt.into(),
            size,
            format: format.and_then(Format::parse).or(route.default_format).unwrap_or(Format::Jpeg),
            seed: seed.unwrap_or_else(|| rand::rng().random::<u32>().into()),
            pictures,
            film: route.upstream == "flux-3-video",
        })
    }
}

/// FLUX.2 looks at the grid and the area only when the schema is content.
fn check_area(route: &Route, size: Size) -> Result<(), Refusal> {
    let SizeRule::Pixels(window) = &route.size else { return Ok(()) };
    if !size.width.is_multiple_of(window.multiple) || !size.height.is_multiple_of(window.multiple) {
        return Err(Refusal::bad_size(&format!("Width and height must be multiples of {}", window.multiple)));
    }
    if size.area() > window.max_area {
        return Err(Refusal::bad_size("The output must have at most 4 megapixels"));
    }
    Ok(())
}

struct Reader<'a> {
    input: &'a Map<String, Value>,
    model: &'a str,
    complaints: Vec<Value>,
}

impl<'a> Reader<'a> {
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.input.get(name).filter(|value| !value.is_null())
    }

    fn complain(&mut self, field: &str, kind: &str, message: &str) {
        self.complaints.push(complaint(field, kind, message));
    }

    fn is(&self, start: &str) -> bool {
        self.model.starts_with(start)
    }

    /// The strict schemas name what they do not know. Older ones do not mind.
    fn refuse_strangers(&mut self, route: &Route) {
        let known: &[&str] = match self.model {
            "flux-3-image" => &FLUX_3_IMAGE,
            "flux-3-video" => &FLUX_3_VIDEO,
            _ if self.is("flux-2-") => &FLUX_2,
            _ => return,
        };
        let more: &[&str] = match self.model {
            "flux-2-flex" => &["steps", "guidance", "prompt_upsampling", "input_image_blob_path"],
            "flux-2-pro" | "flux-2-max" => &["disable_pup"],
            _ => &[],
        };
        let pictures = if self.is("flux-2-") { picture_fields(route) } else { Vec::new() };
        let strange: Vec<&String> = self
            .input
            .keys()
            .filter(|name| !known.contains(&name.as_str()) && !more.contains(&name.as_str()))
            .filter(|name| !pictures.contains(name))
            .collect();
        for name in strange {
            self.complain(name, "extra_forbidden", "Extra inputs are not permitted");
        }
    }

    fn prompt(&mut self) -> &'a str {
        let needed = ["flux-2-", "flux-3-", "flux-kontext-"].iter().any(|start| self.is(start));
        match self.get("prompt") {
            Some(Value::String(text)) => text,
            Some(_) => {
                self.complain("prompt", "string_type", "Input should be a valid string");
                ""
            }
            None => {
                if needed {
                    self.complain("prompt", "missing", "Field required");
                }
                ""
            }
        }
    }

    fn most_tolerant(&self) -> i64 {
        if self.is("flux-3-") {
            4
        } else if self.is("flux-2-") {
            5
        } else {
            6
        }
    }

    fn knobs(&mut self) {
        let steps = if self.model == "flux-pro-1.0-fill" { 15 } else { 1 };
        self.whole("steps", steps, 50);
        let guidance = match self.model {
            "flux-2-flex" => Some((1.5, 10.0)),
            "flux-dev" => Some((1.5, 5.0)),
            "flux-pro-1.0-fill" | "flux-pro-1.0-expand" => Some((1.5, 100.0)),
            _ => None,
        };
        if let (Some((least, most)), Some(value)) = (guidance, self.get("guidance")) {
            match value.as_f64() {
                Some(number) if number < least => self.too_small("guidance", least),
                Some(number) if number > most => self.too_large("guidance", most),
                Some(_) => {}
                None => self.complain("guidance", "float_type", "Input should be a valid number"),
            }
        }
        if self.model == "flux-3-video" {
            self.choice("mode", &["t2v", "i2v", "v2v", "draft_enhance"]);
            self.choice("resolution", &["hd", "fhd"]);
            if self.get("duration").is_some_and(|value| value != "auto") {
                self.whole("duration", 5, 20);
            }
        }
    }

    fn too_small(&mut self, name: &str, least: f64) {
        self.complain(name, "greater_than_equal", &format!("Input should be greater than or equal to {least}"));
    }

    fn too_large(&mut self, name: &str, most: f64) {
        self.complain(name, "less_than_equal", &format!("Input should be less than or equal to {most}"));
    }

    #[expect(clippy::cast_precision_loss, reason = "limits are small, or nobody reads them")]
    fn whole(&mut self, name: &str, least: i64, most: i64) -> Option<i64> {
        let value = self.get(name)?;
        match value.as_i64() {
            Some(number) if number < least => self.too_small(name, least as f64),
            Some(number) if number > most => self.too_large(name, most as f64),
            Some(number) => return Some(number),
            None => self.complain(name, "int_type", "Input should be a valid integer"),
        }
        None
    }

    fn choice(&mut self, name: &str, allowed: &[&str]) -> Option<&'a str> {
        let value = self.get(name)?;
        let chosen = value.as_str().filter(|text| allowed.contains(text));
        if chosen.is_none() {
            let list: Vec<String> = allowed.iter().map(|one| format!("'{one}'")).collect();
            self.complain(name, "enum", &format!("Input should be {}", list.join(", ")));
        }
        chosen
    }

    /// The sizes of the pictures given.
    fn pictures(&mut self, route: &Route) -> Vec<Size> {
        let fields = picture_fields(route);
        let needed = self.is("flux-pro-1.0-") || self.get("mode").is_some_and(|mode| mode == "i2v");
        if needed && fields.iter().all(|name| self.get(name).is_none()) {
            self.complain(&fields[0], "missing", "Field required");
        }
        if let Some(mask) = self.get("mask") {
            self.picture("mask", mask);
        }
        let mut sizes = Vec::new();
        for name in &fields {
            match self.get(name) {
                None => {}
                Some(Value::Array(items)) => sizes.extend(items.iter().filter_map(|item| self.picture(name, item))),
                Some(one) => sizes.extend(self.picture(name, one)),
            }
        }
        let most = route.inputs.as_ref().map_or(1, |inputs| inputs.max);
        if sizes.len() > most {
            self.complain(&fields[0], "too_long", &format!("List should have at most {most} items"));
        }
        if self.is("flux-3-") && sizes.iter().any(|size| size.width.min(size.height) < 256) {
            self.complain(&fields[0], "value_error", "Input images must have sides of at least 256 pixels");
        }
        sizes
    }

    /// One picture: an address or bare base64.
    fn picture(&mut self, name: &str, value: &Value) -> Option<Size> {
        // A keyframe may be a pair of time and picture.
        let text = value.as_str().or_else(|| value[1].as_str());
        let known = match text {
            Some(link) if link.starts_with("http://") || link.starts_with("https://") => Some(Size::new(1024, 1024)),
            Some(text) if text.len() <= LONGEST_BASE64 => {
                inspect_base64(text.as_bytes(), &Limits::default()).ok().map(|facts| facts.size)
            }
            _ => None,
        };
        if known.is_none() {
            self.complain(name, "value_error", "Value error, the image is neither an address nor valid base64");
        }
        known
    }

    /// The pixels that will be made.
    fn size(&mut self, route: &Route, pictures: &[Size]) -> Size {
        let usual = route.default_size.unwrap_or(Size::new(1024, 1024));
        match &route.size {
            SizeRule::Pixels(window) => self.pixels(window, pictures.first().copied(), usual),
            SizeRule::Ratios { ratios, tiers, .. } => self.shape(ratios, tiers, pictures.first().copied(), usual),
            SizeRule::List { .. } | SizeRule::None => self.extended(pictures.first().copied().unwrap_or(usual)),
        }
    }

    /// `width` and `height`. FLUX.2 keeps the first picture's when nothing is said.
    fn pixels(&mut self, window: &Window, picture: Option<Size>, usual: Size) -> Size {
        let usual = picture.filter(|_| self.is("flux-2-")).map_or(usual, |size| on_grid(size, window));
        let (least, most) = (i64::from(window.min_side), i64::from(window.max_side));
        let [width, height] = [("width", usual.width), ("height", usual.height)].map(|(name, usual)| {
            let side = self.whole(name, least, most).and_then(|side| u32::try_from(side).ok());
            // FLUX.1 has its grid in the schema.
            if window.multiple == 32 && side.is_some_and(|side| !side.is_multiple_of(32)) {
                self.complain(name, "multiple_of", "Input should be a multiple of 32");
            }
            side.unwrap_or(usual)
        });
        Size::new(width, height)
    }

    /// `aspect_ratio`: one of a list for FLUX 3, anything from 21:9 to 9:21 before.
    fn shape(&mut self, ratios: &[Ratio], tiers: &[Tier], picture: Option<Size>, usual: Size) -> Size {
        if self.is("flux-3-") {
            let names: Vec<String> = ratios.iter().map(ToString::to_string).chain(["auto".to_owned()]).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let shape = self.choice("aspect_ratio", &names).and_then(Ratio::parse).map(|ratio| ratio.value());
            let scales: Vec<String> = tiers.iter().map(ToString::to_string).collect();
            let scales: Vec<&str> = scales.iter().map(String::as_str).collect();
            let image = self.model == "flux-3-image";
            let scale = if image { self.choice("resolution", &scales).and_then(Tier::parse) } else { None };
            let shape = shape.or(picture.map(Size::ratio)).unwrap_or(1.0);
            return shaped(shape, scale.map_or(1024.0, |tier| tier.edge()));
        }
        let said = match self.get("aspect_ratio").map(|value| value.as_str().and_then(Ratio::parse)) {
            Some(Some(ratio)) if (9.0 / 21.0..=21.0 / 9.0).contains(&ratio.value()) => Some(ratio.value()),
            Some(_) => {
                self.complain("aspect_ratio", "value_error", "Value error, aspect ratio must be between 21:9 and 9:21");
                None
            }
            None => picture.map(Size::ratio),
        };
        let table = if self.model == "flux-pro-1.1-ultra" { ULTRA } else { KONTEXT };
        nearest(&table, said.unwrap_or(usual.ratio()))
    }

    /// An input picture with what is added around it.
    fn extended(&mut self, picture: Size) -> Size {
        let [top, bottom, left, right] = ["top", "bottom", "left", "right"].map(|side| {
            let pixels = if self.model == "flux-pro-1.0-expand" { self.whole(side, 0, 2048) } else { None };
            pixels.and_then(|pixels| u32::try_from(pixels).ok()).unwrap_or(0)
        });
        Size::new(picture.width + left + right, picture.height + top + bottom)
    }
}

/// The names of the parameters that hold pictures.
fn picture_fields(route: &Route) -> Vec<String> {
    match &route.inputs {
        Some(inputs) if inputs.field == "input_image" => {
            let later = (2..=inputs.max).map(|index| format!("input_image_{index}"));
            std::iter::once("input_image".to_owned()).chain(later).collect()
        }
        Some(inputs) => vec![inputs.field.clone()],
        None => vec!["image_prompt".to_owned()],
    }
}

/// A picture's size within the window: smaller when it is too large, sides on the grid.
fn on_grid(size: Size, window: &Window) -> Size {
    #[expect(clippy::cast_precision_loss, reason = "areas are far below 2^53")]
    let shrink = (window.max_area as f64 / size.area() as f64).sqrt().min(1.0);
    let side = |side: u32| {
        let steps = (f64::from(side) * shrink / f64::from(window.multiple)).floor();
        (to_side(steps) * window.multiple).max(window.min_side)
    };
    Size::new(side(size.width), side(size.height))
}

fn nearest(table: &[Size], ratio: f64) -> Size {
    let upright = table.iter().map(|size| Size::new(size.height, size.width));
    let far = |size: &Size| (size.ratio() / ratio).ln().abs();
    table.iter().copied().chain(upright).min_by(|a, b| far(a).total_cmp(&far(b))).unwrap_or(table[0])
}

/// Pixels of a shape at a scale, on a grid of 16.
fn shaped(ratio: f64, edge: f64) -> Size {
    let side = |side: f64| to_side((side / 16.0).round().max(1.0)) * 16;
    Size::new(side(edge * ratio.sqrt()), side(edge / ratio.sqrt()))
}
