use super::super::Sandbox;
use crate::catalog::load;
use crate::media::{Format, Size, draw};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use serde_json::{Value, json};
use std::sync::Arc;
use tower::ServiceExt;

const PRO: &str = "black-forest-labs/FLUX.2-pro";
const DEV: &str = "black-forest-labs/FLUX.2-dev";
const KONTEXT: &str = "black-forest-labs/FLUX.1-kontext-pro";

fn router() -> Router {
    let models = include_str!("../../../../config/catalog/models.toml");
    let own = include_str!("../../../../config/catalog/together.toml");
    Sandbox::new(Arc::new(load([("models", models), ("together", own)]).unwrap())).router()
}

async fn send(router: &Router, method: &str, path: &str, key: &str, body: String) -> (u16, Vec<u8>) {
    let request = Request::builder().method(method).uri(path).header("host", "sandbox.test");
    let request = request.header("authorization", key).body(Body::from(body)).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    (status, to_bytes(response.into_body(), usize::MAX).await.unwrap_or_default().to_vec())
}

async fn generate(router: &Router, key: &str, extra: &Value) -> (u16, Value) {
    let mut body = json!({"model": PRO, "prompt": "a fox"});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    let (status, answer) = send(router, "POST", "/together/v1/images/generations", key, body.to_string()).await;
    (status, serde_json::from_slice(&answer).unwrap_or_default())
}

async fn billed(router: &Router) -> Value {
    let (_, calls) = send(router, "GET", "/_control/calls", "", String::new()).await;
    serde_json::from_slice::<Value>(&calls).unwrap()["totals"]["together"]["billed_usd"].clone()
}

fn size_of(item: &Value) -> (u32, u32) {
    let file = base64_simd::STANDARD.decode_to_vec(item["b64_json"].as_str().unwrap()).unwrap();
    let picture = image::load_from_memory(&file).unwrap();
    (picture.width(), picture.height())
}

fn uri(width: u32, height: u32) -> String {
    let file = draw("fixture", Size::new(width, height), Format::Png).unwrap();
    format!("data:image/png;base64,{}", base64_simd::STANDARD.encode_to_string(&file))
}

#[tokio::test(start_paused = true)]
async fn pictures_come_as_links_or_inline_and_are_billed() {
    let router = router();
    let (status, answer) = generate(&router, "Bearer key", &json!({"width": 512, "height": 768})).await;
    assert_eq!((status, &answer["data"][0]["type"]), (200, &json!("url")));
    let link = answer["data"][0]["url"].as_str().unwrap().strip_prefix("http://sandbox.test").unwrap();
    let (_, file) = send(&router, "GET", link, "", String::new()).await;
    assert_eq!(image::load_from_memory(&file).unwrap().height(), 768);
    let two = json!({"response_format": "base64", "n": 2, "width": 512, "height": 512});
    let (_, answer) = generate(&router, "Bearer key", &two).await;
    assert_eq!((answer["data"].as_array().unwrap().len(), size_of(&answer["data"][1])), (2, (512, 512)));
    assert_eq!(billed(&router).await, "0.090000");
}

