//! Tokens and their price, after Google's price table (<https://ai.google.dev/gemini-api/docs/pricing>, 2026-11).
//!
//! Assumed, because nobody has published it: an input picture is 560 tokens on every model, as it is on
//! `gemini-3-pro-image`; the larger scales of `gemini-nano-banana-2.1` cost as many tokens as those of
//! `gemini-3.1-flash-image`; models that think do so for 96 tokens.

use super::request::Order;
use crate::base::Usd;
use crate::catalog::Price;
use crate::catalog::price::{Flow, Metric, PriceLine};
use rust_decimal::Decimal;
use serde_json::{Value, json};

/// The tokens of one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) text_in: u64,
    pub(super) image_in: u64,
    pub(super) text_out: u64,
    pub(super) thoughts: u64,
    pub(super) image_out: u64,
}

impl Count {
    /// Those of an answer with so many pictures and so long a text.
    pub(super) fn of(order: &Order, model: &str, pictures: u64, said: &str) -> Self {
        let thinks = model.contains("-pro-") || model.contains("nano-banana-2.1");
        Self {
            text_in: text_tokens(&order.prompt),
            image_in: 560 * order.pictures,
            text_out: if said.is_empty() { 0 } else { text_tokens(said) },
            thoughts: if thinks { 96 } else { 0 },
            image_out: pictures * picture_tokens(model, &order.scale),
        }
    }

    /// `usageMetadata`. The details name pictures and texts apart; thoughts are counted beside the candidates.
    pub(super) fn report(self) -> Value {
        let share =
            |modality: &str, tokens: u64| (tokens > 0).then(|| json!({"modality": modality, "tokenCount": tokens}));
        let list = |text: u64, image: u64| [share("TEXT", text), share("IMAGE", image)].into_iter().flatten().collect();
        let (prompt, candidates) = (self.text_in + self.image_in, self.text_out + self.image_out);
        let details: (Vec<Value>, Vec<Value>) =
            (list(self.text_in, self.image_in), list(self.text_out, self.image_out));
        let mut usage = json!({"promptTokenCount": prompt, "totalTokenCount": prompt + candidates + self.thoughts,
            "promptTokensDetails": details.0});
        if candidates > 0 {
            usage["candidatesTokenCount"] = candidates.into();
            usage["candidatesTokensDetails"] = details.1.into();
        }
        if self.thoughts > 0 {
            usage["thoughtsTokenCount"] = self.thoughts.into();
        }
        usage
    }

    /// What Google charges for them.
    pub(super) fn bill(self, prices: &Price) -> Usd {
        let tokens = |line: &PriceLine| match (line.flow, line.metric) {
            (Flow::Input, Metric::TokenText) => self.text_in,
            (Flow::Input, Metric::TokenImage) => self.image_in,
            (Flow::Output, Metric::TokenText) => self.text_out + self.thoughts,
            (Flow::Output, Metric::TokenImage) => self.image_out,
            _ => 0,
        };
        let dollars = |line: &PriceLine| Decimal::from(tokens(line)) * line.unit_price / Decimal::from(line.unit_size);
        Usd::from_dollars(prices.lines.iter().map(dollars).sum()).unwrap_or_default()
    }
}

fn text_tokens(text: &str) -> u64 {
    text.chars().count().div_ceil(4).max(1) as u64
}

fn picture_tokens(model: &str, scale: &str) -> u64 {
    match (model, scale) {
        ("gemini-2.5-flash-image", _) => 1_290,
        ("gemini-3-pro-image", "4K") => 2_000,
        ("gemini-3-pro-image", _) => 1_120,
        (_, "512") => 747,
        (_, "2K") => 1_680,
        (_, "4K") => 2_520,
        _ => 1_120,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Google's prices of one picture, rounded as its page rounds them.
    #[test]
    fn reproduces_the_published_prices() {
        let mills = |model, scale, million: u64| (picture_tokens(model, scale) * million + 500) / 1_000;
        assert_eq!(["1K", "2K", "4K"].map(|scale| mills("gemini-3-pro-image", scale, 120)), [134, 134, 240]);
        assert_eq!(
            ["512", "1K", "2K", "4K"].map(|scale| mills("gemini-3.1-flash-image", scale, 60)),
            [45, 67, 101, 151]
        );
        assert_eq!(mills("gemini-2.5-flash-image", "1K", 30), 39);
        assert_eq!(mills("gemini-3.1-flash-lite-image", "1K", 30), 34);
    }
}
