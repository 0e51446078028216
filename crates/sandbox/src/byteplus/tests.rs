use super::super::Sandbox;
use crate::catalog::load;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt;

const PICTURES: &str = "/byteplus/images/generations";
const TASKS: &str = "/byteplus/contents/generations/tasks";

struct Client(Router, &'static str);

impl Client {
    fn new() -> Self {
        let models = include_str!("../../../../config/catalog/models.toml");
        let catalog =
            load([("models", models), ("byteplus", include_str!("../../../../config/catalog/byteplus.toml"))]);
        Self(Sandbox::new(Arc::new(catalog.unwrap())).router(), "Bearer good")
    }

    async fn raw(&self, method: &str, path: &str, body: String) -> (u16, Bytes) {
        let request = Request::builder().method(method).uri(path).header("host", "sandbox.test");
        let request = request.header("authorization", self.1).body(Body::from(body)).unwrap();
        let response = self.0.clone().oneshot(request).await.unwrap();
        (response.status().as_u16(), to_bytes(response.into_body(), usize::MAX).await.unwrap_or_default())
    }

    async fn send(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let (status, body) = self.raw(method, path, body.to_string()).await;
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn picture(&self, more: Value) -> (u16, Value) {
        let mut body = json!({"model": "seedream-4-5-251128", "prompt": "a fox"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.send("POST", PICTURES, body).await
    }

    async fn billed(&self) -> String {
        let (_, body) = self.send("GET", "/_control/calls", Value::Null).await;
        body["totals"]["byteplus"]["billed_usd"].as_str().unwrap().to_owned()
    }
}

fn path(link: &Value) -> String {
    link.as_str().unwrap().strip_prefix("http://sandbox.test").unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn draws_in_both_forms() {
    let client = Client::new();
    let (status, answer) = client.picture(json!({"size": "2560x1440", "watermark": false})).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["usage"], json!({"generated_images": 1, "output_tokens": 14_400, "total_tokens": 14_400}));
    assert_eq!(answer["data"][0]["size"], "2560x1440");
    let (status, file) = client.raw("GET", &path(&answer["data"][0]["url"]), String::new()).await;
    let drawn = image::load_from_memory(&file).unwrap();
    assert_eq!((status, drawn.width(), drawn.height()), (200, 2560, 1440));
    assert_eq!(image::guess_format(&file).unwrap(), image::ImageFormat::Jpeg);

    let pro = json!({"model": "dola-seedream-5-0-pro-260628", "size": "1K", "output_format": "png",
        "response_format": "b64_json", "image": ["data:image/png;base64,AAAA"]});
    let (status, answer) = client.picture(pro).await;
    assert_eq!((status, &answer["data"][0]["output_format"]), (200, &json!("png")));
    let file = base64_simd::STANDARD.decode_to_vec(answer["data"][0]["b64_json"].as_str().unwrap()).unwrap();
    assert_eq!(image::guess_format(&file).unwrap(), image::ImageFormat::Png);
    assert_eq!(client.billed().await, "0.085000");
}

#[tokio::test(start_paused = true)]
async fn complains_as_the_error_table_says() {
    let client = Client::new();
    let many = vec!["https://x/a.png"; 15];
    for (body, status, code) in [
        (json!({"prompt": null}), 400, "MissingParameter"),
        (json!({"size": "1024x1024"}), 400, "InvalidParameter"),
        (json!({"size": "8192x4096"}), 400, "InvalidParameter"),
        (json!({"size": "1K"}), 400, "InvalidParameter"),
        (json!({"image": "data:image/PNG;base64,AAAA"}), 400, "InvalidParameter"),
        (json!({"image": many}), 400, "InvalidParameter"),
        (json!({"model": "doubao-seedream-4-5-251128"}), 404, "InvalidEndpointOrModel.NotFound"),
        (json!({"model": "seedance-1-0-pro-250528"}), 404, "InvalidEndpointOrModel.NotFound"),
        (json!({"prompt": "a [refuse] fox"}), 400, "InputTextSensitiveContentDetected"),
        (json!({"prompt": "a [fail] fox"}), 500, "InternalServerError"),
    ] {
        let (got, answer) = client.picture(body.clone()).await;
        assert_eq!((got, &answer["error"]["code"]), (status, &json!(code)), "{body}: {answer}");
    }
    for (key, status, code) in
        [("Bearer bad", 401, "AuthenticationError"), ("Bearer broke", 403, "AccountOverdueError")]
    {
        let (got, answer) = Client(client.0.clone(), key).picture(json!({})).await;
        assert_eq!((got, &answer["error"]["code"]), (status, &json!(code)));
    }
    client
        .send("POST", "/_control", json!({"provider": "byteplus", "fault": "status", "status": 429, "times": 1}))
        .await;
    let (got, answer) = client.picture(json!({})).await;
    assert_eq!((got, &answer["error"]["type"]), (429, &json!("TooManyRequests")));
    assert_eq!(client.billed().await, "0.000000");
    client.send("POST", "/_control", json!({"provider": "byteplus", "fault": "empty", "times": 1})).await;
    assert_eq!(client.picture(json!({})).await.1["data"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_task_goes_through_its_states() {
    let client = Client::new();
    let body =
        json!({"model": "seedance-1-0-pro-250528", "content": [{"type": "text", "text": "a fox"}], "duration": 5});
    let (status, task) = client.send("POST", TASKS, body.clone()).await;
    assert_eq!(status, 200, "{task}");
    let at = format!("{TASKS}/{}", task["id"].as_str().unwrap());
    let mut seen = Vec::new();
    let done = loop {
        let (_, object) = client.send("GET", &at, Value::Null).await;
        seen.push(object["status"].as_str().unwrap().to_owned());
        if seen.len() > 2 {
            break object;
        }
    };
    assert_eq!(seen, ["queued", "running", "succeeded"]);
    assert_eq!(done["usage"]["completion_tokens"], 108_000);
    assert_eq!(client.billed().await, "0.270000");
    let (status, film) = client.raw("GET", &path(&done["content"]["video_url"]), String::new()).await;
    assert_eq!((status, &film[4..8]), (200, &b"ftyp"[..]));
    assert_eq!(client.send("DELETE", &at, Value::Null).await.0, 200, "the record goes");
    assert_eq!(client.send("GET", &at, Value::Null).await.0, 404);

    let (_, task) = client.send("POST", TASKS, body).await;
    let at = format!("{TASKS}/{}", task["id"].as_str().unwrap());
    assert_eq!(client.send("DELETE", &at, Value::Null).await.0, 200);
    assert_eq!(client.send("GET", &at, Value::Null).await.1["status"], "cancelled");
    assert_eq!(client.billed().await, "0.270000", "taken back");
    assert_eq!(client.send("GET", TASKS, Value::Null).await.1["total"], 1);
}

#[tokio::test(start_paused = true)]
async fn tasks_are_checked_refused_and_lost() {
    let client = Client::new();
    let text = json!([{"type": "text", "text": "a fox"}]);
    for more in [
        json!({"content": []}),
        json!({"content": text, "resolution": "4k"}),
        json!({"content": text, "duration": 13}),
        json!({"content": text, "duration": -1}),
        json!({"content": text, "ratio": "9:21"}),
        json!({"content": text, "model": "dreamina-seedance-2-0-260128", "seed": 1}),
        json!({"content": [{"type": "image_url", "image_url": {"url": "nowhere"}}]}),
    ] {
        let mut body = json!({"model": "seedance-1-0-pro-250528"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(client.send("POST", TASKS, body).await.0, 400, "{more}");
    }
    let ended = json!({"content": text, "model": "seedance-1-0-lite-i2v-250428"});
    assert_eq!(client.send("POST", TASKS, ended).await.0, 404, "BytePlus ended it on 2026-05-13");
    client.send("POST", "/_control", json!({"provider": "byteplus", "latency_ms": 1000})).await;
    for (prompt, code) in [("[refuse]", "OutputVideoSensitiveContentDetected"), ("[fail]", "InternalServerError")] {
        let body = json!({"model": "seedance-1-0-pro-250528", "content": [{"type": "text", "text": prompt}]});
        let (_, task) = client.send("POST", TASKS, body).await;
        tokio::time::advance(Duration::from_millis(1100)).await;
        let (status, task) =
            client.send("GET", &format!("{TASKS}/{}", task["id"].as_str().unwrap()), Value::Null).await;
        assert_eq!((status, &task["status"], &task["error"]["code"]), (200, &json!("failed"), &json!(code)));
    }
    assert_eq!(client.billed().await, "0.000000");
}
