//! What a call costs by the price lines of its route: the prices are data, the arithmetic is the simulators' own, so
//! that it can disagree with the gateway's.

use crate::base::Usd;
use crate::catalog::price::{Flow, Metric, PriceLine};
use crate::catalog::{LengthForm, Price, Rounding, Route};
use crate::media::Size;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde_json::{Map, Value};

/// The bill for so many pictures of one size.
pub(super) fn price(prices: &Price, input: &Map<String, Value>, size: Size, pictures: u64) -> Usd {
    sum(prices, input, size, pictures, 0)
}

/// The bill for one picture or video of a route; what was not said is as the catalog has it.
pub(super) fn result(route: &Route, input: &Map<String, Value>, size: Size) -> Usd {
    let mut said = route.defaults.clone();
    said.extend(input.clone());
    sum(&route.price, &said, size, 1, length(route, input).into())
}

/// The bill for one video of so many seconds.
pub(super) fn video(prices: &Price, input: &Map<String, Value>, seconds: u32) -> Usd {
    sum(prices, input, Size::new(1, 1), 1, seconds.into())
}

/// The bill for so many pictures that were sent along, where their size does not matter.
pub(super) fn inputs(prices: &Price, input: &Map<String, Value>, pictures: usize) -> Usd {
    given(prices, input, &vec![Size::new(1, 1); pictures])
}

/// The bill for the pictures that were sent along.
pub(super) fn given(prices: &Price, input: &Map<String, Value>, pictures: &[Size]) -> Usd {
    let lines = prices.lines.iter().filter(|line| line.flow == Flow::Input);
    let dollars = lines.filter(|line| holds(line, input, Size::new(1, 1))).map(|line| {
        let units: Decimal = match line.metric {
            Metric::Image => Decimal::from(within(line, pictures.len() as u64)),
            Metric::Megapixel => pictures.iter().map(|size| area(line, *size)).sum(),
            Metric::Run | Metric::Second | Metric::TokenText | Metric::TokenImage => Decimal::ZERO,
        };
        units * line.unit_price / Decimal::from(line.unit_size)
    });
    Usd::from_dollars(dollars.sum()).unwrap_or_default()
}

/// The seconds that a video route is asked for.
pub(super) fn length(route: &Route, input: &Map<String, Value>) -> u32 {
    let Some(video) = &route.video else { return 0 };
    let said = input.get(&video.field).and_then(|value| match value {
        Value::String(text) => text.trim_end_matches('s').parse().ok(),
        other => other.as_u64(),
    });
    let said = said.and_then(|said| u32::try_from(said).ok());
    let seconds = |said: u32| match video.form {
        LengthForm::Frames => said / video.fps.unwrap_or(1).max(1),
        _ => said,
    };
    said.map_or(video.default, seconds)
}

/// What is made; what was given is another bill.
fn sum(prices: &Price, input: &Map<String, Value>, size: Size, pictures: u64, seconds: u64) -> Usd {
    let made = |line: &&PriceLine| line.flow == Flow::Output && holds(line, input, size);
    let dollars = prices.lines.iter().filter(made).map(|line| {
        let units = match line.metric {
            Metric::Image => Decimal::from(within(line, pictures)),
            Metric::Megapixel => Decimal::from(pictures) * area(line, size),
            Metric::Run => Decimal::ONE,
            Metric::Second => Decimal::from(within(line, seconds)),
            // Who bills by tokens counts them in a file of its own.
            Metric::TokenText | Metric::TokenImage => Decimal::ZERO,
        };
        let times = line.times.as_ref().and_then(|name| input.get(name)).and_then(Value::as_u64);
        units * Decimal::from(times.unwrap_or(1)) * line.unit_price / Decimal::from(line.unit_size)
    });
    Usd::from_dollars(dollars.sum()).unwrap_or_default()
}

/// The quantity that the provider reports: started megapixels, or pictures.
pub(super) fn units(prices: &Price, size: Size, pictures: u64) -> u64 {
    let by_area = prices.lines.iter().find(|line| line.metric == Metric::Megapixel);
    by_area.map_or(pictures, |line| pictures * megapixels(line, size).to_u64().unwrap_or(1))
}

/// The megapixels of one picture that fall into the line's tier; a tier is of whole ones.
fn area(line: &PriceLine, size: Size) -> Decimal {
    let all = megapixels(line, size);
    if line.round == Rounding::Exact { all } else { Decimal::from(within(line, all.to_u64().unwrap_or(1))) }
}

fn megapixels(line: &PriceLine, size: Size) -> Decimal {
    let exact = Decimal::from(u64::from(size.width) * u64::from(size.height)) / Decimal::from(line.megapixel.max(1));
    match line.round {
        Rounding::Exact => exact,
        Rounding::Up => exact.ceil(),
        Rounding::Nearest => (exact + Decimal::new(5, 1)).floor().max(Decimal::ONE),
    }
}

/// The units that fall into the line's tier.
fn within(line: &PriceLine, units: u64) -> u64 {
    let (from, to) = (u64::from(line.beyond), line.up_to.map_or(u64::MAX, u64::from));
    if units <= from { 0 } else { units.min(to) - from.min(to) }
}

/// Whether the line's conditions are met. `shape` is no parameter: it is `square` or `oblong`, by the pixels.
fn holds(line: &PriceLine, input: &Map<String, Value>, size: Size) -> bool {
    let pixels = u64::from(size.width) * u64::from(size.height);
    let sized = pixels >= line.min_area && line.max_area.is_none_or(|most| pixels <= most);
    sized
        && line.when.iter().all(|(name, allowed)| {
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

    #[test]
    fn areas_steps_and_exact_megapixels() {
        let together =
            r#"lines = [{ metric = "megapixel", megapixel = 1000000, round = "exact", unit_price = "0.0027" }]"#;
        assert_eq!(bill(together, &json!({}), (1000, 500), 2), 2_700);
        let tiers = r#"lines = [{ metric = "image", max_area = 1048576, unit_price = "0.04" },
            { metric = "image", min_area = 1048577, unit_price = "0.08" }]"#;
        assert_eq!(bill(tiers, &json!({}), (1024, 1024), 1), 40_000);
        assert_eq!(bill(tiers, &json!({}), (1024, 1025), 1), 80_000);
        let steps = r#"lines = [{ metric = "image", times = "steps", unit_price = "0.0005" }]"#;
        assert_eq!(bill(steps, &json!({"steps": 28}), (1024, 1024), 1), 14_000);
    }
}
