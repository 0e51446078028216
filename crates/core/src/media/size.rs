//! The public size grammar: `1024x1024`, `16:9`, `auto`, tiers such as `2K`. Pure; what a route can do lives in
//! `catalog/size_rule.rs`.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::fmt;

/// Pixels, width by height. Never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

impl Size {
    /// The longest side that a request may name.
    pub const MAX_SIDE: u32 = 16_384;

    /// Of those sides.
    pub const fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }

    /// Reads `WIDTHxHEIGHT` with sides of 1 to 16384.
    pub fn parse(text: &str) -> Option<Self> {
        let (width, height) = text.split_once(['x', 'X', '×'])?;
        let side = |text: &str| text.trim().parse::<u32>().ok().filter(|side| (1..=Self::MAX_SIDE).contains(side));
        Some(Self { width: side(width)?, height: side(height)? })
    }

    /// Number of pixels.
    pub const fn area(self) -> u64 {
        self.width as u64 * self.height as u64
    }

    /// Width over height.
    pub fn ratio(self) -> f64 {
        f64::from(self.width) / f64::from(self.height)
    }

    /// The longer side.
    pub fn long_side(self) -> u32 {
        self.width.max(self.height)
    }

    /// The size that the hosted service prints for a shape at a scale: area `edge²`, height rounded first.
    /// It reproduces every published value (`1365x768` for 16:9 at 1K).
    pub fn of_ratio(ratio: f64, edge: f64) -> Self {
        let height = (edge * edge / ratio).sqrt().round().max(1.0);
        let width = (height * ratio).round().max(1.0);
        Self { width: to_side(width), height: to_side(height) }
    }
}

/// A float to a side, saturating.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped just before")]
pub fn to_side(value: f64) -> u32 {
    value.clamp(1.0, f64::from(u32::MAX)) as u32
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom(format!("'{text}' is not WIDTHxHEIGHT")))
    }
}

/// A shape such as `16:9` or `19.5:9`, kept as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Ratio {
    text: String,
    value: f64,
}

impl Ratio {
    /// Reads `W:H` with positive numbers up to 10000, decimals allowed.
    pub fn parse(text: &str) -> Option<Self> {
        let (across, down) = text.split_once(':')?;
        let part = |text: &str| {
            let text = text.trim();
            let plain = text.chars().all(|c| c.is_ascii_digit() || c == '.');
            text.parse::<f64>().ok().filter(|n| plain && *n >= 0.01 && *n <= 10_000.0)
        };
        Some(Self { value: part(across)? / part(down)?, text: text.trim().to_owned() })
    }

    /// Width over height.
    pub fn value(&self) -> f64 {
        self.value
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Ratio {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Ratio {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom(format!("'{text}' is not W:H")))
    }
}

/// A scale such as `1K`, `0.5K`, `1080p` or `0.25` (megapixels), kept as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Tier {
    text: String,
    edge: f64,
}

impl Tier {
    /// Reads `nK` (edge of n·1024), `n MP` or a bare number below 100 (megapixels), a bare number from 100 (edge in
    /// pixels) and `np` (a video's shorter side, at 16:9).
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let lower = text.to_ascii_lowercase();
        let number = |digits: &str| digits.trim().parse::<f64>().ok().filter(|n| *n > 0.0 && n.is_finite());
        let edge = if let Some(thousands) = lower.strip_suffix('k') {
            number(thousands)? * 1024.0
        } else if let Some(megapixels) = lower.strip_suffix("mp") {
            (number(megapixels)? * 1_048_576.0).sqrt()
        } else if let Some(lines) = lower.strip_suffix('p') {
            number(lines)? * (16.0f64 / 9.0).sqrt()
        } else {
            let bare = number(&lower)?;
            if bare < 100.0 { (bare * 1_048_576.0).sqrt() } else { bare }
        };
        (edge <= f64::from(Size::MAX_SIDE)).then(|| Self { text: text.to_owned(), edge })
    }

    /// The side of a square of that scale, in pixels.
    pub fn edge(&self) -> f64 {
        self.edge
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Tier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Tier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom(format!("'{text}' is not a tier such as 1K")))
    }
}

/// What a request says about size, after the contract's priority (`size`, then `aspect_ratio` with `resolution`).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SizeAsk {
    /// Nothing was said.
    #[default]
    Unsaid,
    /// `auto`: the model decides.
    Auto,
    /// Exactly so many pixels: shape and scale.
    Exact(Size),
    /// A shape, a scale, or both.
    Shaped {
        /// The shape; square when unsaid.
        ratio: Option<Ratio>,
        /// The scale; the route's usual one when unsaid.
        tier: Option<Tier>,
    },
}

