//! Prices: the lines of a catalog row, an estimate before the call and the charge after it. Exact decimals, one
//! rounding at the end. What is unknown is `None` with a reason, never zero.

use crate::base::Usd;
use crate::job::{Tokens, Usage};
use crate::media::Size;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;

/// What a price line counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Pictures.
    Image,
    /// Started megapixels (1,048,576 px) of each picture.
    Megapixel,
    /// Text tokens.
    TokenText,
    /// Image tokens.
    TokenImage,
    /// Seconds of video.
    Second,
    /// Calls.
    Run,
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

/// One line of a price list.
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
    /// The line counts only the units of each picture beyond so many.
    #[serde(default)]
    pub beyond: u32,
    /// The line counts only the units of each picture up to so many.
    #[serde(default)]
    pub up_to: Option<u32>,
    /// Pixels of a megapixel: 1,048,576 unless the provider counts a million.
    #[serde(default = "binary_megapixel")]
    pub megapixel: u32,
    /// How a picture's megapixels are rounded.
    #[serde(default)]
    pub round: Rounding,
    /// The line holds only for pictures of at least so many pixels.
    #[serde(default)]
    pub min_area: u64,
    /// The line holds only for pictures of at most so many pixels.
    #[serde(default)]
    pub max_area: Option<u64>,
    /// A parameter that multiplies the count, such as the number of steps.
    #[serde(default)]
    pub times: Option<String>,
    /// The line counts cached tokens instead of fresh ones.
    #[serde(default)]
    pub cached: bool,
    /// The line holds only when each of these parameters has one of the listed values. `shape` is ours: `square` or
    /// `oblong`, from the pictures.
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

/// How many tokens a picture will cost, for estimates of token-billed models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenEstimate {
    /// OpenAI's calculator for GPT Image 2 (`providers-1.md` 1.8, checked 2026-11 against OpenAI's price table).
    GptImage,
}

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

/// One line of an estimate or a charge.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Component {
    /// Into the model or out of it.
    #[serde(rename = "type")]
    pub flow: Flow,
    /// `image`, `megapixel`, `token`, `second` or `run`.
    pub metric: &'static str,
    /// What was counted.
    pub quantity: u64,
    /// What is billed of it.
    pub billable_quantity: u64,
    /// USD per single unit.
    #[serde(serialize_with = "as_float")]
    pub unit_price: Decimal,
    /// Micro-USD.
    #[serde(serialize_with = "as_micros")]
    pub total_cost: Usd,
    /// The exact amount, for the one rounding of the sum.
    #[serde(skip)]
    pub exact: Decimal,
}

fn as_float<S: serde::Serializer>(value: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(value.to_f64().unwrap_or_default())
}

fn as_micros<S: serde::Serializer>(value: &Usd, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_i64(value.micros())
}

/// What a call makes or made, as far as prices depend on it.
#[derive(Debug, Clone, Default)]
pub struct Made<'a> {
    /// The pictures' sizes.
    pub sizes: Vec<Size>,
    /// The parameters sent, for conditions.
    pub input: Option<&'a Map<String, Value>>,
    /// What the provider said of the bill.
    pub usage: Usage,
}

/// An amount and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Charge {
    /// The amount; `None` when it cannot be known.
    pub amount: Option<Usd>,
    /// `provider`, `tokens`, `price_table` or `free`; empty when unknown.
    pub source: &'static str,
    /// Why it is unknown.
    pub note: Option<String>,
    /// The lines of it.
    pub components: Vec<Component>,
}

impl Price {
    /// The bill of a call that ran: the provider's own figure first, then its units, its tokens, our table.
    pub fn charge(&self, made: &Made<'_>) -> Charge {
        if let Some(cost) = made.usage.cost {
            return Charge::known(Usd::from_dollars(cost), "provider", Vec::new());
        }
        if self.free {
            return Charge::known(Some(Usd::ZERO), "free", Vec::new());
        }
        if self.counts_tokens() && made.usage.tokens.is_none() {
            // Sizes and qualities may have been resolved by the model: what we foresaw is not a bill.
            return match self.foresee(made) {
                Some(lines) => Charge {
                    note: Some("the provider did not report its tokens; this is the price list's estimate".to_owned()),
                    ..Charge::of(lines, "price_table")
                },
                None => Charge::unknown("billed by tokens, and the provider did not report any"),
            };
        }
        let source = match (&made.usage.units, &made.usage.tokens) {
            (Some(_), _) => "provider",
            (None, Some(_)) if self.counts_tokens() => "tokens",
            _ => "price_table",
        };
        match self.count(made, made.usage.tokens.as_ref()) {
            Some(lines) => Charge::of(lines, source),
            None => Charge::unknown("the catalog has no price for this route"),
        }
    }

