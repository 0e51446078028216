//! How much of a call one price line is about.

use super::bill::{Component, Made};
use super::{Flow, Metric, PriceLine, Rounding};
use crate::base::Usd;
use crate::job::Tokens;
use crate::media::Size;
use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::Value;

impl PriceLine {
    /// Whether the line is about this call: every parameter has a value that it names.
    pub(super) fn holds(&self, made: &Made<'_>) -> bool {
        self.when.iter().all(|(name, allowed)| {
            let said = match made.input.and_then(|input| input.get(name)) {
                _ if name == "shape" => return allowed.iter().any(|shape| shape == shape_of(&made.sizes)),
                Some(Value::String(text)) => return allowed.contains(text),
                Some(other) => other.to_string(),
                None => "unsaid".to_owned(),
            };
            allowed.contains(&said)
        })
    }

    /// Whether the line counts a picture of that size.
    pub(super) fn covers(&self, size: Size) -> bool {
        size.area() >= self.min_area && self.max_area.is_none_or(|most| size.area() <= most)
    }

    /// Whether nothing but the count decides what it comes to.
    pub(super) fn is_plain(&self) -> bool {
        self.when.is_empty() && self.times.is_none() && self.min_area == 0 && self.max_area.is_none()
    }

    /// What the line comes to. `units` is the provider's own count of all that was given and made. `None` when something
    /// is not known that it counts.
    pub(super) fn count(&self, made: &Made<'_>, tokens: Option<&Tokens>, units: Option<Decimal>) -> Option<Component> {
        let (quantity, billable) = match units {
            Some(units) if self.flow == Flow::Output => (units, self.tier(units)),
            Some(_) => (Decimal::ZERO, Decimal::ZERO),
            None => self.measure(made, tokens)?,
        };
        let billable = match &self.times {
            Some(parameter) => billable.checked_mul(number(made.input?.get(parameter)?)?)?,
            None => billable,
        };
        let exact = self.unit_price.checked_mul(billable)?.checked_div(Decimal::from(self.unit_size))?;
        Some(Component {
            flow: self.flow,
            metric: self.metric.as_str(),
            quantity,
            billable_quantity: billable,
            unit_price: self.unit_price / Decimal::from(self.unit_size.max(1)),
            total_cost: Usd::from_dollars(exact)?,
            exact,
        })
    }

    /// What there is, and what the line bills of it.
    fn measure(&self, made: &Made<'_>, tokens: Option<&Tokens>) -> Option<(Decimal, Decimal)> {
        let calls = Decimal::from(made.calls);
        let (sizes, times) = match self.flow {
            Flow::Input => (&made.given, calls),
            Flow::Output => (&made.sizes, Decimal::ONE),
        };
        let pictures: Vec<Size> = sizes.iter().copied().filter(|size| self.covers(*size)).collect();
        let count = Decimal::from(pictures.len());
        Some(match self.metric {
            Metric::Image => (count * times, self.tier(count) * times),
            Metric::Megapixel => {
                let sum = |of: &dyn Fn(Decimal) -> Decimal| -> Decimal {
                    pictures.iter().map(|size| of(self.megapixels(*size))).sum()
                };
                (sum(&|all| all) * times, sum(&|all| self.tier(all)) * times)
            }
            Metric::Second => (made.seconds * count, self.tier(made.seconds) * count),
            Metric::Run => (calls, calls),
            Metric::TokenText | Metric::TokenImage => {
                let count = Decimal::from(self.pick(tokens?));
                (count, count)
            }
        })
    }

    /// The megapixels of a picture, rounded as the provider rounds. One of 1,048,576 px and started ones whole is how BFL
    /// and fal count (<https://docs.bfl.ai/quick_start/pricing>, the pages under <https://fal.ai/models>, 2026-11):
    /// 1024x1024 is one, 1025x1024 is two.
    fn megapixels(&self, size: Size) -> Decimal {
        let exact = Decimal::from(size.area()) / Decimal::from(self.megapixel.max(1));
        match self.round {
            Rounding::Up => exact.ceil().max(Decimal::ONE),
            Rounding::Nearest => {
                exact.round_dp_with_strategy(0, RoundingStrategy::MidpointAwayFromZero).max(Decimal::ONE)
            }
            Rounding::Exact => exact,
        }
    }

    /// The part of `count` that falls between `beyond` and `up_to`.
    fn tier(&self, count: Decimal) -> Decimal {
        let top = self.up_to.map_or(count, |up_to| count.min(Decimal::from(up_to)));
        (top - Decimal::from(self.beyond)).max(Decimal::ZERO)
    }

    fn pick(&self, tokens: &Tokens) -> u64 {
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

fn shape_of(sizes: &[Size]) -> &'static str {
    if sizes.iter().all(|size| size.width == size.height) { "square" } else { "oblong" }
}

/// A parameter's number, written as one or as text.
fn number(value: &Value) -> Option<Decimal> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.parse().ok().filter(|number: &Decimal| !number.is_sign_negative())
}
