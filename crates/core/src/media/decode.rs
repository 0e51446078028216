//! Files to pixels, within limits. PNG, JPEG and GIF through `image`, WebP through libwebp (2.5 times its speed).

use super::bitmap::Bitmap;
use super::{Flaw, Format, Limits, Picture, Size};
use image::codecs::{gif::GifDecoder, jpeg::JpegDecoder, png::PngDecoder};
use image::metadata::Orientation;
use image::{AnimationDecoder, DynamicImage, ImageDecoder};
use std::io::Cursor;

/// A decoded still picture, upright.
pub(super) struct Still {
    /// Its pixels.
    pub(super) pixels: Bitmap,
    /// The ICC profile that they are in; none means sRGB.
    pub(super) profile: Option<Vec<u8>>,
    /// Whether the file had more than eight bits a channel.
    pub(super) deep: bool,
}

/// One picture of an animation, the whole canvas of it.
pub(super) struct Frame {
    /// Its pixels.
    pub(super) pixels: Bitmap,
    /// How long it is shown, in milliseconds.
    pub(super) delay: u32,
}

/// The frames of an animation, decoded one at a time: all together may be hundreds of megabytes.
pub(super) struct Reel<'a> {
    /// In order.
    pub(super) frames: Box<dyn Iterator<Item = Result<Frame, Flaw>> + 'a>,
    /// The ICC profile of all of them.
    pub(super) profile: Option<Vec<u8>>,
}

/// Decodes a picture, of an animation the first frame.
pub(super) fn still(picture: &Picture, limits: &Limits) -> Result<Still, Flaw> {
    let bytes = &picture.bytes[..];
    let read = Cursor::new(bytes);
    match picture.facts.format {
        Format::Png => through_image(PngDecoder::with_limits(read, allowance(limits)).map_err(broken)?, limits),
        Format::Jpeg => jpeg(bytes, picture.facts.size, limits),
        Format::Gif => through_image(GifDecoder::new(read).map_err(broken)?, limits),
        Format::Webp if picture.facts.animated => {
            let mut reel = webp_reel(bytes, limits)?;
            let first = reel.frames.next().ok_or_else(|| Flaw::broken("the animation has no frames"))??;
            Ok(Still { pixels: first.pixels, profile: reel.profile, deep: false })
        }
        Format::Webp => webp(bytes, limits),
        Format::Avif | Format::Svg => Err(Flaw::broken(format!("{} cannot be decoded", picture.facts.format))),
    }
}

/// Opens an animated GIF or WebP.
pub(super) fn reel<'a>(picture: &'a Picture, limits: &Limits) -> Result<Reel<'a>, Flaw> {
    match picture.facts.format {
        Format::Gif => gif_reel(&picture.bytes, limits),
        Format::Webp => webp_reel(&picture.bytes, limits),
        other => Err(Flaw::broken(format!("animated {other} cannot be decoded"))),
    }
}

/// What a decoder of `image` may allocate: RGBA of 16 bits, and working space.
fn allowance(limits: &Limits) -> image::Limits {
    let mut allowed = image::Limits::no_limits();
    allowed.max_alloc = Some(limits.max_pixels.saturating_mul(16).saturating_add(64 << 20));
    allowed
}

fn through_image(mut decoder: impl ImageDecoder, limits: &Limits) -> Result<Still, Flaw> {
    // The decoder reads the header itself; should it come to another size than we did, ours was not checked.
    let (width, height) = decoder.dimensions();
    let size = Size::new(width, height);
    if size.area() > limits.max_pixels {
        return Err(Flaw::TooManyPixels { size, max: limits.max_pixels });
    }
    decoder.set_limits(allowance(limits)).map_err(broken)?;
    // Metadata that cannot be read is not worth refusing the picture for.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let profile = decoder.icc_profile().ok().flatten().filter(|profile| !profile.is_empty());
    let color = decoder.color_type();
    let image = DynamicImage::from_decoder(decoder).map_err(broken)?;
    let deep = color.bytes_per_pixel() > color.channel_count();
    Ok(Still { pixels: Bitmap::from_image(image)?.oriented(orientation)?, profile, deep })
}

#[cfg(not(feature = "native-codecs"))]
fn jpeg(bytes: &[u8], _: Size, limits: &Limits) -> Result<Still, Flaw> {
    through_image(JpegDecoder::new(Cursor::new(bytes)).map_err(broken)?, limits)
}

