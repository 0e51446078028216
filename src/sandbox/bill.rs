//! What a call costs by the price lines of its route: the prices are data, the arithmetic is the simulators' own, so
//! that it can disagree with the gateway's.

use crate::base::Usd;
use crate::catalog::Price;
use crate::catalog::price::{Flow, Metric, PriceLine};
use crate::media::Size;
use rust_decimal::Decimal;
use serde_json::{Map, Value};

/// Pixels of a megapixel, as fal and BFL count them.
const MEGAPIXEL: u64 = 1024 * 1024;

/// The bill for so many pictures of one size.
pub(super) fn price(prices: &Price, input: &Map<String, Value>, size: Size, pictures: u64) -> Usd {
    let dollars = prices.lines.iter().filter(|line| line.flow == Flow::Output && holds(line, input, size)).map(|line| {
        let units = match line.metric {
            Metric::Image => within(line, pictures),
            Metric::Megapixel => pictures * within(line, started_megapixels(size)),
            Metric::Run => 1,
            // Videos are below, and who bills by tokens counts them in a file of its own.
            Metric::Second | Metric::TokenText | Metric::TokenImage => 0,
        };
        Decimal::from(units) * line.unit_price / Decimal::from(line.unit_size)
    });
    Usd::from_dollars(dollars.sum()).unwrap_or_default()
}

/// The bill for one video: by its seconds, or by the call.
pub(super) fn video(prices: &Price, input: &Map<String, Value>, seconds: u32) -> Usd {
    let lines = prices.lines.iter().filter(|line| holds(line, input, Size::new(1, 1)));
    let dollars = lines.map(|line| {
        let units = match line.metric {
            Metric::Second => seconds,
            Metric::Run => 1,
            Metric::Image | Metric::Megapixel | Metric::TokenText | Metric::TokenImage => 0,
        };
        Decimal::from(units) * line.unit_price / Decimal::from(line.unit_size)
    });
    Usd::from_dollars(dollars.sum()).unwrap_or_default()
}

/// The bill for so many pictures that were sent along.
pub(super) fn inputs(prices: &Price, input: &Map<String, Value>, pictures: usize) -> Usd {
    let lines = prices.lines.iter().filter(|line| line.flow == Flow::Input && line.metric == Metric::Image);
    let dollars = lines.filter(|line| holds(line, input, Size::new(1, 1))).map(|line| {
        Decimal::from(within(line, pictures as u64)) * line.unit_price / Decimal::from(line.unit_size)
    });
    Usd::from_dollars(dollars.sum()).unwrap_or_default()
}

/// The quantity that the provider reports: started megapixels, or pictures.
pub(super) fn units(prices: &Price, size: Size, pictures: u64) -> u64 {
    let by_area = prices.lines.iter().any(|line| line.metric == Metric::Megapixel);
    if by_area { pictures * started_megapixels(size) } else { pictures }
}

fn started_megapixels(size: Size) -> u64 {
    let area = u64::from(size.width) * u64::from(size.height);
    area / MEGAPIXEL + u64::from(area % MEGAPIXEL > 0)
}

/// The units that fall into the line's tier.
fn within(line: &PriceLine, units: u64) -> u64 {
    let (from, to) = (u64::from(line.beyond), line.up_to.map_or(u64::MAX, u64::from));
    if units <= from { 0 } else { units.min(to) - from.min(to) }
}

/// Whether the line's conditions are met. `shape` is no parameter: it is `square` or `oblong`, by the pixels.
fn holds(line: &PriceLine, input: &Map<String, Value>, size: Size) -> bool {
    line.when.iter().all(|(name, allowed)| {
        let said = match (name.as_str(), input.get(name)) {
            ("shape", _) => if size.width == size.height { "square" } else { "oblong" }.to_owned(),
            (_, None | Some(Value::Null)) => "unsaid".to_owned(),
            (_, Some(Value::String(text))) => text.clone(),
            (_, Some(other)) => other.to_string(),
        };
        allowed.contains(&said)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn bill(prices: &str, input: &Value, size: (u32, u32), pictures: u64) -> i64 {
        let prices: Price = toml::from_str(prices).unwrap();
        price(&prices, input.as_object().unwrap(), Size::new(size.0, size.1), pictures).micros()
    }

    #[test]
    fn started_megapixels_in_tiers() {
        let flux = r#"lines = [{ metric = "megapixel", up_to = 1, unit_price = "0.07" },
            { metric = "megapixel", beyond = 1, unit_price = "0.03" }]"#;
        assert_eq!(bill(flux, &json!({}), (1024, 1024), 1), 70_000);
        assert_eq!(bill(flux, &json!({}), (1040, 1024), 1), 100_000);
        assert_eq!(bill(flux, &json!({}), (2048, 2048), 1), 160_000);
        assert_eq!(
            bill(r#"lines = [{ metric = "megapixel", unit_price = "0.003" }]"#, &json!({}), (512, 512), 3),
            9_000
        );
    }

    #[test]
    fn quality_and_shape_choose_the_line() {
        let gpt = r#"lines = [
            { metric = "image", unit_price = "0.22", when = { quality = ["high", "unsaid"], shape = ["square"] } },
            { metric = "image", unit_price = "0.16", when = { quality = ["high", "unsaid"], shape = ["oblong"] } },
            { metric = "image", unit_price = "0.01", when = { quality = ["low"] } }]"#;
        assert_eq!(bill(gpt, &json!({}), (1024, 1024), 1), 220_000);
        assert_eq!(bill(gpt, &json!({"quality": null}), (1024, 768), 2), 320_000);
        assert_eq!(bill(gpt, &json!({"quality": "low"}), (1024, 768), 1), 10_000);
    }
}
