//! Milliseconds for one 1024×1024 picture, bytes to bytes on one core: a drawn one (flat areas, as in our own mocks) and
//! a textured one (nearer to what providers send), from PNG to every format, and the ways back.

use criterion::Criterion;
use image::{ImageFormat, RgbImage};
use lumenfall::media::{self, Flaw, Format, Limits, Picture, Recipe, Size};
use std::hint::black_box;
use std::io::Cursor;
use std::time::Duration;

const SIZE: Size = Size::new(1024, 1024);

fn main() -> Result<(), Flaw> {
    let mut bench = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(3)).configure_from_args();
    let limits = Limits::default();
    bench.bench_function("draw/png", |timer| {
        timer.iter(|| media::draw(black_box("a lighthouse in the rain"), SIZE, Format::Png));
    });
    let drawn = Picture::verify(media::draw("a lighthouse in the rain", SIZE, Format::Png)?, &limits)?;
    let textured = Picture::verify(textured()?.into(), &limits)?;
    for (name, source) in [("drawn", &drawn), ("textured", &textured)] {
        let mut group = bench.benchmark_group(name);
        for format in [Format::Jpeg, Format::Webp, Format::Avif, Format::Gif] {
            let recipe = Recipe::new(format);
            group.bench_function(format!("png-to-{format}"), |timer| {
                timer.iter(|| media::transcode(black_box(source), &recipe, &limits));
            });
        }
        for format in [Format::Jpeg, Format::Webp, Format::Gif] {
            let back = media::transcode(source, &Recipe::new(format), &limits)?.picture;
            let recipe = Recipe::new(Format::Png);
            group.bench_function(format!("{format}-to-png"), |timer| {
                timer.iter(|| media::transcode(black_box(&back), &recipe, &limits));
            });
        }
        group.finish();
    }
    let text = base64_simd::STANDARD.encode_to_string(&textured.bytes);
    bench.bench_function("inspect/bytes", |timer| timer.iter(|| media::inspect(black_box(&textured.bytes), &limits)));
    bench.bench_function("inspect/base64", |timer| {
        timer.iter(|| media::inspect_base64(black_box(text.as_bytes()), &limits));
    });
    bench.final_summary();
    Ok(())
}

/// Soft clouds with grain on them, as a PNG.
fn textured() -> Result<Vec<u8>, Flaw> {
    let mut state = 1u32;
    let image = RgbImage::from_fn(SIZE.width, SIZE.height, |x, y| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let grain = state.to_le_bytes()[1] / 24;
        // Triangle waves of different lengths, folded into each other.
        let wave = |n: u32, length: u32| (n % length).min(length - n % length) * 200 / length;
        let cloud = wave(x + wave(y, 300), 500) + wave(y + wave(x, 170), 260) / 2;
        image::Rgb([cloud, cloud * 3 / 4 + 30, 180 - cloud.min(150)].map(|c| c.to_le_bytes()[0].saturating_add(grain)))
    });
    let mut file = Cursor::new(Vec::new());
    image.write_to(&mut file, ImageFormat::Png).map_err(|fault| Flaw::Broken(fault.to_string()))?;
    Ok(file.into_inner())
}
