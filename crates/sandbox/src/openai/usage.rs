//! Tokens and their price, after OpenAI's calculator and price table (<https://developers.openai.com/api/docs/pricing>,
//! 2026-11). Written apart from the gateway's own estimate, and from its catalog, so that the two can disagree.

use super::request::Order;
use crate::base::Usd;
use crate::media::Size;
use rust_decimal::Decimal;
use serde_json::{Value, json};

/// The numbers of an answer. Prompts are counted as a quarter of their characters.
pub(super) fn report(order: &Order) -> Value {
    let (words, seen, written) = (text_tokens(&order.prompt), seen_tokens(order), image_tokens(order));
    json!({
        "total_tokens": words + seen + written,
        "input_tokens": words + seen,
        "output_tokens": written,
        "input_tokens_details": {"text_tokens": words, "image_tokens": seen},
        "output_tokens_details": {"image_tokens": written, "text_tokens": 0},
    })
}

/// What OpenAI charges for the order.
pub(super) fn bill(order: &Order) -> Usd {
    let (text_in, image_in, image_out) = prices(&order.model);
    let cents = text_tokens(&order.prompt) * text_in + seen_tokens(order) * image_in + image_tokens(order) * image_out;
    Usd::from_dollars(Decimal::from(cents) / Decimal::from(100_000_000)).unwrap_or_default()
}

/// US cents per million text tokens read, image tokens read and image tokens written.
fn prices(model: &str) -> (u64, u64, u64) {
    match model {
        "gpt-image-1-mini" => (200, 250, 800),
        "gpt-image-1.5" | "chatgpt-image-latest" => (500, 800, 3200),
        _ => (500, 800, 3000),
    }
}

/// Tokens of the pictures to edit: 65 and 129 for each tile of 512, the short side shrunk to 512 first. That is the
/// rule of the first GPT Image model; those of the later ones are not published.
fn seen_tokens(order: &Order) -> u64 {
    let tiles = |size: &Size| {
        let (long, short) = (size.width.max(size.height), size.width.min(size.height));
        let shrunk = if short > 512 { u64::from(long) * 512 / u64::from(short) } else { long.into() };
        shrunk.div_ceil(512)
    };
    order.inputs.iter().map(|size| 65 + 129 * tiles(size)).sum()
}

fn text_tokens(prompt: &str) -> u64 {
    prompt.chars().count().div_ceil(4).max(1) as u64
}

fn image_tokens(order: &Order) -> u64 {
    // Each unfinished picture is a hundred tokens (the API reference on `partial_images`).
    u64::from(order.n)
        * (tokens_of_one(order.size, factor(&order.model, &order.quality)) + 100 * u64::from(order.stream.unwrap_or(0)))
}

/// F of a quality. That of 2.5 is read off the prices at which fal sells it on (2026-09-30).
fn factor(model: &str, quality: &str) -> u32 {
    match (model.starts_with("gpt-image-2.5"), quality) {
        (_, "low") => 16,
        (true, "medium") => 24,
        (true, "high") | (false, "medium") => 48,
        (true, "xhigh") => 64,
        _ => 96,
    }
}

/// ceil(F · short · (2,000,000 + W·H) / 4,000,000), with short = round(F · short edge / long edge).
fn tokens_of_one(size: Size, factor: u32) -> u64 {
    let (width, height) = (f64::from(size.width), f64::from(size.height));
    let short = (f64::from(factor) * width.min(height) / width.max(height)).round();
    let tokens = f64::from(factor) * short * (2e6 + width * height) / 4e6;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few thousand, never negative")]
    let tokens = tokens.ceil() as u64;
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    /// OpenAI's table of output prices for gpt-image-2: 0.006 / 0.053 / 0.211 square, 0.005 / 0.041 / 0.165 oblong.
    #[test]
    fn reproduces_the_published_prices() {
        let tokens = |width, height, quality| tokens_of_one(Size::new(width, height), factor("gpt-image-2", quality));
        let mills = |width, height, quality| (tokens(width, height, quality) * 30 + 500) / 1000;
        assert_eq!(["low", "medium", "high"].map(|quality| mills(1024, 1024, quality)), [6, 53, 211]);
        assert_eq!(["low", "medium", "high"].map(|quality| mills(1024, 1536, quality)), [5, 41, 165]);
    }
}
