//! The simulator against Runware's documentation.

use crate::Sandbox;
use crate::catalog::load;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;
use tower::ServiceExt;

const MODELS: &str = r#"
    [[model]]
    id = "flux.1-schnell"
    name = "FLUX.1 [schnell]"
    maker = "black-forest-labs"
    [[model]]
    id = "gemini-3-pro-image"
    name = "Gemini 3 Pro Image"
    maker = "google"
    [[model]]
    id = "sora-2"
    name = "Sora 2"
    maker = "openai"
    modality = "video"
"#;

const ROUTES: &str = r#"
    source = "s"
    [[route]]
    confidence = "documented"
    model = "flux.1-schnell"
    upstream = "runware:100@1"
    modes = ["text-to-image"]
    size = { rule = "pixels", multiple = 64, min_side = 128, max_side = 2048, form = "sides" }
    defaults = { width = 1024, height = 1024 }
    formats = ["jpeg", "png", "webp"]
    max_n = 10
    price = { source = "s", date = "2026-11-01", lines = [{ metric = "image", unit_price = "0.0013" }] }
    [[route]]
    confidence = "documented"
    model = "gemini-3-pro-image"
    upstream = "google:4@2"
    modes = ["text-to-image", "image-edit"]
    size = { rule = "list", field = "", form = "sides", sizes = ["1024x1024", "2048x2048"] }
    formats = ["jpeg", "png", "webp"]
    inputs = { max = 2, field = "inputs.referenceImages" }
    max_n = 10
    price = { source = "s", date = "2026-11-01", lines = [{ metric = "image", unit_price = "0.138" }] }
    [[route]]
    confidence = "documented"
    model = "sora-2"
    upstream = "openai:3@1"
    modes = ["text-to-video"]
    video = { default = 4 }
    size = { rule = "none" }
"#;

const ID: &str = "a770f077-f413-47de-9dac-be0b26a35da6";

struct Client(Router);

impl Client {
    fn new() -> Self {
        let catalog = load([("models", MODELS), ("runware", ROUTES)]).unwrap();
        Self(Sandbox::new(Arc::new(catalog)).router())
    }

    async fn send(&self, verb: &str, path: &str, key: &str, body: String) -> (u16, Bytes) {
        let request = Request::builder().method(verb).uri(path).header("host", "sandbox.test");
        let request = request.header("authorization", key).body(Body::from(body)).unwrap();
        let response = self.0.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        (status, to_bytes(response.into_body(), usize::MAX).await.unwrap_or_default())
    }

    async fn post(&self, tasks: &Value) -> (u16, Value) {
        let (status, body) = self.send("POST", "/runware/v1", "Bearer good", tasks.to_string()).await;
        (status, serde_json::from_slice(&body).unwrap())
    }

    async fn get(&self, link: &Value) -> (u16, Bytes) {
        let path = link.as_str().unwrap().strip_prefix("http://sandbox.test").unwrap();
        self.send("GET", path, "", String::new()).await
    }

    async fn steer(&self, rule: Value) {
        assert_eq!(self.send("POST", "/_control", "", rule.to_string()).await.0, 201);
    }

    async fn billed(&self) -> String {
        let (_, body) = self.send("GET", "/_control/calls", "", String::new()).await;
        let pages: Value = serde_json::from_slice(&body).unwrap();
        pages["totals"]["runware"]["billed_usd"].as_str().unwrap().to_owned()
    }
}

/// A task on the open model, with changes.
fn task(extra: &Value) -> Value {
    let mut task = json!({"taskType": "imageInference", "taskUUID": ID, "model": "runware:100@1",
        "positivePrompt": "a fox", "width": 128, "height": 192, "outputType": "base64Data", "includeCost": true});
    for (name, value) in extra.as_object().unwrap() {
        match value {
            Value::Null => drop(task.as_object_mut().unwrap().remove(name)),
            value => task[name] = value.clone(),
        }
    }
    task
}

fn size_of(file: &[u8]) -> (u32, u32) {
    let picture = image::load_from_memory(file).unwrap();
    (picture.width(), picture.height())
}

#[tokio::test(start_paused = true)]
async fn one_item_for_each_result() {
    let client = Client::new();
    let (status, answer) = client.post(&json!([task(&json!({"numberResults": 2, "outputFormat": "PNG"}))])).await;
    let items = answer["data"].as_array().unwrap();
    assert_eq!((status, items.len(), answer.get("errors")), (200, 2, None));
    assert_eq!((&items[1]["taskUUID"], &items[1]["cost"]), (&json!(ID), &json!(0.0013)));
    let file = base64_simd::STANDARD.decode_to_vec(items[1]["imageBase64Data"].as_str().unwrap()).unwrap();
    assert_eq!(size_of(&file), (128, 192));
    let (_, answer) = client.post(&json!([task(&json!({"outputType": null, "includeCost": null}))])).await;
    assert_eq!(answer["data"][0].get("cost"), None, "only told when asked for");
    assert_eq!(size_of(&client.get(&answer["data"][0]["imageURL"]).await.1), (128, 192));
    assert_eq!(client.billed().await, "0.003900");
}

