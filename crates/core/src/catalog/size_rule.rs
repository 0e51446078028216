//! What sizes a route can make, and the choice of the nearest one to what was asked. Every grammar is here once.

mod listed;
mod shaped;
mod window;

pub use window::Window;

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
            Self::List { sizes, auto, field, form } => {
                listed::choose(sizes, *auto, field, ask, |size| form.render(field, size))
            }
            Self::Ratios { ratios, tiers, auto, field, tier_field } => {
                shaped::choose(ratios, tiers, *auto, field, tier_field.as_deref(), ask)
            }
            Self::None => {
                SizeChoice { adjusted: *ask != SizeAsk::Unsaid && *ask != SizeAsk::Auto, ..Default::default() }
            }
        }
    }

    /// Every value that the rule gives a parameter; `None` when it is not the rule's, or can be anything.
    pub fn values_of(&self, name: &str) -> Option<Vec<String>> {
        let with_auto =
            |values: Vec<String>, auto: bool| Some(values.into_iter().chain(auto.then(|| "auto".to_owned())).collect());
        let texts = |sizes: &[Size], form: Form| {
            let text = |size: &Size| form.render("", *size).get("")?.as_str().map(str::to_owned);
            sizes.iter().map(text).collect::<Option<Vec<String>>>()
        };
        match self {
            Self::List { sizes, auto, field, form } if field == name => with_auto(texts(sizes, *form)?, *auto),
            Self::Ratios { ratios, field, auto, .. } if field == name => {
                with_auto(ratios.iter().map(ToString::to_string).collect(), *auto)
            }
            Self::Ratios { tiers, tier_field: Some(field), .. } if field == name => {
                Some(tiers.iter().map(ToString::to_string).collect())
            }
            _ => None,
        }
    }
}

/// What a wish for `auto` comes to: the word, where the route knows it.
fn choose_auto(known: bool, field: &str) -> SizeChoice {
    let params = if known { Map::from_iter([(field.to_owned(), json!("auto"))]) } else { Map::new() };
    SizeChoice { params, told: known.then(|| "auto".to_owned()), ..SizeChoice::default() }
}

/// How unlike two shapes are: 0 for the same, alike in both directions.
fn bend(ratio: f64, wanted: f64) -> f64 {
    (ratio / wanted).ln().abs()
}

/// Shapes that differ by less than 1 % are what was asked for.
const BENT: f64 = 0.01;

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
                if window.max_area < window::most() {
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

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn sides_are_spelled_as_the_provider_wants_them() {
        let said = |form: Form| Value::Object(form.render("size", Size::new(1280, 720)));
        assert_eq!(said(Form::Text), json!({"size": "1280x720"}));
        assert_eq!(said(Form::Asterisk), json!({"size": "1280*720"}));
        assert_eq!(said(Form::Colon), json!({"size": "1280:720"}));
        assert_eq!(said(Form::Object), json!({"size": {"width": 1280, "height": 720}}));
        assert_eq!(said(Form::Sides), json!({"width": 1280, "height": 720}));
    }
}
