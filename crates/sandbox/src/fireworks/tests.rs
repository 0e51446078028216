use super::super::Sandbox;
use crate::catalog::load;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use serde_json::{Value, json};
use std::sync::Arc;
use tower::ServiceExt;

const SCHNELL: &str = "/fireworks/workflows/accounts/fireworks/models/flux-1-schnell-fp8/text_to_image";
const KONTEXT: &str = "/fireworks/workflows/accounts/fireworks/models/flux-kontext-pro";

fn router() -> Router {
    let models = include_str!("../../../../config/catalog/models.toml");
    let own = include_str!("../../../../config/catalog/fireworks.toml");
    Sandbox::new(Arc::new(load([("models", models), ("fireworks", own)]).unwrap())).router()
}

async fn send(router: &Router, method: &str, path: &str, key: &str, accept: &str, body: &Value) -> (u16, Vec<u8>) {
    let request = Request::builder().method(method).uri(path).header("host", "sandbox.test").header("accept", accept);
    let request = request.header("authorization", key).body(Body::from(body.to_string())).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    (status, to_bytes(response.into_body(), usize::MAX).await.unwrap_or_default().to_vec())
}

async fn ask(router: &Router, path: &str, key: &str, body: Value) -> (u16, Value) {
    let (status, answer) = send(router, "POST", path, key, "application/json", &body).await;
    (status, serde_json::from_slice(&answer).unwrap_or_default())
}

async fn billed(router: &Router) -> Value {
    let (_, calls) = send(router, "GET", "/_control/calls", "", "", &Value::Null).await;
    serde_json::from_slice::<Value>(&calls).unwrap()["totals"]["fireworks"]["billed_usd"].clone()
}

/// A Kontext job's last state.
async fn run(router: &Router, input: Value) -> Value {
    let (_, ticket) = ask(router, KONTEXT, "Bearer key", input).await;
    let path = format!("{KONTEXT}/get_result");
    for _ in 0..2 {
        let (_, state) = ask(router, &path, "Bearer key", json!({"id": ticket["request_id"]})).await;
        assert_eq!(state["status"], "Pending");
    }
    ask(router, &path, "Bearer key", json!({"id": ticket["request_id"]})).await.1
}

#[tokio::test(start_paused = true)]
async fn pictures_come_bare_or_inline_and_are_billed() {
    let router = router();
    let body = json!({"prompt": "a fox", "aspect_ratio": "16:9"});
    let (_, file) = send(&router, "POST", SCHNELL, "Bearer key", "image/jpeg", &body).await;
    let picture = image::load_from_memory(&file).unwrap();
    assert_eq!((picture.width(), picture.height()), (1360, 768));
    let (_, answer) = ask(&router, SCHNELL, "Bearer key", json!({"prompt": "a fox", "seed": 7})).await;
    assert!(answer["base64"][0].as_str().unwrap().starts_with("data:image/png;base64,iVBOR"));
    assert_eq!((&answer["finishReason"], &answer["seed"]), (&json!("SUCCESS"), &json!(7)));
    assert_eq!(billed(&router).await, "0.002800");
    let (status, answer) = ask(&router, SCHNELL, "Bearer key", json!({"prompt": "a [refuse] fox"})).await;
    assert_eq!((status, &answer["finishReason"]), (200, &json!("CONTENT_FILTERED")));
}

#[tokio::test(start_paused = true)]
async fn a_job_ends_in_every_way() {
    let router = router();
    let made = run(&router, json!({"prompt": "a fox", "output_format": "png"})).await;
    assert_eq!(made["status"], "Ready");
    let link = made["result"]["sample"].as_str().unwrap().strip_prefix("http://sandbox.test").unwrap();
    let (_, file) = send(&router, "GET", link, "", "", &Value::Null).await;
    assert_eq!(image::load_from_memory(&file).unwrap().width(), 1024);
    for (word, end) in
        [("[refuse]", "Request Moderated"), ("[refuse output]", "Content Moderated"), ("[fail]", "Error")]
    {
        let state = run(&router, json!({"prompt": word})).await;
        assert_eq!((&state["status"], &state["result"]), (&json!(end), &Value::Null));
    }
    assert_eq!(billed(&router).await, "0.080000");
    let (status, lost) = ask(&router, &format!("{KONTEXT}/get_result"), "Bearer key", json!({"id": "x"})).await;
    assert_eq!((status, &lost["status"]), (200, &json!("Task not found")));
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_is_told_and_costs_nothing() {
    let router = router();
    for (path, key, body, status) in [
        (SCHNELL, "", json!({"prompt": "a fox"}), 401),
        (SCHNELL, "Bearer bad", json!({"prompt": "a fox"}), 401),
        (SCHNELL, "Bearer broke", json!({"prompt": "a fox"}), 412),
        (SCHNELL, "Bearer key", json!({}), 400),
        (SCHNELL, "Bearer key", json!({"prompt": "a fox", "aspect_ratio": "7:5"}), 400),
        (SCHNELL, "Bearer key", json!({"prompt": "a [fail] fox"}), 500),
        (KONTEXT, "Bearer broke", json!({"prompt": "a fox"}), 412),
        (KONTEXT, "Bearer key", json!({"prompt": "a fox", "input_image": "AAAA"}), 400),
        (KONTEXT, "Bearer key", json!({"prompt": "a fox", "aspect_ratio": "3:1"}), 400),
        (KONTEXT, "Bearer key", json!({"prompt": "a fox", "output_format": "webp"}), 400),
        ("/fireworks/workflows/accounts/fireworks/models/flux-9", "Bearer key", json!({"prompt": "a fox"}), 404),
    ] {
        let (got, answer) = ask(&router, path, key, body.clone()).await;
        assert_eq!(got, status, "{body}: {answer}");
        assert!(answer["error"]["message"].is_string());
    }
    assert_eq!(billed(&router).await, "0.000000");
}
