//! What one inference task asks for: the first thing that is wrong with it, or the order.

use super::error::Complaint;
use crate::base::Usd;
use crate::bill;
use crate::catalog::size_rule::Window;
use crate::catalog::{Inputs, Route, SizeRule};
use crate::media::{Format, Limits, Size, inspect_base64};
use crate::steering::Fault;
use rand::RngExt;
use serde_json::{Map, Value};
use std::sync::Arc;

/// The parameters of image and video models, as the SDK's schemas of 2026-10 name them.
const PARAMETERS: &str = "taskType taskUUID webhookURL includeCost routing model numberResults uploadEndpoint ttl \
    outputType outputFormat outputQuality deliveryMethod safety inputs positivePrompt negativePrompt width height \
    resolution seed steps scheduler CFGScale strength maskMargin acceleration acceleratorOptions outpaint lora \
    controlNet ipAdapters settings providerSettings ultralytics promptWeighting hiresFix pulid trueCFGScale \
    advancedFeatures upscaleFactor duration fps frameImages referenceImages";

/// How results are handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handover {
    Link,
    Base64,
    DataUri,
}

/// A legal task.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a parameter of the task")]
pub(super) struct Order {
    pub(super) prompt: Arc<str>,
    pub(super) count: u32,
    pub(super) size: Size,
    pub(super) format: Format,
    pub(super) seed: i64,
    pub(super) handover: Handover,
    /// Whether pictures are looked at, and flagged.
    pub(super) checked: bool,
    /// Whether the result is polled for.
    pub(super) later: bool,
    pub(super) video: bool,
    /// What one result costs; unknown when the catalog has no price.
    pub(super) price: Option<Usd>,
    /// Whether the answer says so.
    pub(super) tells_cost: bool,
}

impl Order {
    pub(super) fn read(task: &Map<String, Value>, route: &Route) -> Result<Self, Complaint> {
        let video = task.get("taskType").is_some_and(|kind| kind == "videoInference");
        if let Some(name) = task.keys().find(|name| !PARAMETERS.split_whitespace().any(|known| known == name.as_str()))
        {
            return Err(Complaint::unknown_parameter(name));
        }
        let prompt = match task.get("positivePrompt") {
            Some(Value::String(text)) if text.chars().count() >= 2 => text.as_str(),
            Some(_) => return Err(Complaint::invalid("positivePrompt", "It must be a text of at least 2 characters.")),
            // A tool has no prompt.
            None if route.field("prompt").is_none() => "",
            None => return Err(Complaint::missing("positivePrompt")),
        };
        let count = whole(task, "numberResults", 1, if video { 4 } else { 20 })?.unwrap_or(1);
        whole(task, "outputQuality", 20, 99)?;
        whole(task, "ttl", 60, i64::from(u32::MAX))?;
        let seed = whole(task, "seed", 0, i64::MAX)?;
        let handover = match choice(task, "outputType", &["URL", "base64Data", "dataURI"])? {
            Some("base64Data") if !video => Handover::Base64,
            Some("dataURI") if !video => Handover::DataUri,
            Some("base64Data" | "dataURI") => return Err(Complaint::invalid("outputType", "Videos come as URL only.")),
            _ => Handover::Link,
        };
        let format = format(task, route, video)?;
        let later = choice(task, "deliveryMethod", &["sync", "async"])?.map_or(video, |said| said == "async");
        if video && !later {
            return Err(Complaint::invalid("deliveryMethod", "Supported values are: 'async'."));
        }
        let given = check_inputs(task, route)?;
        let size = size(task, route)?;
        let bill = || bill::result(route, &flat(task), size) + bill::given(&route.price, task, &given);
        let price = (!route.price.lines.is_empty()).then(bill);
        Ok(Self {
            prompt: prompt.into(),
            count: u32::try_from(count).unwrap_or(1),
            size,
            format,
            seed: seed.unwrap_or_else(|| rand::rng().random::<u32>().into()),
            handover,
            checked: task.get("safety").is_some_and(|safety| safety["checkContent"] == true),
            later,
            video,
            price,
            tells_cost: flag(task, "includeCost")?,
        })
    }

    /// Whether a fault acts on the making call. What is polled for is spoilt when it is told, and a linked file when it
    /// is fetched.
    pub(super) fn meets(&self, fault: Option<Fault>) -> bool {
        let elsewhere = |fault: Fault| match (self.later, self.handover) {
            (true, _) => !fault.at_creation(),
            (false, Handover::Link) => fault.at_file(),
            (false, _) => false,
        };
        !fault.is_some_and(elsewhere)
    }

