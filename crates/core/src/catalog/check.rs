//! What must hold of every row, so that a bad one fails the start and not a request.

use super::price::{Flow, PriceLine};
use super::route::{LengthForm, Route};
use super::size_rule::SizeRule;
use super::{Lifecycle, Model};
use crate::base::Timestamp;
use crate::job::Mode;

/// Says what is wrong with a model.
pub(super) fn check_model(model: &Model, complain: &mut impl FnMut(String)) {
    let mut require = |holds: bool, what: &str| {
        if !holds {
            complain(what.to_owned());
        }
    };
    require(!model.id.is_empty() && model.id == model.id.to_lowercase(), "ids are lower case, and not empty");
    require(!model.name.is_empty() && !model.maker.is_empty(), "it needs a name and a maker");
    require(model.released.as_deref().is_none_or(is_date), "released should be a day, YYYY-MM-DD");
    require(model.retires.as_deref().is_none_or(is_date), "retires should be a day, YYYY-MM-DD");
    let dated = model.status != Lifecycle::Retired || model.retires.is_some();
    require(dated, "a retired model needs the day on which it retired: retires = \"YYYY-MM-DD\"");
    require(model.successor.as_ref() != Some(&model.id), "it cannot succeed itself");
}

/// Says what is wrong with a route.
pub(super) fn check_route(route: &Route, complain: &mut impl FnMut(String)) {
    let mut require = |holds: bool, what: &str| {
        if !holds {
            complain(what.to_owned());
        }
    };
    let reads_media = route.modes.iter().any(|mode| mode.reads_media());
    require(!route.upstream.is_empty() || route.model == "*", "upstream is empty");
    require(!route.modes.is_empty(), "modes is empty");
    require(!route.source.is_empty(), "source is missing: where do these facts come from?");
    let sure = ["documented", "derived", "unconfirmed"].contains(&route.confidence.as_str());
    require(sure, "confidence should be documented, derived or unconfirmed");
    require(route.retires.as_deref().is_none_or(is_date), "retires should be a day, YYYY-MM-DD");
    require(route.max_n > 0, "max_n is 0");
    let offered = |format| route.formats.is_empty() || route.formats.contains(&format);
    require(route.default_format.is_none_or(offered), "default_format is not one of formats");
    require(!reads_media || route.inputs.is_some(), "a mode that starts from a picture or video needs inputs");
    let reads_video = route.modes.iter().any(|mode| mode.reads_video());
    let placed = route.inputs.as_ref().is_some_and(|inputs| inputs.video.is_some());
    require(!reads_video || placed, "a mode that starts from a video needs inputs.video");
    let makes_video = route.modes.iter().any(|mode| mode.makes_video());
    require(!makes_video || route.video.is_some(), "a mode that makes videos needs video = { ... }");
    check_size(&route.size, &mut require);
    check_length(route, &mut require);
    check_price(route, &mut require);
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && Timestamp::parse(text).is_some()
}

fn check_size(rule: &SizeRule, require: &mut impl FnMut(bool, &str)) {
    match rule {
        SizeRule::Pixels(window) => {
            require(window.is_open(), "size leaves no picture: its bounds contradict each other");
        }
        SizeRule::List { sizes, .. } => require(!sizes.is_empty(), "size.sizes is empty"),
        SizeRule::Ratios { ratios, tiers, tier_field, .. } => {
            require(!ratios.is_empty() || !tiers.is_empty(), "size has neither ratios nor tiers");
            require(!tiers.is_empty() || tier_field.is_none(), "size.tier_field has no tiers");
        }
        SizeRule::None => {}
    }
}

fn check_length(route: &Route, require: &mut impl FnMut(bool, &str)) {
    let Some(video) = &route.video else { return };
    require(video.default > 0, "video.default is 0 seconds");
    require(video.seconds.is_sorted(), "video.seconds should ascend");
    let offered = video.seconds.is_empty() || video.seconds.contains(&video.default);
    require(offered, "video.default is not one of video.seconds");
    require(video.form != LengthForm::Frames || video.fps.is_some(), "video.form = \"frames\" needs video.fps");
}

fn check_price(route: &Route, require: &mut impl FnMut(bool, &str)) {
    let price = &route.price;
    if price.lines.is_empty() {
        require(price.tokens.is_none(), "price.tokens without lines");
        return;
    }
    require(!price.free, "price is free and has lines");
    require(!price.source.is_empty(), "a price needs its source");
    require(is_date(&price.date), "a price needs its date: date = \"YYYY-MM-DD\"");
    require(price.lines.iter().any(|line| line.flow == Flow::Output) || reads_only(route), "no line is about output");
    for line in &price.lines {
        let told = |what: &str| format!("price line '{line}': {what}");
        require(!line.unit_price.is_sign_negative(), &told("its unit_price is negative"));
        require(line.unit_size > 0 && line.megapixel > 0, &told("a size of 0"));
        let tiered = line.up_to.is_none_or(|up_to| up_to > line.beyond);
        let windowed = line.max_area.is_none_or(|most| most >= line.min_area);
        require(tiered && windowed, &told("its bounds leave nothing to count"));
        let usual = line.times.as_ref().is_none_or(|name| route.defaults.contains_key(name));
        require(usual, &told("the usual value of its `times` is missing in defaults"));
        if let Some(parameter) = never(route, line) {
            require(false, &told(&format!("it can never hold: no request has such a {parameter}")));
        }
    }
    if !price.needs_told_tokens() {
        require(route.starting_price().is_some(), "no usual request has a price: its lines do not hold together");
    }
}

