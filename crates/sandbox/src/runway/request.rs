//! The bodies of the creating calls. Shapes and lengths are the SDK's, model by model.

use super::super::bill;
use super::super::body::{Fields, Flaw, address};
use super::super::easel::Motif;
use super::super::queue::Work;
use crate::base::Usd;
use crate::catalog::Route;
use crate::job::Mode;
use crate::media::{Format, Size};
use serde_json::{Map, Value};

/// Shapes of the pictures.
const PICTURES: [&str; 16] = [
    "1024:1024",
    "1080:1080",
    "1168:880",
    "1360:768",
    "1440:1080",
    "1080:1440",
    "1808:768",
    "1920:1080",
    "1080:1920",
    "2112:912",
    "1280:720",
    "720:1280",
    "720:720",
    "960:720",
    "720:960",
    "1680:720",
];
const WIDE: [&str; 2] = ["1280:720", "720:1280"];
const GEN_4: [&str; 6] = ["1280:720", "720:1280", "1104:832", "832:1104", "960:960", "1584:672"];
const VEO: [&str; 4] = ["1280:720", "720:1280", "1080:1920", "1920:1080"];
const SEEDANCE: [&str; 24] = [
    "992:432",
    "864:496",
    "752:560",
    "640:640",
    "560:752",
    "496:864",
    "1470:630",
    "1280:720",
    "1112:834",
    "960:960",
    "834:1112",
    "720:1280",
    "2206:946",
    "1920:1080",
    "1664:1248",
    "1440:1440",
    "1248:1664",
    "1080:1920",
    "3840:1646",
    "3840:2160",
    "3840:2880",
    "3840:3840",
    "2880:3840",
    "2160:3840",
];
const SEEDANCE_2_5: [&str; 18] = [
    "992:432",
    "854:480",
    "752:560",
    "640:640",
    "560:752",
    "480:854",
    "1470:630",
    "1280:720",
    "1112:834",
    "960:960",
    "834:1112",
    "720:1280",
    "2206:946",
    "1920:1080",
    "1664:1248",
    "1440:1440",
    "1248:1664",
    "1080:1920",
];
const HAILUO: [&str; 7] = ["adaptive", "21:9", "16:9", "4:3", "1:1", "3:4", "9:16"];

/// A legal call.
pub(super) struct Order {
    pub(super) prompt: String,
    pub(super) work: Work,
    pub(super) price: Usd,
}

impl Order {
    pub(super) fn read(body: &Map<String, Value>, route: &Route, modes: &[Mode]) -> Result<Self, Flaw> {
        let fields = Fields(body);
        let prompt = match route.upstream.as_str() {
            "aleph2" | "seedance2_5" => fields.text("promptText")?.unwrap_or_default(),
            name if name.starts_with("seedance") || name == "hailuo3" => fields.required("promptText", 10_000)?,
            _ => fields.required("promptText", 1_000)?,
        };
        fields.whole("seed", 0..=u32::MAX)?;
        let (work, price) = match modes {
            [Mode::TextToImage, ..] => picture(fields, route, prompt)?,
            _ => video(fields, route, modes)?,
        };
        Ok(Self { prompt: prompt.to_owned(), work, price })
    }
}

fn picture(fields: Fields<'_>, route: &Route, prompt: &str) -> Result<(Work, Usd), Flaw> {
    let ratio = fields.one_of("ratio", &PICTURES)?.ok_or_else(|| Flaw::new("ratio", "is required"))?;
    let references = fields.list("referenceImages", 3)?;
    references.iter().try_for_each(|one| address("referenceImages", &one["uri"]))?;
    if references.is_empty() && route.upstream == "gen4_image_turbo" {
        return Err(Flaw::new("referenceImages", "is required"));
    }
    let size = Size::parse(&ratio.replace(':', "x")).unwrap_or(Size::new(1024, 1024));
    let motif = Motif { prompt: prompt.into(), index: 0, size, format: Format::Png, black: false };
    Ok((Work::Pictures(vec![motif]), bill::price(&route.price, fields.0, size, 1)))
}

fn video(fields: Fields<'_>, route: &Route, modes: &[Mode]) -> Result<(Work, Usd), Flaw> {
    let (text, name) = (modes == [Mode::TextToVideo], route.upstream.as_str());
    match modes {
        [Mode::VideoToVideo] => {
            address("videoUri", fields.0.get("videoUri").unwrap_or(&Value::Null))?;
            // A source of five seconds, whatever it is.
            return Ok((Work::Video(5), bill::video(&route.price, fields.0, 5)));
        }
        [Mode::ImageToVideo] => frames(fields, name)?,
        _ if fields.0.contains_key("promptImage") => return Err(Flaw::new("promptImage", "is not a parameter")),
        _ => {}
    }
    let shapes: &[&str] = match name {
        "gen4.5" if text => &WIDE,
        "gen4.5" | "gen4_turbo" => &GEN_4,
        "veo3.1" | "veo3.1_fast" => &VEO,
        "hailuo3" => &HAILUO,
        "seedance2_5" => &SEEDANCE_2_5,
        "seedance2" => &SEEDANCE,
        _ => &SEEDANCE[..12],
    };
    let ratio = fields.one_of("ratio", shapes)?;
    if name == "hailuo3" {
        fields.one_of("resolution", &["768p", "2k", "768P", "2K"])?;
        if text && ratio.is_none_or(|ratio| ratio == "adaptive") {
            return Err(Flaw::new("ratio", "must be a concrete ratio for text-only requests"));
        }
    } else if ratio.is_none() && !name.starts_with("seedance") {
        return Err(Flaw::new("ratio", "is required"));
    }
    fields.flag("audio")?;
    let seconds = duration(fields, name)?;
    Ok((Work::Video(seconds), bill::video(&route.price, fields.0, seconds)))
}

/// `promptImage`: one address, or a list of frames with their positions.
fn frames(fields: Fields<'_>, name: &str) -> Result<(), Flaw> {
    let given = fields.0.get("promptImage").ok_or_else(|| Flaw::new("promptImage", "is required"))?;
    let Some(list) = given.as_array() else { return address("promptImage", given) };
    for frame in list {
        address("promptImage", &frame["uri"])?;
        let first_only = name.starts_with("gen4");
        match frame["position"].as_str() {
            Some("first") => {}
            Some("last") if !first_only => {}
            _ => return Err(Flaw::new("promptImage", "position must be first or, where the model can, last")),
        }
    }
    if list.first().is_some_and(|frame| frame["position"] == "first") && list.len() <= 2 {
        Ok(())
    } else {
        Err(Flaw::new("promptImage", "must begin with a first frame"))
    }
}

fn duration(fields: Fields<'_>, name: &str) -> Result<u32, Flaw> {
    let (bounds, usual) = match name {
        "gen4.5" => (2..=10, None),
        "gen4_turbo" => (5..=10, Some(10)),
        "veo3.1" | "veo3.1_fast" => (4..=8, Some(8)),
        "hailuo3" => (5..=15, Some(5)),
        "seedance2_5" => (4..=30, Some(5)),
        _ => (4..=15, Some(5)),
    };
    let said = fields.whole("duration", bounds)?.or(usual).ok_or_else(|| Flaw::new("duration", "is required"))?;
    let stepped = match name {
        "gen4_turbo" => said == 5 || said == 10,
        "veo3.1" | "veo3.1_fast" => said.is_multiple_of(2),
        _ => true,
    };
    if stepped { Ok(said) } else { Err(Flaw::new("duration", "is not a length of this model")) }
}
