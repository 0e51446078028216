//! Every mistake gets the envelope of the contract, names its field, and never reaches a provider.

use super::kit::{KEY, Kit};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};

#[tokio::test]
async fn mistakes_name_their_field() {
    let kit = Kit::start().await;
    let base = json!({"model": "gpt-image-2", "prompt": "a fox"});
    for (change, status, code, param) in [
        (json!({"model": "gpt-imge-2"}), 404, "MODEL_NOT_FOUND", "model"),
        (json!({"model": "GPT-IMAGE-2"}), 404, "MODEL_NOT_FOUND", "model"),
        (json!({"model": "fal/gpt-imge-2"}), 404, "MODEL_NOT_FOUND", "model"),
        (json!({"model": "openai/flux.2-max"}), 404, "MODEL_NOT_FOUND", "model"),
        (json!({"model": "dall-e-3"}), 404, "MODEL_DISABLED", "model"),
        (json!({"model": null}), 400, "INVALID_REQUEST", "model"),
        (json!({"prompt": ""}), 400, "INVALID_REQUEST", "prompt"),
        (json!({"prompt": 7}), 400, "INVALID_REQUEST", "prompt"),
        (json!({"n": 11}), 400, "INVALID_REQUEST", "n"),
        (json!({"n": 0}), 400, "INVALID_REQUEST", "n"),
        (json!({"size": "big"}), 400, "INVALID_REQUEST", "size"),
        (json!({"output_format": "bmp"}), 400, "INVALID_REQUEST", "output_format"),
        (json!({"response_format": "xml"}), 400, "INVALID_REQUEST", "response_format"),
        (json!({"output_compression": 101}), 400, "INVALID_REQUEST", "output_compression"),
        (json!({"stream": "yes"}), 400, "INVALID_REQUEST", "stream"),
    ] {
        let mut body = base.clone();
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let got = kit.generate(body).await;
        assert_eq!(got.error(), (status, code, param), "{change}: {}", got.json);
        let envelope = got.json["error"].as_object().unwrap();
        assert_eq!(envelope.len(), 4, "message, type, code, param and nothing else");
        assert!(got.header("x-lumenfall-request-id").starts_with("req_"));
        if code == "MODEL_NOT_FOUND" {
            let message = envelope["message"].as_str().unwrap();
            assert!(message.contains("Did you mean") || change["model"] == "openai/flux.2-max", "{message}");
        }
    }
    assert_eq!(kit.bills().await["totals"], json!({}), "none of it reached a provider");
    let rows = kit.get("/v1/requests?summary=true&status=rejected").await.json;
    assert_eq!(rows["summary"], json!({"count": 15, "total_cost": 0.0, "currency": "usd"}));
    kit.running.stop().await;
}

#[tokio::test]
async fn bad_keys_are_refused_everywhere() {
    let kit = Kit::start().await;
    for path in
        ["/v1/models", "/v1/models/gpt-image-2", "/v1/requests", "/v1/requests/req_1", "/v1/keys", "/openai/v1/models"]
    {
        for header in [
            None,
            Some("Bearer lmnfl_test_admin.wrong"),
            Some("Bearer lmnfl_nobody.0123456789abcdef0123456789abcdef"),
            Some("Bearer sk-something"),
            Some("Bearer "),
            Some("Basic dXNlcjpwdw=="),
        ] {
            let got = kit
                .raw(|client, base| {
                    let request = client.get(format!("{base}{path}"));
                    header.into_iter().fold(request, |request, value| request.header(AUTHORIZATION, value))
                })
                .await;
            assert_eq!(got.error(), (401, "AUTHENTICATION_FAILED", "none"), "{path} {header:?}");
            assert_eq!(got.json["error"]["type"], "authentication_error");
        }
    }
    kit.running.stop().await;
}

