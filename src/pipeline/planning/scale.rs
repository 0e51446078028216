//! Upscaling: the factor that a route is asked for, the size to expect, and whether that is what came.

use super::adjustment::Adjustment;
use super::params::set_param;
use crate::catalog::Route;
use crate::job::{Job, Mode};
use crate::media::Size;
use crate::media::size::to_side;
use serde_json::{Map, Value, json};

/// A factor that a provider was told, and the picture that it is to enlarge.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Enlarged {
    asked: f64,
    from: Size,
}

impl Enlarged {
    /// What to say of a picture that came out in another size. Providers round sides to a grid; that is let pass.
    pub(super) fn surprise(&self, made: Size) -> Option<Adjustment> {
        let factor = f64::from(made.width) / f64::from(self.from.width.max(1));
        let far = (factor / self.asked - 1.0).abs() > 0.02;
        far.then(|| Adjustment {
            param: "scale_factor".to_owned(),
            requested: json!(self.asked),
            used: json!((factor * 100.0).round() / 100.0),
            reason: "the provider enlarged by another factor".to_owned(),
        })
    }
}

/// Asks for the nearest factor that the route enlarges by, and foresees the size.
pub(super) fn settle_scale(
    job: &Job,
    route: &Route,
    input: &mut Map<String, Value>,
    told: &mut Vec<Adjustment>,
    expect: &mut Size,
) -> Option<Enlarged> {
    let from = job.images.first().filter(|_| job.mode == Mode::Upscale)?.size?;
    let wish = job.extra.get("scale_factor").cloned().unwrap_or(Value::Null);
    let rule = route.upscale.as_ref();
    let fixed = route.field("scale_factor").is_none();
    let used = match (wish.as_f64(), rule) {
        (Some(wish), Some(rule)) if !fixed => rule.nearest(wish),
        (_, Some(rule)) => rule.default,
        (wish, None) => wish.unwrap_or(2.0),
    };
    // 4, not 4.0: some want an integer.
    let spelled = if used.fract() == 0.0 { json!(to_side(used)) } else { json!(used) };
    let differs = wish.as_f64().is_some_and(|wish| (wish - used).abs() > f64::EPSILON);
    if !fixed && !wish.is_null() {
        set_param(input, route, "scale_factor", spelled.clone());
    }
    if differs || (fixed && rule.is_none() && !wish.is_null()) {
        told.push(Adjustment {
            param: "scale_factor".to_owned(),
            requested: wish.clone(),
            used: if rule.is_some() { spelled } else { Value::Null },
            reason: if fixed {
                format!("{} always enlarges by its own factor", route.executed_model())
            } else {
                "the nearest factor that this route enlarges by".to_owned()
            },
        });
    }
    let side = |length: u32| to_side((f64::from(length) * used).round());
    *expect = Size::new(side(from.width), side(from.height));
    // What was told already is not told again when it comes true.
    (!differs && !fixed).then(|| wish.as_f64()).flatten().map(|asked| Enlarged { asked, from })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_factor_is_told_and_a_rounded_side_is_not() {
        let enlarged = Enlarged { asked: 4.0, from: Size::new(250, 100) };
        assert!(enlarged.surprise(Size::new(1000, 400)).is_none());
        assert!(enlarged.surprise(Size::new(1008, 400)).is_none());
        let told = enlarged.surprise(Size::new(500, 200)).unwrap();
        assert_eq!((told.requested, told.used), (json!(4.0), json!(2.0)));
    }
}
