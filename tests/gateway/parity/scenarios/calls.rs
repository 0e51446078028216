//! Scenarios of calls: what they cost, how they fail, and which key and route is asked when.

use super::super::upstream::{MADE, Reply, fails, limits, makes};
use super::{FIRST, ONE, SECOND, Scenario, Step, forced, generation, plain};
use serde_json::json;

/// The rows in which a provider makes fewer pictures than it was asked for are only compared with each other while this is
/// false. What they spell out already is the rule that they come to: the route that made fewer is asked for the rest, then
/// the next one; what was bought is delivered, and the shortfall told.
const SHORTFALL_IS_PINNED: bool = false;

/// The second key is used when the first one cannot be.
const TWO_KEYS: &str = r#"[{"key": "k1", "weight": 1}, {"key": "k2", "weight": 0}]"#;

pub(super) fn all() -> Vec<Scenario> {
    [prices(), failures(), limits_and_keys(), breaker(), shortfalls()].into_iter().flatten().collect()
}

fn prices() -> Vec<Scenario> {
    let reports = |cost: f64, reply: Reply| Reply { cost: Some(cost), ..reply };
    vec![
        plain("the provider reports no cost"),
        Scenario {
            upstream: vec![(FIRST, vec![reports(0.05, MADE)])],
            ends: vec![vec![
                "completed cost=0.05 provider",
                "openrouter/parity n=1 completed cost=0.05 provider",
                "pictures 1 png:64x64",
            ]],
            ..plain("the provider reports a cost")
        },
        Scenario {
            upstream: vec![(FIRST, vec![reports(0.02, makes(0))])],
            ask: forced(),
            ends: vec![vec![
                "upstream_failure UPSTREAM_ERROR cost=0.02 provider",
                "openrouter/parity n=1 failed empty accepted=maybe cost=0.02 provider",
            ]],
            ..plain("the only provider reports a cost and sends no picture")
        },
        Scenario {
            upstream: vec![(FIRST, vec![reports(0.02, makes(0))])],
            ends: vec![vec![
                "completed cost=0.05 provider+price_table",
                "openrouter/parity n=1 failed empty accepted=maybe cost=0.02 provider",
                "together/parity n=1 completed cost=0.03 price_table",
                "pictures 1 png:64x64",
            ]],
            calls: vec!["openrouter k1 n=1", "together k1 n=1"],
            ..plain("the first provider reports a cost and sends no picture")
        },
        Scenario {
            upstream: vec![(FIRST, vec![Reply { ms_per_picture: 100, ..MADE }])],
            ask: generation(json!({"n": 6})),
            ends: vec![vec![
                "completed cost=0.24 price_table",
                "openrouter/parity n=4 completed cost=0.16 price_table",
                "openrouter/parity n=2 completed cost=0.08 price_table",
                "pictures 6 png:64x64",
            ]],
            calls: vec!["openrouter k1 n=2", "openrouter k1 n=4"],
            ..plain("more pictures than one call makes, and the later call ends first")
        },
    ]
}

