//! Rules, preferences, operators, health, credentials and deadlines, through the whole gateway.

use super::kit::{Got, Kit};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::future::join_all;
use lumenfall::media::{Format, Size, draw};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::Instant;

const RULES: &str = r#"[{"model": "flux.2-*", "others": "never", "routes": [
    {"route": "together"}, {"route": "bfl", "priority": 1}, {"route": "replicate", "priority": 1, "disabled": true}]}]"#;

fn routes(got: &Got) -> Vec<String> {
    let attempts = got.json["metadata"]["attempts"].as_array().unwrap_or_else(|| panic!("{}", got.json));
    attempts.iter().map(|attempt| attempt["provider"].as_str().unwrap().to_owned()).collect()
}

fn fox(model: &str) -> Value {
    json!({"model": model, "prompt": "a fox", "size": "512x512"})
}

#[tokio::test]
async fn rules_and_preferences_choose_the_route() {
    let kit = Kit::with(&[("ROUTING__RULES", RULES)]).await;
    assert_eq!(routes(&kit.generate(fox("flux.2-pro")).await), ["together"]);
    kit.control(json!({"provider": "together", "fault": "status", "status": 503, "times": 1})).await;
    assert_eq!(routes(&kit.generate(fox("flux.2-pro")).await), ["together", "bfl"]);
    // A name goes around the rules.
    assert_eq!(routes(&kit.generate(fox("fal/flux.2-pro")).await), ["fal"]);

    let with = async |provider: Value| {
        let mut body = fox("flux.2-pro");
        body["provider"] = provider;
        kit.generate(body).await
    };
    assert_eq!(routes(&with(json!({"order": ["bfl"]})).await), ["bfl"]);
    assert_eq!(routes(&with(json!({"ignore": ["together"]})).await), ["bfl"]);
    let none = with(json!({"only": ["fal"]})).await;
    assert_eq!(none.error(), (400, "INVALID_REQUEST", "provider"), "{}", none.json);
    assert_eq!(with(json!({"only": ["fall"]})).await.error(), (400, "INVALID_REQUEST", "provider.only"));
    kit.control(json!({"provider": "together", "fault": "status", "status": 503, "times": 1})).await;
    let alone = with(json!({"allow_fallbacks": false})).await;
    assert_eq!(alone.error(), (502, "ALL_PROVIDERS_EXHAUSTED", "none"), "{}", alone.json);
    let header = kit.request(Method::POST, "/v1/images/generations").header("x-lumenfall-provider-order", "bfl");
    let got =
        kit.raw(|_, _| header.header("content-type", "application/json").body(fox("flux.2-pro").to_string())).await;
    assert_eq!(routes(&got), ["bfl"]);
    let mut body = fox("flux.2-pro");
    body["provider"] = json!({"only": ["bfl"]});
    let dry = kit.post("/v1/images/generations?dryRun=true", &body).await;
    assert_eq!(dry.json["provider"], "bfl", "a dry run follows them too");
    kit.running.stop().await;
}

#[tokio::test]
async fn rules_are_read_again_when_their_file_changes() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("lumenfall.toml");
    let write = |route: &str| {
        let rule = format!("[[routing.rules]]\nmodel = \"flux.2-*\"\nroutes = [{{ route = \"{route}\" }}]\n");
        std::fs::write(&file, rule).unwrap();
    };
    write("together");
    let kit = Kit::with(&[("CONFIG", file.to_str().unwrap())]).await;
    assert_eq!(routes(&kit.generate(fox("flux.2-pro")).await), ["together"]);
    // A mistake changes nothing.
    std::fs::write(&file, "[[routing.rules]]\nmodel = \"[\"\n").unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(routes(&kit.generate(fox("flux.2-pro")).await), ["together"]);
    write("runware");
    let mut seen = Vec::new();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        seen = routes(&kit.generate(fox("flux.2-pro")).await);
        if seen == ["runware"] {
            break;
        }
    }
    assert_eq!(seen, ["runware"]);
    kit.running.stop().await;
}

