//! What Ideogram's endpoints take, and the checks that they make.

use super::super::form::Form;
use crate::catalog::{Route, SizeRule};
use crate::media::{Format, Ratio, Size};
use serde_json::{Map, Value};
use std::sync::Arc;

const RATIOS: [&str; 15] =
    ["1x3", "3x1", "1x2", "2x1", "9x16", "16x9", "10x16", "16x10", "2x3", "3x2", "3x4", "4x3", "4x5", "5x4", "1x1"];
const LEGACY_RATIOS: [&str; 11] = ["10_16", "16_10", "9_16", "16_9", "3_2", "2_3", "4_3", "3_4", "1_1", "1_3", "3_1"];
const STYLES: [&str; 5] = ["AUTO", "GENERAL", "REALISTIC", "DESIGN", "FICTION"];
const MOST_SEEDS: f64 = 2_147_483_647.0;

/// A legal request.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) prompt: Arc<str>,
    pub(super) n: u32,
    pub(super) size: Size,
    pub(super) seed: u64,
    pub(super) style: Option<String>,
    pub(super) speed: Option<String>,
    /// Whether the prompt is rewritten on the way.
    magic: bool,
    /// Whether the answer says what kind of result it holds, as 4.0's does.
    pub(super) typed: bool,
}

impl Order {
    /// Generation with 3.0 and 4.0.
    pub(super) fn form(form: &Form, route: &Route) -> Result<Self, String> {
        if route.upstream == "ideogram-v4" { Self::fourth(form, route) } else { Self::third(form, route) }
    }

    /// The same, from a picture.
    pub(super) fn remix(form: &Form, route: &Route) -> Result<Self, String> {
        let image = form.picture("image")?.ok_or("image: is required")?;
        if !matches!(image.format, Format::Png | Format::Jpeg | Format::Webp) {
            return Err("image: only JPEG, WebP and PNG formats are supported".to_owned());
        }
        form.number("image_weight", 0.0, 100.0)?;
        let order = Self::form(form, route)?;
        let shaped = form.names().any(|name| matches!(name, "resolution" | "aspect_ratio"));
        Ok(if shaped { order } else { Self { size: image.size, ..order } })
    }

    fn third(form: &Form, route: &Route) -> Result<Self, String> {
        let prompt = form.text("prompt").filter(|prompt| !prompt.is_empty()).ok_or("prompt: is required")?;
        let speed = form.one_of("rendering_speed", &["FLASH", "TURBO", "DEFAULT", "QUALITY"])?;
        let magic = form.one_of("magic_prompt", &["AUTO", "ON", "OFF"])? != Some("OFF");
        let style = form.one_of("style_type", &STYLES)?;
        check_codes(form, style)?;
        if let Some(text) = form.text("color_palette") {
            serde_json::from_str::<Map<String, Value>>(text).map_err(|_| "color_palette: must be JSON")?;
        }
        let size = match (form.text("resolution"), form.one_of("aspect_ratio", &RATIOS)?) {
            (Some(_), Some(_)) => return Err("resolution and aspect_ratio are mutually exclusive".to_owned()),
            (Some(resolution), None) => listed(resolution, route)?,
            (None, ratio) => shaped(&ratio.unwrap_or("1x1").replace('x', ":")),
        };
        Ok(Self {
            prompt: prompt.into(),
            n: whole(form.number("num_images", 1.0, 8.0)?.unwrap_or(1.0))?,
            size,
            seed: whole(form.number("seed", 0.0, MOST_SEEDS)?.unwrap_or(12_345.0))?.into(),
            style: Some(style.unwrap_or("GENERAL").to_owned()),
            speed: speed.map(str::to_owned),
            magic,
            typed: false,
        })
    }

    fn fourth(form: &Form, route: &Route) -> Result<Self, String> {
        let (prompt, magic) = match (form.text("text_prompt"), form.text("json_prompt")) {
            (Some(prompt), None) if !prompt.is_empty() => (prompt, true),
            (None, Some(prompt)) => (prompt, false),
            _ => return Err("exactly one of text_prompt and json_prompt is required".to_owned()),
        };
        let speed = form.one_of("rendering_speed", &["TURBO", "DEFAULT", "QUALITY"])?;
        let size = match form.text("resolution") {
            Some(resolution) => listed(resolution, route)?,
            None => Size::new(2048, 2048),
        };
        let (prompt, speed) = (prompt.into(), speed.map(str::to_owned));
        Ok(Self { prompt, n: 1, size, seed: 12_345, style: None, speed, magic, typed: true })
    }

    /// V1 and V2.
    pub(super) fn legacy(body: &Map<String, Value>, route: &Route) -> Result<Self, String> {
        let text = |name: &str| body.get(name).and_then(Value::as_str);
        let prompt = text("prompt").filter(|prompt| !prompt.is_empty()).ok_or("prompt: is required")?;
        let ratio = text("aspect_ratio").unwrap_or("ASPECT_1_1");
        let ratio = ratio.strip_prefix("ASPECT_").filter(|ratio| LEGACY_RATIOS.contains(ratio));
        let ratio = ratio.ok_or("aspect_ratio: unknown value")?.replace('_', ":");
        let n = body.get("num_images").map_or(Some(1), Value::as_u64).filter(|n| (1..=8).contains(n));
        let n = n.and_then(|n| u32::try_from(n).ok()).ok_or("num_images: must be 1 to 8")?;
        Ok(Self {
            prompt: prompt.into(),
            n: n.min(route.max_n),
            size: shaped(&ratio),
            seed: body.get("seed").and_then(Value::as_u64).unwrap_or(12_345),
            style: Some(text("style_type").unwrap_or("GENERAL").to_owned()),
            speed: None,
            magic: text("magic_prompt_option") != Some("OFF"),
            typed: false,
        })
    }

    /// The prompt as it was used.
    pub(super) fn told(&self) -> String {
        if self.magic { format!("A detailed picture of {}", self.prompt) } else { self.prompt.to_string() }
    }
}

/// Eight hexadecimal digits each, and not together with a style.
fn check_codes(form: &Form, style: Option<&str>) -> Result<(), String> {
    let Some(code) = form.text("style_codes") else { return Ok(()) };
    if style.is_some() {
        return Err("style_codes cannot be used in conjunction with style_type".to_owned());
    }
    let sound = code.len() == 8 && code.chars().all(|digit| digit.is_ascii_hexdigit());
    if sound { Ok(()) } else { Err("style_codes: must be 8 hexadecimal digits".to_owned()) }
}

/// One of the route's resolutions; a remix takes those of generation.
fn listed(text: &str, route: &Route) -> Result<Size, String> {
    let wrong = || format!("resolution: '{text}' is not supported");
    let size = Size::parse(text).ok_or_else(wrong)?;
    match &route.size {
        SizeRule::List { sizes, .. } if !sizes.contains(&size) => Err(wrong()),
        _ => Ok(size),
    }
}

/// A shape at one megapixel, on a grid of 32.
fn shaped(ratio: &str) -> Size {
    let free = Size::of_ratio(Ratio::parse(ratio).map_or(1.0, |ratio| ratio.value()), 1024.0);
    let grid = |side: u32| (side + 16) / 32 * 32;
    Size::new(grid(free.width), grid(free.height))
}

fn whole(number: f64) -> Result<u32, String> {
    format!("{number}").parse().map_err(|_| "must be a whole number".to_owned())
}