    /// The bill foreseen. `None` amount when the catalog has no price.
    pub fn estimate(&self, made: &Made<'_>) -> Charge {
        if self.free {
            return Charge::known(Some(Usd::ZERO), "free", Vec::new());
        }
        match self.foresee(made) {
            Some(lines) => Charge::of(lines, "price_table"),
            None => Charge::unknown("the catalog has no price for this route"),
        }
    }

    /// The smallest price of one picture, for listings.
    pub fn starting(&self) -> Option<Usd> {
        if self.free {
            return Some(Usd::ZERO);
        }
        let size = Size::new(1024, 1024);
        let low = Map::from_iter([("quality".to_owned(), Value::from("low"))]);
        [None, Some(&low)]
            .into_iter()
            .filter_map(|input| {
                let made = Made { sizes: vec![size], input, ..Made::default() };
                self.estimate(&made).amount
            })
            .min()
    }

    fn counts_tokens(&self) -> bool {
        self.lines.iter().any(|line| matches!(line.metric, Metric::TokenText | Metric::TokenImage))
    }

    fn foresee(&self, made: &Made<'_>) -> Option<Vec<Component>> {
        let tokens = self.tokens.map(|TokenEstimate::GptImage| foresee_gpt_image(made));
        if self.counts_tokens() && tokens.is_none() {
            return None;
        }
        self.count(made, tokens.as_ref())
    }

    fn count(&self, made: &Made<'_>, tokens: Option<&Tokens>) -> Option<Vec<Component>> {
        let applies = |line: &&PriceLine| line.applies(made);
        let lines: Vec<Component> =
            self.lines.iter().filter(applies).map(|line| line.count(made, tokens)).collect::<Option<_>>()?;
        if lines.is_empty() {
            return None;
        }
        let counted: Vec<Component> = lines.into_iter().filter(|line| line.quantity > 0).collect();
        Some(counted)
    }
}

/// In a line, for lists: `$0.07 / megapixel up to 1`, `$5 / 1000000 text tokens in`.
impl fmt::Display for PriceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.metric {
            Metric::Image => "image",
            Metric::Megapixel => "megapixel",
            Metric::TokenText => "text token",
            Metric::TokenImage => "image token",
            Metric::Second => "second",
            Metric::Run => "run",
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
        for (name, values) in &self.when {
            write!(f, " ({name} {})", values.join(" or "))?;
        }
        Ok(())
    }
}

impl PriceLine {
    fn applies(&self, made: &Made<'_>) -> bool {
        let square = made.sizes.iter().all(|size| size.width == size.height);
        self.when.iter().all(|(name, allowed)| {
            let value = made.input.and_then(|input| input.get(name));
            let text = match value {
                _ if name == "shape" => (if square { "square" } else { "oblong" }).to_owned(),
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
                None => "unsaid".to_owned(),
            };
            allowed.contains(&text)
        })
    }

    fn count(&self, made: &Made<'_>, tokens: Option<&Tokens>) -> Option<Component> {
        let pictures = u64::try_from(made.sizes.len()).ok()?;
        let (metric, quantity, billable) = match self.metric {
            Metric::Image => ("image", pictures, Decimal::from(self.tier(pictures))),
            Metric::Run => ("run", 1, Decimal::ONE),
            // Images in this issue of the catalog; seconds come with measured videos.
            Metric::Second => return None,
            Metric::Megapixel => {
                let sum = |of: &dyn Fn(u64) -> u64| made.sizes.iter().map(|size| of(megapixels(*size))).sum::<u64>();
                match made.usage.units {
                    Some(units) => ("megapixel", units.ceil().to_u64()?, self.tier_exact(units)),
                    None => ("megapixel", sum(&|units| units), Decimal::from(sum(&|units| self.tier(units)))),
                }
            }
            Metric::TokenText | Metric::TokenImage => {
                let count = self.tokens(tokens?);
                ("token", count, Decimal::from(count))
            }
        };
        let unit_price = self.unit_price / Decimal::from(self.unit_size.max(1));
        let exact = unit_price.checked_mul(billable)?;
        Some(Component {
            flow: self.flow,
            metric,
            quantity,
            billable_quantity: billable.ceil().to_u64()?,
            unit_price,
            total_cost: Usd::from_dollars(exact)?,
            exact,
        })
    }

