use super::super::Sandbox;
use crate::catalog::load;
use crate::media::{Format, Size, draw};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt;

const SCHNELL: &str = "/replicate/models/black-forest-labs/flux-schnell/predictions";
const KONTEXT: &str = "/replicate/v1/models/black-forest-labs/flux-kontext-pro/predictions";

/// A sandbox, a token and a preference.
#[derive(Clone)]
struct Client {
    router: Router,
    authorization: &'static str,
    prefer: &'static str,
}

struct Answer {
    status: u16,
    kind: String,
    applied: String,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Client {
    fn new() -> Self {
        let models = include_str!("../../../../config/catalog/models.toml");
        let own = include_str!("../../../../config/catalog/replicate.toml");
        let catalog = load([("models", models), ("replicate", own)]).unwrap();
        let router = Sandbox::new(Arc::new(catalog)).router();
        Self { router, authorization: "Bearer r8_key", prefer: "" }
    }

    fn with_key(&self, authorization: &'static str) -> Self {
        Self { authorization, ..self.clone() }
    }

    fn waiting(&self, prefer: &'static str) -> Self {
        Self { prefer, ..self.clone() }
    }

    async fn send(&self, method: &str, path: &str, body: impl Into<Body>) -> Answer {
        let path = path.strip_prefix("http://sandbox.test").unwrap_or(path);
        let mut request = Request::builder().method(method).uri(path).header("host", "sandbox.test");
        for (name, value) in [("authorization", self.authorization), ("prefer", self.prefer)] {
            if !value.is_empty() {
                request = request.header(name, value);
            }
        }
        let response = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let header = |name: &str| response.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        let (kind, applied) = (header("content-type"), header("preference-applied"));
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap_or_default();
        Answer { status, kind, applied, body }
    }

    async fn get(&self, path: &Value) -> Answer {
        self.send("GET", path.as_str().unwrap(), Body::empty()).await
    }

    async fn create(&self, path: &str, input: Value) -> Answer {
        self.send("POST", path, json!({"input": input}).to_string()).await
    }

    async fn steer(&self, rule: Value) {
        assert_eq!(self.send("POST", "/_control", rule.to_string()).await.status, 201);
    }

    /// Polls to the end: the statuses seen, and the last answer.
    async fn follow(&self, prediction: &Value) -> (Vec<String>, Value) {
        let mut seen = Vec::new();
        loop {
            let answer = self.get(&prediction["urls"]["get"]).await.json();
            let status = answer["status"].as_str().unwrap().to_owned();
            let running = ["starting", "processing"].contains(&status.as_str());
            seen.push(status);
            if !running {
                return (seen, answer);
            }
        }
    }

    async fn billed(&self) -> Value {
        self.get(&json!("/_control/calls")).await.json()["totals"]["replicate"]["billed_usd"].clone()
    }
}

fn look(file: &[u8]) -> (image::ImageFormat, (u32, u32)) {
    let picture = image::load_from_memory(file).unwrap();
    (image::guess_format(file).unwrap(), (picture.width(), picture.height()))
}

#[tokio::test(start_paused = true)]
async fn a_prediction_is_followed_and_its_files_go_after_an_hour() {
    let client = Client::new();
    let input = json!({"prompt": "a fox", "megapixels": "0.25", "num_outputs": 2, "output_format": "jpg", "any": 1});
    let made = client.create(SCHNELL, input.clone()).await;
    let prediction = made.json();
    assert_eq!((made.status, &prediction["status"], &prediction["input"]), (201, &json!("starting"), &input));
    assert_eq!(prediction["id"].as_str().unwrap().len(), 26);
    let (seen, last) = client.follow(&prediction).await;
    assert_eq!(seen, ["starting", "processing", "succeeded"]);
    assert_eq!(last["output"].as_array().unwrap().len(), 2);
    assert_eq!((&last["error"], &last["metrics"]["predict_time"]), (&Value::Null, &json!(0.5)));
    let file = client.with_key("").get(&last["output"][1]).await;
    assert_eq!((file.status, file.kind.as_str(), look(&file.body).1), (200, "image/jpeg", (512, 512)));
    assert_eq!(client.billed().await, "0.006000");
    tokio::time::advance(Duration::from_hours(1)).await;
    let late = client.get(&prediction["urls"]["get"]).await.json();
    assert_eq!((&late["output"], &late["data_removed"]), (&Value::Null, &json!(true)));
    assert_eq!(client.get(&last["output"][1]).await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn a_call_may_wait() {
    let client = Client::new().waiting("wait=5");
    let made = client.create(KONTEXT, json!({"prompt": "a fox", "aspect_ratio": "16:9"})).await;
    assert_eq!((made.status, made.applied.as_str()), (201, "wait=5"));
    let prediction = made.json();
    assert_eq!(prediction["status"], "succeeded");
    let file = client.get(&prediction["output"]).await;
    assert_eq!(look(&file.body), (image::ImageFormat::Png, (1360, 768)));
    client.steer(json!({"provider": "replicate", "latency_ms": 9000, "times": 1})).await;
    let made = client.create(SCHNELL, json!({"prompt": "a fox"})).await;
    assert_eq!((made.status, &made.json()["status"]), (202, &json!("processing")));
    tokio::time::advance(Duration::from_secs(4)).await;
    assert_eq!(client.follow(&made.json()).await.0, ["succeeded"]);
    client.steer(json!({"provider": "replicate", "job_polls": 1, "times": 1})).await;
    let made = client.create(SCHNELL, json!({"prompt": "a fox"})).await;
    assert_eq!((made.status, &made.json()["status"]), (202, &json!("starting")));
}

#[tokio::test(start_paused = true)]
async fn tokens_accounts_and_models() {
    let client = Client::new();
    for (authorization, path, status) in [
        ("", SCHNELL, 401),
        ("Bearer bad", SCHNELL, 401),
        ("Bearer broke", SCHNELL, 402),
        ("Token r8_key", SCHNELL, 201),
        ("Bearer r8_key", "/replicate/models/nobody/nothing/predictions", 404),
    ] {
        let answer = client.with_key(authorization).create(path, json!({"prompt": "a fox"})).await;
        assert_eq!(answer.status, status, "{authorization} {path}");
        if status != 201 {
            assert_eq!((answer.kind.as_str(), &answer.json()["status"]), ("application/problem+json", &json!(status)));
        }
    }
    let body = json!({"version": "black-forest-labs/flux-schnell", "input": {"prompt": "a fox"}});
    assert_eq!(client.send("POST", "/replicate/v1/predictions", body.to_string()).await.status, 201);
    assert_eq!(client.get(&json!("/replicate/predictions/none")).await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn bad_input_is_told_at_once() {
    let client = Client::new();
    for (path, input, field) in [
        (SCHNELL, json!({}), "input.prompt"),
        (SCHNELL, json!({"prompt": "a fox", "num_outputs": 5}), "input.num_outputs"),
        (SCHNELL, json!({"prompt": "a fox", "aspect_ratio": "7:1"}), "input.aspect_ratio"),
        (SCHNELL, json!({"prompt": "a fox", "megapixels": "2"}), "input.megapixels"),
        (SCHNELL, json!({"prompt": "a fox", "output_format": "jpeg"}), "input.output_format"),
        (KONTEXT, json!({"prompt": "a fox", "input_image": "iVBORw0KGgo="}), "input.input_image"),
        ("/replicate/models/qwen/qwen-image-edit-2511/predictions", json!({"prompt": "a fox"}), "input.image"),
    ] {
        let answer = client.create(path, input).await;
        let body = answer.json();
        assert_eq!((answer.status, &body["invalid_fields"][0]["field"]), (422, &json!(field)), "{body}");
        assert!(body["detail"].as_str().unwrap().starts_with(&format!("- {field} ")), "{body}");
    }
    assert_eq!(client.billed().await, "0.000000");
}

#[tokio::test(start_paused = true)]
async fn sizes_are_the_models_own() {
    let client = Client::new().waiting("wait");
    let wide = draw("input", Size::new(640, 320), Format::Png).unwrap();
    let wide = format!("data:image/png;base64,{}", base64_simd::STANDARD.encode_to_string(wide));
    for (model, input, size) in [
        ("black-forest-labs/flux-1.1-pro", json!({"aspect_ratio": "custom", "width": 800, "height": 650}), (800, 640)),
        ("black-forest-labs/flux-1.1-pro", json!({"width": 800, "height": 640}), (1024, 1024)),
        ("black-forest-labs/flux-2-pro", json!({"aspect_ratio": "3:2", "resolution": "4 MP"}), (2512, 1680)),
        ("black-forest-labs/flux-2-pro", json!({"input_images": [wide]}), (1456, 720)),
        ("prunaai/z-image-turbo", json!({"width": 321, "height": 64}), (320, 64)),
        ("bytedance/seedream-4", json!({}), (2048, 2048)),
        ("recraft-ai/recraft-v4", json!({"size": "832x1344"}), (832, 1344)),
    ] {
        let mut whole = json!({"prompt": "a fox"});
        whole.as_object_mut().unwrap().extend(input.as_object().unwrap().clone());
        let made = client.create(&format!("/replicate/models/{model}/predictions"), whole).await.json();
        let link = if made["output"].is_array() { &made["output"][0] } else { &made["output"] };
        assert_eq!(look(&client.get(link).await.body).1, size, "{model} {input}");
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_failures_and_cancels() {
    let client = Client::new();
    for (prompt, sign) in [("[refuse]", "(E005)"), ("[fail]", "interrupted")] {
        let made = client.create(SCHNELL, json!({"prompt": prompt})).await;
        assert_eq!(made.status, 201);
        let last = client.follow(&made.json()).await.1;
        assert_eq!((&last["status"], &last["output"]), (&json!("failed"), &Value::Null));
        assert!(last["error"].as_str().unwrap().contains(sign));
    }
    assert_eq!(client.billed().await, "0.000000");
    let made = client.create(SCHNELL, json!({"prompt": "a fox"})).await.json();
    let cancel = made["urls"]["cancel"].as_str().unwrap();
    let answer = client.send("POST", cancel, Body::empty()).await;
    assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("canceled")));
    assert_eq!(client.billed().await, "0.000000", "it never started");
    let made = client.create(SCHNELL, json!({"prompt": "a fox"})).await.json();
    for _ in 0..2 {
        client.get(&made["urls"]["get"]).await;
    }
    client.send("POST", made["urls"]["cancel"].as_str().unwrap(), Body::empty()).await;
    assert_eq!((client.follow(&made).await.0, client.billed().await), (vec!["canceled".to_owned()], json!("0.003000")));
}

#[tokio::test(start_paused = true)]
async fn faults_are_steered() {
    let client = Client::new().waiting("wait=1");
    client.steer(json!({"provider": "replicate", "fault": "status", "status": 429, "times": 1})).await;
    let answer = client.create(SCHNELL, json!({"prompt": "a fox"})).await;
    assert_eq!((answer.status, &answer.json()["retry_after"]), (429, &json!(9)));
    client
        .steer(json!({"provider": "replicate", "fault": "status", "status": 500, "after_accept": true, "times": 1}))
        .await;
    assert_eq!(client.create(SCHNELL, json!({"prompt": "a fox"})).await.status, 500);
    assert_eq!(client.billed().await, "0.003000", "taken and billed all the same");
    for fault in ["wrong_type", "wrong_size", "empty", "refuse"] {
        client.steer(json!({"provider": "replicate", "fault": fault, "times": 1})).await;
    }
    assert_eq!(client.create(SCHNELL, json!({"prompt": "a fox"})).await.json()["status"], "failed");
    assert_eq!(client.create(SCHNELL, json!({"prompt": "a fox"})).await.json()["output"], Value::Null);
    let made = client.create(SCHNELL, json!({"prompt": "a fox", "megapixels": "0.25"})).await.json();
    assert_eq!(look(&client.get(&made["output"][0]).await.body).1, (256, 256));
    assert_eq!(look(&client.get(&made["output"][0]).await.body).0, image::ImageFormat::Png);
    assert_eq!(look(&client.get(&made["output"][0]).await.body), (image::ImageFormat::WebP, (512, 512)));
}
