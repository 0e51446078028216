//! What the creating endpoints take: one message, or an input object; then the parameters.

use super::error::Refusal;
use crate::catalog::size_rule::Window;
use crate::catalog::{Route, SizeRule};
use crate::job::Mode;
use crate::media::Size;
use serde_json::{Map, Value};
use std::sync::Arc;

/// The endpoint that answers at once.
pub(super) const AT_ONCE: &str = "multimodal-generation/generation";

/// A legal request.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) prompt: Arc<str>,
    pub(super) count: u32,
    pub(super) size: Size,
    /// How long the video is; none for pictures.
    pub(super) seconds: Option<u32>,
    /// What the prices may depend on.
    pub(super) parameters: Map<String, Value>,
}

/// Whether that endpoint serves the model.
pub(super) fn serves(endpoint: &str, route: &Route) -> bool {
    let model = route.upstream.as_str();
    let film = route.modes.iter().any(|mode| matches!(mode, Mode::TextToVideo | Mode::ImageToVideo));
    let old = model.starts_with("wan2.2-t2i") || model == "wan2.5-t2i-preview";
    let newer_wan = ["wan2.6-", "wan2.7-"].iter().any(|head| model.starts_with(head));
    match endpoint {
        "video-generation/video-synthesis" => film,
        "image2image/image-synthesis" => model == "wan2.5-i2i-preview",
        "text2image/image-synthesis" => old || model == "qwen-image" || model == "qwen-image-plus",
        "image-generation/generation" => newer_wan && !film,
        AT_ONCE => !film && !old && model != "wan2.5-i2i-preview",
        _ => false,
    }
}

impl Order {
    /// Reads the body as that model's request at that endpoint.
    pub(super) fn read(body: &Map<String, Value>, route: &Route, endpoint: &str) -> Result<Self, Refusal> {
        let input = body.get("input").and_then(Value::as_object);
        let input =
            input.ok_or_else(|| Refusal::bad("Required body invalid, please check the request body format."))?;
        let (prompt, images) =
            if endpoint.ends_with("/generation") { read_message(input)? } else { read_input(input)? };
        check_images(&images, route)?;
        let parameters = match body.get("parameters") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(parameters)) => parameters.clone(),
            Some(_) => return Err(Refusal::bad("parameters must be an object")),
        };
        for name in ["prompt_extend", "watermark", "audio", "enable_interleave"] {
            if parameters.get(name).is_some_and(|value| !value.is_boolean()) {
                return Err(Refusal::bad(format!("{name} must be a boolean")));
            }
        }
        whole(&parameters, "seed", 0, 2_147_483_647)?;
        // Left alone, the picture models of the Wan family make four.
        let usual = if route.upstream.starts_with("wan") { route.max_n } else { 1 };
        let count = whole(&parameters, "n", 1, i64::from(route.max_n))?.unwrap_or(usual);
        let film = endpoint.starts_with("video-generation");
        let seconds = if film { Some(duration(&parameters, &route.upstream)?) } else { None };
        let size = size(&parameters, route)?;
        Ok(Self { prompt: prompt.into(), count, size, seconds, parameters })
    }
}

/// The text and the pictures of the one message.
fn read_message(input: &Map<String, Value>) -> Result<(&str, Vec<&Value>), Refusal> {
    let messages = input.get("messages").and_then(Value::as_array).filter(|messages| messages.len() == 1);
    let message = messages.and_then(|messages| messages.first()).filter(|message| message["role"] == "user");
    let parts = message.and_then(|message| message["content"].as_array());
    let parts = parts.ok_or_else(|| Refusal::bad("input.messages must hold exactly one user message"))?;
    let texts: Vec<&str> = parts.iter().filter_map(|part| part["text"].as_str()).collect();
    let [prompt] = texts[..] else { return Err(Refusal::bad("content must hold exactly one text")) };
    Ok((prompt, parts.iter().filter_map(|part| part.get("image")).collect()))
}

/// The prompt and the pictures of an input object.
fn read_input(input: &Map<String, Value>) -> Result<(&str, Vec<&Value>), Refusal> {
    let prompt = input.get("prompt").and_then(Value::as_str).unwrap_or_default();
    let mut images: Vec<&Value> = ["images", "reference_urls"]
        .iter()
        .filter_map(|name| input.get(*name)?.as_array())
        .flatten()
        .chain(["img_url", "first_frame_url", "last_frame_url"].iter().filter_map(|name| input.get(*name)))
        .collect();
    for item in input.get("media").and_then(Value::as_array).into_iter().flatten() {
        match item["type"].as_str() {
            Some("first_frame" | "last_frame" | "reference_image") => images.push(&item["url"]),
            _ => return Err(Refusal::bad("media other than pictures are not simulated")),
        }
    }
    if prompt.is_empty() && images.is_empty() {
        return Err(Refusal::bad("prompt must not be empty"));
    }
    Ok((prompt, images))
}