    /// The part of `units` that falls between `beyond` and `up_to`.
    fn tier(&self, units: u64) -> u64 {
        units.min(self.up_to.map_or(u64::MAX, u64::from)).saturating_sub(u64::from(self.beyond))
    }

    fn tier_exact(&self, units: Decimal) -> Decimal {
        let top = self.up_to.map_or(units, |up_to| units.min(Decimal::from(up_to)));
        (top - Decimal::from(self.beyond)).max(Decimal::ZERO)
    }

    fn tokens(&self, tokens: &Tokens) -> u64 {
        match (self.metric, self.flow, self.cached) {
            (Metric::TokenText, Flow::Input, false) => tokens.text_in.saturating_sub(tokens.cached_text_in),
            (Metric::TokenText, Flow::Input, true) => tokens.cached_text_in,
            (Metric::TokenImage, Flow::Input, false) => tokens.image_in.saturating_sub(tokens.cached_image_in),
            (Metric::TokenImage, Flow::Input, true) => tokens.cached_image_in,
            (Metric::TokenText, Flow::Output, _) => tokens.text_out,
            (_, _, _) => tokens.image_out,
        }
    }
}

impl Charge {
    fn known(amount: Option<Usd>, source: &'static str, components: Vec<Component>) -> Self {
        Self { amount, source, note: None, components }
    }

    fn of(components: Vec<Component>, source: &'static str) -> Self {
        let exact: Decimal = components.iter().map(|line| line.exact).sum();
        Self::known(Usd::from_dollars(exact), source, components)
    }

    fn unknown(why: &str) -> Self {
        Self { amount: None, source: "", note: Some(why.to_owned()), components: Vec::new() }
    }
}

/// Started megapixels of one picture. A megapixel is 1024 × 1024 px, as BFL and fal count them
/// (`lumenfall-api.md` 21.1, `providers-2.md` 1.9, 2026-11): 1024x1024 is one, 1025x1024 is two.
pub fn megapixels(size: Size) -> u64 {
    size.area().div_ceil(1_048_576).max(1)
}

/// Output tokens of GPT Image 2 by quality and size, and the prompt's as a quarter of its characters.
fn foresee_gpt_image(made: &Made<'_>) -> Tokens {
    let text = |name: &str| made.input.and_then(|input| input.get(name)).and_then(Value::as_str);
    let quality = text("quality").unwrap_or("auto");
    let prompt = text("prompt").map_or(0, |prompt| prompt.chars().count() as u64);
    Tokens {
        text_in: prompt.div_ceil(4).max(1),
        image_out: made.sizes.iter().map(|size| gpt_image_tokens(*size, quality)).sum(),
        ..Tokens::default()
    }
}

