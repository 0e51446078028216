//! One format to another, saying what was lost on the way. Same format and nothing asked: the same bytes.

use super::bitmap::Bitmap;
use super::decode::{self, Frame, Reel, Still};
use super::inspect::{Structure, examine};
use super::resize::{Resize, resize};
use super::sides::fits;
use super::{Flaw, Format, Limits, Picture, Size, colour, encode, gif, vector};
use bytes::Bytes;

/// What a picture shall become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipe {
    /// The format of the result. SVG only as it came.
    pub format: Format,
    /// The pixels of the result; as they came when `None`.
    pub resize: Option<Resize>,
    /// What an SVG that becomes pixels is drawn into; its own size when `None`.
    pub canvas: Option<Size>,
    /// 0 (smallest) to 100 (best), for formats that lose. `None` is 85, and 80 for AVIF, which looks as good there.
    pub quality: Option<u8>,
}

impl Recipe {
    /// That format, and nothing else.
    pub const fn new(format: Format) -> Self {
        Self { format, resize: None, canvas: None, quality: None }
    }
}

/// A picture that became another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcoded {
    /// The result, inspected.
    pub picture: Picture,
    /// What was lost, in words for the user. Empty when nothing was.
    pub notes: Vec<&'static str>,
}

/// The provenance manifest is bound to the bytes; a copy in other bytes would be a false one.
const UNCREDITED: &str = "content credentials (C2PA) removed by re-encoding";
const STILLED: &str = "animation reduced to its first frame";
const SHALLOW: &str = "16-bit colours reduced to 8 bits";
const KEPT: &str = "AVIF cannot be encoded again, its quality is as it came";

/// Decodes and encodes. Blocks for tens to hundreds of milliseconds: run it in [`super::Workers`].
///
/// # Errors
/// [`Flaw::Broken`] when the source cannot be decoded (AVIF never can) or the target cannot hold it.
pub fn transcode(picture: &Picture, recipe: &Recipe, limits: &Limits) -> Result<Transcoded, Flaw> {
    let (facts, structure) = examine(&&picture.bytes[..], limits)?;
    let picture = Picture { bytes: picture.bytes.clone(), facts };
    let (from, to) = (facts.format, recipe.format);
    let resized = recipe.resize.filter(|resize| resize.size != facts.size);
    let kept = recipe.quality.is_none() || !from.lossy() || from == Format::Avif;
    if from == to && kept && resized.is_none() {
        let notes = if from == Format::Avif && recipe.quality.is_some() { vec![KEPT] } else { Vec::new() };
        return Ok(Transcoded { picture, notes });
    }
    if from == Format::Avif || to == Format::Svg {
        return Err(Flaw::Broken(format!("{from} cannot be converted to {to}")));
    }
    let mut notes = Vec::new();
    let moving = facts.animated && from != Format::Png && matches!(to, Format::Gif | Format::Webp);
    let file = if moving {
        let reel = decode::reel(&picture, limits)?;
        animation(reel, &structure, recipe, &mut notes)?
    } else if from == Format::Svg {
        let canvas = resized.map(|resize| resize.size).or(recipe.canvas);
        let pixels = vector::rasterise(&picture, canvas, limits, &mut notes)?;
        let pixels = shaped(pixels, resized, to)?;
        encode::still(pixels, None, to, recipe.quality, &mut notes)?
    } else {
        if facts.animated {
            notes.push(STILLED);
        }
        let Still { mut pixels, profile, deep } = decode::still(&picture, limits)?;
        if deep {
            notes.push(SHALLOW);
        }
        let profile = colour::settle(&mut pixels, profile, &mut notes);
        let pixels = shaped(pixels, resized, to)?;
        encode::still(pixels, profile.as_deref(), to, recipe.quality, &mut notes)?
    };
    if structure.credentials {
        notes.push(UNCREDITED);
    }
    Ok(Transcoded { picture: Picture::verify(Bytes::from(file), limits)?, notes })
}

fn shaped(pixels: Bitmap, to: Option<Resize>, format: Format) -> Result<Bitmap, Flaw> {
    match to {
        Some(to) => resize(pixels, to, format.alpha()),
        None => Ok(pixels),
    }
}

/// Writes the frames one after the other, so that only two are in memory.
fn animation(
    reel: Reel<'_>,
    structure: &Structure,
    recipe: &Recipe,
    notes: &mut Vec<&'static str>,
) -> Result<Vec<u8>, Flaw> {
    let mut frames = reel.frames;
    let mut first = frames.next().ok_or_else(|| Flaw::broken("the animation has no frames"))??;
    let profile = colour::settle(&mut first.pixels, reel.profile, notes);
    // An orientation may have turned the frames, so the size is theirs.
    let size = recipe.resize.map_or(first.pixels.size, |resize| resize.size);
    fits(size, recipe.format)?;
    let frames = std::iter::once(Ok(first)).chain(frames).map(|frame| {
        let Frame { pixels, delay } = frame?;
        Ok(Frame { pixels: shaped(pixels, recipe.resize, recipe.format)?, delay })
    });
    if recipe.format == Format::Gif {
        let mut writer = gif::Writer::open(size, structure.plays)?;
        for frame in frames {
            let mut frame: Frame = frame?;
            if let Some(profile) = &profile {
                colour::to_srgb(&mut frame.pixels, profile)?;
            }
            writer.add(&frame.pixels, frame.delay)?;
        }
        let (file, reduced) = writer.finish()?;
        if reduced {
            notes.push(encode::REDUCED);
        }
        return Ok(file);
    }
    let plays = structure.plays.min(u16::MAX.into());
    let mut encoder =
        webpx::AnimationEncoder::with_options(size.width, size.height, false, plays).map_err(Flaw::encoding)?;
    encoder.set_quality(encode::webp_quality(recipe.quality));
    if let Some(profile) = profile {
        encoder.set_icc_profile(profile);
    }
    let mut at = 0i32;
    for frame in frames {
        let frame = frame?;
        encoder.add_frame_rgba(&frame.pixels.data, at).map_err(Flaw::encoding)?;
        at = at.saturating_add_unsigned(frame.delay);
    }
    encoder.finish(at).map_err(Flaw::encoding)
}

#[cfg(test)]
mod tests;
