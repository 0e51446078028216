//! Fixture conversations: what is asked, what the provider says turn by turn, and how it ends. One file is replayed
//! through the pure adapter and through the whole gateway.
//!
//! In the texts, `{base}` is the provider's base address, `{b64:png:64x64}` a picture in base64 and `{uri:png:64x64}`
//! the same as a data address.

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
    /// A picture file: `png:64x64`. Such a turn is a download, which no adapter sees.
    pub(crate) picture: Option<String>,
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
    /// The gateway's status and error code.
    pub(crate) status: u16,
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
    /// The body as bytes, for a provider at `base`.
    pub(crate) fn body(&self, base: &str) -> Vec<u8> {
        if let Some(spec) = &self.picture {
            return picture(spec);
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
            let encode = |spec: &str| base64_simd::STANDARD.encode_to_string(picture(spec));
            Value::String(match (spec("{b64:"), spec("{uri:")) {
                (Some(spec), _) => encode(spec),
                (_, Some(spec)) => format!("data:image/{};base64,{}", spec.split(':').next().unwrap(), encode(spec)),
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

/// The picture of a spec such as `png:64x64`.
pub(crate) fn picture(spec: &str) -> Vec<u8> {
    let (format, size) = spec.split_once(':').unwrap();
    draw("fixture", Size::parse(size).unwrap(), Format::parse(format).unwrap()).unwrap().to_vec()
}
