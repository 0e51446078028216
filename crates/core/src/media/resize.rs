//! Precisely the pixels that were asked for: Lanczos in linear light, colours weighted by their alpha. (Averaging the
//! stored values instead darkens fine detail, and bleeds what is under transparent pixels.)

use super::bitmap::Bitmap;
use super::{Flaw, Size};
use fast_image_resize::images::Image;
use fast_image_resize::{PixelComponentMapper, PixelType, ResizeOptions, Resizer, create_srgb_mapper};
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

/// How a picture comes to another shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shaping {
    /// Stretched.
    Exact,
    /// Scaled until nothing is empty; what stands over is cut off on both sides alike.
    Cover,
    /// Scaled until all of it fits; the rest stays transparent, or white where the format has no transparency.
    Contain,
}

impl Shaping {
    /// Reads a public name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "exact" => Some(Self::Exact),
            "cover" => Some(Self::Cover),
            "contain" => Some(Self::Contain),
            _ => None,
        }
    }

    /// The public name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Cover => "cover",
            Self::Contain => "contain",
        }
    }
}

/// A size to come to, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resize {
    /// The pixels of the result.
    pub size: Size,
    /// What happens to another shape.
    pub shaping: Shaping,
}

/// The tables between sRGB and linear light: 16 bits, so that dark tones keep their steps.
static LIGHT: LazyLock<PixelComponentMapper> = LazyLock::new(create_srgb_mapper);

/// Resizes. `alpha` says whether the target can be transparent, for the margins of [`Shaping::Contain`].
///
/// # Errors
/// [`Flaw::Broken`] when the picture does not fit into memory or has no pixels.
pub(super) fn resize(pixels: Bitmap, to: Resize, alpha: bool) -> Result<Bitmap, Flaw> {
    if pixels.size == to.size {
        return Ok(pixels);
    }
    match to.shaping {
        Shaping::Exact => scale(pixels, to.size, ResizeOptions::new()),
        Shaping::Cover => scale(pixels, to.size, ResizeOptions::new().fit_into_destination(Some((0.5, 0.5)))),
        Shaping::Contain => {
            let inner = fit_within(pixels.size, to.size);
            framed(&scale(pixels, inner, ResizeOptions::new())?, to.size, alpha)
        }
    }
}

/// The largest size of the shape of `from` that fits into `frame`.
pub fn fit_within(from: Size, frame: Size) -> Size {
    let factor = (f64::from(frame.width) / f64::from(from.width)).min(f64::from(frame.height) / f64::from(from.height));
    let side = |length: u32, most: u32| super::size::to_side((f64::from(length) * factor).round()).min(most);
    Size::new(side(from.width, frame.width), side(from.height, frame.height))
}

fn scale(mut pixels: Bitmap, size: Size, options: ResizeOptions) -> Result<Bitmap, Flaw> {
    let from = pixels.size;
    let (stored, linear) =
        if pixels.alpha { (PixelType::U8x4, PixelType::U16x4) } else { (PixelType::U8x3, PixelType::U16x3) };
    let mut deep = Image::new(from.width, from.height, linear);
    {
        let source = Image::from_slice_u8(from.width, from.height, &mut pixels.data, stored).map_err(failed)?;
        LIGHT.forward_map(&source, &mut deep).map_err(failed)?;
    }
    let alpha = pixels.alpha;
    drop(pixels);
    let mut scaled = Image::new(size.width, size.height, linear);
    Resizer::new().resize(&deep, &mut scaled, &options).map_err(failed)?;
    drop(deep);
    let mut out = Image::new(size.width, size.height, stored);
    LIGHT.backward_map(&scaled, &mut out).map_err(failed)?;
    Bitmap::new(size, out.into_vec(), alpha)
}

/// The picture in the middle of a larger canvas.
fn framed(inner: &Bitmap, size: Size, alpha: bool) -> Result<Bitmap, Flaw> {
    let alpha = alpha || inner.alpha;
    let channels = if alpha { 4 } else { 3 };
    let index = |side: u32| usize::try_from(side).unwrap_or_default();
    let (width, height) = (index(size.width), index(size.height));
    // Transparent black and opaque white.
    let mut data = vec![if alpha { 0 } else { u8::MAX }; width * height * channels];
    let left = (width - index(inner.size.width).min(width)) / 2;
    let top = (height - index(inner.size.height).min(height)) / 2;
    let rows = inner.data.chunks_exact(index(inner.size.width) * inner.channels());
    let canvas = data.chunks_exact_mut(width * channels).skip(top);
    for (from, to) in rows.zip(canvas) {
        let to = to.get_mut(left * channels..).unwrap_or_default();
        for (source, target) in from.chunks_exact(inner.channels()).zip(to.chunks_exact_mut(channels)) {
            for (index, byte) in target.iter_mut().enumerate() {
                *byte = source.get(index).copied().unwrap_or(u8::MAX);
            }
        }
    }
    Bitmap::new(size, data, alpha)
}

