use super::super::Sandbox;
use crate::catalog::load;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use serde_json::{Value, json};
use std::sync::Arc;
use tower::ServiceExt;

fn router() -> Router {
    let models = include_str!("../../../../config/catalog/models.toml");
    let catalog =
        load([("models", models), ("minimax", include_str!("../../../../config/catalog/minimax.toml"))]).unwrap();
    Sandbox::new(Arc::new(catalog)).router()
}

async fn send(router: &Router, method: &str, path: &str, key: &str, body: String) -> (u16, Vec<u8>) {
    let request = Request::builder().method(method).uri(path).header("host", "sandbox.test");
    let request = request.header("authorization", key).body(Body::from(body)).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    (status, to_bytes(response.into_body(), usize::MAX).await.unwrap_or_default().to_vec())
}

async fn generate(router: &Router, key: &str, extra: Value) -> Value {
    let mut body = json!({"model": "image-01", "prompt": "a fox"});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    let (status, answer) = send(router, "POST", "/minimax/v1/image_generation", key, body.to_string()).await;
    assert_eq!(status, 200, "failures are no HTTP errors");
    serde_json::from_slice(&answer).unwrap()
}

#[tokio::test(start_paused = true)]
async fn pictures_come_as_links_or_inline_and_are_billed() {
    let router = router();
    let answer = generate(&router, "Bearer key", json!({"aspect_ratio": "16:9", "n": 2})).await;
    assert_eq!((&answer["base_resp"]["status_code"], &answer["metadata"]["success_count"]), (&json!(0), &json!("2")));
    let link =
        answer["data"]["image_urls"][1].as_str().unwrap().strip_prefix("http://sandbox.test").unwrap().to_owned();
    let (status, file) = send(&router, "GET", &link, "", String::new()).await;
    let picture = image::load_from_memory(&file).unwrap();
    assert_eq!((status, picture.width(), picture.height()), (200, 1280, 720));
    let body = json!({"width": 512, "height": 768, "response_format": "base64"});
    let answer = generate(&router, "Bearer key", body).await;
    let text = answer["data"]["image_base64"][0].as_str().unwrap();
    let picture = image::load_from_memory(&base64_simd::STANDARD.decode_to_vec(text).unwrap()).unwrap();
    assert_eq!((picture.width(), picture.height()), (512, 768));
    let (_, calls) = send(&router, "GET", "/_control/calls", "", String::new()).await;
    let calls: Value = serde_json::from_slice(&calls).unwrap();
    assert_eq!(calls["totals"]["minimax"]["billed_usd"], "0.010500");
}

#[tokio::test(start_paused = true)]
async fn failures_are_codes() {
    let router = router();
    for (key, extra, code) in [
        ("", json!({}), 1004),
        ("Bearer bad", json!({}), 2049),
        ("Bearer broke", json!({}), 1008),
        ("Bearer key", json!({"model": "image-99"}), 2013),
        ("Bearer key", json!({"prompt": ""}), 2013),
        ("Bearer key", json!({"n": 10}), 2013),
        ("Bearer key", json!({"width": 512}), 2013),
        ("Bearer key", json!({"width": 513, "height": 512}), 2013),
        ("Bearer key", json!({"aspect_ratio": "7:5"}), 2013),
        ("Bearer key", json!({"response_format": "b64_json"}), 2013),
        (
            "Bearer key",
            json!({"subject_reference": [{"type": "character", "image_file": "data:image/png;base64,AAAA"}]}),
            2013,
        ),
        ("Bearer key", json!({"prompt": "a [refuse] fox"}), 1026),
        ("Bearer key", json!({"prompt": "a [fail] fox"}), 1000),
    ] {
        let answer = generate(&router, key, extra.clone()).await;
        assert_eq!(answer["base_resp"]["status_code"], code, "{extra}");
    }
    let (_, calls) = send(&router, "GET", "/_control/calls", "", String::new()).await;
    let calls: Value = serde_json::from_slice(&calls).unwrap();
    assert_eq!(calls["totals"]["minimax"]["billed_usd"], "0.000000");
}
