//! Prices: the lines of a catalog row. What a call comes to by them is in `price/bill.rs`; exact decimals, one rounding
//! at the end. What is unknown is `None` with a reason, never zero.

mod bill;
mod count;
mod tokens;

pub use bill::{Charge, Component, Made};
pub use tokens::TokenEstimate;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A route's prices.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// The lines; none means unknown unless `free`.
    #[serde(default)]
    pub lines: Vec<PriceLine>,
    /// It costs nothing.
    #[serde(default)]
    pub free: bool,
    /// How tokens are foreseen.
    #[serde(default)]
    pub tokens: Option<TokenEstimate>,
    /// Where the numbers were read, and when.
    #[serde(default)]
    pub source: String,
    /// The day on which they were read, `YYYY-MM-DD`.
    #[serde(default)]
    pub date: String,
}

/// One line of a price list. All lines that hold for a call are added up.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceLine {
    /// Into the model or out of it.
    #[serde(rename = "type", default = "output")]
    pub flow: Flow,
    /// What is counted.
    pub metric: Metric,
    /// USD for `unit_size` of it, written as text so that it never was a float.
    pub unit_price: Decimal,
    /// How many the price is for (1,000,000 for tokens).
    #[serde(default = "single")]
    pub unit_size: u32,
    /// The line counts only what lies beyond so many: megapixels of each picture, pictures of a call.
    #[serde(default)]
    pub beyond: u32,
    /// The line counts only the first so many: megapixels of each picture, pictures of a call.
    #[serde(default)]
    pub up_to: Option<u32>,
    /// Pixels of a megapixel: 1,048,576 unless the provider counts a million.
    #[serde(default = "binary_megapixel")]
    pub megapixel: u32,
    /// How a picture's megapixels are rounded.
    #[serde(default)]
    pub round: Rounding,
    /// The line counts only pictures (videos) of at least so many pixels.
    #[serde(default)]
    pub min_area: u64,
    /// The line counts only pictures (videos) of at most so many pixels.
    #[serde(default)]
    pub max_area: Option<u64>,
    /// A parameter that multiplies the count, such as the number of steps. Its usual value stands in the route's
    /// `defaults`.
    #[serde(default)]
    pub times: Option<String>,
    /// The line counts cached tokens instead of fresh ones.
    #[serde(default)]
    pub cached: bool,
    /// The line holds only when each of these parameters has one of the listed values; `unsaid` is one that is not sent.
    /// `shape` is ours: `square` or `oblong`, from the pictures.
    #[serde(default)]
    pub when: BTreeMap<String, Vec<String>>,
}

fn output() -> Flow {
    Flow::Output
}

fn single() -> u32 {
    1
}

fn binary_megapixel() -> u32 {
    1_048_576
}

/// What a price line counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Pictures; those that were given, when the line is about input.
    Image,
    /// Megapixels of each picture, or of each picture that was given.
    Megapixel,
    /// Text tokens.
    TokenText,
    /// Image tokens, those of videos too.
    TokenImage,
    /// Seconds of each video.
    Second,
    /// Calls.
    Run,
}

impl Metric {
    /// As price lists in answers spell it; tokens of both kinds are `token`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Megapixel => "megapixel",
            Self::TokenText | Self::TokenImage => "token",
            Self::Second => "second",
            Self::Run => "run",
        }
    }

    const fn is_token(self) -> bool {
        matches!(self, Self::TokenText | Self::TokenImage)
    }
}

/// Which way the counted thing flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flow {
    /// Into the model.
    Input,
    /// Out of it.
    Output,
}

/// How megapixels are rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rounding {
    /// Started ones count whole.
    #[default]
    Up,
    /// To the nearest whole one, at least one.
    Nearest,
    /// Not at all.
    Exact,
}

impl Price {
    /// Whether there is anything to reckon with.
    pub fn known(&self) -> bool {
        self.free || !self.lines.is_empty()
    }

    /// Whether its tokens cannot be foreseen: only the provider can tell the price.
    pub(super) fn needs_told_tokens(&self) -> bool {
        self.counts_tokens() && self.tokens.is_none()
    }

    fn counts_tokens(&self) -> bool {
        self.lines.iter().any(|line| line.metric.is_token())
    }
}

/// In a line, for lists: `$0.07 / megapixel up to 1`, `$5 / 1000000 text tokens in`.
impl fmt::Display for PriceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.metric {
            Metric::TokenText => "text token",
            Metric::TokenImage => "image token",
            other => other.as_str(),
        };
        write!(f, "${} / ", self.unit_price.normalize())?;
        if self.unit_size > 1 {
            write!(f, "{} ", self.unit_size)?;
        }
        let plural = if self.unit_size > 1 { "s" } else { "" };
        write!(f, "{unit}{plural}")?;
        if self.flow == Flow::Input {
            f.write_str(" in")?;
        }
        if self.cached {
            f.write_str(", cached")?;
        }
        if let Some(up_to) = self.up_to {
            write!(f, " up to {up_to}")?;
        }
        if self.beyond > 0 {
            write!(f, " beyond {}", self.beyond)?;
        }
        if let Some(parameter) = &self.times {
            write!(f, " × {parameter}")?;
        }
        match (self.min_area, self.max_area) {
            (0, None) => {}
            (0, Some(most)) => write!(f, " (≤ {most} px)")?,
            (least, None) => write!(f, " (≥ {least} px)")?,
            (least, Some(most)) => write!(f, " ({least}–{most} px)")?,
        }
        for (name, values) in &self.when {
            write!(f, " ({name} {})", values.join(" or "))?;
        }
        Ok(())
    }
}
