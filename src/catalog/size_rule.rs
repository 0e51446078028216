//! What sizes a route can make, and the choice of the nearest one to what was asked. Every grammar is here once.

use crate::media::size::to_side;
use crate::media::{Ratio, Size, SizeAsk, Tier};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::fmt;

/// A route's size grammar, as its catalog row says it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case", deny_unknown_fields)]
pub enum SizeRule {
    /// Any pixels within bounds (OpenAI from GPT Image 2, BFL, most of fal, Together).
    Pixels(Window),
    /// One of a list of sizes (older OpenAI models, Recraft V3).
    List {
        /// The allowed sizes.
        sizes: Vec<Size>,
        /// Whether `auto` is one of them.
        #[serde(default)]
        auto: bool,
        /// The parameter.
        field: String,
        /// How a size is spelled in it.
        #[serde(default)]
        form: Form,
    },
    /// A shape and perhaps a scale; the provider picks the pixels (Gemini, Imagen, xAI, FLUX on Replicate).
    Ratios {
        /// The allowed shapes.
        ratios: Vec<Ratio>,
        /// The allowed scales; the first is the route's usual one. Empty when it has no choice.
        #[serde(default)]
        tiers: Vec<Tier>,
        /// Whether the shape may be `auto`.
        #[serde(default)]
        auto: bool,
        /// The parameter of the shape.
        field: String,
        /// The parameter of the scale.
        #[serde(default)]
        tier_field: Option<String>,
    },
    /// No control over size at all.
    None,
}

/// Bounds on free pixels.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Both sides are multiples of it.
    #[serde(default = "one")]
    pub multiple: u32,
    /// Shortest side.
    #[serde(default = "one")]
    pub min_side: u32,
    /// Longest side.
    pub max_side: u32,
    /// Fewest pixels.
    #[serde(default)]
    pub min_area: u64,
    /// Most pixels.
    #[serde(default = "most")]
    pub max_area: u64,
    /// Longest side over shortest, at most.
    #[serde(default)]
    pub max_ratio: Option<f64>,
    /// Whether `auto` is allowed.
    #[serde(default)]
    pub auto: bool,
    /// The parameter (ignored by [`Form::Sides`]).
    #[serde(default = "size")]
    pub field: String,
    /// How a size is spelled in it.
    #[serde(default)]
    pub form: Form,
}

fn one() -> u32 {
    1
}

fn most() -> u64 {
    u64::from(Size::MAX_SIDE) * u64::from(Size::MAX_SIDE)
}

fn size() -> String {
    "size".to_owned()
}

/// How pixels are spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// `"1024x768"`
    #[default]
    Text,
    /// `"1024*768"`
    Asterisk,
    /// `"1024:768"`
    Colon,
    /// `{"width": 1024, "height": 768}`
    Object,
    /// Two parameters, `width` and `height`.
    Sides,
}

/// The size that a route will be asked for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SizeChoice {
    /// Parameters that say it, in the provider's words.
    pub params: Map<String, Value>,
    /// The pixels we expect, for the estimate; the model's own idea when `None`.
    pub expect: Option<Size>,
    /// As told to the caller: `1536x864`, `16:9 at 2K`, `auto`.
    pub told: Option<String>,
    /// Whether this is not what was asked for.
    pub adjusted: bool,
    /// The pixels that the provider was told; what comes back should have them.
    pub promised: Option<Size>,
}

impl SizeRule {
    /// The allowed size nearest to the wish: shape first, then scale.
    pub fn choose(&self, ask: &SizeAsk) -> SizeChoice {
        match self {
            Self::Pixels(window) => window.choose(ask),
            Self::List { sizes, auto, field, form } => choose_listed(sizes, *auto, field, *form, ask),
            Self::Ratios { ratios, tiers, auto, field, tier_field } => {
                choose_shape(ratios, tiers, *auto, field, tier_field.as_deref(), ask)
            }
            Self::None => {
                SizeChoice { adjusted: *ask != SizeAsk::Unsaid && *ask != SizeAsk::Auto, ..Default::default() }
            }
        }
    }
}

