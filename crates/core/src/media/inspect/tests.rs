use super::*;
use crate::media::samples;
use proptest::prelude::*;
use std::sync::LazyLock;

static FILES: LazyLock<Vec<(&str, Vec<u8>)>> = LazyLock::new(samples::all);

fn base64(bytes: &[u8]) -> Vec<u8> {
    base64_simd::STANDARD.encode_to_string(bytes).into_bytes()
}

fn broken(result: &Result<Facts, Flaw>) -> bool {
    matches!(result, Err(Flaw::Broken(_)))
}

#[test]
fn knows_every_sample() {
    for (name, bytes) in FILES.iter() {
        let facts = inspect(bytes, &Limits::default()).unwrap_or_else(|flaw| panic!("{name}: {flaw}"));
        let format = name.split(' ').next().unwrap().replace("apng", "png");
        assert_eq!(facts.format, Format::parse(&format).unwrap(), "{name}");
        assert_eq!(facts.size, samples::SIZE, "{name}");
        assert_eq!(facts.animated, name.contains("animated") || *name == "apng", "{name}");
        assert_eq!(inspect_base64(&base64(bytes), &Limits::default()), Ok(facts), "{name}");
    }
}

#[test]
fn a_cut_file_is_never_whole() {
    for (name, bytes) in FILES.iter() {
        for length in 0..bytes.len() {
            let cut = inspect(&bytes[..length], &Limits::default());
            assert!(matches!(cut, Err(Flaw::Truncated | Flaw::Broken(_) | Flaw::Unknown)), "{name} {length}: {cut:?}");
            let recognisable = length >= 32 || sniff(&bytes[..length]).is_some();
            assert!(cut != Err(Flaw::Unknown) || !recognisable, "{name} {length}");
        }
    }
}

#[test]
fn tolerates_what_follows_the_end() {
    for (name, bytes) in FILES.iter().filter(|(name, _)| !name.starts_with("avif")) {
        let longer = [bytes, &b"\0\0\n\n"[..]].concat();
        assert!(inspect(&longer, &Limits::default()).is_ok(), "{name}");
    }
}

#[test]
fn a_large_file_in_base64_is_read_in_places() {
    let mut state = 1u32;
    let noise = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    });
    let noise = noise.take(300 * 300 * 3).collect();
    let noise = super::super::bitmap::Bitmap::new(Size::new(300, 300), noise, false).unwrap();
    for format in [Format::Png, Format::Jpeg, Format::Webp, Format::Gif] {
        let bytes = super::super::encode::still(noise.clone(), None, format, Some(100), &mut Vec::new()).unwrap();
        assert!(bytes.len() > source::HEAD, "{format}: {}", bytes.len());
        let facts = inspect_base64(&base64(&bytes), &Limits::default()).unwrap();
        assert_eq!((facts.format, facts.size), (format, Size::new(300, 300)));
        let cut = inspect_base64(&base64(&bytes[..bytes.len() * 2 / 3]), &Limits::default());
        assert_eq!(cut, Err(Flaw::Truncated), "{format}");
    }
}

#[test]
fn base64_must_be_clean() {
    let good = base64(&FILES[0].1);
    let spoiled = |at: usize, with: u8| {
        let mut text = good.clone();
        text[at] = with;
        text
    };
    for text in [spoiled(40, b' '), spoiled(40, b'\n'), spoiled(40, b'-'), spoiled(40, b'='), spoiled(40, 0xff)] {
        assert!(broken(&inspect_base64(&text, &Limits::default())));
    }
    assert!(broken(&inspect_base64(&good[..good.len() - 1], &Limits::default())));
    assert_eq!(inspect_base64(b"", &Limits::default()), Err(Flaw::Unknown));
}

#[test]
fn bombs_are_refused_by_their_header() {
    let size = Size::new(16_000, 16_000);
    let png = samples::png(&[
        (*b"IHDR", samples::header(size, 2)),
        (*b"IDAT", samples::zlib(&[0; 64])),
        (*b"IEND", Vec::new()),
    ]);
    assert_eq!(inspect(&png, &Limits::default()), Err(Flaw::TooManyPixels { size, max: 50_000_000 }));

    let size = Size::new(16_383, 16_383);
    let mut webp = b"RIFF\x1e\0\0\0WEBPVP8L\x11\0\0\0\x2f".to_vec();
    webp.extend((0x3ffe_u32 | 0x3ffe << 14).to_le_bytes());
    webp.resize(38, 0);
    assert_eq!(inspect(&webp, &Limits::default()), Err(Flaw::TooManyPixels { size, max: 50_000_000 }));
    assert_eq!(inspect_base64(&base64(&webp), &Limits::default()), inspect(&webp, &Limits::default()));

    let svg = br#"<svg width="1e9" height="1e9"/>"#;
    assert!(matches!(inspect(svg, &Limits::default()), Err(Flaw::TooManyPixels { .. })));
}