#[tokio::test]
async fn a_key_can_be_held_to_a_provider() {
    let kit = Kit::start().await;
    let made = kit.post("/v1/keys", &json!({"name": "fal only", "allowed_models": ["bfl/*"]})).await.json;
    let own = made["key"].as_str().unwrap().to_owned();
    let ask = async |model: &str| {
        kit.raw(|client, base| {
            let request = client.post(format!("{base}/v1/images/generations")).bearer_auth(&own);
            request.header("content-type", "application/json").body(fox(model).to_string())
        })
        .await
    };
    assert_eq!(routes(&ask("flux.2-pro").await), ["bfl"], "fal would come first");
    assert_eq!(ask("gpt-image-2").await.error().0, 403);
    assert_eq!(ask("fal/flux.2-pro").await.error().0, 403);
    kit.running.stop().await;
}

#[tokio::test]
async fn operators_drain_and_disable_routes() {
    let kit = Kit::start().await;
    assert_eq!(routes(&kit.generate(fox("flux.2-pro")).await), ["fal"]);
    kit.route("fal", "draining").await;
    assert_ne!(routes(&kit.generate(fox("flux.2-pro")).await), ["fal"]);
    assert_eq!(routes(&kit.generate(fox("fal/flux.2-pro")).await), ["fal"], "by name it still answers");
    kit.route("fal/fal-ai/flux-2-pro", "disabled").await;
    let off = kit.generate(fox("fal/flux.2-pro")).await;
    assert_eq!(off.error(), (404, "MODEL_DISABLED", "model"), "{}", off.json);
    let shown = kit.get("/v1/routing").await.json;
    assert_eq!(shown["states"], json!({"fal": "draining", "fal/fal-ai/flux-2-pro": "disabled"}));
    kit.route("fal", "active").await;
    kit.route("fal/fal-ai/flux-2-pro", "active").await;
    assert_eq!(routes(&kit.generate(fox("flux.2-pro")).await), ["fal"]);

    let put = async |body: Value| {
        let request = kit.request(Method::PUT, "/v1/routing").header("content-type", "application/json");
        kit.raw(|_, _| request.body(body.to_string())).await
    };
    assert_eq!(put(json!({"route": "fall", "state": "active"})).await.error(), (400, "INVALID_REQUEST", "route"));
    assert_eq!(put(json!({"route": "fal", "state": "off"})).await.error(), (400, "INVALID_REQUEST", "state"));
    let made = kit.post("/v1/keys", &json!({"name": "guest"})).await.json;
    let guest = made["key"].as_str().unwrap().to_owned();
    let seen = kit.raw(|client, base| client.get(format!("{base}/v1/routing")).bearer_auth(&guest)).await;
    assert_eq!(seen.error().0, 403);
    kit.running.stop().await;
}

/// A model, held to two routes.
fn two() -> Value {
    let mut body = fox("gpt-image-2");
    body["provider"] = json!({"only": ["openai", "fal"]});
    body
}

#[tokio::test]
async fn a_failing_route_becomes_the_last_resort_and_comes_back() {
    let kit = Kit::with(&[("ROUTING__BREAKER_FAILURES", "3"), ("ROUTING__BREAKER_MS", "600000")]).await;
    kit.control(json!({"provider": "openai", "fault": "status", "status": 503, "times": 3})).await;
    for _ in 0..3 {
        assert_eq!(routes(&kit.generate(two()).await), ["openai", "fal"]);
    }
    assert_eq!(routes(&kit.generate(two()).await), ["fal"], "nobody waits for it any more");
    let shown = kit.get("/v1/routing").await.json;
    let route = shown["routes"].as_array().unwrap().iter().find(|route| route["route"] == "openai/gpt-image-2");
    assert_eq!(route.unwrap()["health"], "unhealthy", "{shown}");
    // The only other route fails: the last resort serves.
    kit.control(json!({"provider": "fal", "fault": "status", "status": 503, "times": 1})).await;
    assert_eq!(routes(&kit.generate(two()).await), ["fal", "openai"]);
    // That it served closed the breaker.
    assert_eq!(routes(&kit.generate(two()).await), ["openai"]);
    kit.running.stop().await;

    let kit = Kit::with(&[("ROUTING__BREAKER_FAILURES", "3"), ("ROUTING__BREAKER_MS", "300")]).await;
    kit.control(json!({"provider": "openai", "fault": "status", "status": 503, "times": 3})).await;
    for _ in 0..3 {
        assert_eq!(routes(&kit.generate(two()).await), ["openai", "fal"]);
    }
    tokio::time::sleep(Duration::from_millis(350)).await;
    assert_eq!(routes(&kit.generate(two()).await), ["openai"], "a trial by real traffic");
    kit.running.stop().await;
}

