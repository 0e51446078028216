//! What happens when routes fail: the next one, short waits, no double spending, and everything in the trail.

use super::kit::Kit;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

fn attempts(answer: &Value) -> Vec<(String, String)> {
    let list = answer["metadata"]["attempts"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap_or("none").to_owned();
    list.iter().map(|attempt| (text(&attempt["provider"]), text(&attempt["error"]["kind"]))).collect()
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(provider, kind)| ((*provider).to_owned(), (*kind).to_owned())).collect()
}

/// gpt-image-2 has two routes, openai first and fal second.
#[tokio::test]
async fn the_next_route_serves_when_the_first_fails() {
    // Health would soon turn away from a route that fails so often.
    let kit = Kit::with(&[("ROUTING__BREAKER_FAILURES", "100")]).await;
    for (fault, kind) in [
        (json!({"fault": "status", "status": 503}), "unavailable"),
        (json!({"fault": "status", "status": 500}), "unavailable"),
        (json!({"fault": "reset"}), "unavailable"),
        (json!({"fault": "truncate"}), "unavailable"),
        (json!({"fault": "empty"}), "empty"),
        (json!({"fault": "garbage"}), "empty"),
        (json!({"fault": "gone"}), "gone"),
    ] {
        let mut rule = fault.clone();
        rule["provider"] = json!("openai");
        rule["times"] = json!(1);
        kit.control(rule).await;
        let got = kit.generate(json!({"model": "gpt-image-2", "prompt": "a fox", "size": "1024x1024"})).await;
        assert_eq!(got.status, 200, "{fault}: {}", got.json);
        let seen = attempts(&got.json);
        assert_eq!(seen.len(), 2, "{fault}: one creating call a route: {seen:?}");
        let close = [kind, "malformed", "unavailable", "empty"].contains(&seen[0].1.as_str());
        assert!(seen[0].0 == "openai" && close, "{fault}: {seen:?}");
        assert_eq!(seen[1], ("fal".to_owned(), "none".to_owned()), "{fault}");
        assert_eq!(got.json["metadata"]["provider"], "fal");
    }
    kit.running.stop().await;
}

#[tokio::test]
async fn another_size_or_label_than_promised_is_noticed() {
    let kit = Kit::start().await;
    kit.control(json!({"provider": "openai", "fault": "wrong_size", "times": 1})).await;
    let got = kit.generate(json!({"model": "openai/gpt-image-2", "prompt": "a fox", "size": "1024x1024"})).await;
    assert_eq!(got.status, 200, "{}", got.json);
    assert_ne!(got.json["size"], "1024x1024", "the answer says what the picture is");
    let told = &got.json["metadata"]["adjustments"][0];
    assert_eq!((&told["param"], &told["used"]), (&json!("size"), &got.json["size"]));
    // A wrong content type changes nothing: the body is read, and the picture is looked at.
    for provider in ["openai", "fal"] {
        kit.control(json!({"provider": provider, "fault": "wrong_type", "times": 1})).await;
        let got = kit
            .generate(json!({"model": format!("{provider}/gpt-image-2"), "prompt": "a fox", "output_format": "png"}))
            .await;
        assert!(got.status == 200 && got.json["output_format"] == "png", "{}", got.json);
    }
    kit.running.stop().await;
}

#[tokio::test]
async fn callers_own_mistakes_and_refusals_do_not_fail_over() {
    let kit = Kit::start().await;
    let got = kit.generate(json!({"model": "gpt-image-2", "prompt": "a fox", "quality": "ultra"})).await;
    assert_eq!(got.error().0, 400, "{}", got.json);
    let got = kit.generate(json!({"model": "gpt-image-2", "prompt": "[refuse]"})).await;
    assert_eq!(got.error().0, 400);
    kit.control(json!({"provider": "openai", "fault": "status", "status": 401, "times": 1})).await;
    let got = kit.generate(json!({"model": "gpt-image-2", "prompt": "a fox"})).await;
    assert_eq!(got.error().0, 502);
    assert_eq!(kit.bills().await["totals"]["fal"], Value::Null, "fal was never asked");
    kit.running.stop().await;

    let kit = Kit::with(&[("ROUTING__FAILOVER_ON_AUTH", "true"), ("ROUTING__FAILOVER_ON_MODERATION", "true")]).await;
    kit.control(json!({"provider": "openai", "fault": "status", "status": 401, "times": 1})).await;
    let got = kit.generate(json!({"model": "gpt-image-2", "prompt": "a fox"})).await;
    assert_eq!(attempts(&got.json), pairs(&[("openai", "auth"), ("fal", "none")]));
    // A credential that was refused stays out until somebody looks after it.
    let got = kit.generate(json!({"model": "gpt-image-2", "prompt": "a fox"})).await;
    assert_eq!(attempts(&got.json), pairs(&[("fal", "none")]));
    kit.route("openai", "active").await;
    kit.control(json!({"provider": "openai", "fault": "refuse", "times": 1})).await;
    let got = kit.generate(json!({"model": "gpt-image-2", "prompt": "a fox"})).await;
    assert_eq!(attempts(&got.json), pairs(&[("openai", "moderated"), ("fal", "none")]));
    kit.running.stop().await;
}