#[tokio::test(start_paused = true)]
async fn keys_money_and_bad_parameters() {
    let client = Client::new();
    let body = json!([task(&json!({}))]).to_string();
    for (key, status, code) in
        [("", 401, "missingApiKey"), ("Bearer bad", 401, "invalidApiKey"), ("Bearer broke", 402, "insufficientCredits")]
    {
        let (got, answer) = client.send("POST", "/runware/v1", key, body.clone()).await;
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!((got, answer["errors"][0]["code"].as_str()), (status, Some(code)));
    }
    for (extra, code) in [
        (json!({"taskUUID": "one"}), "invalidTaskUUID"),
        (json!({"model": "runware:999@1"}), "invalidModel"),
        (json!({"positivePrompt": null}), "missingPositivePrompt"),
        (json!({"width": null}), "missingWidth"),
        (json!({"width": 130}), "invalidWidth"),
        (json!({"outputFormat": "jpeg"}), "invalidOutputFormat"),
        (json!({"numberResults": 21}), "invalidNumberResults"),
        (json!({"seedImage": "x"}), "unknownParameter"),
        (json!({"inputs": {"referenceImages": ["x"]}}), "unknownParameter"),
        (json!({"model": "google:4@2"}), "unsupportedDimensions"),
    ] {
        let (status, answer) = client.post(&json!([task(&extra)])).await;
        assert_eq!((status, answer["errors"][0]["code"].as_str()), (400, Some(code)), "{extra}");
    }
    assert_eq!(client.billed().await, "0.000000");
}

#[tokio::test(start_paused = true)]
async fn part_of_a_batch_may_fail_and_refusals_differ() {
    let client = Client::new();
    let gemini =
        |prompt: &str| task(&json!({"model": "google:4@2", "width": 1024, "height": 1024, "positivePrompt": prompt}));
    let (status, answer) = client.post(&json!([task(&json!({})), gemini("a [refuse] fox")])).await;
    assert_eq!((status, answer["data"].as_array().unwrap().len()), (200, 1));
    assert_eq!(answer["errors"][0]["code"], "providerContentPolicyViolation");
    let (status, answer) = client.post(&json!([gemini("a [refuse] fox")])).await;
    assert_eq!((status, answer.get("data")), (200, None), "nothing but errors in a 200");
    let (status, _) = client.post(&json!([gemini("a [fail] fox")])).await;
    assert_eq!(status, 503);
    let (status, answer) = client.post(&json!([task(&json!({"positivePrompt": "a [refuse] fox"}))])).await;
    assert_eq!((status, answer["errors"][0]["code"].as_str()), (400, Some("promptBlocked")));
    let flagged = task(&json!({"positivePrompt": "a [refuse] fox", "safety": {"checkContent": true}}));
    let (status, answer) = client.post(&json!([flagged])).await;
    assert_eq!((status, &answer["data"][0]["NSFWContent"]), (200, &json!(true)));
    assert_eq!(client.billed().await, "0.002600");
    client.steer(json!({"provider": "runware", "fault": "status", "status": 429, "times": 1})).await;
    let (status, answer) = client.post(&json!([task(&json!({}))])).await;
    assert_eq!((status, answer["errors"][0]["code"].as_str()), (429, Some("rateLimitExceeded")));
}

#[tokio::test(start_paused = true)]
async fn videos_are_polled_for() {
    let client = Client::new();
    let video = json!({"taskType": "videoInference", "taskUUID": ID, "model": "openai:3@1", "positivePrompt": "a fox",
        "deliveryMethod": "async"});
    let (status, answer) = client.post(&json!([video])).await;
    assert_eq!((status, answer), (200, json!({"data": [{"taskType": "videoInference", "taskUUID": ID}]})));
    let ask = json!([{"taskType": "getResponse", "taskUUID": ID}]);
    assert_eq!(client.post(&ask).await.1, json!({"data": []}));
    assert_eq!(client.post(&ask).await.1["data"][0]["status"], "processing");
    let (_, answer) = client.post(&ask).await;
    assert_eq!(answer["data"][0]["status"], "success");
    let (status, file) = client.get(&answer["data"][0]["videoURL"]).await;
    assert_eq!((status, &file[4..8], &file[32..36]), (200, b"ftyp".as_slice(), b"moov".as_slice()));
    let (status, _) = client.post(&json!([{"taskType": "getResponse", "taskUUID": "none"}])).await;
    assert_eq!(status, 404);
}
