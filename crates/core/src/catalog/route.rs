//! A route: one provider's endpoint for one canonical model, with everything that an adapter and the pipeline must
//! know about it. Facts only; the rows live in `config/catalog/*.toml`.

use super::price::Price;
use super::size_rule::SizeRule;
use crate::job::Mode;
use crate::media::{Format, Size};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// One row `[[route]]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The provider's id; filled in from the file.
    #[serde(skip)]
    pub provider: String,
    /// The canonical model.
    pub model: String,
    /// The provider's id of the model or endpoint.
    pub upstream: String,
    /// What it can do.
    pub modes: Vec<Mode>,
    /// Routes of a lower number are tried first.
    #[serde(default = "usual_priority")]
    pub priority: u32,
    /// What sizes it makes.
    pub size: SizeRule,
    /// The size it makes when none is asked for.
    #[serde(default)]
    pub default_size: Option<Size>,
    /// The formats it can be asked for. Empty: it takes no format and sends what it likes.
    #[serde(default)]
    pub formats: Vec<Format>,
    /// The format it sends when none is asked for.
    #[serde(default)]
    pub default_format: Option<Format>,
    /// Most pictures in one call.
    #[serde(default = "one")]
    pub max_n: u32,
    /// What pictures it takes.
    #[serde(default)]
    pub inputs: Option<Inputs>,
    /// How far it enlarges, when that is what it does.
    #[serde(default)]
    pub upscale: Option<Upscale>,
    /// Whether it streams: `stream` asks for it, and pictures come as events, unfinished ones (`partial_images`) before.
    #[serde(default)]
    pub streams: bool,
    /// How its videos are asked for; every video route has it.
    #[serde(default)]
    pub video: Option<Video>,
    /// Longest prompt, in characters.
    #[serde(default)]
    pub max_prompt: Option<usize>,
    /// How this route names parameters, over the file's `[fields]`. An empty name: the provider has no such parameter.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
    /// Values that are called otherwise there: `values.quality.hd = "high"`.
    #[serde(default)]
    pub values: BTreeMap<String, BTreeMap<String, Value>>,
    /// Parameters that are sent unless the caller says otherwise.
    #[serde(default)]
    pub defaults: Map<String, Value>,
    /// How long a call usually takes.
    #[serde(default = "usual_seconds")]
    pub typical_seconds: u32,
    /// What it costs.
    #[serde(default)]
    pub price: Price,
    /// The last day on which the provider serves it, `YYYY-MM-DD`.
    #[serde(default)]
    pub retires: Option<String>,
    /// Where the facts were read, unless the file says it for all its routes.
    #[serde(default)]
    pub source: String,
    /// How sure the facts are: `documented`, `derived` or `unconfirmed`.
    #[serde(default)]
    pub confidence: String,
}

const fn usual_priority() -> u32 {
    10
}

const fn one() -> u32 {
    1
}

const fn usual_seconds() -> u32 {
    20
}

/// How a route takes pictures: `inputs = { max = 4, field = "image_urls" }`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inputs {
    /// How many at most.
    pub max: usize,
    /// How they are written.
    #[serde(default)]
    pub form: InputForm,
    /// The parameter; unused by [`InputForm::Parts`].
    #[serde(default)]
    pub field: String,
    /// One value or several.
    #[serde(default)]
    pub shape: InputShape,
    /// The parameter of the mask; none when the route takes none.
    #[serde(default)]
    pub mask: Option<String>,
    /// Whether white is what the mask changes; transparent pixels are, when false.
    #[serde(default)]
    pub white_mask: bool,
    /// The parameter of a video's last frame: then a second picture is that frame.
    #[serde(default)]
    pub last: Option<String>,
    /// The file formats it takes; a picture in another one is converted first.
    #[serde(default = "usual_inputs")]
    pub formats: Vec<Format>,
    /// The largest file it takes, in bytes; a larger one is compressed, then made smaller.
    #[serde(default)]
    pub max_bytes: Option<usize>,
    /// The longest side it takes, in pixels; a larger picture is made smaller.
    #[serde(default)]
    pub max_side: Option<u32>,
    /// The most pixels it takes; likewise.
    #[serde(default)]
    pub max_pixels: Option<u64>,
    /// The parameter of a source video; modes that start from one need it, whoever places it.
    #[serde(default)]
    pub video: Option<String>,
}

