//! Plans over random rules, preferences and health; draws by weight.

use super::fit::fit;
use super::plan::{Candidate, Plan, Scene, plan};
use crate::base::{AllowedModels, Usd};
use crate::catalog::{Catalog, Route};
use crate::error::ErrorKind;
use crate::job::{Job, Mode};
use crate::pipeline::routing::{Choice, Operator, Others, Preferences, Rule, Rules, Share, Sort, Standing, View};
use crate::providers::ADAPTERS;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    let models = ("models", include_str!("../../../config/catalog/models.toml"));
    let cards = ADAPTERS.iter().map(|adapter| (adapter.card().id, adapter.card().catalog));
    crate::catalog::load(std::iter::once(models).chain(cards)).unwrap()
});

/// A model of many providers.
const MODEL: &str = "flux.2-pro";
const WELL: View = View { standing: Standing::Healthy, operator: Operator::Active, latency: None, success: 1.0 };

/// Its routes that make pictures from a prompt, one for each provider.
fn routes() -> &'static [Arc<Route>] {
    static ROUTES: LazyLock<Vec<Arc<Route>>> = LazyLock::new(|| {
        let all = CATALOG.routes(CATALOG.find(MODEL).unwrap().model).iter();
        all.filter(|route| route.modes.contains(&Mode::TextToImage)).cloned().collect()
    });
    &ROUTES
}

fn job(model: &str) -> Job {
    Job::new(model, Mode::TextToImage, "a fox")
}

fn share(route: &str, priority: u32, weight: u32) -> Share {
    Share { route: route.to_owned(), priority, weight, disabled: false }
}

fn rules(routes: Vec<Share>, others: Others) -> Rules {
    Rules::new(&[Rule { model: "flux.*".to_owned(), routes, others }]).unwrap()
}

fn planned(rules: &Rules, preferences: &Preferences, views: &HashMap<String, View>, dice: f64) -> Vec<String> {
    let view = |route: &Route| Some(views.get(&route.provider).copied().unwrap_or(WELL));
    let scene = Scene { rules, preferences, view: &view, today: "2026-11-20" };
    providers(&plan(&job(MODEL), &CATALOG, &scene, &mut || dice).unwrap())
}

