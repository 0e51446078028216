//! Decoded pixels: rows of RGB or RGBA bytes, alpha not premultiplied.

use super::{Flaw, Size};
use image::DynamicImage;
use image::metadata::Orientation;

/// A picture in memory, three or four bytes a pixel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bitmap {
    /// Pixels across and down; neither is zero.
    pub(super) size: Size,
    /// `size.area()` pixels, row by row.
    pub(super) data: Vec<u8>,
    /// Whether a pixel has a fourth byte, its alpha.
    pub(super) alpha: bool,
}

impl Bitmap {
    /// Of those bytes, which must be exactly as many as the size asks for.
    pub(super) fn new(size: Size, data: Vec<u8>, alpha: bool) -> Result<Self, Flaw> {
        let bitmap = Self { size, data, alpha };
        let fits = size.area().checked_mul(bitmap.channels() as u64) == Some(bitmap.data.len() as u64);
        if size.area() == 0 || !fits {
            return Err(Flaw::broken("the image has another size than it says"));
        }
        Ok(bitmap)
    }

    /// Converts whatever the decoder produced (grey, palette, 16-bit) to eight bits of RGB or RGBA.
    pub(super) fn from_image(image: DynamicImage) -> Result<Self, Flaw> {
        let (size, alpha) = (Size::new(image.width(), image.height()), image.color().has_alpha());
        Self::new(size, if alpha { image.into_rgba8().into_raw() } else { image.into_rgb8().into_raw() }, alpha)
    }

    /// Turns and mirrors the pixels as the EXIF orientation asks.
    pub(super) fn oriented(self, orientation: Orientation) -> Result<Self, Flaw> {
        if orientation == Orientation::NoTransforms {
            return Ok(self);
        }
        let Size { width, height } = self.size;
        let image = if self.alpha {
            image::RgbaImage::from_raw(width, height, self.data).map(DynamicImage::ImageRgba8)
        } else {
            image::RgbImage::from_raw(width, height, self.data).map(DynamicImage::ImageRgb8)
        };
        let mut image = image.ok_or_else(|| Flaw::broken("the image has another size than it says"))?;
        image.apply_orientation(orientation);
        Self::from_image(image)
    }

    /// Bytes a pixel.
    pub(super) fn channels(&self) -> usize {
        if self.alpha { 4 } else { 3 }
    }

    /// Whether any pixel is less than opaque.
    pub(super) fn transparent(&self) -> bool {
        self.alpha && self.data.as_chunks::<4>().0.iter().any(|[_, _, _, alpha]| *alpha < 255)
    }

    /// Lays the picture on white and drops the alpha.
    pub(super) fn flattened(self) -> Self {
        if !self.alpha {
            return self;
        }
        let mut data = Vec::with_capacity(self.data.len() / 4 * 3);
        for [red, green, blue, alpha] in self.data.as_chunks::<4>().0 {
            data.extend_from_slice(&[red, green, blue].map(|colour| on_white(*colour, *alpha)));
        }
        Self { data, alpha: false, ..self }
    }

    /// The colours in a palette of up to `most`, or `None` when there are more. Alpha is ignored.
    pub(super) fn colours(&self, most: usize) -> Option<Vec<[u8; 3]>> {
        // One bit for each of the 2^24 colours: far cheaper than hashing a million pixels.
        let mut seen = vec![0u64; 1 << 18];
        let mut palette = Vec::new();
        let mut last = None;
        for pixel in self.data.chunks_exact(self.channels()) {
            let [red, green, blue, ..] = *pixel else { break };
            if self.alpha && pixel.last().is_some_and(|alpha| *alpha < 128) || last == Some([red, green, blue]) {
                continue;
            }
            last = Some([red, green, blue]);
            let colour = u32::from_be_bytes([0, red, green, blue]) as usize;
            if let Some(word) = seen.get_mut(colour / 64)
                && *word & 1 << (colour % 64) == 0
            {
                *word |= 1 << (colour % 64);
                palette.push([red, green, blue]);
                if palette.len() > most {
                    return None;
                }
            }
        }
        Some(palette)
    }
}

/// `(c·a + 255·(255−a)) / 255`, rounded.
fn on_white(colour: u8, alpha: u8) -> u8 {
    let (colour, alpha) = (u32::from(colour), u32::from(alpha));
    let sum = colour * alpha + 255 * (255 - alpha) + 127;
    u8::try_from(sum / 255).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flattens_with_rounding() {
        assert_eq!(on_white(0, 0), 255);
        assert_eq!(on_white(7, 255), 7);
        assert_eq!(on_white(0, 128), 127);
        for colour in 0..=255u8 {
            for alpha in 0..=255u8 {
                let exact = (f64::from(colour) * f64::from(alpha) + 255.0 * (255.0 - f64::from(alpha))) / 255.0;
                assert!((f64::from(on_white(colour, alpha)) - exact).abs() <= 0.5);
            }
        }
    }
}