fn failed(fault: impl std::fmt::Display) -> Flaw {
    Flaw::Broken(format!("the image cannot be resized: {fault}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bitmap(size: Size, alpha: bool, pixel: impl Fn(u32, u32) -> [u8; 4]) -> Bitmap {
        let mut data = Vec::new();
        for y in 0..size.height {
            for x in 0..size.width {
                data.extend_from_slice(&pixel(x, y)[..if alpha { 4 } else { 3 }]);
            }
        }
        Bitmap::new(size, data, alpha).unwrap()
    }

    fn at(pixels: &Bitmap, x: u32, y: u32) -> &[u8] {
        let start = (y * pixels.size.width + x) as usize * pixels.channels();
        &pixels.data[start..start + pixels.channels()]
    }

    #[test]
    fn light_is_averaged_and_not_its_encoding() {
        // A fine checkerboard reflects half the light: sRGB 188. Averaging the bytes would give 128.
        let board = bitmap(Size::new(256, 256), false, |x, y| if (x + y) % 2 == 0 { [255; 4] } else { [0; 4] });
        let to = Resize { size: Size::new(32, 32), shaping: Shaping::Exact };
        let small = resize(board, to, false).unwrap();
        let middle = at(&small, 16, 16)[0];
        assert!((186..=190).contains(&middle), "{middle}");
    }

    #[test]
    fn what_is_transparent_does_not_bleed() {
        // Left half opaque blue, right half transparent red: the edge has no red in it.
        let split = bitmap(Size::new(64, 64), true, |x, _| if x < 32 { [0, 0, 255, 255] } else { [255, 0, 0, 0] });
        let small = resize(split, Resize { size: Size::new(7, 7), shaping: Shaping::Exact }, true).unwrap();
        for x in 0..7 {
            let pixel = at(&small, x, 3);
            assert!(pixel[3] == 0 || pixel[0] < 8, "{x}: {pixel:?}");
        }
    }

    #[test]
    fn every_shaping_makes_precisely_the_size() {
        for alpha in [false, true] {
            for shaping in [Shaping::Exact, Shaping::Cover, Shaping::Contain] {
                for (from, size) in [((64, 40), (33, 77)), ((5, 3), (400, 10)), ((1, 1), (9, 4)), ((300, 1), (2, 2))] {
                    let source =
                        bitmap(
                            Size::new(from.0, from.1),
                            alpha,
                            |x, _| if x % 2 == 0 { [9; 4] } else { [200, 3, 7, 255] },
                        );
                    let size = Size::new(size.0, size.1);
                    assert_eq!(resize(source, Resize { size, shaping }, true).unwrap().size, size, "{shaping:?}");
                }
            }
        }
    }

    #[test]
    fn contain_leaves_margins_and_cover_cuts() {
        let green = || bitmap(Size::new(40, 20), false, |_, _| [0, 200, 0, 255]);
        let to = |shaping| Resize { size: Size::new(40, 40), shaping };
        let clear = resize(green(), to(Shaping::Contain), true).unwrap();
        assert_eq!((at(&clear, 20, 2)[3], at(&clear, 20, 20)), (0, &[0, 200, 0, 255][..]));
        let white = resize(green(), to(Shaping::Contain), false).unwrap();
        assert_eq!((at(&white, 20, 2), at(&white, 20, 20)), (&[255; 3][..], &[0, 200, 0][..]));
        let stripes = bitmap(Size::new(40, 20), false, |x, _| if (10..30).contains(&x) { [0; 4] } else { [255; 4] });
        let cut = resize(stripes, to(Shaping::Cover), false).unwrap();
        assert_eq!((at(&cut, 12, 20), at(&cut, 27, 20)), (&[0; 3][..], &[0; 3][..]));
        // Only the filter's own reach across the cut remains of the white ends.
        assert!(at(&cut, 0, 20)[0] < 200 && at(&cut, 39, 20)[0] < 200, "{:?}", at(&cut, 0, 20));
    }

    #[test]
    fn fits_into_a_frame() {
        assert_eq!(fit_within(Size::new(4000, 2000), Size::new(1000, 1000)), Size::new(1000, 500));
        assert_eq!(fit_within(Size::new(10_000, 1), Size::new(100, 100)), Size::new(100, 1));
    }
}
