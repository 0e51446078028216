use super::*;
use crate::media::bitmap::Bitmap;
use crate::media::{Size, samples};
use moxcms::ColorProfile;
use proptest::prelude::*;
use std::sync::LazyLock;

static FILES: LazyLock<Vec<(&str, Vec<u8>)>> = LazyLock::new(samples::all);

fn picture(bytes: &[u8]) -> Picture {
    Picture::verify(Bytes::copy_from_slice(bytes), &Limits::default()).unwrap()
}

fn sample(wanted: &str) -> Picture {
    picture(&FILES.iter().find(|(name, _)| *name == wanted).unwrap().1)
}

fn run(source: &Picture, format: Format, quality: Option<u8>) -> Transcoded {
    transcode(source, &Recipe { quality, ..Recipe::new(format) }, &Limits::default()).unwrap()
}

fn pixels(picture: &Picture) -> Bitmap {
    decode::still(picture, &Limits::default()).unwrap().pixels
}

/// The mean difference of two pictures of one size, on white.
fn difference(a: &Picture, b: &Picture) -> f64 {
    let (a, b) = (pixels(a).flattened(), pixels(b).flattened());
    assert_eq!(a.size, b.size);
    distance(&a.data, &b.data)
}

fn distance(a: &[u8], b: &[u8]) -> f64 {
    let sum: u32 = a.iter().zip(b).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
    f64::from(sum) / f64::from(u32::try_from(a.len()).unwrap())
}

#[test]
fn every_format_becomes_every_other() {
    for (name, bytes) in FILES.iter() {
        let source = picture(bytes);
        for format in Format::OUTPUTS {
            let recipe = Recipe { quality: Some(90), ..Recipe::new(format) };
            let result = transcode(&source, &recipe, &Limits::default());
            if format == source.facts.format && (!format.lossy() || format == Format::Avif) {
                assert_eq!(result.unwrap().picture.bytes, source.bytes, "{name} to {format}");
                continue;
            }
            if source.facts.format == Format::Avif {
                assert!(matches!(result, Err(Flaw::Broken(_))), "{name} to {format}");
                continue;
            }
            let result = result.unwrap_or_else(|flaw| panic!("{name} to {format}: {flaw}")).picture;
            assert_eq!((result.facts.format, result.facts.size), (format, source.facts.size), "{name}");
            if format != Format::Avif && source.facts.format != Format::Svg {
                let most = match format {
                    Format::Png => 0.0,
                    Format::Gif => 5.0,
                    // Lossy formats do not like the dots of a dithered source, nor the edge of the transparent part.
                    _ if name.starts_with("gif") || name.contains("alpha") || name.contains("rgba") => 8.0,
                    _ => 2.5,
                };
                let difference = difference(&source, &result);
                assert!(difference <= most, "{name} to {format}: {difference}");
            }
        }
    }
}

#[test]
fn decoding_is_right_to_begin_with() {
    let truth = samples::picture(false).data;
    for name in ["png rgb", "png rgb 16", "webp lossless"] {
        assert_eq!(pixels(&sample(name)).data, truth, "{name}");
    }
    for name in ["jpeg", "jpeg progressive", "webp lossy", "gif"] {
        let most = if name == "gif" { 6.0 } else { 2.5 };
        let distance = distance(&pixels(&sample(name)).flattened().data, &truth);
        assert!(distance < most, "{name}: {distance}");
    }
    let inks = distance(&pixels(&sample("jpeg cmyk")).data, &truth);
    assert!(inks < 4.0, "{inks}");
    for name in ["png rgba", "png rgba 16", "webp lossless alpha"] {
        assert_eq!(pixels(&sample(name)).data, samples::picture(true).data, "{name}");
    }
}

#[test]
fn same_format_and_nothing_asked_is_the_same_bytes() {
    for (name, bytes) in FILES.iter() {
        let source = picture(bytes);
        let result = run(&source, source.facts.format, None);
        assert_eq!(result, Transcoded { picture: source, notes: Vec::new() }, "{name}");
    }
    let kept = run(&sample("avif"), Format::Avif, Some(50));
    assert_eq!(kept.notes, [KEPT]);
}

#[test]
fn quality_counts_from_zero() {
    let source = sample("png rgb");
    for format in [Format::Jpeg, Format::Webp, Format::Avif] {
        let length = |quality| run(&source, format, quality).picture.bytes.len();
        assert!(length(Some(0)) < length(Some(60)), "{format}");
        assert!(length(Some(60)) < length(Some(100)), "{format}");
        assert_eq!(length(Some(255)), length(Some(100)), "{format}");
        assert!(length(None) > length(Some(60)), "{format}");
    }
    assert_eq!(run(&source, Format::Png, Some(0)).picture, source);
}