fn providers(plan: &Plan) -> Vec<String> {
    plan.candidates.iter().map(|candidate| candidate.route.provider.clone()).collect()
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn tiers_come_in_order_and_others_follow_or_not() {
    let shares = || vec![share("bfl", 1, 1), share("together", 0, 1), share("fal/fal-ai/flux-2-pro", 2, 1)];
    let none = Preferences::default();
    let all = planned(&rules(shares(), Others::After), &none, &HashMap::new(), 0.5);
    assert_eq!(all[..3], names(&["together", "bfl", "fal"]));
    assert_eq!(all.len(), routes().len());
    assert_eq!(planned(&rules(shares(), Others::Never), &none, &HashMap::new(), 0.5).len(), 3);
    let usual = planned(&Rules::default(), &none, &HashMap::new(), 0.5);
    let catalog: Vec<String> = routes().iter().map(|route| route.provider.clone()).collect();
    assert_eq!(usual, catalog, "without a rule the catalog's order holds");
}

#[test]
fn the_unwell_come_last_and_the_gone_not_at_all() {
    let none = Preferences::default();
    let rules = rules(vec![share("bfl", 0, 1), share("fal", 1, 1), share("together", 2, 1)], Others::Never);
    let stands = |standing| View { standing, ..WELL };
    let views = HashMap::from([("bfl".to_owned(), stands(Standing::Unhealthy))]);
    assert_eq!(planned(&rules, &none, &views, 0.5), names(&["fal", "together", "bfl"]));
    let views = HashMap::from([("bfl".to_owned(), stands(Standing::Gone))]);
    assert_eq!(planned(&rules, &none, &views, 0.5), names(&["fal", "together"]));
    let views = HashMap::from([("bfl".to_owned(), stands(Standing::HalfOpen))]);
    assert_eq!(planned(&rules, &none, &views, 0.5)[0], "bfl", "real traffic tries it");
}

#[test]
fn callers_order_sort_and_stop() {
    let rules = Rules::default();
    let wish = |preferences: Preferences| planned(&rules, &preferences, &HashMap::new(), 0.5);
    let order = wish(Preferences { order: names(&["replicate", "bfl"]), ..Preferences::default() });
    assert_eq!(order[..2], names(&["replicate", "bfl"]));
    assert_eq!(order.len(), routes().len());
    let first = wish(Preferences { no_fallbacks: true, ..Preferences::default() });
    assert_eq!(first.len(), 1);
    let dear = |name: &str| {
        let route = routes().iter().find(|route| route.provider == name).unwrap();
        let fit = fit(&job(MODEL), route).unwrap();
        Candidate { route: Arc::clone(route), fit }.estimate(&job(MODEL), 1).amount
    };
    let prices = |names: &[String]| names.iter().filter_map(|name| dear(name)).collect::<Vec<Usd>>();
    let cheap = prices(&wish(Preferences { sort: Some(Sort::Price), ..Preferences::default() }));
    assert!(cheap.is_sorted() && cheap.len() > 2, "{cheap:?}");
    let bounded = wish(Preferences { max_price: cheap.first().copied(), ..Preferences::default() });
    assert!(!bounded.is_empty() && prices(&bounded).iter().all(|price| *price == cheap[0]));
    let views: HashMap<String, View> =
        [("fal", 0.1), ("bfl", 0.9)].map(|(name, success)| (name.to_owned(), View { success, ..WELL })).into();
    let sure = planned(&rules, &Preferences { sort: Some(Sort::Success), ..Preferences::default() }, &views, 0.5);
    assert_eq!(sure[sure.len() - 2..], names(&["bfl", "fal"]));
    let quick: HashMap<String, View> =
        HashMap::from([("replicate".to_owned(), View { latency: Some(std::time::Duration::from_millis(5)), ..WELL })]);
    let fast = Preferences { sort: Some(Sort::Latency), ..Preferences::default() };
    assert_eq!(planned(&rules, &fast, &quick, 0.5)[0], "replicate");
}

#[test]
fn what_leaves_nothing_says_why() {
    let refused = |preferences: Preferences, views: &HashMap<String, View>, model: &str| {
        let view = |route: &Route| Some(views.get(&route.provider).copied().unwrap_or(WELL));
        let rules = Rules::default();
        let scene = Scene { rules: &rules, preferences: &preferences, view: &view, today: "2026-11-20" };
        plan(&job(model), &CATALOG, &scene, &mut || 0.5).unwrap_err()
    };
    let dear = Preferences { max_price: Some(Usd::from_micros(1)), ..Preferences::default() };
    let error = refused(dear, &HashMap::new(), MODEL);
    assert_eq!((error.kind, error.param.as_deref()), (ErrorKind::InvalidRequest, Some("provider")));
    assert!(error.message.contains("over 'max_price'"), "{}", error.message);
    let key = Preferences { allowed: AllowedModels::new(&names(&["openai/*"])), ..Preferences::default() };
    assert_eq!(refused(key, &HashMap::new(), MODEL).kind, ErrorKind::Forbidden);
    let off = View { operator: Operator::Disabled, ..WELL };
    let views = HashMap::from([("fal".to_owned(), off)]);
    let error = refused(Preferences::default(), &views, "fal/flux.2-pro");
    assert_eq!(error.kind, ErrorKind::ModelDisabled, "a name does not switch a route on again");
}

/// 100,000 draws are within three standard deviations of their weights.
#[test]
fn draws_follow_the_weights() {
    let weights = [("bfl", 70), ("fal", 20), ("together", 9), ("replicate", 1), ("runware", 0)];
    let shares = weights.iter().map(|(name, weight)| share(name, 0, *weight)).collect();
    let rules = rules(shares, Others::Never);
    let none = Preferences::default();
    let choice = Choice { model: MODEL, asked: MODEL, forced: false, rules: &rules, preferences: &none };
    let routes: Vec<&Route> =
        routes().iter().map(AsRef::as_ref).filter(|route| route.provider != "openrouter").collect();
    let mut random = StdRng::seed_from_u64(20_261_120);
    let mut dice = || random.random::<f64>();
    let draws = 100_000u32;
    let mut first: HashMap<&str, u32> = HashMap::new();
    for _ in 0..draws {
        let offers = routes.iter().map(|route| (route.provider.as_str(), *route, WELL, None)).collect();
        let order = choice.order(offers, &mut dice);
        assert_eq!(order.last(), Some(&"runware"), "a weight of 0 is the last choice");
        *first.entry(order[0]).or_default() += 1;
    }
    for (name, weight) in weights {
        let share = f64::from(weight) / 100.0;
        let sigma = (f64::from(draws) * share * (1.0 - share)).sqrt();
        let seen = f64::from(first.get(name).copied().unwrap_or(0));
        assert!((seen - f64::from(draws) * share).abs() <= 3.0 * sigma, "{name}: {seen} of {draws}, sigma {sigma}");
    }
}

fn some_names() -> impl Strategy<Value = Vec<String>> {
    let all: Vec<String> = routes()
        .iter()
        .flat_map(|route| [route.provider.clone(), route.executed_model()])
        .chain(["openai".to_owned()])
        .collect();
    proptest::sample::subsequence(all.clone(), 0..=4.min(all.len())).prop_shuffle()
}

fn some_rules() -> impl Strategy<Value = Vec<Rule>> {
    let model = proptest::sample::select(vec!["*", "flux.*", MODEL, "gpt-*", "flux.2-{pro,max}"]);
    let others = prop_oneof![Just(Others::After), Just(Others::Never)];
    let place = (0..3u32, 0..5u32, any::<bool>());
    let rule = (model, some_names(), proptest::collection::vec(place, 4), others).prop_map(
        |(model, names, places, others)| Rule {
            model: model.to_owned(),
            routes: names
                .into_iter()
                .zip(places)
                .map(|(route, (priority, weight, disabled))| Share { route, priority, weight, disabled })
                .collect(),
            others,
        },
    );
    let unusable = |rule: &Rule| rule.routes.is_empty() && rule.others == Others::Never;
    proptest::collection::vec(rule.prop_filter("it leaves no route", move |rule| !unusable(rule)), 0..4)
}

fn some_preferences() -> impl Strategy<Value = Preferences> {
    let sort = proptest::option::of(prop_oneof![Just(Sort::Price), Just(Sort::Latency), Just(Sort::Success)]);
    let price = proptest::option::of((0..200_000i64).prop_map(Usd::from_micros));
    let allowed = proptest::sample::select(vec![vec![], names(&["fal/*", "bfl/flux*"]), names(&["flux.2*"])]);
    (some_names(), some_names(), some_names(), sort, any::<bool>(), price, allowed).prop_map(
        |(order, only, ignore, sort, no_fallbacks, max_price, allowed)| Preferences {
            order,
            only,
            ignore,
            sort,
            no_fallbacks,
            max_price,
            allowed: AllowedModels::new(&allowed),
        },
    )
}

fn some_views() -> impl Strategy<Value = HashMap<String, View>> {
    let standing =
        proptest::sample::select(vec![Standing::Healthy, Standing::HalfOpen, Standing::Unhealthy, Standing::Gone]);
    let operator =
        proptest::sample::select(vec![Operator::Active, Operator::Active, Operator::Draining, Operator::Disabled]);
    let view = (standing, operator, 0.0..=1.0f64).prop_map(|(standing, operator, success)| View {
        standing,
        operator,
        latency: None,
        success,
    });
    let all: Vec<String> = routes().iter().map(|route| route.provider.clone()).collect();
    proptest::collection::vec(view, all.len()).prop_map(move |views| all.iter().cloned().zip(views).collect())
}

fn names_route(name: &str, route: &Route) -> bool {
    name == route.provider || name == route.executed_model()
}

proptest! {
    /// Never a route that is disabled, excluded, or cannot do the job; each route once; the unwell behind the well.
    #[test]
    fn plans_keep_every_promise(
        given in some_rules(),
        preferences in some_preferences(),
        views in some_views(),
        forced in proptest::option::of(proptest::sample::select(vec!["fal", "bfl", "openrouter"])),
        edit in any::<bool>(),
        dice in 0.0..1.0f64,
    ) {
        let asked = forced.map_or_else(|| MODEL.to_owned(), |provider| format!("{provider}/{MODEL}"));
        let mut job = job(&asked);
        if edit {
            job.mode = Mode::ImageEdit;
        }
        let rules = Rules::new(&given).unwrap();
        let view = |route: &Route| views.get(&route.provider).copied();
        let scene = Scene { rules: &rules, preferences: &preferences, view: &view, today: "2026-11-20" };
        let rule = given.iter().find(|rule| globset::Glob::new(&rule.model).unwrap().compile_matcher().is_match(MODEL));
        if let Ok(plan) = plan(&job, &CATALOG, &scene, &mut || dice) {
            prop_assert!(!plan.candidates.is_empty());
            prop_assert!(!preferences.no_fallbacks || plan.candidates.len() == 1);
            let mut seen = Vec::new();
            let mut unwell = false;
            for candidate in &plan.candidates {
                let route = candidate.route.as_ref();
                let view = views[&route.provider];
                prop_assert!(!seen.contains(&route.executed_model()), "each route once");
                seen.push(route.executed_model());
                prop_assert_ne!(view.operator, Operator::Disabled);
                prop_assert!(fit(&job, route).is_ok(), "it can do the job");
                prop_assert!(preferences.only.is_empty() || preferences.only.iter().any(|name| names_route(name, route)));
                prop_assert!(!preferences.ignore.iter().any(|name| names_route(name, route)));
                prop_assert!(forced.is_none_or(|provider| provider == route.provider));
                if let Some(most) = preferences.max_price {
                    prop_assert!(candidate.estimate(&job, job.n).amount.is_some_and(|price| price <= most));
                }
                if forced.is_none() {
                    prop_assert_ne!(view.operator, Operator::Draining);
                    prop_assert_ne!(view.standing, Standing::Gone);
                    if let Some(rule) = rule {
                        let share = rule.routes.iter().find(|share| names_route(&share.route, route));
                        prop_assert!(share.map_or(rule.others == Others::After, |share| !share.disabled));
                    }
                }
                let ill = matches!(view.standing, Standing::Unhealthy | Standing::Gone);
                prop_assert!(ill || !unwell, "the unwell are the last resort");
                unwell = ill;
            }
        }
    }
}
