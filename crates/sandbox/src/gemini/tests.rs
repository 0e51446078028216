//! Both of Google's simulators against Google's documentation.

use super::super::Sandbox;
use crate::catalog::load;
use crate::media::{Format, Size, draw};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;
use tower::ServiceExt;

const PRO: &str = "/gemini/models/gemini-3-pro-image:generateContent";
const FLASH: &str = "/vertex/publishers/google/models/gemini-3.1-flash-image:generateContent";
const VEO: &str = "/vertex/v1/projects/p/locations/global/publishers/google/models/veo-3.1-fast-generate-001";

struct Client(Router, &'static str);

impl Client {
    fn new(key: &'static str) -> Self {
        let catalog = load([
            ("models", include_str!("../../../../config/catalog/models.toml")),
            ("gemini", include_str!("../../../../config/catalog/gemini.toml")),
            ("vertex", include_str!("../../../../config/catalog/vertex.toml")),
        ]);
        Self(Sandbox::new(Arc::new(catalog.unwrap())).router(), key)
    }

    async fn send(&self, method: &str, path: &str, body: impl Into<Body>) -> (u16, Bytes) {
        let mut request = Request::builder().method(method).uri(path).header("host", "sandbox.test");
        if !self.1.is_empty() {
            let (name, value) = if path.starts_with("/vertex") {
                ("authorization", format!("Bearer {}", self.1))
            } else {
                ("x-goog-api-key", self.1.to_owned())
            };
            request = request.header(name, value);
        }
        let response = self.0.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        (status, to_bytes(response.into_body(), usize::MAX).await.unwrap_or_default())
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let (status, body) = self.send("POST", path, body.to_string()).await;
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn get(&self, path: &str) -> Value {
        serde_json::from_slice(&self.send("GET", path, Body::empty()).await.1).unwrap()
    }

    async fn billed(&self, provider: &str) -> Value {
        self.get("/_control/calls").await["totals"][provider]["billed_usd"].clone()
    }
}

fn ask(prompt: &str, image: &Value) -> Value {
    json!({"contents": [{"parts": [{"text": prompt}]}],
        "generationConfig": {"responseModalities": ["IMAGE"], "imageConfig": image}})
}

fn look(part: &Value) -> (image::ImageFormat, (u32, u32)) {
    let file = base64_simd::STANDARD.decode_to_vec(part["inlineData"]["data"].as_str().unwrap()).unwrap();
    let picture = image::load_from_memory(&file).unwrap();
    (image::guess_format(&file).unwrap(), (picture.width(), picture.height()))
}

#[tokio::test(start_paused = true)]
async fn draws_a_shape_at_a_scale_and_bills_its_tokens() {
    let client = Client::new("k");
    let (status, answer) = client.post(PRO, &ask("a fox.", &json!({"aspectRatio": "16:9", "imageSize": "1K"}))).await;
    assert_eq!(status, 200, "{answer}");
    let candidate = &answer["candidates"][0];
    assert_eq!(candidate["finishReason"], "STOP");
    assert_eq!(look(&candidate["content"]["parts"][0]), (image::ImageFormat::Png, (1376, 768)));
    let usage = &answer["usageMetadata"];
    assert_eq!((&usage["candidatesTokenCount"], &usage["thoughtsTokenCount"]), (&json!(1120), &json!(96)));
    assert_eq!(usage["totalTokenCount"], 2 + 1120 + 96);
    // 2 · $2 + 96 · $12 + 1120 · $120 a million
    assert_eq!(client.billed("gemini").await, "0.135556");
    let snake = json!({"contents": [{"parts": [{"text": "a fox"}]}], "generation_config": {"image_config": {"aspect_ratio": "1:1"}}});
    let (_, answer) = client.post("/gemini/v1beta/models/gemini-2.5-flash-image:generateContent", &snake).await;
    assert_eq!(answer["usageMetadata"]["candidatesTokensDetails"][1]["tokenCount"], 1290, "{answer}");
}

#[tokio::test(start_paused = true)]
async fn an_edit_follows_its_input_and_drafts_are_thoughts() {
    let client = Client::new("k");
    let tall = draw("x", Size::new(90, 160), Format::Png).unwrap();
    let data = base64_simd::URL_SAFE_NO_PAD.encode_to_string(&tall);
    let body = json!({"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": data}}, {"text": "blue"}]}],
        "generationConfig": {"thinkingConfig": {"includeThoughts": true}, "imageConfig": {"imageOutputOptions": {"mimeType": "image/jpeg"}, "imageSize": "512"}}});
    let (status, answer) = client.post(FLASH, &body).await;
    assert_eq!(status, 200, "{answer}");
    let parts = answer["candidates"][0]["content"]["parts"].as_array().unwrap();
    assert_eq!((&parts[1]["thought"], &parts[2]["text"]), (&json!(true), &json!("Here is your picture.")));
    assert_eq!(look(&parts[3]), (image::ImageFormat::Jpeg, (384, 688)));
    assert_eq!(answer["usageMetadata"]["promptTokensDetails"][1], json!({"modality": "IMAGE", "tokenCount": 560}));
    assert_eq!(answer["usageMetadata"]["trafficType"], "ON_DEMAND");
}