fn failures() -> Vec<Scenario> {
    let served_by_second = |name, replies: Vec<Reply>, row: &'static str, attempt: &'static str| Scenario {
        upstream: vec![(FIRST, replies)],
        ends: vec![vec![row, attempt, "together/parity n=1 completed cost=0.03 price_table", "pictures 1 png:64x64"]],
        calls: vec!["openrouter k1 n=1", "together k1 n=1"],
        ..plain(name)
    };
    let refused = |name, reply: Reply, row: &'static str, attempt: &'static str| Scenario {
        upstream: vec![(FIRST, vec![reply])],
        ends: vec![vec![row, attempt]],
        ..plain(name)
    };
    vec![
        served_by_second(
            "failover after 503",
            vec![fails(503)],
            "completed cost=0.03 price_table",
            "openrouter/parity n=1 failed unavailable accepted=no",
        ),
        served_by_second(
            "failover after 500, which may have been billed",
            vec![fails(500)],
            "completed cost=0.03 price_table uncertain=0.04",
            "openrouter/parity n=1 failed unavailable accepted=maybe uncertain=0.04",
        ),
        served_by_second(
            "failover after an answer without a picture",
            vec![makes(0)],
            "completed cost=0.03 price_table uncertain=0.04",
            "openrouter/parity n=1 failed empty accepted=maybe uncertain=0.04",
        ),
        served_by_second(
            "failover after a picture that cannot be read",
            vec![Reply { picture: "broken", ..MADE }],
            "completed cost=0.07 price_table",
            "openrouter/parity n=1 failed empty accepted=yes cost=0.04 price_table",
        ),
        Scenario {
            upstream: vec![(FIRST, vec![fails(503)]), (SECOND, vec![fails(503)])],
            ends: vec![vec![
                "upstream_failure ALL_PROVIDERS_EXHAUSTED cost=0.0",
                "openrouter/parity n=1 failed unavailable accepted=no",
                "together/parity n=1 failed unavailable accepted=no",
            ]],
            calls: vec!["openrouter k1 n=1", "together k1 n=1"],
            ..plain("every provider fails")
        },
        refused(
            "moderation",
            Reply { error: "content_policy_violation", ..fails(403) },
            "rejected CONTENT_POLICY_VIOLATION cost=0.0",
            "openrouter/parity n=1 failed moderated accepted=no",
        ),
        refused(
            "a request that the provider finds wrong",
            fails(400),
            "rejected INVALID_REQUEST cost=0.0",
            "openrouter/parity n=1 failed bad_request accepted=no",
        ),
    ]
}

fn limits_and_keys() -> Vec<Scenario> {
    let limited = "openrouter/parity n=1 failed rate_limited accepted=no";
    let refused = "openrouter/parity n=1 failed auth accepted=no";
    let made = "openrouter/parity n=1 completed cost=0.04 price_table";
    let made_by_second = "together/parity n=1 completed cost=0.03 price_table";
    let (by_first, by_second) = ("completed cost=0.04 price_table", "completed cost=0.03 price_table");
    let picture = "pictures 1 png:64x64";
    let failed = "upstream_failure UPSTREAM_ERROR cost=0.0";
    vec![
        Scenario {
            upstream: vec![(FIRST, vec![limits(1_000), MADE])],
            ends: vec![vec![by_first, limited, made, picture]],
            calls: vec!["openrouter k1 n=1", "openrouter k1 n=1"],
            ..plain("429 with a short retry-after")
        },
        Scenario {
            upstream: vec![(FIRST, vec![limits(50)])],
            ends: vec![vec![by_second, limited, limited, limited, made_by_second, picture]],
            calls: vec!["openrouter k1 n=1", "openrouter k1 n=1", "openrouter k1 n=1", "together k1 n=1"],
            ..plain("429 again and again")
        },
        Scenario {
            upstream: vec![(FIRST, vec![limits(30_000), MADE])],
            ask: forced(),
            steps: vec![ONE, ONE, Step { after_ms: 500, requests: 2 }],
            ends: vec![vec![failed, limited], vec![failed], vec![failed], vec![failed]],
            ..plain("429 with retry-after 30 from the only provider, and three requests within it")
        },
        Scenario {
            upstream: vec![(FIRST, vec![limits(30_000), MADE])],
            steps: vec![ONE, ONE],
            ends: vec![vec![by_second, limited, made_by_second, picture], vec![by_second, made_by_second, picture]],
            calls: vec!["openrouter k1 n=1", "together k1 n=1", "together k1 n=1"],
            ..plain("429 with retry-after 30 from the first provider, and a request within it")
        },
        Scenario {
            keys: TWO_KEYS,
            upstream: vec![(FIRST, vec![limits(30_000), MADE])],
            ends: vec![vec![by_first, limited, made, picture]],
            calls: vec!["openrouter k1 n=1", "openrouter k2 n=1"],
            ..plain("two keys, the first limited")
        },
        Scenario {
            keys: TWO_KEYS,
            upstream: vec![(FIRST, vec![fails(401)])],
            steps: vec![ONE, ONE],
            ends: vec![vec![by_first, refused, made, picture], vec![by_first, made, picture]],
            calls: vec!["openrouter k1 n=1", "openrouter k2 n=1", "openrouter k2 n=1"],
            ..plain("two keys, the first refused")
        },
        Scenario {
            keys: TWO_KEYS,
            upstream: vec![(FIRST, vec![fails(401)]), ("openrouter k2", vec![fails(401)])],
            ends: vec![vec![failed, refused, refused]],
            calls: vec!["openrouter k1 n=1", "openrouter k2 n=1"],
            ..plain("two keys, both refused")
        },
    ]
}

