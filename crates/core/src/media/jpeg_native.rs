//! JPEG through libjpeg-turbo: half the time of the Rust codecs, for builds that may have a C toolchain.

use super::Size;
use super::bitmap::Bitmap;
use turbojpeg::{Compressor, Decompressor, Image, PixelFormat, Subsamp};

/// A progressive file of more scans than this wants to keep us busy.
const MOST_SCANS: u32 = 100;

/// Decodes to RGB. `None` for whatever this codec cannot do (CMYK, another size than inspected): the other one tries.
pub(super) fn decode(bytes: &[u8], size: Size) -> Option<Bitmap> {
    let mut decoder = Decompressor::new().ok()?;
    let header = decoder.read_header(bytes).ok()?;
    let (width, height) = (usize::try_from(size.width).ok()?, usize::try_from(size.height).ok()?);
    if (header.width, header.height) != (width, height) {
        return None;
    }
    decoder.set_scan_limit(MOST_SCANS).ok()?;
    let pitch = width.checked_mul(3)?;
    let mut data = vec![0; pitch.checked_mul(height)?];
    let image = Image { pixels: &mut data[..], width, pitch, height, format: PixelFormat::RGB };
    decoder.decompress(bytes, image).ok()?;
    Bitmap::new(size, data, false).ok()
}

/// Encodes RGB, with full or halved colour resolution. `None` when it cannot.
pub(super) fn encode(pixels: &Bitmap, profile: Option<&[u8]>, quality: u8, full: bool) -> Option<Vec<u8>> {
    let (width, height) = (usize::try_from(pixels.size.width).ok()?, usize::try_from(pixels.size.height).ok()?);
    let mut encoder = Compressor::new().ok()?;
    encoder.set_quality(i32::from(quality.max(1))).ok()?;
    encoder.set_subsamp(if full { Subsamp::None } else { Subsamp::Sub2x2 }).ok()?;
    let image =
        Image { pixels: &pixels.data[..], width, pitch: width.checked_mul(3)?, height, format: PixelFormat::RGB };
    let file = encoder.compress_to_vec(image).ok()?;
    match profile {
        Some(profile) => profiled(&file, profile),
        None => Some(file),
    }
}

/// Puts an ICC profile behind the first segment (JFIF) of a finished file; this codec writes none.
fn profiled(file: &[u8], profile: &[u8]) -> Option<Vec<u8>> {
    const MOST: usize = 65_535 - 2 - 14;
    let parts = u8::try_from(profile.chunks(MOST).len()).ok()?;
    let [_, _, 0xff, 0xe0, high, low, ..] = *file else { return None };
    let (head, rest) = file.split_at_checked(4 + usize::from(u16::from_be_bytes([high, low])))?;
    let mut out = Vec::with_capacity(file.len() + profile.len() + 18 * usize::from(parts));
    out.extend_from_slice(head);
    for (part, number) in profile.chunks(MOST).zip(1..=parts) {
        out.extend_from_slice(&[0xff, 0xe2]);
        out.extend_from_slice(&u16::try_from(part.len() + 16).ok()?.to_be_bytes());
        out.extend_from_slice(b"ICC_PROFILE\0");
        out.extend_from_slice(&[number, parts]);
        out.extend_from_slice(part);
    }
    out.extend_from_slice(rest);
    Some(out)
}
