//! What a call comes to: the estimate before it and the charge after it.

use super::{Flow, Metric, Price};
use crate::base::Usd;
use crate::job::{Tokens, Usage};
use crate::media::Size;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

/// What a call makes or made, as far as prices depend on it.
#[derive(Debug, Clone)]
pub struct Made<'a> {
    /// The sizes of the pictures or videos.
    pub sizes: Vec<Size>,
    /// The length of each video, in seconds: see [`Made::seconds`].
    pub seconds: Decimal,
    /// The sizes of the pictures that were given.
    pub given: Vec<Size>,
    /// How many calls it takes; each is given the pictures anew.
    pub calls: u32,
    /// The parameters sent, for conditions. Those that carry pictures may hold anything.
    pub input: Option<&'a Map<String, Value>>,
    /// What the provider said of the bill.
    pub usage: Usage,
}

impl Default for Made<'_> {
    fn default() -> Self {
        let (sizes, given) = (Vec::new(), Vec::new());
        Self { sizes, seconds: Decimal::ZERO, given, calls: 1, input: None, usage: Usage::default() }
    }
}

impl Made<'_> {
    /// The seconds to bill for. Files are a few frames longer or shorter than the length that was asked for and is
    /// billed, so less than half a second is no difference; more than that is, and is billed as measured.
    pub fn seconds(measured: Option<Decimal>, expected: u32) -> Decimal {
        let expected = Decimal::from(expected);
        measured.filter(|seconds| (*seconds - expected).abs() >= Decimal::new(5, 1)).unwrap_or(expected)
    }
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
    #[serde(serialize_with = "as_number")]
    pub quantity: Decimal,
    /// What is billed of it.
    #[serde(serialize_with = "as_number")]
    pub billable_quantity: Decimal,
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

/// Whole numbers stay whole; only what is billed by fractions (seconds, exact megapixels) has them.
fn as_number<S: Serializer>(value: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
    match value.to_u64().filter(|_| value.is_integer()) {
        Some(whole) => serializer.serialize_u64(whole),
        None => as_float(value, serializer),
    }
}

fn as_float<S: Serializer>(value: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(value.to_f64().unwrap_or_default())
}