impl SizeRule {
    /// Every value that the rule gives a parameter; `None` when it is not the rule's, or can be anything.
    pub fn values_of(&self, name: &str) -> Option<Vec<String>> {
        match self {
            Self::Ratios { ratios, field, auto, .. } if field == name => {
                let auto = auto.then(|| "auto".to_owned());
                Some(ratios.iter().map(ToString::to_string).chain(auto).collect())
            }
            Self::Ratios { tiers, tier_field: Some(field), .. } if field == name => {
                Some(tiers.iter().map(ToString::to_string).collect())
            }
            _ => None,
        }
    }
}

/// In a line, for lists: `multiples of 16, up to 3840, 0.6–8.3 MP`, `1:1, 16:9 at 1K, 2K`.
impl fmt::Display for SizeRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn join<T: ToString>(items: &[T]) -> String {
            items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        }
        match self {
            Self::Pixels(window) => {
                write!(f, "any, sides {}–{}", window.min_side.max(window.multiple), window.max_side)?;
                if window.multiple > 1 {
                    write!(f, " in steps of {}", window.multiple)?;
                }
                if window.max_area < most() {
                    write!(f, ", {}–{} px", window.min_area, window.max_area)?;
                }
                Ok(())
            }
            Self::List { sizes, .. } => f.write_str(&join(sizes)),
            Self::Ratios { ratios, tiers, .. } if tiers.is_empty() => f.write_str(&join(ratios)),
            Self::Ratios { ratios, tiers, .. } => write!(f, "{} at {}", join(ratios), join(tiers)),
            Self::None => f.write_str("the model's own"),
        }
    }
}

impl Window {
    /// Whether any size is within its bounds.
    pub fn is_open(&self) -> bool {
        self.multiple > 0 && self.max_side >= self.min_side && self.allows(self.nearest(Size::new(1024, 1024)))
    }

    /// Whether the route takes exactly this.
    pub fn allows(&self, size: Size) -> bool {
        let short = size.width.min(size.height);
        size.width.is_multiple_of(self.multiple)
            && size.height.is_multiple_of(self.multiple)
            && short >= self.min_side
            && size.long_side() <= self.max_side
            && (self.min_area..=self.max_area).contains(&size.area())
            && self.max_ratio.is_none_or(|max| f64::from(size.long_side()) <= max * f64::from(short) + 1e-9)
    }

    fn choose(&self, ask: &SizeAsk) -> SizeChoice {
        let (wanted, exact) = match ask {
            SizeAsk::Unsaid => return SizeChoice::default(),
            SizeAsk::Auto if self.auto => {
                let params = Map::from_iter([(self.field.clone(), json!("auto"))]);
                return SizeChoice { params, told: Some("auto".to_owned()), ..Default::default() };
            }
            SizeAsk::Auto => return SizeChoice::default(),
            SizeAsk::Exact(size) => (*size, true),
            SizeAsk::Shaped { ratio, tier } => {
                let shape = ratio.as_ref().map_or(1.0, Ratio::value);
                (Size::of_ratio(shape, tier.as_ref().map_or(1024.0, Tier::edge)), false)
            }
        };
        let size = self.nearest(wanted);
        // A shape is a wish for a shape: pixels that have it to 1 % are what was asked for.
        let adjusted = if exact { size != wanted } else { (size.ratio() / wanted.ratio()).ln().abs() > 0.01 };
        let params = self.form.render(&self.field, size);
        SizeChoice { params, expect: Some(size), told: Some(size.to_string()), adjusted, promised: Some(size) }
    }