#[tokio::test]
async fn a_model_that_is_gone_is_left_out_and_reported() {
    let kit = Kit::start().await;
    kit.control(json!({"provider": "openai", "fault": "gone", "times": 1})).await;
    assert_eq!(routes(&kit.generate(two()).await), ["openai", "fal"]);
    kit.control(json!({"provider": "fal", "fault": "status", "status": 503, "times": 1})).await;
    let got = kit.generate(two()).await;
    assert_eq!(got.error().1, "ALL_PROVIDERS_EXHAUSTED", "not even as the last resort: {}", got.json);
    let shown = kit.get("/v1/routing").await.json;
    assert!(shown["routes"].to_string().contains("\"gone\""), "{shown}");
    // By name it is asked, and that it works again is noticed.
    assert_eq!(routes(&kit.generate(fox("openai/gpt-image-2")).await), ["openai"]);
    assert_eq!(routes(&kit.generate(two()).await), ["openai"]);
    kit.running.stop().await;
}

/// Milliseconds from the start of the first attempt to the start of the second.
fn step(got: &Got) -> u64 {
    let attempts = &got.json["metadata"]["attempts"];
    attempts[1]["started_ms"].as_u64().unwrap() - attempts[0]["started_ms"].as_u64().unwrap()
}

fn median(mut spans: Vec<u64>) -> u64 {
    spans.sort_unstable();
    spans[spans.len() / 2]
}

/// From the 503 to the next call: nothing sleeps in between. The median of many, because other tests share the machine.
#[tokio::test]
async fn a_503_costs_less_than_five_milliseconds() {
    let kit = Kit::with(&[("ROUTING__BREAKER_FAILURES", "1000"), ("ROUTING__FAILURE_PERCENT", "100")]).await;
    kit.control(json!({"provider": "openai", "fault": "status", "status": 503})).await;
    let (mut own, mut whole) = (Vec::new(), Vec::new());
    for _ in 0..41 {
        let got = kit.generate(two()).await;
        assert_eq!(routes(&got), ["openai", "fal"]);
        whole.push(step(&got));
        own.push(step(&got) - got.json["metadata"]["attempts"][0]["duration_ms"].as_u64().unwrap());
    }
    let (own, whole) = (median(own), median(whole));
    println!("after the 503: {own} ms; with the exchange: {whole} ms");
    assert!(own < 5, "{own} ms");
    kit.running.stop().await;
}

#[tokio::test]
async fn a_hang_ends_at_the_first_byte_deadline() {
    let settings = [
        ("ROUTING__FIRST_BYTE_FACTOR", "0"),
        ("ROUTING__MIN_FIRST_BYTE_MS", "300"),
        ("ROUTING__BREAKER_FAILURES", "1000"),
    ];
    let kit = Kit::with(&settings).await;
    kit.control(json!({"provider": "openai", "fault": "hang"})).await;
    let mut spans = Vec::new();
    for _ in 0..5 {
        let got = kit.generate(fox("gpt-image-2")).await;
        assert_eq!(got.json["metadata"]["attempts"][0]["error"]["kind"], "timeout", "{}", got.json);
        assert!(got.json["metadata"]["cost_uncertain"].as_f64().unwrap() > 0.0, "nobody knows whether it is billed");
        spans.push(step(&got));
    }
    assert!(spans.iter().all(|span| *span >= 300), "{spans:?}");
    assert!(median(spans.clone()) <= 400, "{spans:?}");
    kit.running.stop().await;
}