/// The route fails until its breaker opens. When that is half open, one of six requests tries it.
fn breaker() -> Vec<Scenario> {
    let failed_over = vec![
        "completed cost=0.03 price_table",
        "openrouter/parity n=1 failed unavailable accepted=no",
        "together/parity n=1 completed cost=0.03 price_table",
        "pictures 1 png:64x64",
    ];
    let by_second = vec![
        "completed cost=0.03 price_table",
        "together/parity n=1 completed cost=0.03 price_table",
        "pictures 1 png:64x64",
    ];
    let by_first = plain("").ends.remove(0);
    let ends = [vec![failed_over; 3], vec![by_second; 5], vec![by_first]].concat();
    vec![Scenario {
        settings: &[("ROUTING__BREAKER_FAILURES", "3"), ("ROUTING__BREAKER_MS", "3000")],
        upstream: vec![(FIRST, vec![fails(503), fails(503), fails(503), Reply { ms_per_picture: 1_500, ..MADE }])],
        steps: vec![ONE, ONE, ONE, Step { after_ms: 3_100, requests: 6 }],
        ends,
        calls: [vec!["openrouter k1 n=1"; 4], vec!["together k1 n=1"; 8]].concat(),
        ..plain("a half-open breaker and six requests at once")
    }]
}

fn shortfalls() -> Vec<Scenario> {
    let three =
        |scenario: Scenario| Scenario { ask: generation(json!({"n": 3})), pinned: SHORTFALL_IS_PINNED, ..scenario };
    vec![
        three(Scenario {
            upstream: vec![(FIRST, vec![makes(1), MADE])],
            ends: vec![vec![
                "completed cost=0.12 price_table",
                "openrouter/parity n=3 completed cost=0.04 price_table",
                "openrouter/parity n=2 completed cost=0.08 price_table",
                "pictures 3 png:64x64",
            ]],
            calls: vec!["openrouter k1 n=2", "openrouter k1 n=3"],
            ..plain("fewer pictures than asked for, and the rest is there")
        }),
        three(Scenario {
            upstream: vec![(FIRST, vec![makes(1), makes(0)]), (SECOND, vec![makes(1), makes(0)])],
            ends: vec![vec![
                "completed cost=0.07 price_table uncertain=0.11",
                "openrouter/parity n=3 completed cost=0.04 price_table",
                "openrouter/parity n=2 failed empty accepted=maybe uncertain=0.08",
                "together/parity n=2 completed cost=0.03 price_table",
                "together/parity n=1 failed empty accepted=maybe uncertain=0.03",
                "adjustment n: 3 -> 2",
                "pictures 2 png:64x64",
            ]],
            calls: vec!["openrouter k1 n=2", "openrouter k1 n=3", "together k1 n=1", "together k1 n=2"],
            ..plain("fewer pictures than asked for from every provider")
        }),
        three(Scenario {
            upstream: vec![(FIRST, vec![makes(1), fails(503)]), (SECOND, vec![fails(503)])],
            ends: vec![vec![
                "completed cost=0.04 price_table",
                "openrouter/parity n=3 completed cost=0.04 price_table",
                "openrouter/parity n=2 failed unavailable accepted=no",
                "together/parity n=2 failed unavailable accepted=no",
                "adjustment n: 3 -> 1",
                "pictures 1 png:64x64",
            ]],
            calls: vec!["openrouter k1 n=2", "openrouter k1 n=3", "together k1 n=2"],
            ..plain("fewer pictures than asked for, and then failures")
        }),
    ]
}