#[cfg(feature = "native-codecs")]
fn jpeg(bytes: &[u8], size: Size, limits: &Limits) -> Result<Still, Flaw> {
    let mut slow = JpegDecoder::new(Cursor::new(bytes)).map_err(broken)?;
    // libjpeg-turbo makes no RGB of CMYK; the other decoder does.
    let Some(pixels) = super::jpeg_native::decode(bytes, size) else { return through_image(slow, limits) };
    let orientation = slow.orientation().unwrap_or(Orientation::NoTransforms);
    let profile = slow.icc_profile().ok().flatten().filter(|profile| !profile.is_empty());
    Ok(Still { pixels: pixels.oriented(orientation)?, profile, deep: false })
}

/// The same limits in libwebp's terms.
fn webp_limits(limits: &Limits) -> webpx::Limits {
    let mut allowed = webpx::Limits::none();
    allowed.max_pixels = Some(limits.max_pixels);
    allowed.max_total_pixels = Some(limits.max_pixels.saturating_mul(2));
    allowed.max_frames = Some(limits.max_frames);
    allowed.max_metadata_bytes = Some(16 << 20);
    allowed
}

fn webp(bytes: &[u8], limits: &Limits) -> Result<Still, Flaw> {
    let decoder = webpx::Decoder::new(bytes).map_err(broken)?;
    let alpha = decoder.info().has_alpha;
    let decoder = decoder.config(webpx::DecoderConfig::new().limits(webp_limits(limits)));
    let rows = if alpha { decoder.decode_rgba_raw() } else { decoder.decode_rgb_raw() };
    let (data, width, height) = rows.map_err(broken)?;
    let pixels = Bitmap::new(Size::new(width, height), data, alpha)?.oriented(webp_orientation(bytes, limits))?;
    Ok(Still { pixels, profile: webp_profile(bytes, limits), deep: false })
}

fn webp_profile(bytes: &[u8], limits: &Limits) -> Option<Vec<u8>> {
    webpx::get_icc_profile_with_limits(bytes, &webp_limits(limits)).ok().flatten().filter(|profile| !profile.is_empty())
}

fn webp_orientation(bytes: &[u8], limits: &Limits) -> Orientation {
    let exif = webpx::get_exif_with_limits(bytes, &webp_limits(limits)).ok().flatten().unwrap_or_default();
    // Some writers keep the prefix that belongs to JPEG.
    let exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(&exif);
    Orientation::from_exif_chunk(exif).unwrap_or(Orientation::NoTransforms)
}

fn webp_reel<'a>(bytes: &[u8], limits: &Limits) -> Result<Reel<'a>, Flaw> {
    let (profile, orientation) = (webp_profile(bytes, limits), webp_orientation(bytes, limits));
    let mut decoder =
        webpx::AnimationDecoder::with_options_limits(bytes, webpx::ColorMode::Rgba, false, &webp_limits(limits))
            .map_err(broken)?;
    let frames = std::iter::from_fn(move || {
        let frame = match decoder.next_frame() {
            Ok(frame) => frame?,
            Err(fault) => return Some(Err(broken(fault))),
        };
        let pixels = Bitmap::new(Size::new(frame.width, frame.height), frame.data, true);
        let pixels = pixels.and_then(|pixels| pixels.oriented(orientation));
        Some(pixels.map(|pixels| Frame { pixels, delay: frame.duration_ms }))
    });
    Ok(Reel { frames: Box::new(fused(frames)), profile })
}

fn gif_reel<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Reel<'a>, Flaw> {
    let mut decoder = GifDecoder::new(Cursor::new(bytes)).map_err(broken)?;
    decoder.set_limits(allowance(limits)).map_err(broken)?;
    let profile = decoder.icc_profile().ok().flatten().filter(|profile| !profile.is_empty());
    let frames = decoder.into_frames().map(|frame| {
        let frame = frame.map_err(broken)?;
        let (over, under) = frame.delay().numer_denom_ms();
        let delay = over.checked_div(under).unwrap_or_default();
        // Every viewer slows such frames down to a tenth of a second; so they are meant to be seen.
        let delay = if delay < 20 { 100 } else { delay };
        Ok(Frame { pixels: Bitmap::from_image(DynamicImage::ImageRgba8(frame.into_buffer()))?, delay })
    });
    Ok(Reel { frames: Box::new(fused(frames)), profile })
}

/// Ends after the first fault: a decoder that failed need not be asked again.
fn fused<'a>(frames: impl Iterator<Item = Result<Frame, Flaw>> + 'a) -> impl Iterator<Item = Result<Frame, Flaw>> + 'a {
    let mut failed = false;
    frames.take_while(move |frame| !std::mem::replace(&mut failed, frame.is_err()))
}

fn broken(fault: impl std::fmt::Display) -> Flaw {
    Flaw::Broken(format!("the image cannot be decoded: {fault}"))
}
