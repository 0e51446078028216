//! A job meets a route: what the route is asked for (the brief), what we still owe (the debts), and what was changed
//! or dropped on the way (the adjustments). Pure.

use super::adjustment::Adjustment;
use super::params::{put_inputs, set_param};
use super::scale::{Enlarged, settle_scale};
use crate::base::id;
use crate::catalog::{InputForm, Route, SizeChoice};
use crate::job::{Brief, Input, Job, Mode};
use crate::media::{Format, Resize, Size, SizeAsk};
use serde_json::{Map, Value, json};

/// What is owed to the caller after the provider has answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Debts {
    /// The format to hand over; whatever came when `None`.
    pub format: Option<Format>,
    /// The quality to encode with, when we encode.
    pub quality: Option<u8>,
    /// Encode anew even when the format is right: the provider could not apply the quality.
    pub recompress: bool,
    /// The pixels to hand over; whatever came when `None`.
    pub resize: Option<Resize>,
    /// What a vector picture is drawn into when pixels are owed.
    pub canvas: Size,
}

/// A job cut to a route.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// What the provider is asked for, for one picture or more; see [`Fit::brief`].
    input: Map<String, Value>,
    format: Option<Format>,
    /// What we owe.
    pub debts: Debts,
    /// What differs from the wish.
    pub adjustments: Vec<Adjustment>,
    /// The pixels to expect, for the estimate.
    pub expect: Size,
    /// The length of the video to expect, in seconds; 0 for pictures.
    pub seconds: u32,
    /// The pixels that the provider was told to make.
    promised: Option<Size>,
    /// The factor that the provider was told.
    enlarged: Option<Enlarged>,
}

/// Why a route cannot do a job at all. The plan skips it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::pipeline) struct Misfit(pub(super) String);

/// Cuts a job to a route.
pub(in crate::pipeline) fn fit(job: &Job, route: &Route) -> Result<Fit, Misfit> {
    if !route.modes.contains(&job.mode) {
        return Err(Misfit(format!("it does not support {}", job.mode)));
    }
    let length = job.prompt.chars().count();
    if let Some(max) = route.max_prompt.filter(|max| length > *max) {
        return Err(Misfit(format!("its prompts have at most {max} characters, this one has {length}")));
    }
    check_inputs(job, route)?;
    check_format(job, route)?;
    let mut adjustments = Vec::new();
    let mut input = route.defaults.clone();
    // Only that they are there: prices ask for it, and encoding megabytes is for the call itself.
    put_inputs(&mut input, job, route, |_| Value::Null);
    if !job.prompt.is_empty() {
        set_param(&mut input, route, "prompt", json!(job.prompt));
    }
    if job.variation {
        adjustments.push(variation_adjustment(job));
    }
    let size = route.size.choose(&job.size);
    if size.adjusted {
        adjustments.push(size_adjustment(job, &size));
    }
    let mut expect = size.expect.or(route.default_size).unwrap_or(Size::new(1024, 1024));
    let promised = size.promised;
    input.extend(size.params);
    let (format, mut debts) = settle_format(job, route, &mut input, &mut adjustments);
    let seconds = settle_length(job, route, &mut input, &mut adjustments);
    let enlarged = settle_scale(job, route, &mut input, &mut adjustments, &mut expect);
    debts.canvas = expect;
    settle_stream(job, route, &mut input, &mut adjustments);
    pass_through(job, route, &mut input, &mut adjustments);
    Ok(Fit { input, format, debts, adjustments, expect, seconds, promised, enlarged })
}

/// The brief for all of a job's pictures in one call of a route: what an adapter is handed. An error says why not.
pub fn brief_for(job: &Job, route: &Route) -> Result<Brief, String> {
    fit(job, route).map(|fit| fit.brief(job, route, job.n)).map_err(|misfit| misfit.0)
}

impl Fit {
    /// What to say when a picture of `made` pixels came back; nothing when it is as the provider was told.
    pub fn size_surprise(&self, made: Size) -> Option<Adjustment> {
        let promised = self.promised.filter(|promised| *promised != made)?;
        Some(Adjustment {
            param: "size".to_owned(),
            requested: json!(promised),
            used: json!(made),
            reason: "the provider made another size than it was told to".to_owned(),
        })
    }

    /// What to say when a picture was enlarged by another factor than was asked for.
    pub fn scale_surprise(&self, made: Size) -> Option<Adjustment> {
        self.enlarged.as_ref()?.surprise(made)
    }

    /// The parameters that prices may depend on: those of the brief, but for the count and the bytes of pictures.
    pub fn parameters(&self) -> &Map<String, Value> {
        &self.input
    }