#[tokio::test(start_paused = true)]
async fn keys_models_and_parameters() {
    for (key, path, status, code) in [
        ("", PRO, 403, "PERMISSION_DENIED"),
        ("bad", PRO, 400, "INVALID_ARGUMENT"),
        ("broke", PRO, 400, "FAILED_PRECONDITION"),
        ("", FLASH, 401, "UNAUTHENTICATED"),
        ("bad", FLASH, 401, "UNAUTHENTICATED"),
        ("broke", FLASH, 403, "PERMISSION_DENIED"),
        ("k", "/gemini/models/gemini-1:generateContent", 404, "NOT_FOUND"),
        ("k", "/gemini/models/gemini-omni-1.1-flash:generateContent", 400, "INVALID_ARGUMENT"),
        ("k", "/gemini/elsewhere", 404, "NOT_FOUND"),
    ] {
        let (got, answer) = Client::new(key).post(path, &ask("a fox", &json!({}))).await;
        assert_eq!((got, &answer["error"]["status"]), (status, &json!(code)), "{key} {path}: {answer}");
    }
    let client = Client::new("k");
    for (image, told) in [
        (json!({"aspectRatio": "7:3"}), "aspect_ratio must be one of '1:1'"),
        (json!({"imageSize": "1k"}), "image_size must be one of '1K', '2K', or '4K'"),
        (json!({"imageOutputOptions": {}}), "Unknown name \"imageOutputOptions\" at 'generation_config.image_config'"),
    ] {
        let (status, answer) = client.post(PRO, &ask("a fox", &image)).await;
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(status == 400 && message.contains(told), "{message}");
    }
    assert_eq!(client.billed("gemini").await, "0.000000");
    assert_eq!(client.get("/gemini/v1/models").await["models"].as_array().unwrap().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn refuses_fails_and_limits_in_googles_way() {
    let client = Client::new("k");
    let (status, answer) = client.post(PRO, &ask("a [refuse] fox", &json!({}))).await;
    assert_eq!((status, &answer["promptFeedback"]["blockReason"]), (200, &json!("PROHIBITED_CONTENT")));
    let (status, answer) = client.post(PRO, &ask("a [fail] fox", &json!({}))).await;
    assert_eq!((status, &answer["error"]["status"]), (500, &json!("INTERNAL")));
    let (_, rule) = client.post("/_control", &json!({"provider": "gemini", "fault": "refuse", "times": 1})).await;
    assert_eq!(rule["times"], 1);
    let (_, answer) = client.post(PRO, &ask("a fox", &json!({}))).await;
    assert_eq!(answer["candidates"][0]["finishReason"], "IMAGE_PROHIBITED_CONTENT");
    client
        .post(
            "/_control",
            &json!({"provider": "gemini", "fault": "status", "status": 429, "retry_after": 3, "times": 1}),
        )
        .await;
    let (status, answer) = client.post(PRO, &ask("a fox", &json!({}))).await;
    assert_eq!((status, &answer["error"]["details"][0]["retryDelay"]), (429, &json!("3s")));
    assert_eq!(client.billed("gemini").await, "0.000000");
    client.post("/_control", &json!({"provider": "gemini", "fault": "empty", "times": 1})).await;
    let (_, answer) = client.post(PRO, &ask("a fox.", &json!({}))).await;
    assert_eq!(answer["candidates"][0]["finishReason"], "NO_IMAGE");
    // What is reported is what is billed: 2 · $2 + 96 · $12 a million.
    assert_eq!(client.billed("gemini").await, "0.001156");
}

#[tokio::test(start_paused = true)]
async fn films_in_the_background() {
    let client = Client::new("k");
    let ask = |prompt: &str| {
        json!({"model": "gemini-omni-1.1-flash", "input": prompt, "background": true,
        "response_format": {"type": "video", "duration": "6s", "delivery": "uri"}})
    };
    let (status, job) = client.post("/gemini/interactions", &ask("a fox.")).await;
    assert_eq!((status, &job["status"]), (200, &json!("in_progress")), "{job}");
    let path = format!("/gemini/interactions/{}", job["id"].as_str().unwrap());
    let mut seen = Vec::new();
    let done = loop {
        let told = client.get(&path).await;
        seen.push(told["status"].as_str().unwrap().to_owned());
        if told["status"] == "completed" {
            break told;
        }
    };
    assert_eq!(seen, ["queued", "in_progress", "completed"]);
    assert_eq!(done["usage"]["output_tokens_by_modality"][0]["tokens"], 34_752);
    let uri = done["steps"][2]["content"][0]["uri"].as_str().unwrap().trim_start_matches("http://sandbox.test");
    assert_eq!(client.get(uri).await["mimeType"], "video/mp4");
    let (status, file) = client.send("GET", &format!("{uri}?alt=media"), Body::empty()).await;
    assert_eq!((status, &file[4..8]), (200, &b"ftyp"[..]));
    // 2 · $1.50 + 34,752 · $17.50 a million
    assert_eq!(client.billed("gemini").await, "0.608163");
    let (_, job) = client.post("/gemini/interactions", &ask("a [refuse] fox")).await;
    let path = format!("/gemini/interactions/{}", job["id"].as_str().unwrap());
    let (_, cancelled) = client.post(&format!("{path}/cancel"), &json!({})).await;
    assert_eq!(cancelled["status"], "cancelled");
    let mut short = ask("a fox");
    short["response_format"]["duration"] = json!("2s");
    let (status, answer) = client.post("/gemini/interactions", &short).await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!("invalid_argument")));
}

