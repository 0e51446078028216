//! The body of an image call, read as MiniMax reads it: the first mistake is told.

use super::super::easel::Motif;
use crate::catalog::Route;
use crate::media::{Format, Limits, Size, inspect};
use serde_json::{Map, Value};
use std::sync::Arc;

/// The shapes and their pixels.
const SHAPES: [(&str, Size); 8] = [
    ("1:1", Size::new(1024, 1024)),
    ("16:9", Size::new(1280, 720)),
    ("4:3", Size::new(1152, 864)),
    ("3:2", Size::new(1248, 832)),
    ("2:3", Size::new(832, 1248)),
    ("3:4", Size::new(864, 1152)),
    ("9:16", Size::new(720, 1280)),
    ("21:9", Size::new(1344, 576)),
];

/// Most pictures in a call, longest prompt.
const MOST: u64 = 9;
const LONGEST: usize = 1_500;

/// A legal call.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) prompt: Arc<str>,
    pub(super) count: u32,
    pub(super) size: Size,
    /// Whether pictures come as base64 in the answer.
    pub(super) inline: bool,
    /// The body as it was sent, for prices.
    pub(super) input: Map<String, Value>,
}

impl Order {
    pub(super) fn read(input: Map<String, Value>, route: &Route) -> Result<Self, String> {
        let prompt = input.get("prompt").and_then(Value::as_str).filter(|text| !text.is_empty());
        let prompt: Arc<str> = prompt.ok_or("prompt is required")?.into();
        if prompt.chars().count() > route.max_prompt.unwrap_or(LONGEST) {
            return Err("prompt is too long".to_owned());
        }
        let count = whole(&input, "n")?.unwrap_or(1);
        if !(1..=MOST).contains(&count) {
            return Err(format!("n must be 1 to {MOST}"));
        }
        let inline = match input.get("response_format").map(Value::as_str) {
            None | Some(Some("url")) => false,
            Some(Some("base64")) => true,
            Some(_) => return Err("response_format must be url or base64".to_owned()),
        };
        check_subjects(&input)?;
        let size = size(&input)?;
        Ok(Self { prompt, count: u32::try_from(count).unwrap_or(1), size, inline, input })
    }

    /// Whether the prompt asks for an end without pictures.
    pub(super) fn doomed(&self) -> bool {
        self.prompt.contains("[refuse]") || self.prompt.contains("[fail]")
    }

    pub(super) fn motif(&self, index: u32) -> Motif {
        Motif { prompt: Arc::clone(&self.prompt), index, size: self.size, format: Format::Jpeg, black: false }
    }
}

fn whole(input: &Map<String, Value>, name: &str) -> Result<Option<u64>, String> {
    match input.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_u64().map(Some).ok_or_else(|| format!("{name} must be an integer")),
    }
}

/// A shape wins over sides; sides come both or not at all.
fn size(input: &Map<String, Value>) -> Result<Size, String> {
    let (width, height) = (whole(input, "width")?, whole(input, "height")?);
    if let Some(shape) = input.get("aspect_ratio").and_then(Value::as_str) {
        let known = SHAPES.iter().find(|(name, _)| *name == shape);
        return known.map(|(_, size)| *size).ok_or_else(|| format!("aspect_ratio '{shape}' is not supported"));
    }
    match (width, height) {
        (None, None) => Ok(SHAPES[0].1),
        (Some(width), Some(height)) => {
            let fits = |side: u64| (512..=2048).contains(&side) && side.is_multiple_of(8);
            let sides = (u32::try_from(width), u32::try_from(height));
            match sides {
                (Ok(across), Ok(down)) if fits(width) && fits(height) => Ok(Size::new(across, down)),
                _ => Err("width and height must be multiples of 8 from 512 to 2048".to_owned()),
            }
        }
        _ => Err("width and height must be set together".to_owned()),
    }
}

/// Persons to draw: links on trust, data URIs looked at.
fn check_subjects(input: &Map<String, Value>) -> Result<(), String> {
    let Some(subjects) = input.get("subject_reference") else { return Ok(()) };
    let subjects = subjects.as_array().ok_or("subject_reference must be a list")?;
    for subject in subjects {
        if subject["type"] != "character" {
            return Err("subject_reference type must be character".to_owned());
        }
        let file = subject["image_file"].as_str().ok_or("subject_reference image_file is required")?;
        let data = file.split_once(";base64,").map(|(_, text)| base64_simd::STANDARD.decode_to_vec(text).ok());
        let sound = match data {
            None => file.starts_with("http"),
            Some(data) => data
                .and_then(|data| inspect(&data, &Limits::default()).ok())
                .is_some_and(|facts| matches!(facts.format, Format::Png | Format::Jpeg)),
        };
        if !sound {
            return Err("subject_reference image_file must be a JPEG or PNG picture".to_owned());
        }
    }
    Ok(())
}
