//! The price from which a route can be had, for lists.

use super::price::{Made, Metric, PriceLine, TokenEstimate};
use super::route::Route;
use crate::base::Usd;
use crate::media::Size;
use rust_decimal::Decimal;
use serde_json::{Map, Value};

impl Route {
    /// The least that one picture can cost here, or one second of video (one video, where they are sold whole).
    pub fn starting_price(&self) -> Option<Usd> {
        let price = &self.price;
        let usual = std::iter::once((self.defaults.clone(), self.usual_size()));
        let of_lines = price.lines.iter().map(|line| self.cheapest_of(line));
        let of_tokens = self.token_choices().into_iter().map(|choice| (choice, self.usual_size()));
        let asked = usual.chain(of_lines).chain(of_tokens);
        asked.filter_map(|(input, size)| price.estimate(&self.one(&input, size)).amount).min()
    }

    /// One picture, or one second, asked for like that.
    fn one<'a>(&self, input: &'a Map<String, Value>, size: Size) -> Made<'a> {
        let needs_pictures = self.modes.iter().all(|mode| mode.reads_media());
        let whole = self.price.lines.iter().any(|line| matches!(line.metric, Metric::Run | Metric::Image));
        let seconds = match &self.video {
            Some(video) if whole => Decimal::from(video.default),
            _ => Decimal::ONE,
        };
        let given = if needs_pictures { vec![size] } else { Vec::new() };
        Made { sizes: vec![size], seconds, given, input: Some(input), ..Made::default() }
    }

    fn usual_size(&self) -> Size {
        self.default_size.unwrap_or(Size::new(1024, 1024))
    }

    /// Parameters and size for which the line holds.
    fn cheapest_of(&self, line: &PriceLine) -> (Map<String, Value>, Size) {
        let mut input = self.defaults.clone();
        for (name, values) in &line.when {
            match values.first().map(String::as_str) {
                Some("unsaid") | None => drop(input.shift_remove(name)),
                Some(value) => drop(input.insert(name.clone(), Value::from(value))),
            }
        }
        let (usual, square) = (self.usual_size(), |side: u64| {
            Size::new(u32::try_from(side).unwrap_or(1), u32::try_from(side).unwrap_or(1))
        });
        let size = match line.max_area.filter(|most| usual.area() > *most) {
            Some(most) => square(most.isqrt()),
            None if usual.area() < line.min_area => square(line.min_area.isqrt() + 1),
            None => usual,
        };
        (input, size)
    }

    /// The cheap choices of what is billed by tokens.
    fn token_choices(&self) -> Vec<Map<String, Value>> {
        let with = |name: &str, value: &str| {
            let mut input = self.defaults.clone();
            input.insert(name.to_owned(), Value::from(value));
            input
        };
        match &self.price.tokens {
            Some(TokenEstimate::GptImage | TokenEstimate::GptImage25) => vec![with("quality", "low")],
            Some(TokenEstimate::Tiers(tiers)) => tiers.output.keys().map(|scale| with(&tiers.field, scale)).collect(),
            Some(TokenEstimate::Seedance) | None => Vec::new(),
        }
    }
}