#[tokio::test]
async fn the_callers_deadline_bounds_everything() {
    let kit = Kit::start().await;
    kit.control(json!({"provider": "*", "fault": "hang"})).await;
    let timed = async |millis: &str| {
        let request = kit.request(Method::POST, "/v1/images/generations").header("x-lumenfall-timeout-ms", millis);
        let request = request.header("content-type", "application/json").body(fox("gpt-image-2").to_string());
        kit.raw(|_, _| request).await
    };
    let started = Instant::now();
    assert_eq!(timed("400").await.error().0, 502);
    assert!(started.elapsed() >= Duration::from_millis(400) && started.elapsed() < Duration::from_secs(5));
    assert_eq!(timed("soon").await.error(), (400, "INVALID_REQUEST", "X-Lumenfall-Timeout-Ms"));
    // An impatient caller says nothing about the route.
    let shown = kit.get("/v1/routing").await.json;
    assert!(!shown["routes"].to_string().contains("unhealthy"), "{shown}");
    assert_eq!(shown["routes"], json!([]), "{shown}");
    kit.running.stop().await;
}

/// The row of the only request, once it is closed.
async fn closed_row(kit: &Kit) -> Value {
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let row = kit.get("/v1/requests").await.json["data"][0].clone();
        if row["status"].is_string() && row["status"] != "processing" {
            return row;
        }
    }
    panic!("the row was never closed");
}

#[tokio::test]
async fn hanging_up_stops_a_job_that_can_be_stopped() {
    let kit = Kit::start().await;
    kit.control(json!({"provider": "fal", "job_polls": 1000})).await;
    let gone = tokio::time::timeout(Duration::from_millis(700), kit.generate(fox("fal/flux.2-pro"))).await;
    assert!(gone.is_err(), "the caller left early");
    let row = closed_row(&kit).await;
    assert_eq!((&row["status"], &row["error_code"]), (&json!("cancelled"), &json!("CANCELLED")), "{row}");
    assert!(row["cost_uncertain"].as_f64().unwrap() > 0.0, "{row}");
    let calls = kit.bills().await["calls"].to_string();
    assert!(calls.contains("cancel"), "{calls}");
    kit.running.stop().await;
}

/// A provider that answers by key.
struct Bouncer {
    says: Mutex<HashMap<String, u16>>,
    asked: Mutex<Vec<String>>,
}

async fn bounce(State(bouncer): State<Arc<Bouncer>>, headers: HeaderMap) -> Response {
    let key = headers["authorization"].to_str().unwrap().trim_start_matches("Bearer ").to_owned();
    bouncer.asked.lock().unwrap().push(key.clone());
    let status = bouncer.says.lock().unwrap().get(&key).copied().unwrap_or(200);
    if status != 200 {
        let body = json!({"error": {"message": "no", "code": "x"}});
        return (StatusCode::from_u16(status).unwrap(), [("retry-after", "1")], axum::Json(body)).into_response();
    }
    let picture = draw("a fox", Size::parse("64x64").unwrap(), Format::parse("png").unwrap()).unwrap();
    axum::Json(json!({"data": [{"b64_json": base64_simd::STANDARD.encode_to_string(&picture)}]})).into_response()
}

async fn with_keys(says: &[(&str, u16)], more: &[(&str, &str)]) -> (Kit, Arc<Bouncer>) {
    let says = says.iter().map(|(key, status)| ((*key).to_owned(), *status)).collect();
    let bouncer = Arc::new(Bouncer { says: Mutex::new(says), asked: Mutex::default() });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(bounce).with_state(Arc::clone(&bouncer));
    tokio::spawn(axum::serve(listener, router).into_future());
    let mut settings = vec![
        ("PROVIDERS__OPENAI__BASE_URL", base.as_str()),
        ("PROVIDERS__OPENAI__API_KEYS", "k1,k2,k3"),
        ("OUTBOUND__ALLOW_PRIVATE", "true"),
    ];
    settings.extend_from_slice(more);
    (Kit::with(&settings).await, bouncer)
}

