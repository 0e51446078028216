//! What a file is, how large, and whether all of it is there: told from headers and structure, never from pixels.
//! Works the same on bytes and on base64 that nobody has decoded; of the latter it decodes only the places it looks at.

mod avif;
mod gif;
mod jpeg;
mod png;
mod source;
mod svg;
mod webp;

use super::{Format, Size};
use source::{Encoded, Source};

/// How large a picture we are willing to decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Pixels of one frame. All frames together may have twice as many.
    pub max_pixels: u64,
    /// Frames of an animation.
    pub max_frames: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_pixels: 50_000_000, max_frames: 512 }
    }
}

/// What a sound file says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The real format, whatever the file was called.
    pub format: Format,
    /// Stored pixels; an EXIF orientation does not swap them.
    pub size: Size,
    /// Whether it has more than one frame.
    pub animated: bool,
}

/// Why a picture is refused. The texts are for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Not an image format that we know.
    #[error("not a PNG, JPEG, WebP, GIF, AVIF or SVG image")]
    Unknown,
    /// The file stops before its end.
    #[error("the image file is cut off")]
    Truncated,
    /// More pixels than [`Limits`] admits.
    #[error("the image of {size} pixels is larger than the limit of {max} pixels")]
    TooManyPixels {
        /// What the header claims.
        size: Size,
        /// What is admitted, over the frame or over all frames.
        max: u64,
    },
    /// The file contradicts its format, or asks for something that its format cannot do.
    #[error("{0}")]
    Broken(String),
    /// Too many pictures are being worked on.
    #[error("too many images are being processed, try again shortly")]
    Busy,
}

impl Flaw {
    /// A [`Flaw::Broken`] with that text.
    pub(super) fn broken(text: impl Into<String>) -> Self {
        Self::Broken(text.into())
    }

    /// An encoder's complaint.
    pub(super) fn encoding(fault: impl std::fmt::Display) -> Self {
        Self::Broken(format!("the image cannot be encoded: {fault}"))
    }
}

/// What one walk over a file finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Structure {
    /// Stored pixels.
    pub(super) size: Size,
    /// Number of frames, as counted or as claimed by the header.
    pub(super) frames: u32,
    /// Whether viewers animate it.
    pub(super) animated: bool,
    /// How often the animation is played; 0 is for ever.
    pub(super) plays: u32,
    /// Whether it carries content credentials (a C2PA manifest).
    pub(super) credentials: bool,
}

impl Structure {
    /// A still picture of that size. Refuses an empty one.
    fn still(width: u32, height: u32) -> Result<Self, Flaw> {
        if width == 0 || height == 0 {
            return Err(Flaw::broken("the image has no pixels"));
        }
        Ok(Self { size: Size::new(width, height), frames: 1, animated: false, plays: 1, credentials: false })
    }
}

/// The format by its first bytes; a few dozen do, except that an SVG may open with comments.
pub fn sniff(head: &[u8]) -> Option<Format> {
    match head {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Format::Png),
        [0xff, 0xd8, 0xff, ..] => Some(Format::Jpeg),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Format::Webp),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Format::Gif),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => avif::branded(head).then_some(Format::Avif),
        _ => svg::root(head).map(|_| Format::Svg),
    }
}

/// Reads headers and walks the structure to its end.
///
/// # Errors
/// Every [`Flaw`] but `Busy`.
pub fn inspect(bytes: &[u8], limits: &Limits) -> Result<Facts, Flaw> {
    examine(&bytes, limits).map(|(facts, _)| facts)
}

/// [`inspect`] for a file in standard padded base64. The whole alphabet is validated, nothing but headers is decoded.
///
/// # Errors
/// As [`inspect`]; base64 with a foreign character, white space or wrong padding is [`Flaw::Broken`].
pub fn inspect_base64(text: &[u8], limits: &Limits) -> Result<Facts, Flaw> {
    examine(&Encoded::new(text)?, limits).map(|(facts, _)| facts)
}

/// Facts and structure of an admissible file.
pub(super) fn examine(source: &impl Source, limits: &Limits) -> Result<(Facts, Structure), Flaw> {
    let format = sniff(&source.head(source::HEAD)).ok_or(Flaw::Unknown)?;
    let structure = match format {
        Format::Png => png::walk(source),
        Format::Jpeg => jpeg::walk(source),
        Format::Webp => webp::walk(source),
        Format::Gif => gif::walk(source, limits),
        Format::Avif => avif::walk(source),
        Format::Svg => svg::walk(source),
    }?;
    admit(&structure, limits)?;
    Ok((Facts { format, size: structure.size, animated: structure.animated }, structure))
}

fn admit(structure: &Structure, limits: &Limits) -> Result<(), Flaw> {
    let Structure { size, frames, .. } = *structure;
    if size.area() > limits.max_pixels {
        return Err(Flaw::TooManyPixels { size, max: limits.max_pixels });
    }
    if frames > limits.max_frames {
        let most = limits.max_frames;
        return Err(Flaw::Broken(format!("the animation has {frames} frames, the limit is {most}")));
    }
    let most = limits.max_pixels.saturating_mul(2);
    if size.area().saturating_mul(frames.into()) > most {
        return Err(Flaw::Broken(format!(
            "the animation of {frames} frames of {size} has more than {most} pixels in total"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
