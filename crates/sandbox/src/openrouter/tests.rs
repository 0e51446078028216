//! The dialect, against the documentation, with the real catalog.

use crate::Sandbox;
use crate::catalog::load;
use crate::media::{Facts, Limits, Size, draw, inspect};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;
use tower::ServiceExt;

struct Client {
    sandbox: Sandbox,
    router: Router,
    key: &'static str,
}

impl Client {
    fn new() -> Self {
        let models = include_str!("../../../../config/catalog/models.toml");
        let routes = include_str!("../../../../config/catalog/openrouter.toml");
        let sandbox = Sandbox::new(Arc::new(load([("models", models), ("openrouter", routes)]).unwrap()));
        Self { router: sandbox.router(), sandbox, key: "Bearer sk-or-test" }
    }

    async fn send(&self, method: &str, path: &str, body: Value) -> (u16, Bytes) {
        let request = Request::builder().method(method).uri(path).header("host", "sandbox.test");
        let request = request.header("authorization", self.key).body(Body::from(body.to_string())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        (status, to_bytes(response.into_body(), usize::MAX).await.unwrap_or_default())
    }

    async fn make(&self, extra: Value) -> (u16, Value) {
        let mut body = json!({"model": "bytedance-seed/seedream-4.5", "prompt": "a fox"});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let (status, body) = self.send("POST", "/openrouter/images", body).await;
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn job(&self, path: &str) -> Value {
        let path = path.trim_start_matches("http://sandbox.test");
        serde_json::from_slice(&self.send("GET", path, Value::Null).await.1).unwrap()
    }

    fn billed(&self) -> String {
        let totals = serde_json::to_value(self.sandbox.world.book.read().totals["openrouter"]).unwrap();
        totals["billed_usd"].as_str().unwrap().to_owned()
    }
}

fn reference() -> Value {
    let file = draw("in", Size::new(64, 64), crate::media::Format::Png).unwrap();
    let url = format!("data:image/png;base64,{}", base64_simd::STANDARD.encode_to_string(&file));
    json!({"type": "image_url", "image_url": {"url": url}})
}

fn look(body: &Value) -> String {
    let file = base64_simd::STANDARD.decode_to_vec(body["data"][0]["b64_json"].as_str().unwrap()).unwrap();
    let Facts { format, size, .. } = inspect(&file, &Limits::default()).unwrap();
    format!("{format} {size}")
}

#[tokio::test(start_paused = true)]
async fn makes_pictures_and_says_what_they_cost() {
    let client = Client::new();
    let (status, body) = client.make(json!({"aspect_ratio": "16:9", "resolution": "2K", "n": 2})).await;
    assert_eq!((status, look(&body).as_str()), (200, "png 2736x1536"));
    assert_eq!((&body["usage"]["cost"], &body["data"][1]["media_type"]), (&json!(0.08), &json!("image/png")));
    let gpt = json!({"model": "openai/gpt-image-2", "output_format": "webp", "input_references": [reference()]});
    assert_eq!(look(&client.make(gpt).await.1), "webp 1024x1024");
    assert_eq!(look(&client.make(json!({"aspect_ratio": "8:1"})).await.1), "png 1360x768", "clamped to what it makes");
    assert_eq!(client.billed(), "0.160000");
    let models = client.job("/openrouter/images/models").await;
    let listed = models["data"].as_array().unwrap();
    assert!(listed.iter().any(|model| model["id"] == "bytedance-seed/seedream-4.5"), "{models}");
}

#[tokio::test(start_paused = true)]
async fn refuses_in_its_own_envelope() {
    let mut client = Client::new();
    for (extra, status) in [
        (json!({"prompt": ""}), 400),
        (json!({"n": 11}), 400),
        (json!({"size": "1K", "aspect_ratio": "1:1"}), 400),
        (json!({"aspect_ratio": "7:5"}), 400),
        (json!({"input_references": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}), 400),
        (json!({"model": "black-forest-labs/flux.2-pro", "n": 2}), 400),
        (json!({"model": "microsoft/mai-image-2.5"}), 404),
        (json!({"prompt": "a [refuse] fox"}), 403),
        (json!({"prompt": "a [fail] fox"}), 200),
    ] {
        let (got, body) = client.make(extra).await;
        assert_eq!(got, status, "{body}");
        let code = if status == 200 { 502 } else { status };
        assert_eq!(body["error"]["code"], code, "{body}");
    }
    for (key, status) in [("Bearer bad-key", 401), ("Bearer broke", 402), ("nothing", 401)] {
        client.key = key;
        assert_eq!(client.make(json!({})).await.0, status, "{key}");
    }
    assert_eq!(client.billed(), "0.000000");
}

#[tokio::test(start_paused = true)]
async fn videos_are_polled_and_fetched_with_the_key() {
    let mut client = Client::new();
    let film = |prompt: &str| json!({"model": "google/veo-3.1", "prompt": prompt, "duration": 4});
    let (status, ticket) = client.send("POST", "/openrouter/videos", film("a fox")).await;
    let ticket: Value = serde_json::from_slice(&ticket).unwrap();
    let path = ticket["polling_url"].as_str().unwrap();
    assert_eq!((status, &ticket["status"]), (202, &json!("pending")));
    let seen = [client.job(path).await, client.job(path).await, client.job(path).await];
    assert_eq!(seen.each_ref().map(|job| job["status"].as_str().unwrap()), ["pending", "in_progress", "completed"]);
    assert_eq!((&seen[2]["usage"]["cost"], client.billed().as_str()), (&json!(0.16), "0.160000"));
    let url = seen[2]["unsigned_urls"][0].as_str().unwrap().trim_start_matches("http://sandbox.test").to_owned();
    assert_eq!(&client.send("GET", &url, Value::Null).await.1[4..8], b"ftyp");
    client.send("POST", "/_control", json!({"provider": "openrouter", "job_polls": 0, "times": 1})).await;
    let (_, ticket) = client.send("POST", "/openrouter/videos", film("a [fail] fox")).await;
    let ticket: Value = serde_json::from_slice(&ticket).unwrap();
    let failed = client.job(ticket["polling_url"].as_str().unwrap()).await;
    assert!(failed["status"] == "failed" && failed["error"].is_string(), "{failed}");
    client.key = "Bearer bad-key";
    assert_eq!(client.send("GET", &url, Value::Null).await.0, 401);
}
