//! Sizes from a list.

use super::{BENT, SizeChoice, bend, choose_auto};
use crate::media::{Ratio, Size, SizeAsk};
use serde_json::{Map, Value};

/// Shapes that differ by less than half a percent are one shape at several scales.
const ALIKE: f64 = 0.005;

/// The listed size of the nearest shape, and of those the one of the nearest scale. `render` says it to the provider.
pub(super) fn choose(
    sizes: &[Size],
    auto: bool,
    field: &str,
    ask: &SizeAsk,
    render: impl Fn(Size) -> Map<String, Value>,
) -> SizeChoice {
    let (ratio, area) = match ask {
        SizeAsk::Unsaid => return SizeChoice::default(),
        SizeAsk::Auto => return choose_auto(auto, field),
        SizeAsk::Exact(size) => (size.ratio(), Some(size.area())),
        SizeAsk::Shaped { ratio, tier } => {
            let shape = ratio.as_ref().map_or(1.0, Ratio::value);
            (shape, tier.as_ref().map(|tier| Size::of_ratio(shape, tier.edge()).area()))
        }
    };
    let Some(size) = nearest(sizes, ratio, area) else { return SizeChoice::default() };
    let adjusted = match ask {
        SizeAsk::Exact(wanted) => size != *wanted,
        _ => bend(size.ratio(), ratio) > BENT,
    };
    SizeChoice {
        params: render(size),
        expect: Some(size),
        told: Some(size.to_string()),
        adjusted,
        promised: Some(size),
    }
}

fn nearest(sizes: &[Size], ratio: f64, area: Option<u64>) -> Option<Size> {
    let bends = || sizes.iter().map(|size| bend(size.ratio(), ratio));
    let least = bends().fold(f64::MAX, f64::min);
    #[expect(clippy::cast_precision_loss, reason = "areas are far below 2^53")]
    let scale = |size: &Size| area.map_or(0.0, |area| bend(size.area() as f64, area as f64));
    let alike = sizes.iter().copied().zip(bends()).filter(|(_, bent)| *bent <= least + ALIKE);
    let near = |a: &(Size, f64), b: &(Size, f64)| scale(&a.0).total_cmp(&scale(&b.0)).then(a.1.total_cmp(&b.1));
    alike.min_by(near).map(|(size, _)| size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_size() -> impl Strategy<Value = Size> {
        (64u32..4_096, 64u32..4_096).prop_map(|(width, height)| Size::new(width, height))
    }

    proptest! {
        #[test]
        fn the_choice_is_listed_stable_and_nearest(sizes in prop::collection::vec(any_size(), 1..30), wanted in any_size()) {
            let pick = |wanted: Size| nearest(&sizes, wanted.ratio(), Some(wanted.area())).unwrap();
            let chosen = pick(wanted);
            prop_assert!(sizes.contains(&chosen));
            prop_assert_eq!(pick(chosen), chosen);
            let best = sizes.iter().map(|size| bend(size.ratio(), wanted.ratio())).fold(f64::MAX, f64::min);
            prop_assert!(bend(chosen.ratio(), wanted.ratio()) <= best + ALIKE);
        }

        #[test]
        fn a_listed_wish_is_granted(sizes in prop::collection::vec(any_size(), 1..30), at in any::<prop::sample::Index>()) {
            let wanted = *at.get(&sizes);
            prop_assert_eq!(nearest(&sizes, wanted.ratio(), Some(wanted.area())).unwrap(), wanted);
        }
    }
}
