//! How many tokens a call will take, for estimates of what is billed by them. What nobody can foresee (thoughts, words
//! beside a picture, cache hits) is not in an estimate.

use super::bill::Made;
use crate::job::Tokens;
use crate::media::Size;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// How tokens are foreseen.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenEstimate {
    /// OpenAI's calculator for GPT Image 2 (checked 2026-11 against <https://developers.openai.com/api/docs/pricing>).
    GptImage,
    /// The same for GPT Image 2.5, both of them: factors 16, 24, 48, 64 and 96, which give fal's 25 prices of it (five
    /// qualities at five sizes, `fal.toml`, 2026-09-30) to the token at OpenAI's 30 dollars per million.
    #[serde(rename = "gpt-image-2.5")]
    GptImage25,
    /// Pixels × 24 frames × seconds / 1024, as Seedance is billed
    /// (<https://docs.byteplus.com/en/docs/ModelArk/1544106>).
    Seedance,
    /// So many for each picture or second, by the scale asked for.
    Tiers(Tiers),
}

/// `tokens = { tiers = { field = "imageSize", usual = "1K", output = { 1K = 1120, 4K = 2000 }, input = 560 } }`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tiers {
    /// The parameter of the scale.
    #[serde(default)]
    pub field: String,
    /// The scale when none is sent.
    pub usual: String,
    /// Image tokens of one picture, by scale.
    pub output: BTreeMap<String, u64>,
    /// Image tokens of a picture that is given.
    #[serde(default)]
    pub input: u64,
    /// The numbers are of one second of video.
    #[serde(default)]
    pub each_second: bool,
}

impl TokenEstimate {
    /// The tokens of a call that is yet to be made. `None` when its scale is not in the table.
    pub(super) fn foresee(&self, made: &Made<'_>) -> Option<Tokens> {
        let text = |name: &str| made.input.and_then(|input| input.get(name)).and_then(Value::as_str);
        let calls = u64::from(made.calls);
        let prompt = text("prompt").map_or(0, |prompt| prompt.chars().count() as u64);
        let read = Tokens { text_in: prompt.div_ceil(4) * calls, ..Tokens::default() };
        let videos = Decimal::from(made.sizes.len());
        Some(match self {
            Self::GptImage | Self::GptImage25 => {
                let quality = text("quality").unwrap_or("auto");
                let factor =
                    if *self == Self::GptImage { gpt_image_factor(quality) } else { gpt_image_25_factor(quality) };
                Tokens {
                    image_in: made.given.iter().map(|size| gpt_image_seen(*size)).sum::<u64>() * calls,
                    image_out: made.sizes.iter().map(|size| gpt_image_drawn(*size, factor)).sum(),
                    ..read
                }
            }
            Self::Seedance => {
                let pixels = Decimal::from(made.sizes.iter().map(|size| size.area()).sum::<u64>());
                let tokens = pixels.checked_mul(Decimal::from(24))?.checked_mul(made.seconds)? / Decimal::from(1024);
                Tokens { image_out: tokens.round().to_u64()?, ..Tokens::default() }
            }
            Self::Tiers(tiers) => {
                let scale = text(&tiers.field).unwrap_or(&tiers.usual);
                let each = Decimal::from(*tiers.output.get(scale)?);
                let units = if tiers.each_second { made.seconds * videos } else { videos };
                Tokens {
                    image_in: tiers.input * made.given.len() as u64 * calls,
                    image_out: each.checked_mul(units)?.round().to_u64()?,
                    ..read
                }
            }
        })
    }
}

/// The calculator's factor of the long edge, by quality.
fn gpt_image_factor(quality: &str) -> u64 {
    match quality {
        "low" => 16,
        "high" | "xhigh" | "max" => 96,
        // `auto` is resolved by the model; medium is what it mostly picks.
        _ => 48,
    }
}

fn gpt_image_25_factor(quality: &str) -> u64 {
    match quality {
        "low" => 16,
        "high" => 48,
        "xhigh" => 64,
        "max" => 96,
        // What `auto` picks is not told; medium, as with GPT Image 2.
        _ => 24,
    }
}

/// Output tokens by OpenAI's calculator: the factor, its share for the short edge, scaled by area.
fn gpt_image_drawn(size: Size, factor: u64) -> u64 {
    let (long, short) = (u64::from(size.long_side()), u64::from(size.width.min(size.height)));
    let across = (2 * factor * short + long) / (2 * long.max(1));
    (factor * across * (2_000_000 + size.area())).div_ceil(4_000_000)
}

/// Input tokens of a picture: 65, and 129 for each tile of 512 once the short side is shrunk to 512. OpenAI's rule of the
/// first GPT Image model; those of the later ones are not published.
fn gpt_image_seen(size: Size) -> u64 {
    let (long, short) = (u64::from(size.long_side()), u64::from(size.width.min(size.height)));
    let long = if short > 512 { long * 512 / short } else { long };
    65 + 129 * long.div_ceil(512)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// OpenAI's table of output prices for gpt-image-2 (<https://developers.openai.com/api/docs/pricing>): 0.006 /
    /// 0.053 / 0.211 for squares and 0.005 / 0.041 / 0.165 for 1536x1024, each rounded to a tenth of a cent.
    #[test]
    fn the_calculator_reproduces_the_published_table() {
        for (size, table) in
            [(Size::new(1024, 1024), ["0.006", "0.053", "0.211"]), (Size::new(1536, 1024), ["0.005", "0.041", "0.165"])]
        {
            for (quality, dollars) in ["low", "medium", "high"].iter().zip(table) {
                let exact = Decimal::from(gpt_image_drawn(size, gpt_image_factor(quality))) * Decimal::new(30, 6);
                assert_eq!(exact.round_dp(3).to_string(), dollars, "{size} {quality}");
            }
        }
    }

    /// fal's prices of GPT Image 2.5, in hundred-thousandths of a dollar: what OpenAI bills for the tokens, not rounded
    /// (https://fal.ai/models/openai/gpt-image-2.5/sunburst/text-to-image, 2026-09-30).
    #[test]
    fn the_calculator_reproduces_the_prices_of_2_5() {
        let qualities = ["low", "medium", "high", "xhigh", "max"];
        for (size, table) in [
            (Size::new(1024, 1024), [588, 1317, 5268, 9366, 21072]),
            (Size::new(1024, 768), [402, 903, 3612, 6420, 14445]),
            (Size::new(1024, 1536), [474, 1029, 4116, 7377, 16464]),
            (Size::new(2560, 1440), [615, 1434, 5529, 9828, 22110]),
            (Size::new(3840, 2160), [1113, 2595, 10008, 17790, 40026]),
        ] {
            for (quality, price) in qualities.iter().zip(table) {
                let tokens = gpt_image_drawn(size, gpt_image_25_factor(quality));
                assert_eq!(tokens * 3, price, "{size} {quality}");
            }
        }
    }
}