#[tokio::test(start_paused = true)]
async fn operations_end_in_videos_filters_or_errors() {
    let client = Client::new("k");
    for (prompt, place) in [
        ("a fox", "/response/videos/0/mimeType"),
        ("[refuse]", "/response/raiMediaFilteredReasons/0"),
        ("[fail]", "/error/code"),
    ] {
        let body =
            json!({"instances": [{"prompt": prompt}], "parameters": {"durationSeconds": 6, "resolution": "720p"}});
        let (status, job) = client.post(&format!("{VEO}:predictLongRunning"), &body).await;
        assert_eq!(status, 200, "{job}");
        let name = job["name"].as_str().unwrap();
        assert!(
            name.starts_with(
                "projects/p/locations/global/publishers/google/models/veo-3.1-fast-generate-001/operations/"
            ),
            "{name}"
        );
        let (mut told, mut polls) = (Value::Null, 0);
        while told["done"] != true {
            told = client.post(&format!("{VEO}:fetchPredictOperation"), &json!({"operationName": name})).await.1;
            polls += 1;
        }
        assert!(polls == 3 && told.pointer(place).is_some(), "{told}");
    }
    assert_eq!(client.billed("vertex").await, "0.600000");
    let high = json!({"instances": [{"prompt": "a fox"}], "parameters": {"durationSeconds": 6, "resolution": "1080p"}});
    assert_eq!(client.post(&format!("{VEO}:predictLongRunning"), &high).await.0, 400);
}
