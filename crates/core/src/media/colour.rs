//! Colour profiles: kept where the target can carry one, applied where it cannot.

use super::Flaw;
use super::bitmap::Bitmap;
use moxcms::{ColorProfile, DataColorSpace, Layout, TransformOptions};

/// What became of a profile that was read beside pixels.
pub(super) const DROPPED: &str = "colour profile dropped, it does not fit the pixels";

/// Makes pixels and profile agree: an RGB profile is returned to be kept, a grey one is applied and gone, any other
/// (CMYK, whose pixels the decoder made RGB, or an unreadable one) is dropped with a note.
pub(super) fn settle(pixels: &mut Bitmap, profile: Option<Vec<u8>>, notes: &mut Vec<&'static str>) -> Option<Vec<u8>> {
    let profile = profile?;
    match ColorProfile::new_from_slice(&profile) {
        Ok(read) if read.color_space == DataColorSpace::Rgb => return Some(profile),
        Ok(read) if read.color_space == DataColorSpace::Gray && apply_grey(pixels, &read).is_some() => {}
        _ => notes.push(DROPPED),
    }
    None
}

/// Converts RGB pixels of that profile to sRGB. A profile that cannot be applied leaves them as they are.
pub(super) fn to_srgb(pixels: &mut Bitmap, profile: &[u8]) -> Result<(), Flaw> {
    let layout = if pixels.alpha { Layout::Rgba } else { Layout::Rgb };
    let converted = ColorProfile::new_from_slice(profile).ok().and_then(|read| {
        let options = TransformOptions::default();
        let transform = read.create_transform_8bit(layout, &ColorProfile::new_srgb(), layout, options).ok()?;
        let mut out = vec![0; pixels.data.len()];
        transform.transform(&pixels.data, &mut out).ok()?;
        Some(out)
    });
    if let Some(data) = converted {
        *pixels = Bitmap::new(pixels.size, data, pixels.alpha)?;
    }
    Ok(())
}

/// Grey pixels, three times the same byte each, of a grey profile to sRGB.
fn apply_grey(pixels: &mut Bitmap, profile: &ColorProfile) -> Option<()> {
    let channels = pixels.channels();
    let greys: Vec<u8> = pixels.data.iter().step_by(channels).copied().collect();
    let srgb = ColorProfile::new_srgb();
    let transform =
        profile.create_transform_8bit(Layout::Gray, &srgb, Layout::Rgb, TransformOptions::default()).ok()?;
    let mut out = vec![0; greys.len().checked_mul(3)?];
    transform.transform(&greys, &mut out).ok()?;
    for (pixel, [red, green, blue]) in pixels.data.chunks_exact_mut(channels).zip(out.as_chunks::<3>().0) {
        if let [r, g, b, ..] = pixel {
            (*r, *g, *b) = (*red, *green, *blue);
        }
    }
    Some(())
}