impl SizeAsk {
    /// The three public parameters to one wish. The error names the parameter and what would be right.
    pub fn parse(size: Option<&str>, ratio: Option<&str>, tier: Option<&str>) -> Result<Self, (&'static str, String)> {
        if let Some(size) = size {
            return Self::parse_size(size);
        }
        let said = |text: Option<&str>| text.filter(|text| !text.eq_ignore_ascii_case("auto")).map(str::to_owned);
        let shape = said(ratio)
            .map(|text| Ratio::parse(&text).ok_or_else(|| ("aspect_ratio", bad(&text, "W:H such as 16:9, or auto"))))
            .transpose()?;
        let scale = said(tier)
            .map(|text| {
                Tier::parse(&text).ok_or_else(|| ("resolution", bad(&text, "a tier such as 1K or 2K, or auto")))
            })
            .transpose()?;
        Ok(match (shape, scale) {
            (None, None) if ratio.is_some() || tier.is_some() => Self::Auto,
            (None, None) => Self::Unsaid,
            (ratio, tier) => Self::Shaped { ratio, tier },
        })
    }

    fn parse_size(text: &str) -> Result<Self, (&'static str, String)> {
        if text.eq_ignore_ascii_case("auto") {
            return Ok(Self::Auto);
        }
        if let Some(size) = Size::parse(text) {
            return Ok(Self::Exact(size));
        }
        match Ratio::parse(text) {
            Some(ratio) => Ok(Self::Shaped { ratio: Some(ratio), tier: None }),
            None => Err(("size", bad(text, "WIDTHxHEIGHT with sides of 1 to 16384 (1024x1024), W:H (16:9) or auto"))),
        }
    }
}

fn bad(text: &str, right: &str) -> String {
    let shown: String = text.chars().take(40).collect();
    format!("'{shown}' is not a size we can read; use {right}")
}

/// As it would be asked for.
impl fmt::Display for SizeAsk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsaid => f.write_str("unsaid"),
            Self::Auto => f.write_str("auto"),
            Self::Exact(size) => size.fmt(f),
            Self::Shaped { ratio: Some(ratio), tier: Some(tier) } => write!(f, "{ratio} at {tier}"),
            Self::Shaped { ratio: Some(ratio), tier: None } => ratio.fmt(f),
            Self::Shaped { tier: Some(tier), .. } => tier.fmt(f),
            Self::Shaped { .. } => f.write_str("unsaid"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The values that the hosted service publishes (2026-11).
    #[test]
    fn reproduces_the_published_sizes() {
        let published = [
            ("1:1", "1024x1024"),
            ("16:9", "1365x768"),
            ("9:16", "768x1365"),
            ("3:2", "1254x836"),
            ("2:3", "836x1254"),
            ("3:4", "887x1182"),
            ("5:4", "1145x916"),
            ("4:5", "916x1145"),
            ("21:9", "1563x670"),
            ("9:21", "670x1564"),
            ("4:3", "1183x887"),
        ];
        for (ratio, size) in published {
            assert_eq!(Size::of_ratio(Ratio::parse(ratio).unwrap().value(), 1024.0).to_string(), size, "{ratio}");
        }
        for (ratio, size) in [("16:9", "2731x1536"), ("9:16", "1536x2731"), ("4:3", "2365x1774"), ("3:4", "1774x2365")]
        {
            assert_eq!(Size::of_ratio(Ratio::parse(ratio).unwrap().value(), 2048.0).to_string(), size, "{ratio}");
        }
    }

    #[test]
    fn size_wins_then_ratio_and_tier() {
        let ask = |s, r, t| SizeAsk::parse(s, r, t).map(|ask| ask.to_string());
        assert_eq!(ask(Some("1920x1080"), Some("1:1"), Some("4K")).unwrap(), "1920x1080");
        assert_eq!(ask(Some("16:9"), None, None).unwrap(), "16:9");
        assert_eq!(ask(None, Some("16:9"), Some("2K")).unwrap(), "16:9 at 2K");
        assert_eq!(ask(None, Some("auto"), Some("2k")).unwrap(), "2k");
        assert_eq!(ask(None, Some("auto"), None).unwrap(), "auto");
        assert_eq!(ask(None, None, None).unwrap(), "unsaid");
        for wrong in ["", "big", "0x0", "-1x5", "99999x1", "1024", "16:0", "1e3:1", "x", ":", "NaN:1"] {
            assert_eq!(ask(Some(wrong), None, None).unwrap_err().0, "size", "{wrong}");
        }
        assert_eq!(ask(None, Some("wide"), None).unwrap_err().0, "aspect_ratio");
        assert_eq!(ask(None, None, Some("huge")).unwrap_err().0, "resolution");
    }

    #[test]
    fn reads_every_spelling_of_a_tier() {
        let edge = |text| Tier::parse(text).map(|tier: Tier| tier.edge().round());
        assert_eq!(edge("1K"), Some(1024.0));
        assert_eq!(edge("0.5k"), Some(512.0));
        assert_eq!(edge("512"), Some(512.0));
        assert_eq!(edge("1"), Some(1024.0));
        assert_eq!(edge("4 MP"), Some(2048.0));
        assert_eq!(edge("720p"), Some(960.0));
        assert_eq!(edge("99K"), None);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,12}") {
            let _ = SizeAsk::parse(Some(&text), None, None);
            let _ = SizeAsk::parse(None, Some(&text), Some(&text));
        }
    }
}