/// OpenAI's calculator: long-edge factor F by quality, short factor by shape, scaled by area.
pub fn gpt_image_tokens(size: Size, quality: &str) -> u64 {
    let factor = match quality {
        "low" => 16,
        "high" | "xhigh" | "max" => 96,
        // `auto` is resolved by the model; medium is what it mostly picks.
        _ => 48,
    };
    let (long, short) = (u64::from(size.long_side()), u64::from(size.width.min(size.height)));
    let across = (2 * factor * short + long) / (2 * long.max(1));
    (factor * across * (2_000_000 + size.area())).div_ceil(4_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(text: &str) -> Price {
        toml::from_str(text).unwrap()
    }

    fn usd(text: &str) -> Option<Usd> {
        Usd::from_dollars(text.parse().unwrap())
    }

    const GPT_IMAGE_2: &str = r#"
        tokens = "gpt-image"
        lines = [
            { type = "input", metric = "token_text", unit_price = "5", unit_size = 1000000 },
            { type = "input", metric = "token_text", cached = true, unit_price = "1.25", unit_size = 1000000 },
            { type = "output", metric = "token_image", unit_price = "30", unit_size = 1000000 },
        ]"#;

    const FLUX_2_MAX: &str = r#"
        lines = [
            { metric = "megapixel", up_to = 1, unit_price = "0.07" },
            { metric = "megapixel", beyond = 1, unit_price = "0.03" },
        ]"#;

    fn made(width: u32, height: u32) -> Made<'static> {
        Made { sizes: vec![Size::new(width, height)], ..Made::default() }
    }

    /// OpenAI's table of output prices for gpt-image-2, `providers-1.md` 1.8: 0.006 / 0.053 / 0.211 for squares and
    /// 0.005 / 0.041 / 0.165 for 1536x1024, each rounded to a tenth of a cent.
    #[test]
    fn the_token_calculator_reproduces_the_published_table() {
        for (size, table) in
            [(Size::new(1024, 1024), ["0.006", "0.053", "0.211"]), (Size::new(1536, 1024), ["0.005", "0.041", "0.165"])]
        {
            for (quality, dollars) in ["low", "medium", "high"].iter().zip(table) {
                let exact = Decimal::from(gpt_image_tokens(size, quality)) * Decimal::new(30, 6);
                assert_eq!(exact.round_dp(3).to_string(), dollars, "{size} {quality}");
            }
        }
    }

    #[test]
    fn reported_tokens_are_the_bill() {
        let tokens = Tokens { text_in: 20, cached_text_in: 3, image_out: 1756, ..Tokens::default() };
        let made = Made { usage: Usage { tokens: Some(tokens), ..Usage::default() }, ..made(1024, 1024) };
        let charge = price(GPT_IMAGE_2).charge(&made);
        // 17·5 + 3·1.25 + 1756·30 = 52768.75 micro-dollars
        assert_eq!((charge.amount, charge.source), (Some(Usd::from_micros(52_769)), "tokens"));
    }

    #[test]
    fn missing_tokens_fall_back_to_the_list_and_say_so() {
        let charge = price(GPT_IMAGE_2).charge(&made(1024, 1024));
        assert_eq!(charge.source, "price_table");
        assert!(charge.note.unwrap().contains("did not report"));
    }

    #[test]
    fn first_and_further_megapixels() {
        let price = price(FLUX_2_MAX);
        let cost = |w, h| price.charge(&made(w, h)).amount;
        assert_eq!(cost(1024, 1024), usd("0.07"));
        assert_eq!(cost(1025, 1024), usd("0.10"));
        assert_eq!(cost(2048, 2048), usd("0.16"));
        assert_eq!(cost(512, 512), usd("0.07"));
    }

    #[test]
    fn the_providers_units_win_over_our_pixels() {
        let usage = Usage { units: Some(Decimal::TWO), ..Usage::default() };
        let charge = price(FLUX_2_MAX).charge(&Made { usage, ..made(1024, 1024) });
        assert_eq!((charge.amount, charge.source), (usd("0.10"), "provider"));
        let usage = Usage { cost: Some("0.0123".parse().unwrap()), ..Usage::default() };
        let charge = price(FLUX_2_MAX).charge(&Made { usage, ..made(1024, 1024) });
        assert_eq!((charge.amount, charge.source), (usd("0.0123"), "provider"));
    }

    #[test]
    fn conditions_choose_the_line() {
        let price = price(
            r#"lines = [
                { metric = "image", unit_price = "0.22", when = { quality = ["high", "unsaid"] } },
                { metric = "image", unit_price = "0.01", when = { quality = ["low"] } },
            ]"#,
        );
        let low = Map::from_iter([("quality".to_owned(), Value::from("low"))]);
        assert_eq!(price.charge(&Made { input: Some(&low), ..made(64, 64) }).amount, usd("0.01"));
        assert_eq!(price.charge(&made(64, 64)).amount, usd("0.22"));
        assert_eq!(price.starting(), usd("0.01"));
    }

    #[test]
    fn unknown_is_not_free() {
        let unknown = Price::default().charge(&made(64, 64));
        assert_eq!(unknown.amount, None);
        assert!(unknown.note.is_some());
        assert_eq!(price("free = true").charge(&made(64, 64)).amount, Some(Usd::ZERO));
    }
}
