//! Input pictures cut to a route: converted only when it does not take their format, made smaller only when they are too
//! large for it, masks turned to its convention. What changed is told.

use super::adjustment::Adjustment;
use crate::catalog::{Inputs, Route};
use crate::fault::{Fault, FaultKind};
use crate::job::{Input, Job};
use crate::media::workers::Workers;
use crate::media::{Facts, Flaw, Format, Limits, Picture, Recipe, Resize, Shaping, Size, fit_within, mask, transcode};
use serde_json::json;

/// The quality of a picture that had to be converted to a lossy format.
const QUALITY: u8 = 92;

/// A job whose input pictures are as a route takes them.
#[derive(Debug)]
pub(in crate::pipeline) struct PreparedInputs {
    pub job: Job,
    /// The conversions.
    pub adjustments: Vec<Adjustment>,
}

/// Converts the input pictures of a job as a route needs them. A fault is about the caller's pictures: nothing has been
/// asked of any provider.
pub(in crate::pipeline) async fn convert_inputs(
    job: Job,
    route: &Route,
    workers: &Workers,
    limits: &Limits,
) -> Result<PreparedInputs, Fault> {
    let untouched = |job| Ok(PreparedInputs { job, adjustments: Vec::new() });
    let Some(inputs) = route.inputs.clone() else { return untouched(job) };
    if job.mask.is_none() && job.images.iter().all(|image| accepted(image, &inputs)) {
        return untouched(job);
    }
    let (images, mask, limits) = (job.images.clone(), job.mask.clone(), *limits);
    let work = move || recut(images, mask, &inputs, &limits);
    let done = workers.run(work).await.and_then(|outcome| outcome);
    let (images, mask, adjustments) = done.map_err(|flaw| refused(&flaw))?;
    Ok(PreparedInputs { job: Job { images, mask, ..job }, adjustments })
}

fn refused(flaw: &Flaw) -> Fault {
    match flaw {
        Flaw::Busy => Fault::new(FaultKind::Unavailable, flaw.to_string()),
        flaw => Fault::new(FaultKind::BadRequest, format!("An input image cannot be used: {flaw}.")),
    }
}

/// Whether a file may go as it is, as far as its name and length tell. Videos are nobody's business here.
fn accepted(image: &Input, inputs: &Inputs) -> bool {
    let Some(format) = image.format() else { return true };
    let bounded = inputs.max_side.is_some() || inputs.max_pixels.is_some();
    let large = inputs.max_bytes.is_some_and(|most| image.bytes.len() > most);
    inputs.formats.contains(&format)
        && !large
        && !(bounded && image.size.is_none_or(|size| reduced(size, inputs) != size))
}

/// The largest size of that shape that a route takes.
fn reduced(size: Size, inputs: &Inputs) -> Size {
    let side = inputs.max_side.filter(|most| size.long_side() > *most);
    let size = side.map_or(size, |most| fit_within(size, Size::new(most, most)));
    match inputs.max_pixels.filter(|most| size.area() > *most) {
        None => size,
        Some(most) => shrunk(size, most, size.area()),
    }
}

/// The same shape with `most` out of `now` of the pixels.
#[expect(clippy::cast_precision_loss, reason = "far below what a double holds exactly")]
fn shrunk(size: Size, most: u64, now: u64) -> Size {
    let factor = (most as f64 / now as f64).sqrt().min(1.0);
    let side = |length: u32| crate::media::size::to_side((f64::from(length) * factor).floor().max(1.0));
    Size::new(side(size.width), side(size.height))
}

type Recut = (Vec<Input>, Option<Input>, Vec<Adjustment>);