    /// The brief for one call that makes `n` pictures.
    pub fn brief(&self, job: &Job, route: &Route, n: u32) -> Brief {
        let mut input = self.input.clone();
        let form = route.inputs.as_ref().map(|inputs| inputs.form);
        put_inputs(&mut input, job, route, |image| match form {
            Some(InputForm::Base64) => json!(image.base64()),
            _ => json!(image.data_uri()),
        });
        if route.max_n > 1 {
            set_param(&mut input, route, "n", json!(n));
        }
        let parts = route.inputs.as_ref().is_some_and(|inputs| inputs.form == InputForm::Parts);
        let (images, mask) = if parts { (job.images.clone(), job.mask.clone()) } else { (Vec::new(), None) };
        Brief {
            id: id::uuid(),
            model: route.upstream.clone(),
            mode: job.mode,
            n,
            format: self.format,
            input,
            images,
            mask,
        }
    }
}

/// All pictures or none: a route that cannot take every one is not for this job.
fn check_inputs(job: &Job, route: &Route) -> Result<(), Misfit> {
    let most = route.inputs.as_ref().map_or(0, |inputs| inputs.max + usize::from(inputs.last.is_some()));
    let videos = job.images.iter().filter(|given| given.mime.starts_with("video/")).count();
    match (videos, route.inputs.as_ref().is_some_and(|inputs| inputs.video.is_some())) {
        (1.., false) => return Err(Misfit("it takes no video".to_owned())),
        (2.., true) => return Err(Misfit("it takes one video".to_owned())),
        _ => {}
    }
    let taken = |format: Format| {
        format.decodable() || route.inputs.as_ref().is_some_and(|inputs| inputs.formats.contains(&format))
    };
    let strange = job.images.iter().filter_map(Input::format).find(|format| !taken(*format));
    match job.images.len() - videos {
        _ if strange.is_some_and(|format| most > 0 && !taken(format)) => {
            let format = strange.map(|format| format.name().to_uppercase()).unwrap_or_default();
            Err(Misfit(format!("it takes no {format} images, and we cannot convert those")))
        }
        given if given > most && most == 1 => Err(Misfit("it does not support multiple input images".to_owned())),
        given if given > most => Err(Misfit(format!("it takes at most {most} input images, not {given}"))),
        _ if job.mask.is_some() && route.inputs.as_ref().is_none_or(|inputs| inputs.mask.is_none()) => {
            Err(Misfit("it takes no mask".to_owned()))
        }
        _ => Ok(()),
    }
}

/// Vectors are drawn by few, and nobody can make them of pixels.
fn check_format(job: &Job, route: &Route) -> Result<(), Misfit> {
    let vectors = route.formats.contains(&Format::Svg) || route.default_format == Some(Format::Svg);
    if job.format == Some(Format::Svg) && !vectors {
        return Err(Misfit("it does not make SVG".to_owned()));
    }
    Ok(())
}

fn variation_adjustment(job: &Job) -> Adjustment {
    Adjustment {
        param: "prompt".to_owned(),
        requested: Value::Null,
        used: json!(job.prompt),
        reason: "no provider of this model makes variations; it is asked for an edit with these words".to_owned(),
    }
}

/// The size that we resize to, when the caller wants precisely that.
fn resize_of(job: &Job) -> Option<Resize> {
    match (job.resize, &job.size) {
        (Some(shaping), SizeAsk::Exact(size)) => Some(Resize { size: *size, shaping }),
        _ => None,
    }
}

fn size_adjustment(job: &Job, size: &SizeChoice) -> Adjustment {
    Adjustment {
        param: "size".to_owned(),
        requested: json!(job.size.to_string()),
        used: json!(size.told),
        reason: match size.told {
            _ if resize_of(job).is_some() => "what the provider is asked for; we resize the result".to_owned(),
            Some(_) => "the nearest size that this route makes".to_owned(),
            None => "this route has no control over size".to_owned(),
        },
    }
}

