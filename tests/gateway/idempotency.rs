//! `Idempotency-Key`: one purchase and one answer, however often and wherever a request is sent.

use super::kit::{Got, Kit};
use super::postgres;
use futures::future::join_all;
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use std::time::Duration;

async fn keyed(kit: &Kit, key: &str, body: &Value) -> Got {
    let request = kit.request(Method::POST, "/v1/images/generations").header("idempotency-key", key);
    kit.raw(|_, _| request.header("content-type", "application/json").body(body.to_string())).await
}

fn creates(bills: &Value) -> u64 {
    bills["totals"].as_object().unwrap().values().map(|total| total["creates"].as_u64().unwrap()).sum()
}

/// Sends every request to both gateways at the same instant.
async fn race(kits: [&Kit; 2], keys: u64, form: &str) {
    let body = json!({"model": "gpt-image-2", "prompt": "a fox", "size": "1024x1024", "output_format": "png",
        "response_format": form});
    let names: Vec<String> = (0..keys).map(|key| format!("race-{form}-{key}")).collect();
    let before: u64 = creates(&kits[0].bills().await) + creates(&kits[1].bills().await);
    let pairs = names.iter().map(|key| {
        let body = &body;
        async move { tokio::join!(keyed(kits[0], key, body), keyed(kits[1], key, body)) }
    });
    for (one, other) in join_all(pairs).await {
        assert_eq!((one.status, other.status), (200, 200), "{} {}", one.json, other.json);
        assert_eq!(one.json, other.json, "the same answer, to the byte of the cost and the id");
        let replayed = [&one, &other].iter().filter(|got| got.header("idempotent-replayed") == "true").count();
        assert_eq!(replayed, 1, "one of them ran");
        let id = one.json["id"].as_str().unwrap();
        assert_eq!((one.header("x-lumenfall-request-id"), other.header("x-lumenfall-request-id")), (id, id));
    }
    let bought = creates(&kits[0].bills().await) + creates(&kits[1].bills().await) - before;
    assert_eq!(bought, keys, "one image for each key");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_buy_one_image() {
    let shared = tempfile::tempdir().unwrap();
    let settings =
        [("DATABASE__URL", postgres::database()), ("MEDIA__STORAGE", format!("file://{}", shared.path().display()))];
    let settings = settings.map(|(name, value)| (name.to_owned(), value));
    let kits = [Kit::with(&settings).await, Kit::with(&settings).await];
    race([&kits[0], &kits[1]], 12, "url").await;
    race([&kits[0], &kits[1]], 4, "b64_json").await;
    assert!(shared.path().join("answers").exists(), "large answers lie beside the media");
    let rows = kits[0].get("/v1/requests?summary=true").await.json["summary"]["count"].clone();
    assert_eq!(rows, 16, "a replay is no request of its own in the books");
    for kit in kits {
        kit.running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_on_one_file_buy_one_image() {
    let shared = tempfile::tempdir().unwrap();
    let at = |kind: &str, name: &str| format!("{kind}://{}", shared.path().join(name).display());
    let settings = [("DATABASE__URL", at("sqlite", "log.db")), ("MEDIA__STORAGE", at("file", "media"))];
    let settings = settings.map(|(name, value)| (name.to_owned(), value));
    let kits = [Kit::with(&settings).await, Kit::with(&settings).await];
    race([&kits[0], &kits[1]], 8, "url").await;
    for kit in kits {
        kit.running.stop().await;
    }
}

#[tokio::test]
async fn errors_are_replayed_and_other_bodies_refused() {
    let kit = Kit::start().await;
    let body = json!({"model": "openai/gpt-image-2", "prompt": "a fox", "size": "1024x1024", "quality": "low"});
    kit.control(json!({"provider": "openai", "fault": "status", "status": 503, "times": 1})).await;
    let failed = keyed(&kit, "k1", &body).await;
    assert_eq!(failed.error(), (503, "UPSTREAM_ERROR", "none"), "{}", failed.json);
    let again = keyed(&kit, "k1", &body).await;
    assert_eq!((again.status, &again.json), (503, &failed.json), "the provider is well again, the outcome stands");
    assert_eq!(again.header("idempotent-replayed"), "true");
    let fresh = keyed(&kit, "k2", &body).await;
    assert_eq!(fresh.status, 200, "{}", fresh.json);

    let mut other = body.clone();
    other["prompt"] = json!("a wolf");
    assert_eq!(keyed(&kit, "k2", &other).await.error(), (409, "IDEMPOTENCY_CONFLICT", "none"));
    for bad in ["", &"k".repeat(257)] {
        assert_eq!(keyed(&kit, bad, &body).await.error(), (400, "INVALID_REQUEST", "Idempotency-Key"));
    }
    // A key belongs to its account.
    let account = json!({"name": "guest", "allowed_models": []});
    let guest = kit.post("/v1/keys", &account).await.json;
    let own = guest["key"].as_str().unwrap().to_owned();
    let same_account = kit
        .raw(|client, base| {
            client
                .post(format!("{base}/v1/images/generations"))
                .bearer_auth(&own)
                .header("idempotency-key", "k2")
                .header("content-type", "application/json")
                .body(body.to_string())
        })
        .await;
    assert_eq!(same_account.json, fresh.json, "another key of the same account asks for the same thing");
    kit.running.stop().await;
}

#[tokio::test]
async fn forms_are_compared_by_their_parts() {
    let kit = Kit::start().await;
    let picture = lumenfall::media::draw(
        "a fox",
        lumenfall::media::Size::parse("256x256").unwrap(),
        lumenfall::media::Format::parse("png").unwrap(),
    )
    .unwrap();
    let edit = async |prompt: &str| {
        let file = Part::bytes(picture.to_vec()).file_name("a.png").mime_str("image/png").unwrap();
        // Every form has another boundary.
        let form =
            Form::new().text("model", "openai/gpt-image-2").text("prompt", prompt.to_owned()).part("image", file);
        let request = kit.request(Method::POST, "/v1/images/edits").header("idempotency-key", "edit");
        kit.raw(|_, _| request.multipart(form)).await
    };
    let (one, two) = (edit("make it blue").await, edit("make it blue").await);
    assert_eq!((one.status, &one.json), (200, &two.json), "{}", one.json);
    assert_eq!(creates(&kit.bills().await), 1);
    assert_eq!(edit("make it red").await.status, 409);
    kit.running.stop().await;
}

/// A caller whose own deadline passes asks again: the first purchase is theirs.
#[tokio::test]
async fn who_hangs_up_and_asks_again_gets_what_was_bought() {
    let kit = Kit::start().await;
    kit.control(json!({"provider": "openai", "latency_ms": 600})).await;
    let body = json!({"model": "openai/gpt-image-2", "prompt": "a fox", "size": "1024x1024", "quality": "low"});
    let gone = tokio::time::timeout(Duration::from_millis(200), keyed(&kit, "again", &body)).await;
    assert!(gone.is_err(), "the caller left early");
    let got = keyed(&kit, "again", &body).await;
    assert_eq!((got.status, got.header("idempotent-replayed")), (200, "true"), "{}", got.json);
    assert_eq!(creates(&kit.bills().await), 1);
    kit.running.stop().await;
}

/// The process dies while the provider works: the key is never run again, and the caller is told where to look.
#[tokio::test]
async fn a_crash_leaves_no_second_purchase() {
    let shared = tempfile::tempdir().unwrap();
    let settings = [("DATABASE__URL", format!("sqlite://{}", shared.path().join("log.db").display()))];
    let settings = settings.map(|(name, value)| (name.to_owned(), value));
    let body = json!({"model": "openai/gpt-image-2", "prompt": "a fox", "size": "1024x1024", "quality": "low"});
    let first = Kit::with(&settings).await;
    first.control(json!({"provider": "openai", "fault": "hang", "after_accept": true})).await;
    let cut = tokio::time::timeout(Duration::from_millis(500), keyed(&first, "crash", &body)).await;
    assert!(cut.is_err());
    // It stays open and hangs: to the next process it is one that died.
    let second = Kit::with(&settings).await;
    let told = keyed(&second, "crash", &body).await;
    assert_eq!(told.error().1, "INTERRUPTED", "{}", told.json);
    assert_eq!(creates(&second.bills().await), 0, "nothing was bought a second time");
    assert!(told.json["error"]["message"].as_str().unwrap().contains("/v1/requests/req_"), "{}", told.json);
    second.running.stop().await;
}
