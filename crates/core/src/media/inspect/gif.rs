//! GIF: a screen, then blocks up to the trailer.

use super::source::Source;
use super::{Flaw, Limits, Structure};
use crate::media::Size;

/// Walks every block, and every sub-block in them.
pub(super) fn walk(file: &impl Source, limits: &Limits) -> Result<Structure, Flaw> {
    let [w0, w1, h0, h1, flags, _, _] = file.bytes(6)?;
    let (width, height) = (u16::from_le_bytes([w0, w1]), u16::from_le_bytes([h0, h1]));
    let mut found = Structure { frames: 0, ..Structure::still(width.into(), height.into())? };
    let mut at = 13 + table(flags);
    loop {
        match file.bytes::<1>(at)? {
            [0x21] => {
                let [label] = file.bytes(at + 1)?;
                if label == 0xff {
                    application(file, at + 2, &mut found)?;
                }
                at = skip(file, at + 2)?;
            }
            [0x2c] => {
                let [w0, w1, h0, h1, flags] = file.bytes(at + 5)?;
                let size = Size::new(u16::from_le_bytes([w0, w1]).into(), u16::from_le_bytes([h0, h1]).into());
                // A frame may be larger than the screen, and decoders allocate it.
                if size.area() > limits.max_pixels {
                    return Err(Flaw::TooManyPixels { size, max: limits.max_pixels });
                }
                found.frames += 1;
                at = skip(file, at + 10 + table(flags) + 1)?;
            }
            [0x3b] if found.frames > 0 => break,
            [0x3b] => return Err(Flaw::broken("the GIF holds no pixels")),
            _ => return Err(Flaw::broken("the GIF has an unknown block")),
        }
    }
    found.animated = found.frames > 1;
    Ok(found)
}

/// Bytes of a colour table.
fn table(flags: u8) -> u64 {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
}

/// The place after the sub-blocks that start at `at`.
fn skip(file: &impl Source, mut at: u64) -> Result<u64, Flaw> {
    loop {
        let [length] = file.bytes(at)?;
        at += 1 + u64::from(length);
        if length == 0 {
            return Ok(at);
        }
    }
}

/// Application extensions say how often to play, and carry content credentials.
fn application(file: &impl Source, at: u64, found: &mut Structure) -> Result<(), Flaw> {
    let [length, name @ ..] = file.bytes::<9>(at)?;
    match &name {
        b"NETSCAPE" if length == 11 => {
            if let [3, 1, low, high] = file.bytes(at + 12)? {
                // The file counts repetitions after the first play.
                let again = u32::from(u16::from_le_bytes([low, high]));
                found.plays = if again == 0 { 0 } else { again + 1 };
            }
        }
        b"C2PA_GIF" => found.credentials = true,
        _ => {}
    }
    Ok(())
}