fn check_images(images: &[&Value], route: &Route) -> Result<(), Refusal> {
    let most = route.inputs.as_ref().map_or(0, |inputs| inputs.max);
    let needed = !route.modes.iter().any(|mode| matches!(mode, Mode::TextToImage | Mode::TextToVideo));
    if images.len() > most {
        return Err(Refusal::bad(format!("the number of input images must be at most {most}")));
    }
    if needed && images.is_empty() {
        return Err(Refusal::bad("the model needs at least one input image"));
    }
    let sound = |image: &&&Value| {
        let text = image.as_str().unwrap_or_default();
        let data = text.strip_prefix("data:image/").and_then(|rest| rest.split_once(";base64,"));
        let encoded = data.is_some_and(|(_, data)| base64_simd::STANDARD.check(data.as_bytes()).is_ok());
        encoded || text.starts_with("https://") || text.starts_with("http://")
    };
    if images.iter().all(|image| sound(&image)) { Ok(()) } else { Err(Refusal::bad_link()) }
}

/// `W*H` within the model's rule; for videos of newer models the resolution and the ratio instead.
fn size(parameters: &Map<String, Value>, route: &Route) -> Result<Size, Refusal> {
    let usual = route.default_size.unwrap_or(Size::new(1024, 1024));
    if let SizeRule::Ratios { ratios, tiers, field, tier_field, .. } = &route.size {
        let ratios: Vec<String> = ratios.iter().map(ToString::to_string).collect();
        let tiers: Vec<String> = tiers.iter().map(ToString::to_string).collect();
        one_of(parameters, tier_field.as_deref().unwrap_or("resolution"), &tiers)?;
        if !ratios.is_empty() {
            one_of(parameters, field, &ratios)?;
        }
        return Ok(usual);
    }
    let Some(said) = parameters.get("size").filter(|said| !said.is_null()) else { return Ok(usual) };
    let text = said.as_str().unwrap_or_default();
    let sides = text.split_once('*').and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    let (width, height) = sides.ok_or_else(|| Refusal::bad("size must be in the format of width*height"))?;
    let size = Size::new(width, height);
    match &route.size {
        SizeRule::List { sizes, .. } if !sizes.contains(&size) => {
            let names: Vec<String> = sizes.iter().map(|size| format!("{}*{}", size.width, size.height)).collect();
            Err(Refusal::bad(format!("size must be one of {}", names.join(", "))))
        }
        SizeRule::Pixels(window) => within(window, size),
        // It is ignored there.
        SizeRule::None => Ok(usual),
        _ => Ok(size),
    }
}

fn within(window: &Window, size: Size) -> Result<Size, Refusal> {
    let pixels = u64::from(size.width) * u64::from(size.height);
    let (long, short) = (size.width.max(size.height), size.width.min(size.height));
    if short < window.min_side || long > window.max_side {
        let message = format!("width and height must be between {} and {}", window.min_side, window.max_side);
        return Err(Refusal::bad(message));
    }
    if pixels < window.min_area || pixels > window.max_area {
        let message = format!("the total pixels must be between {} and {}", window.min_area, window.max_area);
        return Err(Refusal::bad(message));
    }
    if window.max_ratio.is_some_and(|most| f64::from(long) > most * f64::from(short)) {
        return Err(Refusal::bad("the aspect ratio must be between 1:4 and 4:1"));
    }
    Ok(size)
}

/// Seconds of video; five when unsaid.
fn duration(parameters: &Map<String, Value>, model: &str) -> Result<u32, Refusal> {
    let free = model.starts_with("wan3.0") && parameters.get("duration").and_then(Value::as_i64) == Some(-1);
    let most = if model.starts_with("wan3.0") { 30 } else { 15 };
    let said = if free { None } else { whole(parameters, "duration", 2, most)? };
    if model.starts_with("wan2.5") && said.is_some_and(|said| said != 5 && said != 10) {
        return Err(Refusal::bad("duration must be 5 or 10"));
    }
    Ok(said.unwrap_or(5))
}

fn one_of(parameters: &Map<String, Value>, name: &str, allowed: &[String]) -> Result<(), Refusal> {
    let said = parameters.get(name).filter(|said| !said.is_null());
    match said {
        Some(said) if !allowed.iter().any(|one| said == one.as_str()) => {
            Err(Refusal::bad(format!("{name} must be one of {}", allowed.join(", "))))
        }
        _ => Ok(()),
    }
}

fn whole(parameters: &Map<String, Value>, name: &str, least: i64, most: i64) -> Result<Option<u32>, Refusal> {
    match parameters.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let number = value.as_i64().filter(|number| (least..=most).contains(number));
            let number = number.and_then(|number| u32::try_from(number).ok());
            number.map(Some).ok_or_else(|| Refusal::bad(format!("{name} must be between {least} and {most}")))
        }
    }
}