    /// The allowed size nearest to `wanted`: itself when allowed, else the nearest shape at the nearest scale.
    fn nearest(&self, wanted: Size) -> Size {
        if self.allows(wanted) {
            return wanted;
        }
        let (width, height) = self.fit_bounds(wanted);
        let multiple = f64::from(self.multiple);
        // Rounding to the grid can step out of the window on any side: look at the neighbours and take the best.
        let steps = |side: f64| {
            let base = (side / multiple).round();
            (-4..=4).map(move |step| to_side((base + f64::from(step)).max(1.0) * multiple))
        };
        let far =
            |size: &Size| (f64::from(size.width) / width).ln().abs() + (f64::from(size.height) / height).ln().abs();
        steps(width)
            .flat_map(|w| steps(height).map(move |h| Size::new(w, h)))
            .filter(|size| self.allows(*size))
            .min_by(|a, b| far(a).total_cmp(&far(b)))
            .unwrap_or_else(|| self.any_allowed(wanted))
    }

    /// Scales and squeezes the wish into the bounds, in real numbers.
    fn fit_bounds(&self, wanted: Size) -> (f64, f64) {
        let most = self.max_ratio.unwrap_or(f64::MAX).min(f64::from(self.max_side) / f64::from(self.min_side));
        let ratio = wanted.ratio().clamp(1.0 / most, most);
        #[expect(clippy::cast_precision_loss, reason = "areas are far below 2^53")]
        let (least, greatest) = (self.min_area as f64, self.max_area as f64);
        #[expect(clippy::cast_precision_loss, reason = "areas are far below 2^53")]
        let area = (wanted.area() as f64).clamp(least.max(1.0), greatest);
        let (mut width, mut height) = ((area * ratio).sqrt(), (area / ratio).sqrt());
        let shrink = f64::from(self.max_side) / width.max(height);
        let grow = f64::from(self.min_side) / width.min(height);
        let scale = if shrink < 1.0 { shrink } else { grow.max(1.0) };
        width *= scale;
        height *= scale;
        (width, height)
    }

    /// A last resort for windows so narrow that no neighbour fits: the allowed square nearest in side.
    fn any_allowed(&self, wanted: Size) -> Size {
        (1..=self.max_side / self.multiple)
            .map(|step| Size::new(step * self.multiple, step * self.multiple))
            .filter(|size| self.allows(*size))
            .min_by_key(|size| size.width.abs_diff(wanted.long_side()))
            .unwrap_or(wanted)
    }
}

impl Form {
    fn render(self, field: &str, size: Size) -> Map<String, Value> {
        let value = match self {
            Self::Text => json!(size.to_string()),
            Self::Asterisk => json!(format!("{}*{}", size.width, size.height)),
            Self::Colon => json!(format!("{}:{}", size.width, size.height)),
            Self::Object => json!({"width": size.width, "height": size.height}),
            Self::Sides => {
                return Map::from_iter([("width".into(), size.width.into()), ("height".into(), size.height.into())]);
            }
        };
        Map::from_iter([(field.to_owned(), value)])
    }
}

fn choose_listed(sizes: &[Size], auto: bool, field: &str, form: Form, ask: &SizeAsk) -> SizeChoice {
    let (ratio, area) = match ask {
        SizeAsk::Unsaid => return SizeChoice::default(),
        SizeAsk::Auto => {
            let params = if auto { Map::from_iter([(field.to_owned(), json!("auto"))]) } else { Map::new() };
            return SizeChoice { params, told: auto.then(|| "auto".to_owned()), ..Default::default() };
        }
        SizeAsk::Exact(size) => (size.ratio(), Some(size.area())),
        SizeAsk::Shaped { ratio, tier } => {
            let shape = ratio.as_ref().map_or(1.0, Ratio::value);
            let area = tier.as_ref().map(|tier| Size::of_ratio(shape, tier.edge()).area());
            (shape, area)
        }
    };
    #[expect(clippy::cast_precision_loss, reason = "areas are far below 2^53")]
    let far = |size: &Size| {
        let shape = (size.ratio() / ratio).ln().abs();
        let scale = area.map_or(0.0, |area| (size.area() as f64 / area as f64).ln().abs());
        (shape, scale)
    };
    let nearest = sizes.iter().copied().min_by(|a, b| {
        let (a, b) = (far(a), far(b));
        // Shapes within half a percent are the same shape at another scale.
        if (a.0 - b.0).abs() < 0.005 { a.1.total_cmp(&b.1) } else { a.0.total_cmp(&b.0) }
    });
    let Some(size) = nearest else { return SizeChoice::default() };
    let adjusted = match ask {
        SizeAsk::Exact(wanted) => size != *wanted,
        _ => (size.ratio() / ratio).ln().abs() > 0.01,
    };
    let params = form.render(field, size);
    SizeChoice { params, expect: Some(size), told: Some(size.to_string()), adjusted, promised: Some(size) }
}

