//! Masks. Callers give them in OpenAI's convention, a picture whose transparent pixels are to be changed; some providers
//! want black and white instead, white being what is changed.

use super::bitmap::Bitmap;
use super::decode;
use super::encode;
use super::{Flaw, Format, Limits, Picture};
use bytes::Bytes;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

/// Less opaque than this is to be changed. Recraft takes pure black and white only, so there is nothing in between.
const HALF: u8 = 128;

/// Checks a mask and makes it a PNG, whatever it was: OpenAI takes no other.
///
/// # Errors
/// [`Flaw::Broken`] when it cannot be decoded, or marks nothing.
pub fn clear_mask(mask: &Picture, limits: &Limits) -> Result<Picture, Flaw> {
    let pixels = decode::still(mask, limits)?.pixels;
    if !marks(&pixels) {
        return Err(Flaw::broken("the mask has no transparent pixels, and those mark what to edit"));
    }
    if mask.facts.format == Format::Png && !mask.facts.animated {
        return Ok(mask.clone());
    }
    let file = encode::still(pixels, None, Format::Png, None, &mut Vec::new())?;
    Picture::verify(Bytes::from(file), limits)
}

/// The same mask in black and white: a grey PNG in which white is what is changed.
///
/// # Errors
/// [`Flaw::Broken`] when it cannot be decoded.
pub fn white_mask(mask: &Picture, limits: &Limits) -> Result<Picture, Flaw> {
    let pixels = decode::still(mask, limits)?.pixels;
    let grey: Vec<u8> = if pixels.alpha {
        pixels.data.as_chunks::<4>().0.iter().map(|[.., alpha]| if *alpha < HALF { u8::MAX } else { 0 }).collect()
    } else {
        vec![0; pixels.data.len() / 3]
    };
    let mut file = Vec::new();
    let encoder = PngEncoder::new(&mut file);
    encoder.write_image(&grey, pixels.size.width, pixels.size.height, ExtendedColorType::L8).map_err(Flaw::encoding)?;
    Picture::verify(Bytes::from(file), limits)
}

/// Whether any pixel is to be changed.
fn marks(pixels: &Bitmap) -> bool {
    pixels.alpha && pixels.data.as_chunks::<4>().0.iter().any(|[.., alpha]| *alpha < HALF)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Size;

    fn picture(alpha: bool, pixel: impl Fn(u32) -> u8, format: Format) -> Picture {
        let size = Size::new(8, 2);
        let colour = |x: u32| if alpha { vec![9, 9, 9, pixel(x)] } else { vec![pixel(x); 3] };
        let data = (0..16).flat_map(|at| colour(at % 8)).collect();
        let pixels = Bitmap::new(size, data, alpha).unwrap();
        let file = encode::still(pixels, None, format, None, &mut Vec::new()).unwrap();
        Picture::verify(Bytes::from(file), &Limits::default()).unwrap()
    }

    #[test]
    fn transparent_becomes_white() {
        let mask = picture(true, |x| if x < 4 { 0 } else { 255 }, Format::Png);
        let white = white_mask(&mask, &Limits::default()).unwrap();
        let read = image::load_from_memory(&white.bytes).unwrap();
        assert_eq!(read.color(), image::ColorType::L8);
        assert_eq!(&read.into_luma8().into_raw()[..8], &[255, 255, 255, 255, 0, 0, 0, 0]);
    }

    #[test]
    fn a_mask_must_mark_something() {
        let limits = Limits::default();
        for (opaque, alpha) in
            [(picture(true, |_| 255, Format::Png), true), (picture(false, |_| 0, Format::Png), false)]
        {
            let flaw = clear_mask(&opaque, &limits).unwrap_err();
            assert!(flaw.to_string().contains("no transparent pixels"), "{alpha}: {flaw}");
        }
        let mask = picture(true, |x| if x == 7 { 0 } else { 255 }, Format::Png);
        assert_eq!(clear_mask(&mask, &limits).unwrap().bytes, mask.bytes, "untouched");
        let webp = picture(true, |x| if x < 4 { 0 } else { 255 }, Format::Webp);
        assert_eq!(clear_mask(&webp, &limits).unwrap().facts.format, Format::Png);
    }
}