#[test]
fn transparency_is_flattened_and_said() {
    let flat = run(&sample("png rgba"), Format::Jpeg, Some(95));
    assert_eq!(flat.notes, [encode::FLATTENED]);
    let corner = &pixels(&flat.picture).data[..3];
    assert!(corner.iter().all(|colour| *colour > 245), "{corner:?}");
    let opaque = samples::file(&samples::dynamic(false).to_rgba8().into(), image::ImageFormat::Png);
    assert_eq!(run(&picture(&opaque), Format::Jpeg, None).notes, [""; 0], "an alpha channel that hides nothing");
    for format in [Format::Webp, Format::Gif] {
        let kept = run(&sample("png rgba"), format, None);
        assert!(pixels(&kept.picture).transparent(), "{format}");
        assert!(!kept.notes.contains(&encode::FLATTENED));
    }
}

#[test]
fn gif_says_when_colours_are_lost() {
    assert_eq!(run(&sample("png rgb"), Format::Gif, None).notes, [encode::REDUCED]);
    let few = run(&sample("png palette"), Format::Gif, None);
    assert_eq!(few.notes, [""; 0]);
    assert_eq!(pixels(&few.picture).flattened().data, pixels(&sample("png palette")).data, "48 colours are exact");
}

#[test]
fn every_orientation_is_applied_once() {
    let stored = Bitmap::new(Size::new(3, 2), (1..=18).map(|n| n * 14).collect(), false).unwrap();
    let plain = encode::still(stored.clone(), None, Format::Png, None, &mut Vec::new()).unwrap();
    for orientation in 1..=8u8 {
        let source = picture(&samples::with_chunk(&plain, *b"eXIf", &samples::exif(orientation)));
        assert_eq!(source.facts.size, Size::new(3, 2), "facts are of stored pixels");
        let upright = pixels(&source);
        let (width, height) = if orientation < 5 { (3, 2) } else { (2, 3) };
        assert_eq!(upright.size, Size::new(width, height));
        for y in 0..height {
            for x in 0..width {
                let (column, row) = match orientation {
                    1 => (x, y),
                    2 => (2 - x, y),
                    3 => (2 - x, 1 - y),
                    4 => (x, 1 - y),
                    5 => (y, x),
                    6 => (y, 1 - x),
                    7 => (2 - y, 1 - x),
                    _ => (2 - y, x),
                };
                let at = |bitmap: &Bitmap, x: u32, y: u32| bitmap.data[((y * bitmap.size.width + x) * 3) as usize];
                assert_eq!(at(&upright, x, y), at(&stored, column, row), "{orientation}: {x},{y}");
            }
        }
        let again = run(&source, Format::Webp, None).picture;
        assert_eq!(again.facts.size, upright.size);
        assert_eq!(pixels(&again).size, upright.size, "not applied twice");
    }
}

#[test]
fn orientation_of_jpeg_and_webp() {
    let jpeg = picture(&samples::jpeg(|encoder| encoder.add_exif_metadata(&samples::exif(6)).unwrap()));
    let turned = run(&jpeg, Format::Jpeg, Some(95)).picture;
    assert_eq!(turned.facts.size, Size::new(40, 48));
    let upright = samples::picture(false).oriented(image::metadata::Orientation::Rotate90).unwrap();
    assert!(distance(&pixels(&turned).data, &upright.data) < 4.0);
    for name in ["webp lossy", "webp animated"] {
        let webp = webpx::embed_exif(&sample(name).bytes, &samples::exif(8)).unwrap();
        for format in [Format::Png, Format::Gif] {
            assert_eq!(run(&picture(&webp), format, None).picture.facts.size, Size::new(40, 48), "{name} to {format}");
        }
    }
}

#[test]
fn profiles_are_kept_or_applied() {
    let profile = ColorProfile::new_display_p3().encode().unwrap();
    let mut notes = Vec::new();
    let tagged = |format| encode::still(samples::picture(false), Some(&profile), format, Some(95), &mut Vec::new());
    for from in [Format::Png, Format::Jpeg, Format::Webp] {
        let source = picture(&tagged(from).unwrap());
        assert_eq!(decode::still(&source, &Limits::default()).unwrap().profile.as_ref(), Some(&profile), "{from}");
        for to in [Format::Png, Format::Jpeg, Format::Webp] {
            let result = run(&source, to, Some(90)).picture;
            let kept = decode::still(&result, &Limits::default()).unwrap().profile;
            assert_eq!(kept.as_ref(), Some(&profile), "{from} to {to}");
        }
    }
    // P3's numbers are another colour in sRGB: what cannot be tagged must be converted.
    let mut expected = samples::picture(false);
    colour::to_srgb(&mut expected, &profile).unwrap();
    assert!(distance(&expected.data, &samples::picture(false).data) > 3.0);
    let gif = run(&picture(&tagged(Format::Png).unwrap()), Format::Gif, None).picture;
    let off = distance(&pixels(&gif).flattened().data, &expected.data);
    assert!(off < 6.0, "{off}");
    let plain = encode::still(expected, None, Format::Avif, None, &mut notes).unwrap();
    assert_eq!(run(&picture(&tagged(Format::Png).unwrap()), Format::Avif, None).picture.bytes, plain);
}