fn recut(images: Vec<Input>, mask: Option<Input>, inputs: &Inputs, limits: &Limits) -> Result<Recut, Flaw> {
    let mut told = Vec::new();
    let first = images.first().and_then(|image| image.size);
    let images = images.into_iter().map(|image| {
        if accepted(&image, inputs) {
            return Ok(image);
        }
        let before = Picture::verify(image.bytes.clone(), limits)?;
        let after = convert(&before, inputs, limits)?;
        told.push(Adjustment {
            param: "image".to_owned(),
            requested: described(&before.facts),
            used: described(&after.facts),
            reason: why(&before, inputs),
        });
        Ok(Input::from(after))
    });
    let images: Vec<Input> = images.collect::<Result<_, Flaw>>()?;
    // A mask goes with its picture.
    let size = images.first().and_then(|image| image.size).filter(|size| Some(*size) != first);
    let mask = mask.map(|mask| fit_mask(&mask, size, inputs, limits)).transpose()?;
    Ok((images, mask, told))
}

fn described(facts: &Facts) -> serde_json::Value {
    json!(format!("{} {}", facts.format, facts.size))
}

fn why(before: &Picture, inputs: &Inputs) -> String {
    if !inputs.formats.contains(&before.facts.format) {
        return format!("this route takes no {} images", before.facts.format.name().to_uppercase());
    }
    match inputs.max_bytes.filter(|most| before.bytes.len() > *most) {
        Some(most) => format!("this route takes input images of up to {most} bytes"),
        None => "this route takes smaller input images".to_owned(),
    }
}

/// Another format if need be, lossless first, then smaller, until the route takes it.
fn convert(picture: &Picture, inputs: &Inputs, limits: &Limits) -> Result<Picture, Flaw> {
    let mut size = reduced(picture.facts.size, inputs);
    let lossless = [Format::Png, Format::Webp, Format::Jpeg];
    let keep = inputs.formats.contains(&picture.facts.format) && !picture.facts.animated;
    let own = keep.then_some(picture.facts.format);
    let format = own.or_else(|| lossless.into_iter().find(|format| inputs.formats.contains(format)));
    let mut format =
        format.ok_or_else(|| Flaw::Broken("no format that this route takes can be written here".into()))?;
    for _ in 0..8 {
        let resize = (size != picture.facts.size).then_some(Resize { size, shaping: Shaping::Exact });
        let quality = format.lossy().then_some(QUALITY);
        let recipe = Recipe { resize, quality, ..Recipe::new(format) };
        let made = transcode(picture, &recipe, limits)?.picture;
        let Some(most) = inputs.max_bytes.filter(|most| made.bytes.len() > *most) else { return Ok(made) };
        let lossy = [Format::Webp, Format::Jpeg].into_iter().find(|lossy| inputs.formats.contains(lossy));
        match lossy.filter(|_| !format.lossy()) {
            Some(lossy) => format = lossy,
            None => size = shrunk(size, most as u64 * 9 / 10, made.bytes.len() as u64),
        }
    }
    Err(Flaw::Broken("it cannot be made small enough for this route".into()))
}

