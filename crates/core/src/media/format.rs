//! The image formats we speak, and what each can carry.

use serde::{Deserialize, Serialize};
use std::fmt;

/// An image file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Portable Network Graphics.
    Png,
    /// JPEG, lossy, no alpha.
    #[serde(alias = "jpg")]
    Jpeg,
    /// WebP, encoded lossy by us.
    Webp,
    /// GIF, 256 colours, one-bit alpha.
    Gif,
    /// AVIF, lossy.
    Avif,
    /// Vector: passed through, or drawn.
    Svg,
}

impl Format {
    /// Every format that we can encode, in the order in which messages list them.
    pub const OUTPUTS: [Self; 5] = [Self::Png, Self::Jpeg, Self::Webp, Self::Gif, Self::Avif];

    /// Reads a public name (`png`, `jpeg`, `jpg`, `webp`, `gif`, `avif`, `svg`), in any case.
    pub fn parse(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "png" => Some(Self::Png),
            "jpeg" | "jpg" => Some(Self::Jpeg),
            "webp" => Some(Self::Webp),
            "gif" => Some(Self::Gif),
            "avif" => Some(Self::Avif),
            "svg" => Some(Self::Svg),
            _ => None,
        }
    }

    /// The public name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpeg",
            Self::Webp => "webp",
            Self::Gif => "gif",
            Self::Avif => "avif",
            Self::Svg => "svg",
        }
    }

    /// The file extension, without a dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            other => other.name(),
        }
    }

    /// The media type.
    pub const fn mime(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Webp => "image/webp",
            Self::Gif => "image/gif",
            Self::Avif => "image/avif",
            Self::Svg => "image/svg+xml",
        }
    }

    /// The format of a media type, as [`Format::mime`] writes it.
    pub fn of_mime(mime: &str) -> Option<Self> {
        [Self::Png, Self::Jpeg, Self::Webp, Self::Gif, Self::Avif, Self::Svg].into_iter().find(|one| one.mime() == mime)
    }

    /// Whether its pixels can be read here. AVIF's cannot: dav1d wants meson, the released rav1d speaks through
    /// unsafe functions only, its safe forks are two years old or AGPL (looked at 2026-11).
    pub const fn decodable(self) -> bool {
        !matches!(self, Self::Avif)
    }

    /// Whether `output_compression` means anything to our encoder of it.
    pub const fn lossy(self) -> bool {
        matches!(self, Self::Jpeg | Self::Webp | Self::Avif)
    }

    /// Whether it can say "transparent".
    pub const fn alpha(self) -> bool {
        !matches!(self, Self::Jpeg)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