fn reads_only(route: &Route) -> bool {
    route.modes.iter().all(|mode| *mode == Mode::Upscale)
}

/// The condition of a line that no request can meet, where the row itself decides which values there are.
fn never<'a>(route: &Route, line: &'a PriceLine) -> Option<&'a str> {
    let impossible = |(name, allowed): &(&'a String, &Vec<String>)| {
        let values = possible(route, name);
        let fixed = route.defaults.contains_key(*name);
        !allowed.iter().any(|value| match value.as_str() {
            "unsaid" => !fixed,
            value => values.as_ref().is_none_or(|values| values.iter().any(|one| one == value)),
        })
    };
    line.when.iter().find(impossible).map(|(name, _)| name.as_str())
}

/// Every value that a parameter can have; `None` when callers can send anything.
fn possible(route: &Route, name: &str) -> Option<Vec<String>> {
    if name == "shape" {
        return Some(vec!["square".to_owned(), "oblong".to_owned()]);
    }
    let video = route.video.as_ref();
    if let Some(video) = video.filter(|video| video.field == name && !video.seconds.is_empty()) {
        let spell = |seconds: &u32| match video.spell(*seconds) {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        return Some(video.seconds.iter().map(spell).collect());
    }
    if video.is_some_and(|video| video.audio.as_deref() == Some(name)) {
        return Some(vec!["true".to_owned(), "false".to_owned()]);
    }
    route.size.values_of(name)
}

#[cfg(test)]
mod tests {
    use crate::catalog::load;

    const MODELS: &str = r#"
        [[model]]
        id = "m"
        name = "M"
        maker = "someone"
        [[model]]
        id = "old"
        name = "Old"
        maker = "someone"
        aliases = ["ancient"]
        status = "retired"
        retires = "2026-01-01"
        successor = "m"
    "#;

    const ROUTE: &str = r#"
        source = "the documentation"
        [[route]]
        model = "m"
        upstream = "maker/m"
        modes = ["text-to-image"]
        size = { rule = "ratios", ratios = ["1:1"], tiers = ["1K"], field = "ratio", tier_field = "resolution" }
        defaults = { steps = 4 }
        confidence = "documented"
        [route.price]
        source = "the price list"
        date = "2026-11-20"
        lines = [{ metric = "image", unit_price = "0.04", times = "steps", when = { resolution = ["1K", "unsaid"] } }]
    "#;

    /// The complaints when `was` becomes `is`.
    fn complaints(was: &str, is: &str) -> String {
        let (models, route) = (MODELS.replacen(was, is, 1), ROUTE.replacen(was, is, 1));
        assert!(models != MODELS || route != ROUTE, "'{was}' is not there");
        let problems = load([("models", models.as_str()), ("fal", route.as_str())]).unwrap_err();
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_sound_row_is_accepted() {
        load([("models", MODELS), ("fal", ROUTE)]).unwrap();
    }

    /// Every rule, broken once.
    #[test]
    fn every_rule_is_kept() {
        let video = r#"modes = ["text-to-video"]"#;
        let videos = |rest: &str| format!("{video}\nvideo = {{ {rest} }}");
        for (was, is, told) in [
            ("size = {", "shape = {", "size"),
            (r#"modes = ["text-to-image"]"#, "modes = []", "modes is empty"),
            (r#"modes = ["text-to-image"]"#, "", "missing field `modes`"),
            (r#"modes = ["text-to-image"]"#, r#"modes = ["text-to-speech"]"#, "unknown variant"),
            (r#"modes = ["text-to-image"]"#, r#"modes = ["image-edit"]"#, "needs inputs"),
            (r#"modes = ["text-to-image"]"#, video, "needs video"),
            (r#"modes = ["text-to-image"]"#, r#"modes = ["video-extension"]"#, "needs inputs.video"),
            (r#"modes = ["text-to-image"]"#, &videos("seconds = [5], default = 6"), "not one of video.seconds"),
            (r#"modes = ["text-to-image"]"#, &videos("default = 5, form = \"frames\""), "needs video.fps"),
            (r#"source = "the documentation""#, "", "source is missing"),
            (r#"confidence = "documented""#, r#"confidence = "sure""#, "confidence should be"),
            (r#"source = "the price list""#, "", "a price needs its source"),
            (r#"date = "2026-11-20""#, "", "a price needs its date"),
            (r#"date = "2026-11-20""#, r#"date = "yesterday""#, "a price needs its date"),
            ("0.04", "-0.04", "negative"),
            (r#"["1K", "unsaid"]"#, r#"["4K"]"#, "can never hold: no request has such a resolution"),
            (r#"times = "steps""#, r#"times = "frames""#, "missing in defaults"),
            (r#"model = "m""#, r#"model = "n""#, "no file defines the model 'n'"),
            (r#"model = "m""#, r#"model = "ancient""#, "no file defines the model 'ancient'"),
            (r#"retires = "2026-01-01""#, "", "a retired model needs the day"),
            (r#"retires = "2026-01-01""#, r#"retires = "soon""#, "should be a day"),
            (r#"aliases = ["ancient"]"#, r#"aliases = ["m"]"#, "the name 'm' is taken by 'm'"),
            (r#"successor = "m""#, r#"successor = "nobody""#, "successor 'nobody' is not in the catalog"),
            (r#"id = "m""#, r#"id = "M""#, "lower case"),
        ] {
            let all = complaints(was, is);
            assert!(all.contains(told), "{was} -> {is}: {all}");
        }
    }
}