/// What every provider takes that says nothing else.
fn usual_inputs() -> Vec<Format> {
    vec![Format::Png, Format::Jpeg, Format::Webp]
}

/// How far a route enlarges: `upscale = { factors = [2, 4], default = 2 }`. The parameter is called `scale_factor`, under
/// the provider's name for it (`fields`); a route without that parameter always enlarges by its `default`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upscale {
    /// The factors it can be asked for. Empty: any from `min` to `max`.
    #[serde(default)]
    pub factors: Vec<f64>,
    /// The smallest factor.
    #[serde(default = "unit")]
    pub min: f64,
    /// The largest factor.
    #[serde(default = "largest")]
    pub max: f64,
    /// The factor when none is asked for.
    pub default: f64,
}

const fn unit() -> f64 {
    1.0
}

const fn largest() -> f64 {
    16.0
}

impl Upscale {
    /// The factor nearest to the wish.
    pub fn nearest(&self, wish: f64) -> f64 {
        let far = |factor: &f64| (factor / wish).ln().abs();
        let listed = self.factors.iter().copied().min_by(|a, b| far(a).total_cmp(&far(b)));
        listed.unwrap_or_else(|| wish.max(self.min).min(self.max))
    }
}

/// How a route's videos are asked for: `video = { seconds = [5, 10], default = 5, audio = "generate_audio" }`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Video {
    /// The lengths that can be asked for, in seconds, ascending. Empty: it has no choice.
    #[serde(default)]
    pub seconds: Vec<u32>,
    /// The length when none is asked for, in seconds.
    pub default: u32,
    /// The parameter of the length.
    #[serde(default = "duration")]
    pub field: String,
    /// How a length is spelled in it.
    #[serde(default)]
    pub form: LengthForm,
    /// Frames a second; [`LengthForm::Frames`] needs it.
    #[serde(default)]
    pub fps: Option<u32>,
    /// The boolean parameter that switches sound.
    #[serde(default)]
    pub audio: Option<String>,
    /// Whether there is sound when nothing is said.
    #[serde(default)]
    pub sound: bool,
}

fn duration() -> String {
    "duration".to_owned()
}

/// How a video's length is spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LengthForm {
    /// `5`
    #[default]
    Number,
    /// `"5"`
    Text,
    /// `"5s"`
    Suffixed,
    /// Frames: seconds times `fps`, and one.
    Frames,
}

impl Video {
    /// The allowed length nearest to the one asked for; the shorter of two.
    pub fn nearest(&self, seconds: u32) -> u32 {
        self.seconds.iter().copied().min_by_key(|one| one.abs_diff(seconds)).unwrap_or(self.default)
    }

    /// A length as the provider wants it.
    pub fn spell(&self, seconds: u32) -> Value {
        match self.form {
            LengthForm::Number => Value::from(seconds),
            LengthForm::Text => Value::from(seconds.to_string()),
            LengthForm::Suffixed => Value::from(format!("{seconds}s")),
            LengthForm::Frames => Value::from(seconds * self.fps.unwrap_or(1) + 1),
        }
    }
}

/// How an input picture is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputForm {
    /// `data:image/png;base64,…`
    #[default]
    DataUri,
    /// Base64 alone.
    Base64,
    /// By the adapter: a file upload or a nested body.
    Parts,
}

/// How several input pictures share a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputShape {
    /// A list: `image_urls: [a, b]`.
    #[default]
    List,
    /// One text: `image_url: a`.
    Single,
    /// Numbered names: `input_image`, `input_image_2`, …
    Numbered,
}

impl Route {
    /// The provider's name for a canonical parameter; `None` when it has none.
    pub fn field<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        match self.fields.get(name).map(String::as_str) {
            Some("") => None,
            Some(own) => Some(own),
            None => Some(name),
        }
    }

    /// `provider/upstream`, as answers name what ran.
    pub fn executed_model(&self) -> String {
        format!("{}/{}", self.provider, self.upstream)
    }

    /// Whether the provider no longer serves it on `today` (`YYYY-MM-DD`).
    pub fn retired(&self, today: &str) -> bool {
        self.retires.as_deref().is_some_and(|last| last < today)
    }
}
