//! The nouns of the domain: what is to be made, how one route is asked for it, and what came back.

use crate::media::{Format, Picture, Shaping, Size, SizeAsk};
use bytes::Bytes;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;

/// What a call of a model does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// A prompt to pictures.
    TextToImage,
    /// Pictures and a prompt to pictures.
    ImageEdit,
    /// A picture to a larger one.
    Upscale,
    /// A prompt to a video.
    TextToVideo,
    /// A picture (and a prompt) to a video.
    ImageToVideo,
    /// A video (and a prompt) to a video.
    VideoToVideo,
    /// A video and a prompt to a video that goes on where that one ends.
    VideoExtension,
}

impl Mode {
    /// As the public API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TextToImage => "text-to-image",
            Self::ImageEdit => "image-edit",
            Self::Upscale => "upscale",
            Self::TextToVideo => "text-to-video",
            Self::ImageToVideo => "image-to-video",
            Self::VideoToVideo => "video-to-video",
            Self::VideoExtension => "video-extension",
        }
    }

    /// What it makes.
    pub const fn modality(self) -> Modality {
        if self.makes_video() { Modality::Video } else { Modality::Image }
    }

    /// Whether videos come of it; pictures do otherwise.
    pub const fn makes_video(self) -> bool {
        matches!(self, Self::TextToVideo | Self::ImageToVideo) || self.reads_video()
    }

    /// Whether it starts from a picture or a video.
    pub const fn reads_media(self) -> bool {
        !matches!(self, Self::TextToImage | Self::TextToVideo)
    }

    /// Whether it starts from a video.
    pub const fn reads_video(self) -> bool {
        matches!(self, Self::VideoToVideo | Self::VideoExtension)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a model makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Modality {
    /// Pictures.
    #[default]
    Image,
    /// Videos.
    Video,
}

impl Modality {
    /// As the public API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Video => "video",
        }
    }
}

impl fmt::Display for Modality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How the caller wants pictures handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseForm {
    /// A link to our media endpoint.
    #[default]
    Url,
    /// Base64 in the answer.
    B64Json,
}

/// A legal request for pictures or a video: every value is in range. Only on the way here is a 400 born.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The model as the caller wrote it: a name, an alias, or `provider/model`.
    pub model: String,
    /// What the call does.
    pub mode: Mode,
    /// The prompt, not empty.
    pub prompt: String,
    /// 1 to 10 pictures.
    pub n: u32,
    /// Shape and scale.
    pub size: SizeAsk,
    /// How to come to precisely the pixels of `size`; the nearest that the route makes will do when unsaid.
    #[serde(default)]
    pub resize: Option<Shaping>,
    /// Link or base64.
    pub form: ResponseForm,
    /// The format of the files; the route's own when unsaid.
    pub format: Option<Format>,
    /// Quality of a lossy format, 0 to 100.
    pub compression: Option<u8>,
    /// The caller's end user, for the log.
    pub user: Option<String>,
    /// Whether to answer as events, with at most so many unfinished pictures before each finished one.
    #[serde(default)]
    pub stream: Option<u32>,
    /// Whether the prompt is ours: variations are asked for as edits.
    #[serde(default)]
    pub variation: bool,
    /// How long a video should be, in seconds; the route's own length when unsaid.
    pub seconds: Option<u32>,
    /// Whether a video should have sound; the route's own habit when unsaid.
    pub audio: Option<bool>,
    /// Pictures (or, for modes that read one, the video) to work from. A stored job keeps them as files.
    #[serde(skip)]
    pub images: Vec<Input>,
    /// Where to edit: transparent pixels are to be changed (OpenAI's convention).
    #[serde(skip)]
    pub mask: Option<Input>,
    /// Everything else, passed through: `quality`, `seed`, `style`, and what only one provider knows.
    pub extra: Map<String, Value>,
}

impl Job {
    /// A job that asks for one of whatever the route makes by itself.
    pub fn new(model: impl Into<String>, mode: Mode, prompt: impl Into<String>) -> Self {
        Self {
            model: model.into(),
            mode,
            prompt: prompt.into(),
            n: 1,
            size: SizeAsk::Unsaid,
            resize: None,
            form: ResponseForm::default(),
            format: None,
            compression: None,
            user: None,
            stream: None,
            variation: false,
            seconds: None,
            audio: None,
            images: Vec::new(),
            mask: None,
            extra: Map::new(),
        }
    }
}

