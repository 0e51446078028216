//! Pixels to files. One thread each: pictures run in parallel, not parts of them.

use super::bitmap::Bitmap;
use super::sides::{fits, narrow};
use super::{Flaw, Format, Size, colour, gif};
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

/// The quality when none was asked for.
const QUALITY: u8 = 85;

/// The same for AVIF, which looks as good at a lower number.
const AVIF_QUALITY: u8 = 80;

/// JPEG keeps full colour resolution from this quality on.
const FULL_CHROMA: u8 = 93;

/// What a JPEG loses.
pub(super) const FLATTENED: &str = "transparency flattened on white";

/// What a GIF loses.
pub(super) const REDUCED: &str = "colours reduced to 256";

/// Encodes a still picture. `profile` is an ICC profile of RGB; where the format cannot carry it the pixels become
/// sRGB. Losses are added to `notes`.
///
/// # Errors
/// [`Flaw::Broken`] when the format cannot hold the picture.
pub(super) fn still(
    mut pixels: Bitmap,
    profile: Option<&[u8]>,
    format: Format,
    quality: Option<u8>,
    notes: &mut Vec<&'static str>,
) -> Result<Vec<u8>, Flaw> {
    fits(pixels.size, format)?;
    if let (Some(profile), Format::Gif | Format::Avif) = (profile, format) {
        colour::to_srgb(&mut pixels, profile)?;
    }
    let quality = quality.map(|quality| quality.min(100));
    match format {
        Format::Png => png(&pixels, profile),
        Format::Jpeg => {
            if pixels.transparent() {
                notes.push(FLATTENED);
            }
            jpeg(&pixels.flattened(), profile, quality.unwrap_or(QUALITY))
        }
        Format::Webp => webp(&pixels, profile, quality.unwrap_or(QUALITY)),
        Format::Avif => avif(&pixels, quality.unwrap_or(AVIF_QUALITY)),
        Format::Gif => {
            let mut writer = gif::Writer::open(pixels.size, 1)?;
            writer.add(&pixels, 0)?;
            let (file, reduced) = writer.finish()?;
            if reduced {
                notes.push(REDUCED);
            }
            Ok(file)
        }
        Format::Svg => Err(Flaw::broken("pixels cannot be converted to SVG")),
    }
}

/// WebP's quality as its encoders want it.
pub(super) fn webp_quality(quality: Option<u8>) -> f32 {
    f32::from(quality.unwrap_or(QUALITY).min(100))
}

fn png(pixels: &Bitmap, profile: Option<&[u8]>) -> Result<Vec<u8>, Flaw> {
    let mut file = Vec::with_capacity(pixels.data.len() / 2);
    let mut encoder = PngEncoder::new_with_quality(&mut file, CompressionType::Fast, FilterType::Adaptive);
    if let Some(profile) = profile {
        encoder.set_icc_profile(profile.to_vec()).map_err(Flaw::encoding)?;
    }
    let colour = if pixels.alpha { ExtendedColorType::Rgba8 } else { ExtendedColorType::Rgb8 };
    encoder.write_image(&pixels.data, pixels.size.width, pixels.size.height, colour).map_err(Flaw::encoding)?;
    Ok(file)
}

fn jpeg(pixels: &Bitmap, profile: Option<&[u8]>, quality: u8) -> Result<Vec<u8>, Flaw> {
    use jpeg_encoder::{ChromaSubsamplingMethod, ColorType, Encoder, SamplingFactor};
    #[cfg(feature = "native-codecs")]
    if let Some(file) = super::jpeg_native::encode(pixels, profile, quality, quality >= FULL_CHROMA) {
        return Ok(file);
    }
    let (width, height) = narrow(pixels.size)?;
    let mut file = Vec::with_capacity(pixels.data.len() / 8);
    let mut encoder = Encoder::new(&mut file, quality.max(1));
    encoder.set_sampling_factor(if quality >= FULL_CHROMA { SamplingFactor::F_1_1 } else { SamplingFactor::F_2_2 });
    encoder.set_chroma_subsampling_method(ChromaSubsamplingMethod::Average);
    if let Some(profile) = profile {
        encoder.add_icc_profile(profile).map_err(Flaw::encoding)?;
    }
    encoder.encode(&pixels.data, width, height, ColorType::Rgb).map_err(Flaw::encoding)?;
    Ok(file)
}

fn webp(pixels: &Bitmap, profile: Option<&[u8]>, quality: u8) -> Result<Vec<u8>, Flaw> {
    // Method 2: 2.3 times less work than the default 4 for 8 % more bytes. Alpha unfiltered, for the same reason.
    let mut config =
        webpx::EncoderConfig::new().quality(f32::from(quality)).method(2).alpha_filter(webpx::AlphaFilter::None);
    if let Some(profile) = profile {
        config = config.icc_profile(profile);
    }
    let Size { width, height } = pixels.size;
    if pixels.alpha {
        config.encode_rgba(&pixels.data, width, height, webpx::Unstoppable)
    } else {
        config.encode_rgb(&pixels.data, width, height, webpx::Unstoppable)
    }
    .map_err(Flaw::encoding)
}

fn avif(pixels: &Bitmap, quality: u8) -> Result<Vec<u8>, Flaw> {
    let quality = f32::from(quality.max(1));
    let encoder = ravif::Encoder::new()
        .with_quality(quality)
        .with_alpha_quality(quality)
        .with_speed(10)
        .with_bit_depth(ravif::BitDepth::Eight)
        .with_num_threads(Some(1));
    let sides = (usize::try_from(pixels.size.width), usize::try_from(pixels.size.height));
    let (Ok(width), Ok(height)) = sides else { return Err(Flaw::broken("the image is too large")) };
    let result = if pixels.alpha {
        let rows: Vec<_> =
            pixels.data.as_chunks::<4>().0.iter().map(|[r, g, b, a]| ravif::RGBA8::new(*r, *g, *b, *a)).collect();
        encoder.encode_rgba(ravif::Img::new(&rows, width, height))
    } else {
        let rows: Vec<_> =
            pixels.data.as_chunks::<3>().0.iter().map(|[r, g, b]| ravif::RGB8::new(*r, *g, *b)).collect();
        encoder.encode_rgb(ravif::Img::new(&rows, width, height))
    };
    result.map(|image| image.avif_file).map_err(Flaw::encoding)
}