#[test]
fn profiles_of_other_colours_do_not_survive() {
    let tag = |profile: &[u8], image: &image::DynamicImage| {
        use image::ImageEncoder;
        let mut file = Vec::new();
        let mut encoder = image::codecs::png::PngEncoder::new(&mut file);
        encoder.set_icc_profile(profile.to_vec()).unwrap();
        encoder.write_image(image.as_bytes(), image.width(), image.height(), image.color().into()).unwrap();
        picture(&file)
    };
    let grey = samples::dynamic(false).to_luma8().into();
    let gamma = ColorProfile::new_gray_with_gamma(1.0).encode().unwrap();
    let applied = run(&tag(&gamma, &grey), Format::Webp, None);
    assert_eq!(applied.notes, [""; 0]);
    assert_eq!(decode::still(&applied.picture, &Limits::default()).unwrap().profile, None);
    assert!(distance(&pixels(&applied.picture).data, &pixels(&sample("png grey")).data) > 10.0, "linear is lighter");

    let dropped = run(&tag(b"not a profile", &samples::dynamic(false)), Format::Webp, None);
    assert_eq!(dropped.notes, [colour::DROPPED]);
}

#[test]
fn animations_move_between_gif_and_webp() {
    for (name, to) in [("gif animated", Format::Webp), ("webp animated", Format::Gif), ("webp animated", Format::Webp)]
    {
        let source = sample(name);
        let result = run(&source, to, Some(95)).picture;
        assert!(result.facts.animated, "{name} to {to}");
        let (_, structure) = examine(&&result.bytes[..], &Limits::default()).unwrap();
        assert_eq!((structure.frames, structure.plays), (3, 2), "{name} to {to}");
        let frames = |picture: &Picture| -> Vec<_> {
            let reel = decode::reel(picture, &Limits::default()).unwrap();
            reel.frames.map(|frame| frame.map(|frame| (frame.pixels.flattened(), frame.delay)).unwrap()).collect()
        };
        let (before, after) = (frames(&source), frames(&result));
        let delays = |frames: &[(Bitmap, u32)]| frames.iter().map(|(_, delay)| *delay).collect::<Vec<_>>();
        assert_eq!(delays(&after), [50, 200, 120], "{name} to {to}");
        assert_eq!(delays(&before), [50, 200, 120], "{name}");
        for (frame, ((a, _), (b, _))) in before.iter().zip(&after).enumerate() {
            let distance = distance(&a.data, &b.data);
            assert!(distance < 5.0, "{name} to {to}, frame {frame}: {distance}");
        }
    }
}

#[test]
fn animations_are_stilled_for_still_formats() {
    for name in ["gif animated", "webp animated", "apng"] {
        for format in [Format::Jpeg, Format::Avif] {
            let result = run(&sample(name), format, None);
            assert!(!result.picture.facts.animated);
            assert_eq!(result.notes, [STILLED], "{name}");
        }
    }
    assert_eq!(run(&sample("apng"), Format::Webp, None).notes, [STILLED]);
}

#[test]
fn lost_credentials_are_said() {
    let signed = picture(&samples::with_chunk(&sample("png rgb").bytes, *b"caBX", b"manifest"));
    assert_eq!(run(&signed, Format::Webp, None).notes, [UNCREDITED]);
    assert_eq!(run(&signed, Format::Png, None).notes, [""; 0], "untouched, so kept");
    assert_eq!(run(&sample("png rgb 16"), Format::Webp, None).notes, [SHALLOW]);
}

#[test]
fn refuses_what_the_target_cannot_hold() {
    let long = Bitmap::new(Size::new(20_000, 1), vec![9; 60_000], false).unwrap();
    let source = picture(&encode::still(long, None, Format::Png, None, &mut Vec::new()).unwrap());
    let refused = transcode(&source, &Recipe::new(Format::Webp), &Limits::default());
    assert!(matches!(refused, Err(Flaw::Broken(text)) if text.contains("16383")));
    let small = Limits { max_pixels: 100, ..Limits::default() };
    let refused = transcode(&source, &Recipe::new(Format::Jpeg), &small);
    assert!(matches!(refused, Err(Flaw::TooManyPixels { .. })), "limits hold at the time of decoding too");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damaged_files_never_panic(
        which in any::<prop::sample::Index>(),
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
        to in prop::sample::select(Format::OUTPUTS.to_vec()),
    ) {
        let mut bytes = which.get(&FILES).1.clone();
        for (at, byte) in hits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        // Few pixels, so that a header that a hit made huge does not make the test slow.
        let limits = Limits { max_pixels: 100_000, max_frames: 8 };
        if let Ok(picture) = Picture::verify(bytes.into(), &limits) {
            let _ = transcode(&picture, &Recipe { quality: Some(50), ..Recipe::new(to) }, &limits);
        }
    }

    #[test]
    fn damaged_profiles_never_panic(
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        grey in any::<bool>(),
    ) {
        let profile = if grey { ColorProfile::new_gray_with_gamma(2.2) } else { ColorProfile::new_display_p3() };
        let mut profile = profile.encode().unwrap();
        for (at, byte) in hits {
            let at = at.index(profile.len());
            profile[at] = byte;
        }
        let mut pixels = samples::picture(true);
        let kept = colour::settle(&mut pixels, Some(profile), &mut Vec::new());
        if let Some(kept) = kept {
            colour::to_srgb(&mut pixels, &kept).unwrap();
        }
    }
}
