//! Fixture conversations: what is asked, what the provider says turn by turn, and how it ends. One file is replayed
//! through the pure adapter and through the whole gateway.
//!
//! In the texts, `{base}` is the provider's base address, `{b64:png:64x64}` a picture in base64 and `{uri:png:64x64}`
//! the same as a data address; `{b64:mp4:5}` and `{uri:mp4:5}` are videos of five seconds, `mask:64x64` is a mask as callers
//! give it and `white:64x64` the same in black and white.
//!
//! A request with a `mode` is one for a video: then it may say `seconds` and `audio` too.

use lumenfall::job::Mode;
use lumenfall::media::{Format, Size, draw};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::fs;
use std::path::Path;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fixture {
    /// `provider/case`, filled in from the path.
    #[serde(skip)]
    pub(crate) name: String,
    /// What this conversation shows, and where its shapes were read.
    #[expect(dead_code, reason = "for people")]
    pub(crate) about: String,
    /// The body that a caller sends to the gateway.
    pub(crate) request: Value,
    /// The exchanges, in order.
    pub(crate) turns: Vec<TurnOf>,
    /// How it ends.
    pub(crate) ends: Ends,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TurnOf {
    pub(crate) expect: Expect,
    pub(crate) reply: Said,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    pub(crate) verb: String,
    pub(crate) url: String,
    /// The whole JSON body.
    pub(crate) json: Option<Value>,
    /// The parts of a form, in order: name and text, or `{file:png:64x64}`.
    pub(crate) form: Option<Vec<(String, String)>>,
    /// Headers that must be there; the credential among them.
    #[serde(default)]
    pub(crate) headers: Map<String, Value>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Said {
    pub(crate) status: u16,
    #[serde(default)]
    pub(crate) headers: Map<String, Value>,
    pub(crate) json: Option<Value>,
    pub(crate) text: Option<String>,
    /// A picture file: `png:64x64`. Such a turn is a download, which few adapters see.
    pub(crate) picture: Option<String>,
    /// A video file: `mp4:5`. Likewise.
    pub(crate) clip: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ends {
    /// So many outputs…
    pub(crate) outputs: Option<usize>,
    /// …or this fault,
    pub(crate) fault: Option<String>,
    /// with this acceptance.
    pub(crate) accepted: Option<String>,
    /// The gateway's status: of a picture's answer, or of the one that takes a video in.
    pub(crate) status: u16,
    /// The error code: of that answer, or of the video that came to nothing.
    pub(crate) code: Option<String>,
    /// The cost on the answer, or in the row.
    pub(crate) cost: Option<f64>,
    /// What may have been spent besides, in the row.
    pub(crate) uncertain: Option<f64>,
}

impl Fixture {
    /// Every fixture of the tree, by name.
    pub(crate) fn all() -> Vec<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let mut found = Vec::new();
        for provider in fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()) {
            for path in fs::read_dir(&provider).unwrap().map(|entry| entry.unwrap().path()) {
                let text = fs::read_to_string(&path).unwrap();
                let mut fixture: Self =
                    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                let stem = |path: &Path| path.file_stem().unwrap().to_string_lossy().into_owned();
                fixture.name = format!("{}/{}", stem(&provider), stem(&path));
                found.push(fixture);
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    /// The mode of a video; `None` when pictures are asked for.
    pub(crate) fn video(&self) -> Option<Mode> {
        serde_json::from_value(self.request.get("mode")?.clone()).unwrap()
    }

    pub(crate) fn provider(&self) -> &str {
        self.name.split('/').next().unwrap()
    }
}

/// The settings that point a provider at a scripted one.
pub(crate) fn pointed(provider: &str, base: &str) -> Vec<(String, String)> {
    let variable = provider.to_uppercase().replace('-', "_");
    let mut settings = vec![
        (format!("PROVIDERS__{variable}__BASE_URL"), base.to_owned()),
        (format!("PROVIDERS__{variable}__API_KEY"), "test-key".to_owned()),
        ("OUTBOUND__ALLOW_PRIVATE".to_owned(), "true".to_owned()),
        ("ROUTING__RATE_LIMIT_RETRIES".to_owned(), "0".to_owned()),
    ];
    if provider == DEPLOYED {
        settings.push((format!("PROVIDERS__{variable}__MODELS"), DEPLOYED_MODEL.to_owned()));
    }
    settings
}

/// The adapter whose deployments name their own models, and the model that its fixtures use.
pub(crate) const DEPLOYED: &str = "openai-compatible";
pub(crate) const DEPLOYED_MODEL: &str = "local-image";

impl Said {
    /// Whether this is a file.
    pub(crate) fn is_file(&self) -> bool {
        self.picture.is_some() || self.clip.is_some()
    }

    /// The body as bytes, for a provider at `base`.
    pub(crate) fn body(&self, base: &str) -> Vec<u8> {
        if let Some(spec) = self.picture.as_ref().or(self.clip.as_ref()) {
            return file(spec);
        }
        match (&self.json, &self.text) {
            (Some(json), _) => fill(json, base).to_string().into_bytes(),
            (None, Some(text)) => text.clone().into_bytes(),
            (None, None) => Vec::new(),
        }
    }
}

/// Puts the base address and pictures into every text of a document.
pub(crate) fn fill(value: &Value, base: &str) -> Value {
    match value {
        Value::String(text) => {
            let spec = |kind: &str| text.strip_prefix(kind).and_then(|rest| rest.strip_suffix('}'));
            let encode = |spec: &str| base64_simd::STANDARD.encode_to_string(file(spec));
            Value::String(match (spec("{b64:"), spec("{uri:")) {
                (Some(spec), _) => encode(spec),
                (_, Some(spec)) => format!("data:{};base64,{}", mime(spec), encode(spec)),
                _ => text.replace("{base}", base),
            })
        }
        Value::Array(items) => items.iter().map(|item| fill(item, base)).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), fill(value, base))).collect(),
        other => other.clone(),
    }
}

/// Whether a body is the expected one; `{uuid}` stands for any UUID.
pub(crate) fn matches(expected: &Value, got: &Value) -> bool {
    match (expected, got) {
        (Value::String(wild), Value::String(id)) if wild == "{uuid}" => id.len() == 36 && id.matches('-').count() == 4,
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| matches(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, value)| b.get(name).is_some_and(|got| matches(value, got)))
        }
        (a, b) => a == b,
    }
}