#[tokio::test(start_paused = true)]
async fn edits_take_pictures_in_each_models_own_field() {
    let router = router();
    let kontext = json!({"model": KONTEXT, "image_url": uri(512, 256), "response_format": "base64"});
    let (status, answer) = generate(&router, "Bearer key", &kontext).await;
    assert_eq!((status, size_of(&answer["data"][0])), (200, (1456, 720)));
    let (status, _) = generate(&router, "Bearer key", &json!({"reference_images": [uri(64, 64), uri(32, 32)]})).await;
    assert_eq!(status, 200);
    for wrong in [
        json!({"model": KONTEXT}),
        json!({"model": DEV, "image_url": uri(64, 64)}),
        json!({"model": KONTEXT, "reference_images": [uri(64, 64)]}),
        json!({"reference_images": ["data:image/png;base64,AAAA"]}),
    ] {
        assert_eq!(generate(&router, "Bearer key", &wrong).await.0, 400, "{wrong}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_is_told_and_costs_nothing() {
    let router = router();
    for (key, extra, status, code) in [
        ("", json!({}), 401, json!("invalid_api_key")),
        ("Bearer bad", json!({}), 401, json!("invalid_api_key")),
        ("Bearer broke", json!({}), 402, Value::Null),
        ("Bearer key", json!({"model": "black-forest-labs/FLUX.9"}), 404, json!("model_not_available")),
        ("Bearer key", json!({"prompt": ""}), 400, Value::Null),
        ("Bearer key", json!({"n": 5}), 400, Value::Null),
        ("Bearer key", json!({"width": 128}), 400, Value::Null),
        ("Bearer key", json!({"steps": 20}), 400, Value::Null),
        ("Bearer key", json!({"negative_prompt": "dogs"}), 400, Value::Null),
        ("Bearer key", json!({"seed": 2_147_483_648_u64}), 400, Value::Null),
        ("Bearer key", json!({"response_format": "b64_json"}), 400, Value::Null),
        ("Bearer key", json!({"model": "Wan-AI/Wan2.6-image", "width": 1024, "height": 1536}), 400, Value::Null),
        ("Bearer key", json!({"prompt": "a [refuse] fox"}), 422, Value::Null),
        (
            "Bearer key",
            json!({"prompt": "a [refuse] fox", "disable_safety_checker": true}),
            400,
            json!("content_policy_violation"),
        ),
        ("Bearer key", json!({"prompt": "a [fail] fox"}), 500, Value::Null),
    ] {
        let (got, answer) = generate(&router, key, &extra).await;
        assert_eq!((got, &answer["error"]["code"]), (status, &code), "{extra}: {answer}");
        assert_eq!(answer["id"].as_str().unwrap().len(), 35);
    }
    assert_eq!(billed(&router).await, "0.000000");
    let daring = json!({"model": DEV, "prompt": "a [refuse] fox", "disable_safety_checker": true});
    assert_eq!(generate(&router, "Bearer key", &daring).await.0, 200);
}

async fn videos(router: &Router, method: &str, id: &str, key: &str, body: &Value) -> (u16, Value) {
    let path = format!("/together/v2/videos{id}");
    let (status, answer) = send(router, method, &path, key, body.to_string()).await;
    (status, serde_json::from_slice(&answer).unwrap_or_default())
}

fn clip_of(extra: &Value) -> Value {
    let mut body = json!({"model": "ByteDance/Seedance-1.0-lite", "prompt": "a fox runs", "seconds": "5"});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

#[tokio::test(start_paused = true)]
async fn videos_are_jobs_that_name_their_cost() {
    let router = router();
    let frame = uri(64, 64).split_once(',').unwrap().1.to_owned();
    let frames =
        json!({"media": {"frame_images": [{"input_image": frame, "frame": "first"}]}, "width": 864, "height": 480});
    let (status, job) = videos(&router, "POST", "", "Bearer key", &clip_of(&frames)).await;
    assert_eq!((status, &job["status"], &job["outputs"]), (200, &json!("queued"), &Value::Null));
    let id = format!("/{}", job["id"].as_str().unwrap());
    assert_eq!(videos(&router, "GET", &id, "", &Value::Null).await.0, 401);
    let mut states = Vec::new();
    let done = loop {
        let (_, job) = videos(&router, "GET", &id, "Bearer key", &Value::Null).await;
        states.push(job["status"].clone());
        if job["status"] == "completed" {
            break job;
        }
    };
    assert_eq!(states, ["queued", "in_progress", "completed"]);
    assert_eq!(done["outputs"]["cost"], 0.14);
    let link = done["outputs"]["video_url"].as_str().unwrap().strip_prefix("http://sandbox.test").unwrap();
    let (status, file) = send(&router, "GET", link, "", String::new()).await;
    assert_eq!((status, &file[4..8]), (200, b"ftyp".as_slice()));
    assert_eq!(billed(&router).await, "0.140000");
    let (_, job) = videos(&router, "POST", "", "Bearer key", &clip_of(&json!({"prompt": "a [refuse] fox"}))).await;
    let id = format!("/{}", job["id"].as_str().unwrap());
    for _ in 0..2 {
        videos(&router, "GET", &id, "Bearer key", &Value::Null).await;
    }
    let (_, job) = videos(&router, "GET", &id, "Bearer key", &Value::Null).await;
    assert_eq!((&job["status"], &job["error"]["code"]), (&json!("failed"), &json!("content_policy_violation")));
    assert_eq!(billed(&router).await, "0.140000");
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_a_video_is_told() {
    let router = router();
    let three: Vec<Value> = (0..3).map(|_| json!({"input_image": "AAAA"})).collect();
    for (key, extra, status) in [
        ("", json!({}), 401),
        ("Bearer broke", json!({}), 402),
        ("Bearer key", json!({"model": PRO}), 404),
        ("Bearer key", json!({"prompt": ""}), 400),
        ("Bearer key", json!({"seconds": 5}), 400),
        ("Bearer key", json!({"seconds": "6"}), 400),
        ("Bearer key", json!({"width": 1280, "height": 720}), 400),
        ("Bearer key", json!({"media": {"frame_images": three}}), 400),
        ("Bearer key", json!({"media": {"frame_images": [{"input_image": "AAAA", "frame": "first"}]}}), 400),
    ] {
        let (got, answer) = videos(&router, "POST", "", key, &clip_of(&extra)).await;
        assert_eq!(got, status, "{extra}: {answer}");
        assert!(answer["error"]["message"].is_string());
    }
    let still = json!({"model": "ByteDance/Seedance-1.0-lite"});
    assert_eq!(generate(&router, "Bearer key", &still).await.0, 404, "no pictures from a video model");
    assert_eq!(billed(&router).await, "0.000000");
}