/// Chooses what to ask for and what to make ourselves. Native first: the bytes then stay untouched, provenance and all.
fn settle_format(
    job: &Job,
    route: &Route,
    input: &mut Map<String, Value>,
    adjustments: &mut Vec<Adjustment>,
) -> (Option<Format>, Debts) {
    let offered = |format: Format| route.formats.contains(&format);
    let resize = resize_of(job);
    // What is resized is encoded anew: from lossless where that can be.
    let anew = resize.is_some() && offered(Format::Png);
    let native = job.format.filter(|format| offered(*format) && !(anew && format.lossy()));
    let canvas = Size::new(1024, 1024);
    let mut debts = Debts { format: job.format, quality: job.compression, recompress: false, resize, canvas };
    let mut asked = match (job.format, native) {
        (_, Some(native)) => Some(native),
        // To be converted by us: from lossless, so that nothing is lost twice.
        (Some(_), None) if offered(Format::Png) => Some(Format::Png),
        _ => None,
    };
    if let Some(quality) = job.compression {
        let target = job.format.or(route.default_format);
        match target {
            Some(format) if format.lossy() => {
                let natively = native.is_some_and(Format::lossy) || (job.format.is_none() && offered(format) && !anew);
                if natively && set_param(input, route, "output_compression", json!(quality)) {
                    asked = Some(format);
                    debts.quality = None;
                } else {
                    // The provider has no such setting: fetch it lossless and encode it ourselves.
                    debts.format = Some(format);
                    debts.recompress = true;
                    asked = if offered(Format::Png) { Some(Format::Png) } else { asked };
                }
            }
            Some(format) => {
                debts.quality = None;
                adjustments.push(Adjustment {
                    param: "output_compression".to_owned(),
                    requested: json!(quality),
                    used: Value::Null,
                    reason: format!("{format} is not compressed with loss"),
                });
            }
            // No telling what will come: encode it if it turns out lossy.
            None => debts.recompress = true,
        }
    }
    if let Some(format) = asked {
        set_param(input, route, "output_format", json!(format.name()));
    }
    (asked.or(route.default_format), debts)
}

/// Asks for the nearest length that the route makes, and for sound or silence. Returns the length to expect.
fn settle_length(job: &Job, route: &Route, input: &mut Map<String, Value>, told: &mut Vec<Adjustment>) -> u32 {
    let Some(video) = &route.video else { return 0 };
    let seconds = job.seconds.map_or(video.default, |seconds| video.nearest(seconds));
    if let Some(asked) = job.seconds.filter(|asked| *asked != seconds) {
        told.push(Adjustment {
            param: "seconds".to_owned(),
            requested: json!(asked),
            used: json!(seconds),
            reason: "the nearest length that this route makes".to_owned(),
        });
    }
    if !video.seconds.is_empty() {
        input.insert(video.field.clone(), video.spell(seconds));
    }
    match (job.audio, &video.audio) {
        (Some(audio), Some(field)) => drop(input.insert(field.clone(), json!(audio))),
        (Some(audio), None) if audio != video.sound => told.push(Adjustment {
            param: "generate_audio".to_owned(),
            requested: json!(audio),
            used: json!(video.sound),
            reason: "this route has no switch for sound".to_owned(),
        }),
        _ => {}
    }
    seconds
}

/// Asks a route that streams for events; from any other the finished picture is the only one.
fn settle_stream(job: &Job, route: &Route, input: &mut Map<String, Value>, told: &mut Vec<Adjustment>) {
    let Some(partials) = job.stream else { return };
    let shown = route.streams && (partials == 0 || set_param(input, route, "partial_images", json!(partials)));
    if route.streams {
        set_param(input, route, "stream", json!(true));
    }
    if !shown {
        let reason = if route.streams {
            "this route shows as many unfinished pictures as it likes"
        } else {
            "this route shows no unfinished pictures"
        };
        told.extend((partials > 0).then(|| Adjustment {
            param: "partial_images".to_owned(),
            requested: json!(partials),
            used: Value::Null,
            reason: reason.to_owned(),
        }));
    }
}