    /// What all of its results cost.
    pub(super) fn bill(&self) -> Usd {
        Usd::from_micros(self.price.unwrap_or_default().micros() * i64::from(self.count))
    }
}

/// Nested parameters under dotted names, as price lines call them.
fn flat(task: &Map<String, Value>) -> Map<String, Value> {
    let mut all = Map::new();
    for (name, value) in task {
        match value {
            Value::Object(held) => {
                all.extend(flat(held).into_iter().map(|(inner, value)| (format!("{name}.{inner}"), value)));
            }
            value => drop(all.insert(name.clone(), value.clone())),
        }
    }
    all
}

fn format(task: &Map<String, Value>, route: &Route, video: bool) -> Result<Format, Complaint> {
    let told = |format: &Format| if *format == Format::Jpeg { "JPG".to_owned() } else { format.name().to_uppercase() };
    let names: Vec<String> = if video {
        vec!["MP4".to_owned(), "WEBM".to_owned(), "MOV".to_owned()]
    } else {
        route.formats.iter().map(told).collect()
    };
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let said = choice(task, "outputFormat", &names)?;
    let usual = if route.formats == [Format::Svg] { Format::Svg } else { Format::Jpeg };
    Ok(said.and_then(Format::parse).unwrap_or(usual))
}

/// Where pictures and clips may lie: this generation of schemas has them in `inputs`, the one before at the top.
const MEDIA: [&str; 9] = [
    "inputs.referenceImages",
    "inputs.references",
    "inputs.seedImage",
    "inputs.maskImage",
    "inputs.image",
    "inputs.video",
    "inputs.frameImages",
    "frameImages",
    "referenceImages",
];

/// A model takes pictures in its own field only, and an editor wants one. The sizes of those given; a mask is none.
fn check_inputs(task: &Map<String, Value>, route: &Route) -> Result<Vec<Size>, Complaint> {
    let mut sizes = Vec::new();
    for name in MEDIA {
        let given = match name.split_once('.') {
            Some((outer, inner)) => task.get(outer).and_then(|held| held.get(inner)),
            None => task.get(name),
        };
        let mine = route.inputs.as_ref().filter(|inputs| takes(inputs, name));
        match (given, mine) {
            (Some(given), Some(inputs)) => {
                check_media(name, given, inputs)?;
                if is_main(inputs, name) {
                    let items = given.as_array().map_or(std::slice::from_ref(given), Vec::as_slice);
                    sizes.extend(items.iter().map(measure));
                }
            }
            (Some(_), None) => return Err(Complaint::unknown_parameter(name)),
            (None, Some(inputs)) if wants(route) && is_main(inputs, name) => return Err(Complaint::missing(name)),
            (None, _) => {}
        }
    }
    Ok(sizes)
}

/// A picture's size: of a data address as it is, of any other a guess.
fn measure(picture: &Value) -> Size {
    let text = picture.get("image").unwrap_or(picture).as_str().unwrap_or_default();
    let data = text.split_once(";base64,").map_or("", |(_, data)| data);
    let facts = inspect_base64(data.as_bytes(), &Limits::default());
    facts.map_or(Size::new(1024, 1024), |facts| facts.size)
}

fn takes(inputs: &Inputs, name: &str) -> bool {
    is_main(inputs, name) || inputs.mask.as_deref() == Some(name)
}

/// A clip is what a route works on, or its pictures are.
fn is_main(inputs: &Inputs, name: &str) -> bool {
    inputs.video.as_deref().unwrap_or(&inputs.field) == name
}

fn wants(route: &Route) -> bool {
    route.modes.iter().all(|mode| !mode.as_str().starts_with("text-to-"))
}

/// One picture, or a list of them; frames may say where they belong.
fn check_media(name: &str, given: &Value, inputs: &Inputs) -> Result<(), Complaint> {
    let odd = || Complaint::invalid(name, "It must be a UUID, a URL, a data URI or base64.");
    let most = inputs.max;
    match given {
        Value::Array(list) if (1..=most).contains(&list.len()) => {
            let framed = name == "inputs.frameImages";
            let media = |one: &Value| if framed { one.get("image").is_some_and(is_media) } else { is_media(one) };
            if list.iter().all(media) { Ok(()) } else { Err(odd()) }
        }
        Value::String(_) if is_media(given) => Ok(()),
        Value::String(_) => Err(odd()),
        _ => Err(Complaint::invalid(name, &format!("It must be a list of 1 to {most} images."))),
    }
}