#[test]
fn animations_are_limited_in_frames_and_in_total() {
    let gif = samples::animated_gif(false);
    assert!(broken(&inspect(&gif, &Limits { max_frames: 2, ..Limits::default() })));
    let area = samples::SIZE.area();
    assert!(broken(&inspect(&gif, &Limits { max_pixels: area, max_frames: 10 })), "3 frames in the room of 2");
    assert!(inspect(&gif, &Limits { max_pixels: area * 3 / 2, max_frames: 10 }).is_ok());
}

#[test]
fn a_frame_larger_than_its_screen_counts() {
    let mut gif = b"GIF89a\x01\0\x01\0\0\0\0".to_vec();
    gif.extend(b",\0\0\0\0\xff\xff\xff\xff\0\x02\0;");
    assert!(matches!(inspect(&gif, &Limits::default()), Err(Flaw::TooManyPixels { .. })));
}

#[test]
fn svg_sizes() {
    let size = |text: &str| inspect(text.as_bytes(), &Limits::default()).map(|facts| facts.size.to_string());
    for (text, expected) in [
        (r#"<svg width="200" height='100px'></svg>"#, "200x100"),
        (r#"<svg viewBox="0 0 300 150"/>"#, "300x150"),
        (r#"<svg viewBox="0,0,300,150" width="100%" height="100%"/>"#, "300x150"),
        (r#"<svg viewBox="0 0 300 150" width="600"/>"#, "600x300"),
        (r#"<svg width="1in" height="25.4mm"/>"#, "96x96"),
        ("<svg>\n</svg>\n", "1024x1024"),
        (r#"<svg data-width="5" title="width='7' > 3" width="9" height="9"/>"#, "9x9"),
        ("\u{feff}<?xml version=\"1.0\"?>\n<!-- <svg> -->\n<!DOCTYPE svg>\n<svg width='3' height='4'></svg>", "3x4"),
        ("<!DOCTYPE svg [ <!ENTITY a \"b\"> ]><svg width='3' height='4'></svg>", "3x4"),
    ] {
        assert_eq!(size(text), Ok(expected.to_owned()), "{text}");
    }
    for text in ["<html><svg/></html>", "<svgs></svgs>", "svg", "<?xml version='1.0'?>"] {
        assert_eq!(size(text), Err(Flaw::Unknown), "{text}");
    }
    assert_eq!(size("<svg width='3' height='4'><rect/>"), Err(Flaw::Truncated));
}

#[test]
fn credentials_are_seen() {
    let bytes = |wanted: &str| FILES.iter().find(|(name, _)| *name == wanted).unwrap().1.clone();
    let png = samples::with_chunk(&bytes("png rgb"), *b"caBX", b"manifest");
    let jpeg = samples::jpeg(|encoder| encoder.add_app_segment(11, b"JP\0\x01manifest".to_vec()).unwrap());
    let webp = samples::with_riff_chunk(&bytes("webp lossy"), *b"C2PA", b"manifest");
    let mut gif = bytes("gif");
    gif.splice(19..19, *b"\x21\xff\x0bC2PA_GIF\x01\0\0\x04mani\0");
    let mut avif = bytes("avif");
    avif.extend(b"\0\0\0\x18uuid\xd8\xfe\xc3\xd6\x1b\x0e\x48\x3c\x92\x97\x58\x28\x87\x7e\xc4\x81");
    for file in [png, jpeg, webp, gif, avif] {
        let (facts, structure) = examine(&&file[..], &Limits::default()).unwrap();
        assert!(structure.credentials, "{}", facts.format);
    }
    for (name, file) in FILES.iter() {
        assert!(!examine(&&file[..], &Limits::default()).unwrap().1.credentials, "{name}");
    }
}

#[test]
fn plays_are_read() {
    for (name, plays) in [("gif animated", 2), ("webp animated", 2), ("apng", 0)] {
        let (_, bytes) = FILES.iter().find(|(other, _)| *other == name).unwrap();
        assert_eq!(examine(&&bytes[..], &Limits::default()).unwrap().1.plays, plays, "{name}");
    }
}

#[test]
fn flaws_speak_plainly() {
    let flaw = Flaw::TooManyPixels { size: Size::new(9000, 9000), max: 50_000_000 };
    assert_eq!(flaw.to_string(), "the image of 9000x9000 pixels is larger than the limit of 50000000 pixels");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_bytes_confuse_it(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = inspect_base64(&bytes, &Limits::default());
        prop_assert_eq!(inspect_base64(&base64(&bytes), &Limits::default()), inspect(&bytes, &Limits::default()));
    }

    #[test]
    fn damaged_files_do_not_confuse_it(
        which in any::<prop::sample::Index>(),
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        near in prop::collection::vec((0usize..80, any::<u8>()), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = which.get(&FILES).1.clone();
        let last = bytes.len() - 1;
        for (at, byte) in hits.into_iter().map(|(at, byte)| (at.index(last + 1), byte)).chain(near) {
            bytes[at.min(last)] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        prop_assert_eq!(inspect_base64(&base64(&bytes), &Limits::default()), inspect(&bytes, &Limits::default()));
    }
}