/// Everything else goes to the provider as it is, under its own names. A value that it calls otherwise is told, since the
/// nearest word is not always the same thing (`high` where there is only `medium`).
fn pass_through(job: &Job, route: &Route, input: &mut Map<String, Value>, adjustments: &mut Vec<Adjustment>) {
    let settled = |name: &str| name == "scale_factor" && job.mode == Mode::Upscale;
    for (name, value) in job.extra.iter().filter(|(name, _)| !settled(name)) {
        if !set_param(input, route, name, value.clone()) {
            adjustments.push(Adjustment {
                param: name.clone(),
                requested: value.clone(),
                used: Value::Null,
                reason: format!("{} has no such parameter", route.executed_model()),
            });
            continue;
        }
        let sent = route.field(name).and_then(|field| input.get(field)).filter(|sent| *sent != value);
        adjustments.extend(sent.map(|sent| Adjustment {
            param: name.clone(),
            requested: value.clone(),
            used: sent.clone(),
            reason: "what this route calls it, or has nearest to it".to_owned(),
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Mode;
    use crate::media::SizeAsk;
    use crate::providers;

    fn route(provider: &str, upstream: &str) -> Route {
        let models = include_str!("../../../config/catalog/models.toml");
        let card = providers::find(provider).unwrap().card();
        let catalog = crate::catalog::load([("models", models), (card.id, card.catalog)]).unwrap();
        let route = catalog.routes_of(provider).find(|route| route.upstream == upstream).unwrap();
        Route::clone(route)
    }

    fn job() -> Job {
        Job::new("", Mode::TextToImage, "a fox")
    }

    fn debts(format: Format, quality: Option<u8>, recompress: bool, canvas: Size) -> Debts {
        Debts { format: Some(format), quality, recompress, resize: None, canvas }
    }

    #[test]
    fn openai_speaks_for_itself() {
        let route = route("openai", "gpt-image-2");
        let mut job = job();
        job.size = SizeAsk::parse(Some("16:9"), None, None).unwrap();
        job.format = Some(Format::Webp);
        job.compression = Some(80);
        job.extra.insert("quality".into(), json!("hd"));
        job.extra.insert("style".into(), json!("vivid"));
        let fit = fit(&job, &route).unwrap();
        let brief = fit.brief(&job, &route, 3);
        assert_eq!(
            Value::Object(brief.input),
            json!({"prompt": "a fox", "n": 3, "size": "1360x768", "output_format": "webp", "output_compression": 80,
                "quality": "high"})
        );
        assert_eq!(fit.debts, debts(Format::Webp, None, false, Size::new(1360, 768)));
        let told: Vec<(&str, &Value)> = fit.adjustments.iter().map(|told| (told.param.as_str(), &told.used)).collect();
        assert_eq!(told, [("quality", &json!("high")), ("style", &Value::Null)]);
    }

    #[test]
    fn fal_is_asked_for_png_when_we_owe_avif() {
        let route = route("fal", "fal-ai/flux-2-max");
        let job = Job { format: Some(Format::Avif), compression: Some(50), n: 3, ..job() };
        let fit = fit(&job, &route).unwrap();
        assert_eq!(Value::Object(fit.brief(&job, &route, 1).input), json!({"prompt": "a fox", "output_format": "png"}));
        assert_eq!(fit.debts, debts(Format::Avif, Some(50), true, fit.expect));
    }

    #[test]
    fn quality_of_a_native_format_without_the_setting_is_ours() {
        let route = route("fal", "fal-ai/flux/schnell");
        let job = Job { format: Some(Format::Jpeg), compression: Some(30), ..job() };
        let fit = fit(&job, &route).unwrap();
        assert_eq!(fit.brief(&job, &route, 1).input["output_format"], "png");
        assert!(fit.debts.recompress);
        let job = Job { format: Some(Format::Png), compression: Some(30), ..job };
        let fit = super::fit(&job, &route).unwrap();
        assert_eq!((fit.debts.recompress, fit.adjustments.len()), (false, 1));
    }

    /// A caller who comes from another family of models is not refused for its words.
    #[test]
    fn quality_has_every_familys_words() {
        let models = include_str!("../../../config/catalog/models.toml");
        let cards = providers::ADAPTERS.iter().map(|adapter| adapter.card());
        let files = cards.map(|card| (card.id, card.catalog));
        let catalog = crate::catalog::load(std::iter::once(("models", models)).chain(files)).unwrap();
        let named = |route: &&Route| route.field("quality").is_some() && route.modes.contains(&Mode::TextToImage);
        let all = catalog.providers().iter().flat_map(|provider| catalog.routes_of(provider));
        let mut seen = 0;
        for route in all.map(AsRef::as_ref).filter(named).filter(|route| route.values.contains_key("quality")) {
            let finer = route.upstream.contains("gpt-image-2.5") || route.upstream.contains("gpt-image-2.6");
            for word in ["standard", "hd", "xhigh", "max"] {
                let native = finer && matches!(word, "xhigh" | "max");
                let known = route.values["quality"].contains_key(word);
                assert!(native || known, "{} does not know '{word}'", route.executed_model());
            }
            seen += 1;
        }
        assert!(seen >= 10, "only {seen} routes");
    }

    #[test]
    fn what_cannot_be_done_is_a_misfit() {
        let route = route("openai", "gpt-image-2");
        let long = Job { prompt: "x".repeat(32_001), ..job() };
        assert!(fit(&long, &route).unwrap_err().0.contains("32000"));
        let upscale = Job { mode: Mode::Upscale, ..job() };
        assert!(fit(&upscale, &route).unwrap_err().0.contains("upscale"));
    }
}