fn is_media(value: &Value) -> bool {
    let Some(text) = value.as_str().filter(|text| !text.is_empty()) else { return false };
    let base64 = |text: &str| base64_simd::STANDARD.decode_to_vec(text).is_ok();
    match text.strip_prefix("data:").map(|rest| rest.split_once(";base64,")) {
        Some(uri) => uri.is_some_and(|(_, data)| base64(data)),
        None => text.starts_with("http") || is_uuid(text) || base64(text),
    }
}

/// Whether it is a version 4 UUID.
pub(super) fn is_uuid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    let digits = text.chars().all(|letter| letter == '-' || letter.is_ascii_hexdigit());
    lengths == [8, 4, 4, 4, 12] && digits && text.as_bytes().get(14) == Some(&b'4')
}

/// Both sides, or neither where the model has an idea of its own.
fn size(task: &Map<String, Value>, route: &Route) -> Result<Size, Complaint> {
    let usual = route.default_size.unwrap_or(Size::new(1024, 1024));
    let side = |name: &str| whole(task, name, 1, 16_384);
    let (width, height) = match (side("width")?, side("height")?) {
        (Some(width), Some(height)) => (width, height),
        (None, None) if !route.defaults.contains_key("width") => {
            tier(task, &route.size)?;
            return Ok(usual);
        }
        (None, _) => return Err(Complaint::missing("width")),
        (_, None) => return Err(Complaint::missing("height")),
    };
    let size = Size::new(u32::try_from(width).unwrap_or(1), u32::try_from(height).unwrap_or(1));
    match &route.size {
        SizeRule::Pixels(window) => breach(window, size).map_or(Ok(size), Err),
        SizeRule::List { sizes, .. } if !sizes.contains(&size) => {
            let names: Vec<String> = sizes.iter().map(ToString::to_string).collect();
            let list = names.join(", ");
            Err(Complaint::dimensions(format!("Unsupported dimensions {size}. Supported dimensions are: {list}.")))
        }
        _ => Ok(size),
    }
}

/// A preset in place of pixels.
fn tier(task: &Map<String, Value>, rule: &SizeRule) -> Result<(), Complaint> {
    let SizeRule::Ratios { tiers, .. } = rule else { return Ok(()) };
    let names: Vec<String> = tiers.iter().map(ToString::to_string).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    choice(task, "resolution", &names).map(drop)
}

fn breach(window: &Window, size: Size) -> Option<Complaint> {
    for (name, side) in [("width", size.width), ("height", size.height)] {
        let Window { multiple, min_side, max_side, .. } = window;
        if side < *min_side || side > *max_side || side % multiple != 0 {
            let why = format!("It must be between {min_side} and {max_side}, a multiple of {multiple}.");
            return Some(Complaint::invalid(name, &why));
        }
    }
    let pixels = u64::from(size.width) * u64::from(size.height);
    let (least, most) = (window.min_area, window.max_area);
    (pixels < least || pixels > most).then(|| {
        Complaint::dimensions(format!(
            "Invalid image pixels. Total pixels (width x height) must be between {least} and {most}."
        ))
    })
}

fn flag(task: &Map<String, Value>, name: &str) -> Result<bool, Complaint> {
    match task.get(name) {
        None => Ok(false),
        Some(Value::Bool(said)) => Ok(*said),
        Some(_) => Err(Complaint::invalid(name, "It must be a boolean.")),
    }
}

fn whole(task: &Map<String, Value>, name: &str, least: i64, most: i64) -> Result<Option<i64>, Complaint> {
    let Some(value) = task.get(name) else { return Ok(None) };
    match value.as_i64().filter(|number| (least..=most).contains(number)) {
        Some(number) => Ok(Some(number)),
        None => Err(Complaint::invalid(name, &format!("It must be an integer between {least} and {most}."))),
    }
}

fn choice<'a>(task: &'a Map<String, Value>, name: &str, allowed: &[&str]) -> Result<Option<&'a str>, Complaint> {
    let Some(value) = task.get(name) else { return Ok(None) };
    match value.as_str().filter(|text| allowed.contains(text)) {
        Some(text) => Ok(Some(text)),
        None => Err(Complaint::invalid(name, &format!("Supported values are: '{}'.", allowed.join("', '")))),
    }
}