#[tokio::test]
async fn a_rate_limit_is_waited_out_then_left() {
    let kit = Kit::start().await;
    kit.control(json!({"provider": "openai", "fault": "status", "status": 429, "retry_after": 1, "times": 1})).await;
    let started = Instant::now();
    let got = kit.generate(json!({"model": "gpt-image-2", "prompt": "a fox"})).await;
    assert_eq!(attempts(&got.json), pairs(&[("openai", "rate_limited"), ("openai", "none")]));
    assert!(started.elapsed() >= Duration::from_secs(1), "retry-after was honoured");
    // A wait that is too long is not waited: the next route is there.
    kit.control(json!({"provider": "openai", "fault": "status", "status": 429, "retry_after": 60, "times": 1})).await;
    let got = kit.generate(json!({"model": "gpt-image-2", "prompt": "a fox"})).await;
    assert_eq!(attempts(&got.json), pairs(&[("openai", "rate_limited"), ("fal", "none")]));
    kit.running.stop().await;
}

#[tokio::test]
async fn a_hanging_provider_ends_with_the_callers_deadline_and_an_open_bill() {
    let kit = Kit::with(&[("ROUTING__DEADLINE_SECONDS", "1")]).await;
    kit.control(json!({"provider": "openai", "fault": "hang", "after_accept": true, "times": 1})).await;
    let got = kit
        .generate(json!({"model": "openai/gpt-image-2", "prompt": "a fox", "quality": "low", "size": "1024x1024"}))
        .await;
    assert_eq!(got.error().0, 502, "{}", got.json);
    let row = &kit.get("/v1/requests").await.json["data"][0];
    assert_eq!((&row["cost"], &row["cost_uncertain"]), (&json!(0.0), &json!(0.00589)), "{row}");
    let bills = kit.bills().await;
    assert_eq!(bills["totals"]["openai"]["billed_usd"], "0.005890", "taken and billed, and we say that it may be");
    kit.running.stop().await;
}

#[tokio::test]
async fn missing_pictures_come_from_the_next_route() {
    let kit = Kit::start().await;
    kit.control(json!({"provider": "openai", "fault": "status", "status": 503, "times": 1})).await;
    let got = kit.generate(json!({"model": "gpt-image-2", "prompt": "a fox", "n": 6})).await;
    assert_eq!(got.json["data"].as_array().unwrap().len(), 6, "{}", got.json);
    assert_eq!(attempts(&got.json).len(), 3, "one failed call, then 4 + 2");
    // The last route fails half-way: an error, and what was paid for stays in the books and fetchable.
    kit.control(json!({"provider": "fal", "fault": "status", "status": 503, "times": 1})).await;
    let got =
        kit.generate(json!({"model": "fal/fal-ai/flux/schnell", "prompt": "a fox", "n": 6, "size": "64x64"})).await;
    assert_eq!(got.error(), (503, "UPSTREAM_ERROR", "none"), "never fewer pictures as a success");
    let id = got.header("x-lumenfall-request-id");
    let row = kit.get(&format!("/v1/requests/{id}")).await.json;
    let outputs = row["timeline"]["outputs"].as_array().unwrap();
    assert!(outputs.len() == 4 || outputs.len() == 2, "{row}");
    assert!(row["cost"].as_f64().unwrap() > 0.0);
    kit.download(outputs[0].as_str().unwrap()).await;
    kit.running.stop().await;
}

#[tokio::test]
async fn a_caller_who_hangs_up_is_still_in_the_books() {
    let kit = Kit::start().await;
    kit.control(json!({"provider": "openai", "latency_ms": 700})).await;
    let body = json!({"model": "openai/gpt-image-2", "prompt": "a fox"});
    let gone = tokio::time::timeout(Duration::from_millis(300), kit.generate(body)).await;
    assert!(gone.is_err(), "the caller left early");
    let mut row = Value::Null;
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        row = kit.get("/v1/requests").await.json["data"][0].clone();
        if row["status"] == "completed" {
            break;
        }
    }
    assert_eq!(row["status"], "completed");
    assert!(row["cost"].as_f64().unwrap() > 0.0);
    kit.running.stop().await;
}
