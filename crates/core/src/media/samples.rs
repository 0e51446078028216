//! Small files of every kind, for tests: made here, so that nothing binary is kept in the repository.

use super::bitmap::Bitmap;
use super::{Format, Size, encode, gif};
use image::{DynamicImage, ImageFormat};
use std::io::Cursor;

/// Pixels across and down of every sample.
pub(super) const SIZE: Size = Size::new(48, 40);

/// A smooth picture, kind to lossy formats. With alpha: the left quarter is fully transparent.
pub(super) fn picture(alpha: bool) -> Bitmap {
    let mut data = Vec::new();
    for y in 0..SIZE.height {
        for x in 0..SIZE.width {
            data.extend([x * 4 + 20, y * 5 + 10, 200 - x * 2 - y].map(|colour| u8::try_from(colour).unwrap()));
            if alpha {
                data.push(if x < SIZE.width / 4 { 0 } else { 255 });
            }
        }
    }
    Bitmap::new(SIZE, data, alpha).unwrap()
}

/// The picture as `image` holds it.
pub(super) fn dynamic(alpha: bool) -> DynamicImage {
    let Bitmap { size, data, .. } = picture(alpha);
    if alpha {
        image::RgbaImage::from_raw(size.width, size.height, data).unwrap().into()
    } else {
        image::RgbImage::from_raw(size.width, size.height, data).unwrap().into()
    }
}

/// Encodes with `image`.
pub(super) fn file(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    image.write_to(&mut file, format).unwrap();
    file.into_inner()
}

/// One sound file of every kind, by name.
pub(super) fn all() -> Vec<(&'static str, Vec<u8>)> {
    let (opaque, clear) = (dynamic(false), dynamic(true));
    let mut all = vec![
        ("svg", br#"<svg xmlns="http://www.w3.org/2000/svg" width="48" height="40"><rect/></svg>"#.to_vec()),
        ("avif", encode::still(picture(false), None, Format::Avif, None, &mut Vec::new()).unwrap()),
        ("avif alpha", encode::still(picture(true), None, Format::Avif, None, &mut Vec::new()).unwrap()),
        ("apng", apng()),
        ("gif animated", animated_gif(true)),
        ("webp animated", animated_webp(true)),
        ("png rgb", file(&opaque, ImageFormat::Png)),
        ("png rgba", file(&clear, ImageFormat::Png)),
        ("png rgb 16", file(&opaque.to_rgb16().into(), ImageFormat::Png)),
        ("png rgba 16", file(&clear.to_rgba16().into(), ImageFormat::Png)),
    ];
    all.extend(still_others());
    all
}

fn still_others() -> Vec<(&'static str, Vec<u8>)> {
    let (opaque, clear) = (dynamic(false), dynamic(true));
    let (rgb, rgba) = (picture(false).data, picture(true).data);
    let webp = || webpx::EncoderConfig::new().quality(95.0);
    let lossless = || webpx::EncoderConfig::new().lossless(true).exact(true);
    let go = webpx::Unstoppable;
    vec![
        ("png grey", file(&opaque.to_luma8().into(), ImageFormat::Png)),
        ("png grey alpha", file(&clear.to_luma_alpha8().into(), ImageFormat::Png)),
        ("png palette", palette_png()),
        ("jpeg", jpeg(|_| {})),
        ("jpeg progressive", jpeg(|encoder| encoder.set_progressive(true))),
        ("jpeg grey", file(&opaque.to_luma8().into(), ImageFormat::Jpeg)),
        ("jpeg cmyk", cmyk_jpeg()),
        ("webp lossy", webp().encode_rgb(&rgb, SIZE.width, SIZE.height, go).unwrap()),
        ("webp lossy alpha", webp().encode_rgba(&rgba, SIZE.width, SIZE.height, go).unwrap()),
        ("webp lossless", lossless().encode_rgb(&rgb, SIZE.width, SIZE.height, go).unwrap()),
        ("webp lossless alpha", lossless().encode_rgba(&rgba, SIZE.width, SIZE.height, go).unwrap()),
        ("gif", encode::still(picture(false), None, Format::Gif, None, &mut Vec::new()).unwrap()),
        ("gif alpha", encode::still(picture(true), None, Format::Gif, None, &mut Vec::new()).unwrap()),
    ]
}

/// A JPEG of quality 95 in full chroma, after the encoder has been prepared.
pub(super) fn jpeg(prepare: impl FnOnce(&mut jpeg_encoder::Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut file, 95);
    prepare(&mut encoder);
    encoder.encode(&picture(false).data, 48, 40, jpeg_encoder::ColorType::Rgb).unwrap();
    file
}

fn cmyk_jpeg() -> Vec<u8> {
    let pixels = picture(false).data;
    let inks: Vec<u8> = pixels.as_chunks::<3>().0.iter().flat_map(|[r, g, b]| [255 - r, 255 - g, 255 - b, 0]).collect();
    let mut file = Vec::new();
    jpeg_encoder::Encoder::new(&mut file, 95).encode(&inks, 48, 40, jpeg_encoder::ColorType::Cmyk).unwrap();
    file
}

/// Three frames, 50, 200 and 120 ms; the second and third darker, the third with a transparent quarter when asked.
pub(super) fn frames(alpha: bool) -> [(Bitmap, u32); 3] {
    let darker = |by: u8, alpha: bool| {
        let mut frame = picture(alpha);
        let channels = frame.channels();
        for pixel in frame.data.chunks_exact_mut(channels) {
            pixel[..3].iter_mut().for_each(|colour| *colour /= by);
        }
        frame
    };
    [(picture(false), 50), (darker(2, false), 200), (darker(4, alpha), 120)]
}

/// The [`frames`], played twice.
pub(super) fn animated_gif(alpha: bool) -> Vec<u8> {
    let mut writer = gif::Writer::open(SIZE, 2).unwrap();
    for (frame, delay) in frames(alpha) {
        writer.add(&frame, delay).unwrap();
    }
    writer.finish().unwrap().0
}

/// The [`frames`], played twice.
pub(super) fn animated_webp(alpha: bool) -> Vec<u8> {
    let mut encoder = webpx::AnimationEncoder::with_options(SIZE.width, SIZE.height, false, 2).unwrap();
    encoder.set_lossless(true);
    let mut at = 0;
    for (frame, delay) in frames(alpha) {
        let rgba =
            if frame.alpha { encoder.add_frame_rgba(&frame.data, at) } else { encoder.add_frame_rgb(&frame.data, at) };
        rgba.unwrap();
        at += i32::try_from(delay).unwrap();
    }
    encoder.finish(at).unwrap()
}

/// A PNG that says it is animated; its second frame is a copy of the first.
fn apng() -> Vec<u8> {
    let control = |sequence: u32| {
        let numbers = [sequence, SIZE.width, SIZE.height, 0, 0].map(u32::to_be_bytes).concat();
        [&numbers[..], &[0, 10, 0, 100, 0, 0]].concat()
    };
    let rows = zlib(&scanlines());
    png(&[
        (*b"IHDR", header(SIZE, 3)),
        (*b"acTL", vec![0, 0, 0, 2, 0, 0, 0, 0]),
        (*b"PLTE", palette()),
        (*b"fcTL", control(0)),
        (*b"IDAT", rows.clone()),
        (*b"fcTL", control(1)),
        (*b"fdAT", [&[0, 0, 0, 2], &rows[..]].concat()),
        (*b"IEND", Vec::new()),
    ])
}

fn palette_png() -> Vec<u8> {
    png(&[(*b"IHDR", header(SIZE, 3)), (*b"PLTE", palette()), (*b"IDAT", zlib(&scanlines())), (*b"IEND", Vec::new())])
}

/// A palette of 48 colours, one a column.
fn palette() -> Vec<u8> {
    (0..48u8).flat_map(|x| [x * 4, 200 - x * 2, 90]).collect()
}

fn scanlines() -> Vec<u8> {
    (0..SIZE.height).flat_map(|_| std::iter::once(0).chain(0..48u8)).collect()
}

/// The content of an IHDR of eight bits a channel.
pub(super) fn header(size: Size, colour: u8) -> Vec<u8> {
    [&size.width.to_be_bytes()[..], &size.height.to_be_bytes(), &[8, colour, 0, 0, 0]].concat()
}

/// A PNG of those chunks.
pub(super) fn png(chunks: &[([u8; 4], Vec<u8>)]) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, content) in chunks {
        file.extend(chunk(*kind, content));
    }
    file
}