/// The media type of a spec.
pub(crate) fn mime(spec: &str) -> String {
    match spec.split(':').next().unwrap() {
        "mp4" => "video/mp4".to_owned(),
        "mask" | "white" => "image/png".to_owned(),
        format => format!("image/{format}"),
    }
}

/// The file of a spec: a video, a mask, or a picture.
pub(crate) fn file(spec: &str) -> Vec<u8> {
    match spec.split_once(':').unwrap() {
        ("mp4", _) => clip(spec),
        ("mask", size) => mask(Size::parse(size).unwrap(), false),
        ("white", size) => mask(Size::parse(size).unwrap(), true),
        _ => picture(spec),
    }
}

/// A mask whose left half is to be changed: transparent there, or (`white`) white on black.
fn mask(size: Size, white: bool) -> Vec<u8> {
    let left = |x: u32| x < size.width / 2;
    let mut file = std::io::Cursor::new(Vec::new());
    let shade = |yes: bool| if yes { 255 } else { 0 };
    if white {
        let mask = image::GrayImage::from_fn(size.width, size.height, |x, _| image::Luma([shade(left(x))]));
        mask.write_to(&mut file, image::ImageFormat::Png).unwrap();
    } else {
        let clear = |x: u32| image::Rgba([0, 0, 0, shade(!left(x))]);
        let mask = image::RgbaImage::from_fn(size.width, size.height, |x, _| clear(x));
        mask.write_to(&mut file, image::ImageFormat::Png).unwrap();
    }
    file.into_inner()
}

/// The video of a spec such as `mp4:5`: a head that says its length, and nothing in it.
pub(crate) fn clip(spec: &str) -> Vec<u8> {
    let seconds: u32 = spec.strip_prefix("mp4:").unwrap().parse().unwrap();
    let boxed = |name: &[u8; 4], content: &[u8]| {
        [&u32::try_from(content.len() + 8).unwrap().to_be_bytes(), &name[..], content].concat()
    };
    let mut header = [0_u8; 100];
    header[12..16].copy_from_slice(&1_000_u32.to_be_bytes());
    header[16..20].copy_from_slice(&(seconds * 1_000).to_be_bytes());
    [boxed(b"ftyp", b"isom\0\0\x02\0isom"), boxed(b"moov", &boxed(b"mvhd", &header)), boxed(b"mdat", b"")].concat()
}

/// The picture of a spec such as `png:64x64`.
pub(crate) fn picture(spec: &str) -> Vec<u8> {
    let (format, size) = spec.split_once(':').unwrap();
    draw("fixture", Size::parse(size).unwrap(), Format::parse(format).unwrap()).unwrap().to_vec()
}