#[tokio::test]
async fn bad_bodies_are_told_apart() {
    let kit = Kit::with(&[("SERVER__MAX_BODY_BYTES", "4096")]).await;
    let send = async |kind: &str, body: Vec<u8>| {
        kit.raw(|client, base| {
            let path = format!("{base}/v1/images/generations");
            client.post(path).bearer_auth(KEY).header(CONTENT_TYPE, kind).body(body)
        })
        .await
    };
    let json = "application/json";
    for (kind, body, status, code) in [
        (json, b"{".to_vec(), 400, "INVALID_REQUEST"),
        (json, b"[1]".to_vec(), 400, "INVALID_REQUEST"),
        (json, b"\xff\xfe".to_vec(), 400, "INVALID_REQUEST"),
        (json, Vec::new(), 400, "INVALID_REQUEST"),
        (json, b"[".repeat(4000), 400, "INVALID_REQUEST"),
        (json, b" ".repeat(4097), 413, "REQUEST_TOO_LARGE"),
        ("text/plain", b"{}".to_vec(), 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("multipart/form-data; boundary=x", b"--x--".to_vec(), 415, "UNSUPPORTED_MEDIA_TYPE"),
    ] {
        let got = send(kind, body).await;
        assert_eq!((got.status, got.error().1), (status, code), "{}", got.json);
    }
    // Without a length announced, the limit holds all the same.
    let chunks = futures::stream::iter((0..64).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1024])));
    let got = kit
        .raw(|client, base| {
            let path = format!("{base}/v1/images/generations");
            client.post(path).bearer_auth(KEY).header(CONTENT_TYPE, json).body(reqwest::Body::wrap_stream(chunks))
        })
        .await;
    assert_eq!(got.status, 413, "{}", got.json);
    kit.running.stop().await;
}

#[tokio::test]
async fn unknown_paths_and_methods_speak_the_envelope() {
    let kit = Kit::start().await;
    assert_eq!(kit.get("/v1/nothing").await.error(), (404, "NOT_FOUND", "none"));
    assert_eq!(kit.get("/v1/images/generations").await.error(), (405, "METHOD_NOT_ALLOWED", "none"));
    assert_eq!(kit.get("/v1/requests/req_nobody").await.error(), (404, "NOT_FOUND", "none"));
    assert_eq!(kit.get("/media/nothing.png").await.error(), (404, "NOT_FOUND", "none"));
    assert_eq!(kit.get("/media/..%2f..%2fetc%2fpasswd").await.error(), (404, "NOT_FOUND", "none"));
    assert_eq!(kit.get("/v1/requests?limit=0").await.error(), (400, "INVALID_REQUEST", "limit"));
    assert_eq!(kit.get("/v1/requests?colour=red").await.error(), (400, "INVALID_REQUEST", "colour"));
    assert_eq!(kit.get("/v1/requests?starting_after=req_0").await.error(), (400, "INVALID_REQUEST", "starting_after"));
    kit.running.stop().await;
}

#[tokio::test]
async fn refusals_and_failures_of_providers() {
    let kit = Kit::start().await;
    for model in ["gpt-image-2", "flux.1-schnell", "flux.2-max", "mock-image"] {
        let got = kit.generate(json!({"model": model, "prompt": "[refuse] a fox"})).await;
        assert_eq!(got.error(), (400, "CONTENT_POLICY_VIOLATION", "none"), "{model}: {}", got.json);
        let got = kit.generate(json!({"model": model, "prompt": "[fail] a fox"})).await;
        assert_eq!(got.error(), (502, "ALL_PROVIDERS_EXHAUSTED", "none"), "{model}: {}", got.json);
    }
    let got = kit.generate(json!({"model": "openai/gpt-image-2", "prompt": "[fail] a fox"})).await;
    assert_eq!(got.error(), (502, "UPSTREAM_ERROR", "none"), "a forced route shows its own error: {}", got.json);
    kit.running.stop().await;
}

#[tokio::test]
async fn a_full_house_says_so_at_once() {
    let kit = Kit::with(&[("SERVER__MAX_CONCURRENT", "1")]).await;
    kit.control(json!({"provider": "openai", "latency_ms": 1500})).await;
    let slow = kit.generate(json!({"model": "openai/gpt-image-2", "prompt": "a fox"}));
    let quick = async {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        (kit.generate(json!({"model": "mock-image", "prompt": "a fox"})).await, kit.get("/healthz").await.status)
    };
    let (slow, (refused, health)) = tokio::join!(slow, quick);
    assert_eq!((slow.status, health), (200, 200));
    assert_eq!(refused.error(), (503, "SERVICE_UNAVAILABLE", "none"));
    assert_eq!(refused.header("retry-after"), "1");
    kit.running.stop().await;
}

#[tokio::test]
async fn no_secret_shows_in_any_error() {
    let kit = Kit::start().await;
    kit.control(json!({"provider": "*", "fault": "status", "status": 401, "times": 1})).await;
    let got = kit.generate(json!({"model": "openai/gpt-image-2", "prompt": "a fox"})).await;
    assert_eq!(got.error(), (502, "UPSTREAM_ERROR", "none"), "our credential's trouble is not the caller's");
    let whole = format!("{} {:?}", got.json, got.headers);
    assert!(!whole.contains("sandbox-openai") && !whole.contains(KEY), "{whole}");
    assert_ne!(got.json, Value::Null);
    kit.running.stop().await;
}