fn chunk(kind: [u8; 4], content: &[u8]) -> Vec<u8> {
    let body = [&kind[..], content].concat();
    let crc = body.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    });
    let length = u32::try_from(content.len()).unwrap();
    [&length.to_be_bytes()[..], &body, &(!crc).to_be_bytes()].concat()
}

/// Uncompressed zlib data.
pub(super) fn zlib(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap();
    let (low, high) = content.iter().fold((1u32, 0u32), |(low, high), byte| {
        let low = (low + u32::from(*byte)) % 65_521;
        (low, (high + low) % 65_521)
    });
    let sum = (high << 16 | low).to_be_bytes();
    [&[0x78, 1, 1][..], &length.to_le_bytes(), &(!length).to_le_bytes(), content, &sum].concat()
}

/// The PNG with one more chunk behind its header.
pub(super) fn with_chunk(png: &[u8], kind: [u8; 4], content: &[u8]) -> Vec<u8> {
    let (head, rest) = png.split_at(33);
    [head, &chunk(kind, content), rest].concat()
}

/// The WebP with one more chunk at its end.
pub(super) fn with_riff_chunk(webp: &[u8], kind: [u8; 4], content: &[u8]) -> Vec<u8> {
    let mut file = webp.to_vec();
    file.extend(kind);
    file.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
    file.extend(content);
    file.resize(file.len().next_multiple_of(2), 0);
    let length = u32::try_from(file.len() - 8).unwrap();
    file[4..8].copy_from_slice(&length.to_le_bytes());
    file
}

/// EXIF that says nothing but the orientation.
pub(super) fn exif(orientation: u8) -> Vec<u8> {
    let mut exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    exif
}
