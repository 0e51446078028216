//! What Stability's routes take, and the checks that they make.

use super::super::form::Form;
use super::error::Refusal;
use crate::media::{Facts, Format, Ratio, Size};
use axum::http::{HeaderMap, header};
use std::sync::Arc;

const RATIOS: [&str; 9] = ["16:9", "1:1", "21:9", "2:3", "3:2", "4:5", "5:4", "9:16", "9:21"];
const PRESETS: [&str; 17] = [
    "3d-model",
    "analog-film",
    "anime",
    "cinematic",
    "comic-book",
    "digital-art",
    "enhance",
    "fantasy-art",
    "isometric",
    "line-art",
    "low-poly",
    "modeling-compound",
    "neon-punk",
    "origami",
    "photographic",
    "pixel-art",
    "tile-texture",
];
const LONGEST_PROMPT: usize = 10_000;
const MOST_PIXELS: u64 = 9_437_184;

/// A legal request.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) prompt: Arc<str>,
    pub(super) size: Size,
    pub(super) format: Format,
    pub(super) seed: u32,
    /// Base64 in JSON instead of the file itself.
    pub(super) json: bool,
}

impl Order {
    /// Reads the form as that route's request.
    pub(super) fn read(form: &Form, upstream: &str, headers: &HeaderMap) -> Result<Self, Refusal> {
        let json = accepts_json(headers)?;
        let prompt = prompt(form, upstream)?;
        check_numbers(form, upstream)?;
        form.one_of("style_preset", &PRESETS).map_err(Refusal::bad)?;
        let image = image(form)?;
        let size = match image {
            Some(image) => edited(form, upstream, image)?,
            None if upstream.starts_with("generate/") || upstream.starts_with("sd3") => shaped(form, upstream)?,
            None => return Err(Refusal::bad("image: is required")),
        };
        let seed = form.number("seed", 0.0, 4_294_967_294.0).map_err(Refusal::bad)?.unwrap_or(0.0);
        let seed = format!("{seed}").parse().map_err(|_| Refusal::bad("seed: must be an integer"))?;
        let seed = if seed == 0 { 1_234_567 } else { seed };
        Ok(Self { prompt: prompt.into(), size, format: format(form, upstream)?, seed, json })
    }
}

fn accepts_json(headers: &HeaderMap) -> Result<bool, Refusal> {
    match headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()) {
        Some("application/json") => Ok(true),
        None | Some("image/*" | "*/*") => Ok(false),
        Some(_) => Err(Refusal::bad("accept: must be image/* or application/json")),
    }
}

/// The routes that only look at a picture take no prompt; the route's name is drawn instead.
fn prompt<'a>(form: &'a Form, upstream: &'a str) -> Result<&'a str, Refusal> {
    let needed = match upstream {
        "edit/search-and-replace" => &["prompt", "search_prompt"][..],
        "edit/search-and-recolor" => &["prompt", "select_prompt"],
        "edit/erase" | "edit/remove-background" | "edit/outpaint" | "upscale/fast" => &[],
        _ => &["prompt"],
    };
    for name in needed {
        match form.text(name).map(|text| text.chars().count()) {
            None | Some(0) => return Err(Refusal::bad(format!("{name}: is required"))),
            Some(length) if length > LONGEST_PROMPT => {
                return Err(Refusal::bad(format!("{name}: cannot exceed {LONGEST_PROMPT} characters")));
            }
            Some(_) => {}
        }
    }
    Ok(form.text("prompt").unwrap_or(upstream))
}

fn check_numbers(form: &Form, upstream: &str) -> Result<(), Refusal> {
    for (name, least, most) in [
        ("cfg_scale", 1.0, 10.0),
        ("strength", 0.0, 1.0),
        ("control_strength", 0.0, 1.0),
        ("fidelity", 0.0, 1.0),
        ("creativity", 0.0, 1.0),
        ("grow_mask", 0.0, 100.0),
    ] {
        form.number(name, least, most).map_err(Refusal::bad)?;
    }
    let turned =
        form.one_of("mode", &["text-to-image", "image-to-image"]).map_err(Refusal::bad)? == Some("image-to-image");
    let pictured = form.files("image").next().is_some();
    if upstream.starts_with("sd3") && turned != pictured {
        return Err(Refusal::bad("mode: image-to-image and image go together"));
    }
    if pictured && (upstream.starts_with("sd3") || upstream == "generate/ultra") {
        form.text("strength").ok_or_else(|| Refusal::bad("strength: is required with an image"))?;
        if turned && form.text("aspect_ratio").is_some() {
            return Err(Refusal::bad("aspect_ratio: is not allowed in image-to-image"));
        }
    }
    Ok(())
}

/// At least 64 pixels a side, at most 9.4 megapixels.
fn image(form: &Form) -> Result<Option<Facts>, Refusal> {
    let Some(facts) = form.picture("image").map_err(Refusal::bad)? else { return Ok(None) };
    if facts.size.width.min(facts.size.height) < 64 || facts.size.area() > MOST_PIXELS {
        return Err(Refusal::bad("image: must have at least 64 pixels a side and at most 9,437,184 in all"));
    }
    let taken = matches!(facts.format, Format::Png | Format::Jpeg | Format::Webp);
    if taken { Ok(Some(facts)) } else { Err(Refusal::bad("image: must be JPEG, PNG or WebP")) }
}

/// The size of what becomes of a picture.
fn edited(form: &Form, upstream: &str, image: Facts) -> Result<Size, Refusal> {
    let Size { width, height } = image.size;
    if let Some(mask) = form.picture("mask").map_err(Refusal::bad)?
        && mask.size != image.size
    {
        return Err(Refusal::bad("mask: must have the size of the image"));
    }
    match upstream {
        "edit/outpaint" => {
            let side = |name: &str| form.number(name, 0.0, 2000.0).map_err(Refusal::bad);
            let whole = |side: Option<f64>| side.and_then(|side| format!("{side}").parse::<u32>().ok()).unwrap_or(0);
            let across = whole(side("left")?) + whole(side("right")?);
            let down = whole(side("up")?) + whole(side("down")?);
            if across + down == 0 {
                return Err(Refusal::bad("at least one of left, right, up, down must be non-zero"));
            }
            Ok(Size::new(width + across, height + down))
        }
        "upscale/fast" => Ok(Size::new(4 * width, 4 * height)),
        "upscale/conservative" => Ok(Size::of_ratio(image.size.ratio(), 2048.0)),
        _ => Ok(image.size),
    }
}

/// About a megapixel, one and a half of core's, on a grid of 64.
fn shaped(form: &Form, upstream: &str) -> Result<Size, Refusal> {
    let ratio = form.one_of("aspect_ratio", &RATIOS).map_err(Refusal::bad)?.unwrap_or("1:1");
    let edge = if upstream == "generate/core" { 1254.0 } else { 1024.0 };
    let free = Size::of_ratio(Ratio::parse(ratio).map_or(1.0, |ratio| ratio.value()), edge);
    let grid = |side: u32| (side + 32) / 64 * 64;
    Ok(Size::new(grid(free.width), grid(free.height)))
}

fn format(form: &Form, upstream: &str) -> Result<Format, Refusal> {
    let names: &[&str] = match upstream {
        "edit/remove-background" => &["png", "webp"],
        _ if upstream.starts_with("sd3") => &["png", "jpeg"],
        _ => &["png", "jpeg", "webp"],
    };
    let said = form.one_of("output_format", names).map_err(Refusal::bad)?;
    Ok(said.and_then(Format::parse).unwrap_or(Format::Png))
}