fn choose_shape(
    ratios: &[Ratio],
    tiers: &[Tier],
    auto: bool,
    field: &str,
    tier_field: Option<&str>,
    ask: &SizeAsk,
) -> SizeChoice {
    let (shape, edge) = match ask {
        SizeAsk::Unsaid => return SizeChoice::default(),
        SizeAsk::Auto => {
            let params = if auto { Map::from_iter([(field.to_owned(), json!("auto"))]) } else { Map::new() };
            return SizeChoice { params, told: auto.then(|| "auto".to_owned()), ..Default::default() };
        }
        #[expect(clippy::cast_precision_loss, reason = "areas are far below 2^53")]
        SizeAsk::Exact(size) => (Some(size.ratio()), Some((size.area() as f64).sqrt())),
        SizeAsk::Shaped { ratio, tier } => (ratio.as_ref().map(Ratio::value), tier.as_ref().map(Tier::edge)),
    };
    let mut choice = SizeChoice::default();
    let mut told = Vec::new();
    let by_shape = |a: &&Ratio, b: &&Ratio| {
        let far = |ratio: &Ratio| (ratio.value() / shape.unwrap_or(1.0)).ln().abs();
        far(a).total_cmp(&far(b))
    };
    let ratio = ratios.iter().min_by(by_shape).filter(|_| shape.is_some());
    if let Some(ratio) = ratio {
        choice.params.insert(field.to_owned(), json!(ratio.to_string()));
        told.push(ratio.to_string());
    }
    let by_scale = |a: &&Tier, b: &&Tier| {
        let far = |tier: &Tier| (tier.edge() / edge.unwrap_or(1024.0)).ln().abs();
        far(a).total_cmp(&far(b))
    };
    let tier = tiers.iter().min_by(by_scale).filter(|_| edge.is_some());
    if let (Some(tier), Some(tier_field)) = (tier, tier_field) {
        choice.params.insert(tier_field.to_owned(), json!(tier.to_string()));
        told.push(tier.to_string());
    }
    let value = ratio.map_or(1.0, Ratio::value);
    let expect = Size::of_ratio(value, tier.or(tiers.first()).map_or(1024.0, Tier::edge));
    choice.expect = Some(expect);
    choice.told = (!told.is_empty()).then(|| told.join(" at "));
    choice.adjusted = match ask {
        SizeAsk::Exact(wanted) => *wanted != expect,
        _ => {
            let far = |shape: f64| ratio.is_none_or(|ratio| (ratio.value() / shape).ln().abs() > 0.01);
            let bent = shape.is_some_and(far);
            let scaled = edge.is_some_and(|edge| tier.is_none_or(|tier| (tier.edge() / edge).ln().abs() > 0.01));
            bent || scaled
        }
    };
    choice
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn gpt_image_2() -> Window {
        toml::from_str(
            "multiple = 16\nmax_side = 3840\nmin_area = 655360\nmax_area = 8294400\nmax_ratio = 3.0\nauto = true",
        )
        .unwrap()
    }

    fn ask(size: &str) -> SizeAsk {
        SizeAsk::parse(Some(size), None, None).unwrap()
    }

    fn ratios(list: &[&str], tiers: &[&str]) -> SizeRule {
        SizeRule::Ratios {
            ratios: list.iter().map(|text| Ratio::parse(text).unwrap()).collect(),
            tiers: tiers.iter().map(|text| Tier::parse(text).unwrap()).collect(),
            auto: true,
            field: "aspect_ratio".into(),
            tier_field: Some("resolution".into()),
        }
    }

    #[test]
    fn pixels_land_inside_the_window() {
        let rule = SizeRule::Pixels(gpt_image_2());
        let told = |text: &str| rule.choose(&ask(text)).told.unwrap();
        assert_eq!(told("1024x1024"), "1024x1024");
        assert_eq!(told("16:9"), "1360x768");
        assert_eq!(told("1920x1080"), "1920x1088");
        assert_eq!(told("256x256"), "816x816");
        assert_eq!(told("8000x8000"), "2880x2880");
        assert_eq!(told("auto"), "auto");
        assert!(!rule.choose(&ask("1024x1024")).adjusted);
        assert!(rule.choose(&ask("1920x1080")).adjusted);
        assert!(!rule.choose(&ask("16:9")).adjusted, "1360x768 is 16:9 to half a percent");
        assert_eq!(rule.choose(&SizeAsk::Unsaid), SizeChoice::default());
    }

    #[test]
    fn fal_takes_an_object() {
        let window = Window { form: Form::Object, field: "image_size".into(), multiple: 1, ..gpt_image_2() };
        let choice = SizeRule::Pixels(window).choose(&ask("1920x1080"));
        assert_eq!(Value::Object(choice.params), json!({"image_size": {"width": 1920, "height": 1080}}));
        assert!(!choice.adjusted);
    }

    /// The published example: 7:1 of a model with 4:1 and 8:1 gives 8:1.
    #[test]
    fn shapes_match_by_proportion() {
        let rule = ratios(&["1:1", "4:1", "8:1", "16:9"], &["1K", "2K", "4K"]);
        let choice = rule.choose(&ask("7:1"));
        assert_eq!(choice.told.as_deref(), Some("8:1"));
        assert!(choice.adjusted);
        let choice = rule.choose(&ask("2731x1536"));
        assert_eq!(Value::Object(choice.params), json!({"aspect_ratio": "16:9", "resolution": "2K"}));
        assert!(!choice.adjusted);
        assert!(!rule.choose(&ask("16:9")).adjusted);
    }

    #[test]
    fn lists_prefer_shape_to_scale() {
        let sizes = ["1024x1024", "1536x1024", "1024x1536"].map(|text| Size::parse(text).unwrap()).to_vec();
        let rule = SizeRule::List { sizes, auto: true, field: "size".into(), form: Form::Text };
        let told = |text: &str| rule.choose(&ask(text)).told.unwrap();
        assert_eq!(told("1792x1024"), "1536x1024");
        assert_eq!(told("9:16"), "1024x1536");
        assert_eq!(told("512x512"), "1024x1024");
        assert_eq!(told("auto"), "auto");
    }

    proptest! {
        #[test]
        fn the_choice_is_allowed_and_stable(w in 1u32..16_384, h in 1u32..16_384) {
            let window = gpt_image_2();
            let first = window.nearest(Size::new(w, h));
            prop_assert!(window.allows(first), "{first} for {w}x{h}");
            prop_assert_eq!(window.nearest(first), first);
        }

        #[test]
        fn any_sane_window_yields_an_allowed_size(
            w in 1u32..16_384, h in 1u32..16_384, multiple in prop::sample::select(vec![1u32, 8, 16, 32, 64]),
            min_side in 64u32..512, max_side in 1024u32..4096,
        ) {
            let window = Window { multiple, min_side, max_side, min_area: 0, max_area: most(), max_ratio: None,
                auto: false, field: "size".into(), form: Form::Text };
            let size = window.nearest(Size::new(w, h));
            prop_assert!(window.allows(size), "{size} for {w}x{h} in {window:?}");
        }
    }
}
