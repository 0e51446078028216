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

const NOW: &str = "/alibaba/services/aigc/multimodal-generation/generation";
const OLD: &str = "/alibaba/services/aigc/text2image/image-synthesis";
const FILM: &str = "/alibaba/services/aigc/video-generation/video-synthesis";

struct Client(Router, &'static str);

impl Client {
    fn new() -> Self {
        let models = include_str!("../../../../config/catalog/models.toml");
        let catalog = load([("models", models), ("alibaba", include_str!("../../../../config/catalog/alibaba.toml"))]);
        Self(Sandbox::new(Arc::new(catalog.unwrap())).router(), "Bearer good")
    }

    async fn raw(&self, method: &str, path: &str, body: String) -> (u16, Bytes) {
        let request = Request::builder().method(method).uri(path).header("host", "sandbox.test");
        let request = if path == NOW { request } else { request.header("x-dashscope-async", "enable") };
        let request = request.header("authorization", self.1).body(Body::from(body)).unwrap();
        let response = self.0.clone().oneshot(request).await.unwrap();
        (response.status().as_u16(), to_bytes(response.into_body(), usize::MAX).await.unwrap_or_default())
    }

    async fn send(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let (status, body) = self.raw(method, path, body.to_string()).await;
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn draw(&self, model: &str, prompt: &str, parameters: Value) -> (u16, Value) {
        let content = json!([{"text": prompt}]);
        let input = json!({"messages": [{"role": "user", "content": content}]});
        self.send("POST", NOW, json!({"model": model, "input": input, "parameters": parameters})).await
    }

    async fn task(&self, path: &str, model: &str, input: Value, parameters: Value) -> String {
        let body = json!({"model": model, "input": input, "parameters": parameters});
        let (status, answer) = self.send("POST", path, body).await;
        assert_eq!((status, &answer["output"]["task_status"]), (200, &json!("PENDING")), "{answer}");
        format!("/alibaba/tasks/{}", answer["output"]["task_id"].as_str().unwrap())
    }

    /// Polls to the end: the statuses seen, and the last answer.
    async fn follow(&self, task: &str) -> (Vec<String>, Value) {
        let mut seen = Vec::new();
        loop {
            let (_, answer) = self.send("GET", task, Value::Null).await;
            seen.push(answer["output"]["task_status"].as_str().unwrap().to_owned());
            if !["PENDING", "RUNNING"].contains(&seen.last().unwrap().as_str()) {
                return (seen, answer);
            }
        }
    }

    async fn billed(&self) -> String {
        let (_, body) = self.send("GET", "/_control/calls", Value::Null).await;
        body["totals"]["alibaba"]["billed_usd"].as_str().unwrap().to_owned()
    }
}

fn path(link: &Value) -> String {
    link.as_str().unwrap().strip_prefix("http://sandbox.test").unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn answers_at_once() {
    let client = Client::new();
    let (status, answer) = client.draw("qwen-image-2.0", "a fox", json!({"size": "512*768", "n": 2})).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["usage"], json!({"width": 512, "height": 768, "image_count": 2}));
    let content = answer["output"]["choices"][0]["message"]["content"].as_array().unwrap().clone();
    assert_eq!(content.len(), 2);
    let (status, file) = client.raw("GET", &path(&content[1]["image"]), String::new()).await;
    let drawn = image::load_from_memory(&file).unwrap();
    assert_eq!((status, drawn.width(), drawn.height()), (200, 512, 768));
    assert_eq!(image::guess_format(&file).unwrap(), image::ImageFormat::Png);
    assert_eq!(client.billed().await, "0.070000");
    let (_, answer) = client.draw("wan2.6-t2i", "a fox", json!({})).await;
    assert_eq!(answer["usage"]["image_count"], 4, "nobody said how many");
    assert_eq!(client.billed().await, "0.190000");
}

#[tokio::test(start_paused = true)]
async fn complains_with_flat_codes() {
    let client = Client::new();
    for (model, prompt, parameters, status, code) in [
        ("qwen-image", "a fox", json!({"size": "1328x1328"}), 400, "InvalidParameter"),
        ("qwen-image", "a fox", json!({"size": "1024*1024"}), 400, "InvalidParameter"),
        ("qwen-image", "a fox", json!({"n": 2}), 400, "InvalidParameter"),
        ("qwen-image-2.0", "a fox", json!({"size": "2048*2049"}), 400, "InvalidParameter"),
        ("qwen-image-2.0", "a fox", json!({"watermark": "no"}), 400, "InvalidParameter"),
        ("qwen-image-edit", "a fox", json!({}), 400, "InvalidParameter"),
        ("wan2.5-t2i-preview", "a fox", json!({}), 400, "InvalidParameter"),
        ("qwen-image-9", "a fox", json!({}), 404, "ModelNotFound"),
        ("qwen-image", "a [refuse] fox", json!({}), 400, "DataInspectionFailed"),
        ("qwen-image", "a [fail] fox", json!({}), 500, "InternalError.Algo"),
    ] {
        let (got, answer) = client.draw(model, prompt, parameters).await;
        assert_eq!((got, answer["code"].as_str()), (status, Some(code)), "{model} {prompt}: {answer}");
        assert!(answer["request_id"].is_string() && answer["message"].is_string());
    }
    for (key, status, code) in [("Bearer bad", 401, "InvalidApiKey"), ("Bearer broke", 400, "Arrearage")] {
        let (got, answer) = Client(client.0.clone(), key).draw("qwen-image", "a fox", json!({})).await;
        assert_eq!((got, answer["code"].as_str()), (status, Some(code)));
    }
    client
        .send("POST", "/_control", json!({"provider": "alibaba", "fault": "status", "status": 429, "times": 1}))
        .await;
    let (got, answer) = client.draw("qwen-image", "a fox", json!({})).await;
    assert_eq!((got, answer["code"].as_str()), (429, Some("Throttling.RateQuota")));
    assert_eq!(client.billed().await, "0.000000");
    let request = Request::builder().method("POST").uri(OLD).header("authorization", "Bearer good");
    let body = json!({"model": "wan2.5-t2i-preview", "input": {"prompt": "a fox"}}).to_string();
    let response = client.0.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
    assert_eq!(response.status(), 403, "a task needs its header");
}

#[tokio::test(start_paused = true)]
async fn tasks_go_through_their_states() {
    let client = Client::new();
    let task = client.task(OLD, "wan2.5-t2i-preview", json!({"prompt": "a fox"}), json!({"n": 1})).await;
    let (seen, answer) = client.follow(&task).await;
    assert_eq!(seen, ["PENDING", "RUNNING", "SUCCEEDED"]);
    let submitted = answer["output"]["submit_time"].as_str().unwrap();
    assert!(submitted.len() == 23 && !submitted.contains(['T', 'Z', '+']), "{submitted}");
    let link = path(&answer["output"]["results"][0]["url"]);
    let drawn = image::load_from_memory(&client.raw("GET", &link, String::new()).await.1).unwrap();
    assert_eq!((drawn.width(), drawn.height()), (1280, 1280));
    assert_eq!(client.billed().await, "0.030000");

    for (prompt, code) in [("[refuse]", "DataInspectionFailed"), ("[fail]", "InternalError.Algo")] {
        let task = client.task(OLD, "wan2.5-t2i-preview", json!({"prompt": prompt}), json!({})).await;
        let (seen, answer) = client.follow(&task).await;
        assert_eq!((seen.last().unwrap().as_str(), answer["output"]["code"].as_str()), ("FAILED", Some(code)));
    }
    let task = client.task(OLD, "wan2.5-t2i-preview", json!({"prompt": "a fox"}), json!({"n": 4})).await;
    assert_eq!(client.send("POST", &format!("{task}/cancel"), Value::Null).await.0, 200);
    assert_eq!(client.follow(&task).await.0, ["CANCELED"]);
    assert_eq!(client.send("POST", &format!("{task}/cancel"), Value::Null).await.1["code"], "UnsupportedOperation");
    assert_eq!(client.follow("/alibaba/tasks/none").await.0, ["UNKNOWN"]);
    assert_eq!(client.billed().await, "0.030000");
}

#[tokio::test(start_paused = true)]
async fn films_are_tasks_of_seconds() {
    let client = Client::new();
    client.send("POST", "/_control", json!({"provider": "alibaba", "latency_ms": 1000})).await;
    let input = json!({"prompt": "a fox", "img_url": "data:image/png;base64,AAAA"});
    let task = client.task(FILM, "wan2.6-i2v", input, json!({"resolution": "1080P", "duration": 4})).await;
    tokio::time::advance(Duration::from_millis(1100)).await;
    let (seen, answer) = client.follow(&task).await;
    assert_eq!((seen.len(), &answer["usage"]["duration"]), (1, &json!(4)));
    let film = client.raw("GET", &path(&answer["output"]["video_url"]), String::new()).await.1;
    assert_eq!(&film[4..8], b"ftyp");
    assert_eq!(client.billed().await, "0.600000");
    for (model, input, parameters) in [
        ("wan2.6-i2v", json!({"prompt": "a fox"}), json!({})),
        ("wan2.6-t2v", json!({"prompt": "a fox"}), json!({"size": "832*480"})),
        ("wan2.7-t2v", json!({"prompt": "a fox"}), json!({"resolution": "720p"})),
        ("wan2.5-t2v-preview", json!({"prompt": "a fox"}), json!({"duration": 7})),
        ("wan3.0-video", json!({"prompt": "a fox"}), json!({"duration": 31})),
        ("wan2.7-i2v", json!({"media": [{"type": "first_frame", "url": "nowhere"}]}), json!({})),
    ] {
        let body = json!({"model": model, "input": input, "parameters": parameters});
        let (status, answer) = client.send("POST", FILM, body).await;
        assert_eq!(status, 400, "{model}: {answer}");
    }
}