#[tokio::test]
async fn credentials_take_turns_and_bad_ones_are_passed_over() {
    let (kit, bouncer) = with_keys(&[("k1", 401), ("k2", 402)], &[]).await;
    for round in 0..12 {
        let got = kit.generate(json!({"model": "gpt-image-2", "prompt": "a fox"})).await;
        assert_eq!(got.status, 200, "{round}: {}", got.json);
    }
    let asked = bouncer.asked.lock().unwrap().clone();
    let count = |key: &str| asked.iter().filter(|one| *one == key).count();
    assert!(count("k1") <= 1 && count("k2") <= 1, "refused once, never asked again: {asked:?}");
    assert_eq!(count("k3"), 12);
    let shown = kit.get("/v1/routing").await;
    assert!(!shown.json.to_string().contains("k3"), "no key is ever shown: {}", shown.json);
    kit.running.stop().await;

    let (kit, bouncer) = with_keys(&[], &[]).await;
    join_all((0..30).map(|_| kit.generate(json!({"model": "gpt-image-2", "prompt": "a fox"})))).await;
    let asked = bouncer.asked.lock().unwrap().clone();
    assert!(["k1", "k2", "k3"].iter().all(|key| asked.iter().any(|one| one == key)), "{asked:?}");
    kit.running.stop().await;
}

#[tokio::test]
async fn a_rate_limit_turns_to_the_next_credential_then_waits() {
    let (kit, bouncer) = with_keys(&[("k1", 429), ("k2", 429)], &[]).await;
    let started = Instant::now();
    let got = kit.generate(json!({"model": "gpt-image-2", "prompt": "a fox"})).await;
    assert_eq!(got.status, 200, "{}", got.json);
    assert!(started.elapsed() < Duration::from_secs(1), "no waiting while a credential is free");
    kit.running.stop().await;
    drop(bouncer);

    // All are limited, and only so many may wait: the others are told at once, and when to come back.
    let (kit, bouncer) =
        with_keys(&[("k1", 429), ("k2", 429), ("k3", 429)], &[("ROUTING__RATE_LIMIT_QUEUE", "1")]).await;
    let first = kit.generate(json!({"model": "openai/gpt-image-2", "prompt": "a fox"}));
    let recover = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let crowd = (0..8).map(|_| kit.generate(json!({"model": "openai/gpt-image-2", "prompt": "a fox"})));
        let crowd = join_all(crowd).await;
        bouncer.says.lock().unwrap().clear();
        crowd
    };
    let (first, crowd) = tokio::join!(first, recover);
    let limited = crowd.iter().filter(|got| got.status == 429).count();
    assert!(limited >= 5, "{limited} of 8 were told to come back");
    assert!(crowd.iter().filter(|got| got.status == 429).all(|got| !got.header("retry-after").is_empty()));
    assert!(first.status == 200 || first.status == 429, "{}", first.json);
    kit.running.stop().await;
}

#[tokio::test]
async fn metrics_count_by_route_and_kind_and_hold_no_secret() {
    let kit = Kit::start().await;
    kit.control(json!({"provider": "openai", "fault": "status", "status": 503, "times": 1})).await;
    assert_eq!(routes(&kit.generate(fox("gpt-image-2")).await), ["openai", "fal"]);
    let text = kit.text("/metrics").await;
    let line = |route: &str, kind: &str| {
        text.lines().any(|line| {
            line.starts_with("lumenfall_attempts_total{")
                && line.contains(&format!("route=\"{route}\""))
                && line.contains(&format!("kind=\"{kind}\""))
        })
    };
    assert!(line("openai/gpt-image-2", "unavailable"), "{text}");
    assert!(text.contains("lumenfall_attempt_seconds"), "{text}");
    assert!(!text.contains("sandbox-openai") && !text.contains("lmnfl_"), "{text}");
    kit.running.stop().await;
}
