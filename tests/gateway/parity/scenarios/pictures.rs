//! Scenarios of pictures: what is made of those that come and of those that are given, and what is retained.

use super::super::upstream::{MADE, Reply, fails};
use super::{Ask, FIRST, Scenario, edit, generation, plain, uri};
use serde_json::json;

pub(super) fn all() -> Vec<Scenario> {
    [pictures(), inputs(), around()].into_iter().flatten().collect()
}

fn pictures() -> Vec<Scenario> {
    let draws = |picture| vec![(FIRST, vec![Reply { picture, ..MADE }])];
    let (row, attempt) = ("completed cost=0.04 price_table", "openrouter/parity n=1 completed cost=0.04 price_table");
    vec![
        Scenario {
            upstream: draws("png:32x48"),
            ask: generation(json!({"size": "64x64"})),
            ends: vec![vec![row, attempt, r#"adjustment size: "64x64" -> "32x48""#, "pictures 1 png:32x48"]],
            ..plain("a picture of another size than the provider was told to make")
        },
        Scenario {
            upstream: draws("png:128x128"),
            ask: edit("png:64x64", json!({"scale_factor": 4})),
            ends: vec![vec![
                row,
                "openrouter/parity-upscale n=1 completed cost=0.04 price_table",
                "adjustment scale_factor: 4.0 -> 2.0",
                "pictures 1 png:128x128",
            ]],
            calls: vec!["openrouter k1 n=1 image=png:64x64"],
            ..plain("a picture enlarged by another factor than the provider was told")
        },
        Scenario {
            // Half of it is transparent, and JPEG knows no transparency.
            upstream: draws("mask:64x64"),
            ask: generation(json!({"output_format": "jpeg"})),
            ends: vec![vec![row, attempt, "adjustment output_format: null -> null", "pictures 1 jpeg:64x64"]],
            ..plain("a format that the provider does not make")
        },
        Scenario {
            upstream: draws("png:64x64"),
            ask: generation(json!({"size": "64x64", "resize": "exact", "output_format": "webp"})),
            ends: vec![vec![row, attempt, "pictures 1 webp:64x64"]],
            ..plain("a format that the provider does not make, without a loss")
        },
    ]
}

fn inputs() -> Vec<Scenario> {
    let (row, attempt, picture) = (
        "completed cost=0.04 price_table",
        "openrouter/parity n=1 completed cost=0.04 price_table",
        "pictures 1 png:64x64",
    );
    vec![
        Scenario {
            ask: edit("gif:64x64", json!({})),
            ends: vec![vec![row, attempt, r#"adjustment image: "gif 64x64" -> "png 64x64""#, picture]],
            calls: vec!["openrouter k1 n=1 image=png:64x64"],
            ..plain("a GIF for a route that takes none")
        },
        Scenario {
            upstream: vec![(FIRST, vec![fails(503)])],
            ask: edit("gif:64x64", json!({})),
            ends: vec![vec![
                "completed cost=0.03 price_table",
                "openrouter/parity n=1 failed unavailable accepted=no",
                "together/parity n=1 completed cost=0.03 price_table",
                picture,
            ]],
            calls: vec!["openrouter k1 n=1 image=png:64x64", "together k1 n=1 image=gif:64x64"],
            ..plain("a GIF that was converted for a route that failed, and served as it is")
        },
        Scenario {
            ask: edit("png:256x128", json!({})),
            ends: vec![vec![row, attempt, r#"adjustment image: "png 256x128" -> "png 128x64""#, picture]],
            calls: vec!["openrouter k1 n=1 image=png:128x64"],
            ..plain("an image that is too large for the route")
        },
        Scenario {
            ask: edit("png:64x64", json!({"mask": uri("mask:64x64")})),
            calls: vec!["openrouter k1 n=1 image=png:64x64 mask=png:64x64:white|black"],
            ..plain("a mask for a route that changes what is white")
        },
        Scenario {
            upstream: vec![(FIRST, vec![fails(503)])],
            ask: edit("png:64x64", json!({"mask": uri("mask:64x64")})),
            ends: vec![vec![
                "completed cost=0.03 price_table",
                "openrouter/parity n=1 failed unavailable accepted=no",
                "together/parity n=1 completed cost=0.03 price_table",
                picture,
            ]],
            calls: vec![
                "openrouter k1 n=1 image=png:64x64 mask=png:64x64:white|black",
                "together k1 n=1 image=png:64x64 mask=png:64x64:clear|black",
            ],
            ..plain("a mask for two routes, each with its own convention")
        },
    ]
}

fn around() -> Vec<Scenario> {
    let retained = |scenario: Scenario, payload| {
        let mut ends = scenario.ends;
        ends[0].push(payload);
        Scenario { settings: &[("SERVER__PAYLOAD_DAYS", "7")], payloads: true, ends, ..scenario }
    };
    let refusal = Scenario {
        upstream: vec![(FIRST, vec![Reply { error: "content_policy_violation", ..fails(403) }])],
        ends: vec![vec![
            "rejected CONTENT_POLICY_VIOLATION cost=0.0",
            "openrouter/parity n=1 failed moderated accepted=no",
        ]],
        ..plain("a refusal's payload is retained")
    };
    vec![
        Scenario {
            // Whether a request that failed tells what was changed for it is not settled.
            pinned: false,
            upstream: vec![(FIRST, vec![fails(400)])],
            ask: generation(json!({"size": "4096x4096"})),
            ends: vec![vec![
                "rejected INVALID_REQUEST cost=0.0",
                "openrouter/parity n=1 failed bad_request accepted=no",
            ]],
            ..plain("a size that is not there, and a refusal")
        },
        retained(plain("a payload is retained"), "payload links=1 purged=1"),
        retained(refusal, "payload links=0 CONTENT_POLICY_VIOLATION purged=0"),
        Scenario {
            ask: Ask { path: "/v1/images/generations?dryRun=true", ..generation(json!({"n": 2})) },
            ends: vec![vec!["estimated 80000 micros"]],
            calls: Vec::new(),
            ..plain("a dry run")
        },
        Scenario {
            upstream: vec![(FIRST, vec![Reply { cost: Some(0.05), ..MADE }])],
            ask: generation(json!({"model": "parity-events"})),
            ends: vec![vec![
                "completed cost=0.05 provider",
                "openrouter/parity-events n=1 completed cost=0.05 provider",
                "pictures 1 png:64x64",
            ]],
            ..plain("a provider that streams")
        },
    ]
}
