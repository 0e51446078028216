//! A shape and a scale, by name: the provider picks the pixels.

use super::{BENT, SizeChoice, bend, choose_auto};
use crate::media::{Ratio, Size, SizeAsk, Tier};
use serde_json::json;

/// The nearest shape, and the nearest scale.
pub(super) fn choose(
    ratios: &[Ratio],
    tiers: &[Tier],
    auto: bool,
    field: &str,
    tier_field: Option<&str>,
    ask: &SizeAsk,
) -> SizeChoice {
    let film = tiers.iter().any(|tier| tier.to_string().ends_with(['p', 'P']));
    let (shape, edge) = match ask {
        SizeAsk::Unsaid => return SizeChoice::default(),
        SizeAsk::Auto => return choose_auto(auto, field),
        #[expect(clippy::cast_precision_loss, reason = "areas are far below 2^53")]
        SizeAsk::Exact(size) => (Some(size.ratio()), Some((size.area() as f64).sqrt())),
        SizeAsk::Shaped { ratio, tier } => {
            (ratio.as_ref().map(Ratio::value), tier.as_ref().map(|tier| edge_of(tier, film)))
        }
    };
    let mut choice = SizeChoice::default();
    let mut told = Vec::new();
    let by_shape = |a: &&Ratio, b: &&Ratio| {
        let far = |ratio: &Ratio| bend(ratio.value(), shape.unwrap_or(1.0));
        far(a).total_cmp(&far(b))
    };
    let ratio = ratios.iter().min_by(by_shape).filter(|_| shape.is_some());
    if let Some(ratio) = ratio {
        choice.params.insert(field.to_owned(), json!(ratio.to_string()));
        told.push(ratio.to_string());
    }
    let by_scale = |a: &&Tier, b: &&Tier| {
        let far = |tier: &Tier| bend(edge_of(tier, film), edge.unwrap_or(1024.0));
        far(a).total_cmp(&far(b))
    };
    let tier = tiers.iter().min_by(by_scale).filter(|_| edge.is_some());
    if let (Some(tier), Some(tier_field)) = (tier, tier_field) {
        choice.params.insert(tier_field.to_owned(), json!(tier.to_string()));
        told.push(tier.to_string());
    }
    let value = ratio.map_or(1.0, Ratio::value);
    let expect = Size::of_ratio(value, tier.or(tiers.first()).map_or(1024.0, |tier| edge_of(tier, film)));
    choice.expect = Some(expect);
    choice.told = (!told.is_empty()).then(|| told.join(" at "));
    choice.adjusted = match ask {
        SizeAsk::Exact(wanted) => *wanted != expect,
        _ => {
            let far = |shape: f64| ratio.is_none_or(|ratio| bend(ratio.value(), shape) > BENT);
            let bent = shape.is_some_and(far);
            let scaled = edge.is_some_and(|edge| tier.is_none_or(|tier| bend(edge_of(tier, film), edge) > BENT));
            bent || scaled
        }
    };
    choice
}

/// The side of a square of that scale. Beside `720p` and `1080p`, `2k` and `4k` are lines as well: 1440 and 2160.
fn edge_of(tier: &Tier, film: bool) -> f64 {
    let lines = match tier.to_string().to_lowercase().as_str() {
        "2k" if film => "1440p",
        "4k" if film => "2160p",
        _ => return tier.edge(),
    };
    Tier::parse(lines).map_or(tier.edge(), |tier| tier.edge())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ratios() -> impl Strategy<Value = Vec<Ratio>> {
        let one = (1u32..22, 1u32..22).prop_map(|(w, h)| Ratio::parse(&format!("{w}:{h}")).unwrap());
        prop::collection::vec(one, 1..12)
    }

    fn tiers() -> impl Strategy<Value = Vec<Tier>> {
        let names = prop::sample::select(vec!["0.5K", "1K", "2K", "4K", "0.25", "1 MP", "480p", "720p", "1080p"]);
        prop::collection::vec(names.prop_map(|name| Tier::parse(name).unwrap()), 0..5)
    }

    proptest! {
        #[test]
        fn the_choice_is_allowed_stable_and_nearest(ratios in ratios(), tiers in tiers(), w in 64u32..4_096, h in 64u32..4_096) {
            let ask = |ask: &SizeAsk| choose(&ratios, &tiers, false, "ratio", Some("scale"), ask);
            let wanted = Size::new(w, h);
            let choice = ask(&SizeAsk::Exact(wanted));
            let (shape, scale) = (choice.params["ratio"].as_str().unwrap(), choice.params.get("scale"));
            let chosen = ratios.iter().find(|ratio| ratio.to_string() == shape).unwrap();
            prop_assert!(ratios.iter().all(|ratio| bend(chosen.value(), wanted.ratio()) <= bend(ratio.value(), wanted.ratio())));
            let tier = scale.map(|scale| tiers.iter().find(|tier| tier.to_string() == scale.as_str().unwrap()).unwrap());
            prop_assert_eq!(tier.is_some(), !tiers.is_empty());
            let again = ask(&SizeAsk::Shaped { ratio: Some(chosen.clone()), tier: tier.cloned() });
            prop_assert_eq!(again.expect, choice.expect);
            prop_assert!(!again.adjusted);
        }
    }

    #[test]
    fn scales_of_films_are_lines() {
        let tiers = ["720p", "1080p", "4k"].map(|name| Tier::parse(name).unwrap());
        let ask = SizeAsk::parse(Some("3840x2160"), None, None).unwrap();
        let choice = choose(&[Ratio::parse("16:9").unwrap()], &tiers, false, "ratio", Some("resolution"), &ask);
        assert_eq!((choice.expect, choice.adjusted), (Some(Size::new(3840, 2160)), false));
    }
}