fn as_micros<S: Serializer>(value: &Usd, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_i64(value.micros())
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

impl Charge {
    /// Nothing was bought.
    pub fn nothing() -> Self {
        Self { amount: None, source: "", note: None, components: Vec::new() }
    }

    fn known(amount: Option<Usd>, source: &'static str, components: Vec<Component>) -> Self {
        Self { amount, source, note: None, components }
    }

    fn of(components: Vec<Component>, source: &'static str) -> Self {
        let exact: Decimal = components.iter().map(|line| line.exact).sum();
        Self::known(Usd::from_dollars(exact), source, components)
    }

    fn unknown(why: &str) -> Self {
        Self { note: Some(why.to_owned()), ..Self::nothing() }
    }

    /// Why there is no amount: no price at all, or none for this.
    fn unpriced(price: &Price) -> Self {
        let of = if price.lines.is_empty() { "this route" } else { "these parameters of this route" };
        Self::unknown(&format!("the catalog has no price for {of}"))
    }
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
        let source = match &made.usage.tokens {
            Some(_) if self.counts_tokens() => "tokens",
            _ if self.units(made).is_some() => "provider",
            _ => "price_table",
        };
        match self.count(made, made.usage.tokens.as_ref()) {
            Some(lines) => Charge::of(lines, source),
            None => Charge::unpriced(self),
        }
    }

    /// The bill foreseen. `None` amount when the catalog has no price.
    pub fn estimate(&self, made: &Made<'_>) -> Charge {
        if self.free {
            return Charge::known(Some(Usd::ZERO), "free", Vec::new());
        }
        match self.foresee(made) {
            Some(lines) => Charge::of(lines, "price_table"),
            None if self.needs_told_tokens() => {
                Charge::unknown("billed by tokens, of which nobody can say how many there will be")
            }
            None => Charge::unpriced(self),
        }
    }

    fn foresee(&self, made: &Made<'_>) -> Option<Vec<Component>> {
        let tokens = match &self.tokens {
            Some(rule) => Some(rule.foresee(made)?),
            None if self.counts_tokens() => return None,
            None => None,
        };
        self.count(made, tokens.as_ref())
    }

    /// Every line that holds, counted. `None` when something was made that no line is about.
    fn count(&self, made: &Made<'_>, tokens: Option<&Tokens>) -> Option<Vec<Component>> {
        let units = self.units(made);
        let lines: Vec<_> = self.lines.iter().filter(|line| line.holds(made)).collect();
        let outputs = self.lines.iter().any(|line| line.flow == Flow::Output);
        let main = if outputs { Flow::Output } else { Flow::Input };
        let sizes = if outputs { &made.sizes } else { &made.given };
        let of_main = || lines.iter().filter(|line| line.flow == main);
        if of_main().next().is_none() || !sizes.iter().all(|size| of_main().any(|line| line.covers(*size))) {
            return None;
        }
        let counted = lines.iter().map(|line| line.count(made, tokens, units)).collect::<Option<Vec<_>>>()?;
        Some(counted.into_iter().filter(|line| !line.billable_quantity.is_zero()).collect())
    }

    /// The provider's own count, where it can only mean what our lines count: pictures, megapixels or seconds at prices
    /// that nothing else decides. It covers what was given as well as what was made. A price by the call has no units: fal
    /// counts tiers in them ("480p is half a unit").
    fn units(&self, made: &Made<'_>) -> Option<Decimal> {
        let first = self.lines.first()?;
        let plain = self.lines.iter().all(|line| line.metric == first.metric && line.is_plain());
        made.usage.units.filter(|_| plain && !first.metric.is_token() && first.metric != Metric::Run)
    }
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

    fn said(name: &str, value: impl Into<Value>) -> Map<String, Value> {
        Map::from_iter([(name.to_owned(), value.into())])
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
            { type = "input", metric = "megapixel", unit_price = "0.03" },
        ]"#;

    fn made(width: u32, height: u32) -> Made<'static> {
        Made { sizes: vec![Size::new(width, height)], ..Made::default() }
    }

    #[test]
    fn reported_tokens_are_the_bill() {
        let tokens = Tokens { text_in: 20, cached_text_in: 3, image_out: 1756, ..Tokens::default() };
        let made = Made { usage: Usage { tokens: Some(tokens), ..Usage::default() }, ..made(1024, 1024) };
        let charge = price(GPT_IMAGE_2).charge(&made);
        // 17·5 + 3·1.25 + 1756·30 = 52768.75 micro-dollars
        assert_eq!((charge.amount, charge.source), (Some(Usd::from_micros(52_769)), "tokens"));
    }

    /// A refusal that reports what was read costs that, though nothing was made.
    #[test]
    fn a_refusal_costs_the_tokens_it_reports() {
        let tokens = Tokens { text_in: 20, ..Tokens::default() };
        let usage = Usage { tokens: Some(tokens), ..Usage::default() };
        let charge = price(GPT_IMAGE_2).charge(&Made { usage, ..Made::default() });
        assert_eq!((charge.amount, charge.source), (usd("0.0001"), "tokens"));
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

    /// BFL's formula: first + (ceil(output MP) − 1) × further + ceil(input MP) × input, every picture for itself.
    #[test]
    fn pictures_that_were_given_count() {
        let given = vec![Size::new(1024, 1024), Size::new(1025, 1024)];
        let charge = price(FLUX_2_MAX).charge(&Made { given, ..made(2048, 1024) });
        assert_eq!(charge.amount, usd("0.19"));
        let flows: Vec<Flow> = charge.components.iter().map(|line| line.flow).collect();
        assert_eq!(flows, [Flow::Output, Flow::Output, Flow::Input]);
    }

    /// Four pictures in four calls: each call is a run of its own and is given the picture anew.
    #[test]
    fn every_call_is_given_the_pictures_anew() {
        let price = price(
            r#"lines = [
                { metric = "image", unit_price = "0.02" },
                { type = "input", metric = "image", unit_price = "0.002" },
                { metric = "run", unit_price = "0.001" },
            ]"#,
        );
        let size = Size::new(1024, 1024);
        let made = Made { sizes: vec![size; 4], given: vec![size], calls: 4, ..Made::default() };
        assert_eq!(price.estimate(&made).amount, usd("0.092"));
        assert_eq!(price.estimate(&Made { calls: 1, ..made }).amount, usd("0.083"));
    }

    #[test]
    fn the_providers_units_win_over_our_pixels() {
        let usage = Usage { units: Some(Decimal::TWO), ..Usage::default() };
        let charge = price(FLUX_2_MAX).charge(&Made { usage: usage.clone(), ..made(1024, 1024) });
        assert_eq!((charge.amount, charge.source), (usd("0.10"), "provider"));
        // They cover the pictures that were given.
        let given = vec![Size::new(1024, 1024)];
        let charge = price(FLUX_2_MAX).charge(&Made { given, usage, ..made(1024, 1024) });
        assert_eq!(charge.amount, usd("0.10"));
        let usage = Usage { cost: Some("0.0123".parse().unwrap()), ..Usage::default() };
        let charge = price(FLUX_2_MAX).charge(&Made { usage, ..made(1024, 1024) });
        assert_eq!((charge.amount, charge.source), (usd("0.0123"), "provider"));
    }

    /// Whether the provider's units have a quality in them already is not known: then we count ourselves.
    #[test]
    fn units_are_not_read_where_conditions_decide() {
        let price = price(r#"lines = [{ metric = "image", unit_price = "0.30", when = { resolution = ["4K"] } }]"#);
        let usage = Usage { units: Some(Decimal::TWO), ..Usage::default() };
        let charge = price.charge(&Made { usage, input: Some(&said("resolution", "4K")), ..made(4096, 4096) });
        assert_eq!((charge.amount, charge.source), (usd("0.30"), "price_table"));
    }

    #[test]
    fn conditions_choose_the_line() {
        let price = price(
            r#"lines = [
                { metric = "image", unit_price = "0.22", when = { quality = ["high", "unsaid"] } },
                { metric = "image", unit_price = "0.01", when = { quality = ["low"] } },
            ]"#,
        );
        let cost = |input: Option<&Map<String, Value>>| price.charge(&Made { input, ..made(64, 64) });
        assert_eq!(cost(Some(&said("quality", "low"))).amount, usd("0.01"));
        assert_eq!(cost(None).amount, usd("0.22"));
        let neither = cost(Some(&said("quality", "max")));
        assert_eq!((neither.amount, neither.note.is_some()), (None, true));
    }

    #[test]
    fn areas_choose_the_line_and_leave_no_picture_out() {
        let price = price(
            r#"lines = [
                { metric = "image", unit_price = "0.05", max_area = 1048576 },
                { metric = "image", unit_price = "0.10", min_area = 1048577, max_area = 4194304 },
            ]"#,
        );
        let cost = |sizes: &[u32]| {
            let sizes = sizes.iter().map(|side| Size::new(*side, *side)).collect();
            price.charge(&Made { sizes, ..Made::default() }).amount
        };
        assert_eq!(cost(&[1024]), usd("0.05"));
        assert_eq!(cost(&[1024, 2048]), usd("0.15"));
        assert_eq!(cost(&[1024, 4096]), None, "no line is about 4096x4096");
    }

    #[test]
    fn seconds_of_every_video() {
        let price = price(
            r#"lines = [
                { metric = "second", unit_price = "0.05", when = { resolution = ["480p", "unsaid"] } },
                { metric = "second", unit_price = "0.07", when = { resolution = ["720p"] } },
                { type = "input", metric = "image", unit_price = "0.002" },
            ]"#,
        );
        let hd = said("resolution", "720p");
        let made = Made {
            sizes: vec![Size::new(1280, 720); 2],
            seconds: Made::seconds(Some("6.04".parse().unwrap()), 6),
            given: vec![Size::new(512, 512)],
            input: Some(&hd),
            ..Made::default()
        };
        let charge = price.charge(&made);
        assert_eq!(charge.amount, usd("0.842"));
        let json = serde_json::to_value(&charge.components).unwrap();
        assert_eq!((&json[0]["metric"], &json[0]["quantity"]), (&"second".into(), &12.into()));
        let cut = Made { seconds: Made::seconds(Some("4.5".parse().unwrap()), 6), ..made };
        assert_eq!(price.charge(&cut).amount, usd("0.632"), "a video that came out short is billed as measured");
    }

    #[test]
    fn megapixels_as_each_provider_counts_them() {
        let cost = |extra: &str, width, height| {
            let text = format!(r#"lines = [{{ metric = "megapixel", unit_price = "0.01"{extra} }}]"#);
            price(&text).charge(&made(width, height)).amount
        };
        assert_eq!(cost("", 1024, 1536), usd("0.02"));
        assert_eq!(cost(", round = \"nearest\"", 1024, 1500), usd("0.01"));
        assert_eq!(cost(", round = \"nearest\"", 1024, 1536), usd("0.02"), "halves go up");
        assert_eq!(cost(", round = \"nearest\"", 256, 256), usd("0.01"), "at least one");
        assert_eq!(cost(", round = \"exact\", megapixel = 1000000", 1024, 1024), usd("0.010486"));
        assert_eq!(cost(", megapixel = 1000000", 1024, 1024), usd("0.02"));
    }

    #[test]
    fn steps_multiply() {
        let price = price(r#"lines = [{ metric = "image", unit_price = "0.00035", times = "num_inference_steps" }]"#);
        let cost = |steps: Value| {
            price.charge(&Made { input: Some(&said("num_inference_steps", steps)), ..made(1024, 1024) }).amount
        };
        assert_eq!(cost(4.into()), usd("0.0014"));
        assert_eq!(cost("4".into()), usd("0.0014"));
        assert_eq!(cost("many".into()), None);
        assert_eq!(price.charge(&made(1024, 1024)).amount, None, "unsaid steps are not one step");
    }

    #[test]
    fn unknown_is_not_free() {
        let unknown = Price::default().charge(&made(64, 64));
        assert_eq!(unknown.amount, None);
        assert!(unknown.note.is_some());
        assert_eq!(price("free = true").charge(&made(64, 64)).amount, Some(Usd::ZERO));
    }
}