/// A picture or video that a caller gives: verified bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// The media type of what the bytes really are.
    pub mime: String,
    /// The file.
    pub bytes: Bytes,
    /// The pixels of a picture; prices depend on them.
    pub size: Option<Size>,
}

impl From<Picture> for Input {
    fn from(picture: Picture) -> Self {
        let Picture { bytes, facts } = picture;
        Self { mime: facts.format.mime().to_owned(), bytes, size: Some(facts.size) }
    }
}

impl Input {
    /// Its format, when it is a picture.
    pub fn format(&self) -> Option<Format> {
        Format::of_mime(&self.mime)
    }

    /// The file as base64.
    pub fn base64(&self) -> String {
        base64_simd::STANDARD.encode_to_string(&self.bytes)
    }

    /// `data:image/png;base64,…`
    pub fn data_uri(&self) -> String {
        format!("data:{};base64,{}", self.mime, self.base64())
    }
}

/// What one upstream call is asked to make: only what its route can do, in the provider's own words.
#[derive(Debug, Clone, PartialEq)]
pub struct Brief {
    /// A UUID for this one call, for providers that let the caller name the job. Two calls never share one, however alike
    /// they are.
    pub id: String,
    /// The provider's id of the model.
    pub model: String,
    /// What the call does.
    pub mode: Mode,
    /// Pictures wanted from this one call.
    pub n: u32,
    /// The format asked for, when the route lets us choose.
    pub format: Option<Format>,
    /// Every parameter under the provider's name for it: prompt, count, size and format included, and input pictures
    /// too where the catalog says how (`inputs.form` other than `parts`).
    pub input: Map<String, Value>,
    /// Input pictures for adapters that place them themselves (`inputs.form = "parts"`: uploads, nested bodies).
    pub images: Vec<Input>,
    /// The mask, likewise.
    pub mask: Option<Input>,
}

/// A picture on its way, as a provider that streams shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partial {
    /// Counting from 0 within one picture.
    pub index: u32,
    /// Base64: a slice of the event that brought it.
    pub base64: Bytes,
}

/// What one event of a streamed answer brings; most bring one thing or nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Event {
    /// An unfinished picture.
    pub partial: Option<Partial>,
    /// Finished pictures.
    pub outputs: Vec<Output>,
    /// What it says of the bill.
    pub usage: Usage,
}

/// One thing a provider made.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// Where its bytes are.
    pub source: Source,
    /// The prompt as the provider rewrote it.
    pub revised_prompt: Option<String>,
}

/// Where the bytes of an output are.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// To be fetched, through the guard.
    Link(String),
    /// Base64 text: a slice of the reply's own buffer.
    Base64(Bytes),
    /// The file itself.
    Bytes(Bytes),
}

/// What a provider said about the bill of one call. Every field may be missing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Money, in USD, as the provider reports it.
    pub cost: Option<Decimal>,
    /// Units in the provider's own measure, to be multiplied by the route's unit price.
    pub units: Option<Decimal>,
    /// Tokens by kind.
    pub tokens: Option<Tokens>,
}

/// Token counts of an image call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Text tokens read, cached ones included.
    pub text_in: u64,
    /// Image tokens read, cached ones included.
    pub image_in: u64,
    /// Of `text_in`, those read from a cache.
    pub cached_text_in: u64,
    /// Of `image_in`, those read from a cache.
    pub cached_image_in: u64,
    /// Text tokens written.
    pub text_out: u64,
    /// Image tokens written.
    pub image_out: u64,
}

impl Usage {
    /// Both bills together: for several calls that serve one request.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let sum = |a: Option<Decimal>, b: Option<Decimal>| match (a, b) {
            (Some(a), Some(b)) => Some(a + b),
            (one, None) | (None, one) => one,
        };
        Self {
            cost: sum(self.cost, other.cost),
            units: sum(self.units, other.units),
            tokens: match (self.tokens, other.tokens) {
                (Some(a), Some(b)) => Some(Tokens {
                    text_in: a.text_in + b.text_in,
                    image_in: a.image_in + b.image_in,
                    cached_text_in: a.cached_text_in + b.cached_text_in,
                    cached_image_in: a.cached_image_in + b.cached_image_in,
                    text_out: a.text_out + b.text_out,
                    image_out: a.image_out + b.image_out,
                }),
                (one, None) | (None, one) => one,
            },
        }
    }
}
