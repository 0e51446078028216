//! Free pixels within bounds.

use super::{BENT, Form, SizeChoice, bend, choose_auto};
use crate::media::size::to_side;
use crate::media::{Ratio, Size, SizeAsk, Tier};
use serde::Deserialize;

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

pub(super) fn most() -> u64 {
    u64::from(Size::MAX_SIDE) * u64::from(Size::MAX_SIDE)
}

fn size() -> String {
    "size".to_owned()
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

    pub(super) fn choose(&self, ask: &SizeAsk) -> SizeChoice {
        let (wanted, exact) = match ask {
            SizeAsk::Unsaid => return SizeChoice::default(),
            SizeAsk::Auto => return choose_auto(self.auto, &self.field),
            SizeAsk::Exact(size) => (*size, true),
            SizeAsk::Shaped { ratio, tier } => {
                let shape = ratio.as_ref().map_or(1.0, Ratio::value);
                (Size::of_ratio(shape, tier.as_ref().map_or(1024.0, Tier::edge)), false)
            }
        };
        let size = self.nearest(wanted);
        // A shape is a wish for a shape: pixels that have it to 1 % are what was asked for.
        let adjusted = if exact { size != wanted } else { bend(size.ratio(), wanted.ratio()) > BENT };
        let params = self.form.render(&self.field, size);
        SizeChoice { params, expect: Some(size), told: Some(size.to_string()), adjusted, promised: Some(size) }
    }

    /// The allowed size nearest to `wanted`: itself when allowed, else the nearest shape at the nearest scale.
    pub(super) fn nearest(&self, wanted: Size) -> Size {
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
            .or_else(|| self.search(wanted))
            .unwrap_or(wanted)
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

    /// For windows so narrow that no neighbour fits: of every width on the grid, the height nearest to the wished shape.
    fn search(&self, wanted: Size) -> Option<Size> {
        let area = wanted.area().clamp(self.min_area, self.max_area);
        let far = |size: &Size| (bend(size.ratio(), wanted.ratio()), size.area().abs_diff(area));
        let widths = (1..=self.max_side / self.multiple).map(|step| step * self.multiple);
        let sizes = widths.filter(|width| *width >= self.min_side).flat_map(|width| {
            let ideal = f64::from(width) / wanted.ratio();
            let most = u32::try_from(self.max_area / u64::from(width)).unwrap_or(u32::MAX).min(self.max_side);
            let least = u32::try_from(self.min_area.div_ceil(u64::from(width))).unwrap_or(u32::MAX).max(self.min_side);
            let ratio = self.max_ratio.unwrap_or(f64::MAX);
            let (flattest, tallest) = (f64::from(width) / ratio, f64::from(width) * ratio);
            let height = ideal.clamp(flattest, tallest.max(flattest));
            let held = to_side(height).clamp(least.min(most), most);
            [held / self.multiple, held.div_ceil(self.multiple)]
                .map(|step| Size::new(width, step.max(1).saturating_mul(self.multiple)))
        });
        let near = |a: &Size, b: &Size| {
            let (a, b) = (far(a), far(b));
            a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
        };
        sizes.filter(|size| self.allows(*size)).min_by(near)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn window() -> impl Strategy<Value = Window> {
        let bounds = (prop::sample::select(vec![1u32, 8, 16, 32, 64]), 64u32..400, 500u32..1200);
        let areas = (0u64..300_000, 310_000u64..1_500_000, prop::option::of(1.2f64..8.0));
        (bounds, areas).prop_map(|((multiple, min_side, max_side), (min_area, max_area, max_ratio))| Window {
            multiple,
            min_side,
            max_side,
            min_area,
            max_area,
            max_ratio,
            auto: false,
            field: "size".into(),
            form: Form::Text,
        })
    }

    /// Every allowed size, by looking at all of them.
    fn all(window: &Window) -> Vec<Size> {
        let sides: Vec<u32> = (1..=window.max_side / window.multiple).map(|step| step * window.multiple).collect();
        let pairs = sides.iter().flat_map(|width| sides.iter().map(|height| Size::new(*width, *height)));
        pairs.filter(|size| window.allows(*size)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Allowed, stable, and no further from the wished shape than any other allowed size but for what rounding to
        /// the grid costs: half a step on either side, a whole one where a bound cuts.
        #[test]
        fn the_choice_is_allowed_stable_and_nearest(window in window(), w in 1u32..3_000, h in 1u32..3_000) {
            let sizes = all(&window);
            prop_assume!(!sizes.is_empty());
            let wanted = Size::new(w, h);
            let chosen = window.nearest(wanted);
            prop_assert!(window.allows(chosen), "{chosen} for {wanted} in {window:?}");
            prop_assert_eq!(window.nearest(chosen), chosen);
            let best = sizes.iter().map(|size| bend(size.ratio(), wanted.ratio())).fold(f64::MAX, f64::min);
            let step = f64::from(window.multiple) * (1.0 / f64::from(chosen.width) + 1.0 / f64::from(chosen.height));
            let bent = bend(chosen.ratio(), wanted.ratio());
            prop_assert!(bent <= best + step, "{chosen} for {wanted}: {bent} instead of {best} in {window:?}");
        }

        #[test]
        fn an_allowed_wish_is_granted(window in window(), w in 1u32..1_200, h in 1u32..1_200) {
            let wanted = Size::new(w / window.multiple * window.multiple, h / window.multiple * window.multiple);
            prop_assume!(wanted.width > 0 && wanted.height > 0 && window.allows(wanted));
            prop_assert_eq!(window.nearest(wanted), wanted);
        }
    }

    #[test]
    fn bounds_that_contradict_each_other_are_noticed() {
        let window = |text: &str| toml::from_str::<Window>(text).unwrap();
        assert!(window("max_side = 1024").is_open());
        assert!(!window("max_side = 512\nmin_area = 1000000").is_open());
        assert!(!window("max_side = 512\nmin_side = 1024").is_open());
        // Nothing near the wish fits, and yet there is something.
        assert!(window("max_side = 4096\nmin_side = 64\nmultiple = 64\nmin_area = 8294400").is_open());
    }
}