/// A mask as large as its picture, in the route's convention.
fn fit_mask(mask: &Input, size: Option<Size>, inputs: &Inputs, limits: &Limits) -> Result<Input, Flaw> {
    let mut picture = Picture::verify(mask.bytes.clone(), limits)?;
    if let Some(size) = size {
        let recipe = Recipe { resize: Some(Resize { size, shaping: Shaping::Exact }), ..Recipe::new(Format::Png) };
        picture = transcode(&picture, &recipe, limits)?.picture;
    }
    if inputs.white_mask {
        picture = mask::white_mask(&picture, limits)?;
    }
    Ok(Input::from(picture))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::draw;

    fn inputs(text: &str) -> Inputs {
        toml::from_str(&format!("max = 4\n{text}")).unwrap()
    }

    fn picture(width: u32, height: u32, format: Format) -> Input {
        let bytes = draw("p", Size::new(width, height), format).unwrap();
        Input { mime: format.mime().to_owned(), bytes, size: Some(Size::new(width, height)) }
    }

    fn cut(image: &Input, rule: &str) -> (Input, Vec<Adjustment>) {
        let (mut images, _, told) = recut(vec![image.clone()], None, &inputs(rule), &Limits::default()).unwrap();
        (images.remove(0), told)
    }

    #[test]
    fn what_is_taken_is_not_touched() {
        for format in [Format::Png, Format::Jpeg, Format::Webp] {
            let image = picture(64, 48, format);
            let (same, told) = cut(&image, "max_side = 64\nmax_pixels = 3072\nmax_bytes = 1000000");
            assert_eq!((&same, told.len()), (&image, 0));
            assert_eq!(same.bytes.as_ptr(), image.bytes.as_ptr(), "not even copied");
        }
    }

    #[test]
    fn another_format_is_converted_and_told() {
        let (image, told) = cut(&picture(64, 48, Format::Gif), "");
        assert_eq!((image.format(), image.size), (Some(Format::Png), Some(Size::new(64, 48))));
        assert_eq!((told[0].requested.as_str(), told[0].used.as_str()), (Some("gif 64x48"), Some("png 64x48")));
        let (image, _) = cut(&picture(64, 48, Format::Webp), "formats = [\"jpeg\"]");
        assert_eq!(image.mime, "image/jpeg");
    }

    #[test]
    fn what_is_too_large_is_made_smaller() {
        let (image, told) = cut(&picture(640, 480, Format::Png), "max_side = 320");
        assert_eq!((image.size, image.format()), (Some(Size::new(320, 240)), Some(Format::Png)));
        assert!(told[0].reason.contains("smaller"), "{told:?}");
        let (image, _) = cut(&picture(640, 480, Format::Png), "max_pixels = 10000");
        assert!(image.size.unwrap().area() <= 10_000);
        let large = picture(640, 480, Format::Png);
        let (image, _) = cut(&large, "max_bytes = 4000");
        assert!(
            image.bytes.len() <= 4000 && large.bytes.len() > 4000,
            "{} of {}",
            image.bytes.len(),
            large.bytes.len()
        );
    }

    #[test]
    fn masks_follow_their_picture() {
        let clear = draw("m", Size::new(8, 8), Format::Png).unwrap();
        let mut pixels = image::load_from_memory(&clear).unwrap().into_rgba8();
        for (x, _, pixel) in pixels.enumerate_pixels_mut() {
            pixel.0[3] = if x < 4 { 0 } else { 255 };
        }
        let mut file = std::io::Cursor::new(Vec::new());
        image::imageops::resize(&pixels, 64, 64, image::imageops::FilterType::Nearest)
            .write_to(&mut file, image::ImageFormat::Png)
            .unwrap();
        let mask = Input { mime: "image/png".into(), bytes: file.into_inner().into(), size: Some(Size::new(64, 64)) };
        let image = picture(64, 64, Format::Png);
        let rule = inputs("max_side = 32\nwhite_mask = true\nmask = \"mask\"");
        let (images, mask, _) = recut(vec![image], Some(mask), &rule, &Limits::default()).unwrap();
        let mask = mask.unwrap();
        assert_eq!((images[0].size, mask.size), (Some(Size::new(32, 32)), Some(Size::new(32, 32))));
        let grey = image::load_from_memory(&mask.bytes).unwrap().into_luma8();
        assert_eq!((grey.get_pixel(2, 16).0, grey.get_pixel(29, 16).0), ([255], [0]), "white is edited");
    }

    #[test]
    fn a_picture_that_cannot_be_read_is_the_callers_fault() {
        let limits = Limits { max_pixels: 10, ..Limits::default() };
        let fault = refused(&recut(vec![picture(64, 64, Format::Gif)], None, &inputs(""), &limits).unwrap_err());
        assert_eq!(fault.kind, FaultKind::BadRequest);
        assert!(fault.message.contains("64x64"), "{fault}");
    }
}
