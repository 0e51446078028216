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

const PRO: &str = "/bfl/flux-2-pro";

/// A sandbox and a key.
#[derive(Clone)]
struct Client {
    router: Router,
    key: &'static str,
}

struct Answer {
    status: u16,
    kind: String,
    body: Bytes,
    whole: bool,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Client {
    fn new() -> Self {
        let models = include_str!("../../../../config/catalog/models.toml");
        let own = include_str!("../../../../config/catalog/bfl.toml");
        let catalog = load([("models", models), ("bfl", own)]).unwrap();
        Self { router: Sandbox::new(Arc::new(catalog)).router(), key: "key" }
    }

    fn with_key(&self, key: &'static str) -> Self {
        Self { key, ..self.clone() }
    }

    async fn send(&self, method: &str, path: &str, body: impl Into<Body>) -> Answer {
        let path = path.strip_prefix("http://sandbox.test").unwrap_or(path);
        let mut request = Request::builder().method(method).uri(path).header("host", "sandbox.test");
        if !self.key.is_empty() {
            request = request.header("x-key", self.key);
        }
        let response = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let kind = response.headers().get("content-type").map_or("", |value| value.to_str().unwrap()).to_owned();
        let read = to_bytes(response.into_body(), usize::MAX).await;
        Answer { status, kind, whole: read.is_ok(), body: read.unwrap_or_default() }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, Body::empty()).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, body.to_string()).await
    }

    async fn submit(&self, path: &str, body: Value) -> Value {
        let answer = self.post(path, body).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        answer.json()
    }

    /// Polls to the end: the statuses seen, and the last answer.
    async fn follow(&self, ticket: &Value) -> (Vec<String>, Value) {
        let mut seen = Vec::new();
        loop {
            let answer = self.get(ticket["polling_url"].as_str().unwrap()).await.json();
            let status = answer["status"].as_str().unwrap().to_owned();
            let running = ["Pending", "Generating"].contains(&status.as_str());
            seen.push(status);
            if !running {
                return (seen, answer);
            }
        }
    }

    async fn billed(&self) -> Value {
        self.get("/_control/calls").await.json()["totals"]["bfl"]["billed_usd"].clone()
    }
}

fn picture(width: u32, height: u32) -> String {
    base64_simd::STANDARD.encode_to_string(draw("input", Size::new(width, height), Format::Png).unwrap())
}

fn look(file: &[u8]) -> (image::ImageFormat, (u32, u32)) {
    let picture = image::load_from_memory(file).unwrap();
    (image::guess_format(file).unwrap(), (picture.width(), picture.height()))
}

#[tokio::test(start_paused = true)]
async fn a_task_is_polled_to_a_link_that_lives_ten_minutes() {
    let client = Client::new();
    let input = json!({"prompt": "a fox", "width": 512, "height": 256, "output_format": "webp", "seed": 7});
    let ticket = client.submit(PRO, input).await;
    let id = ticket["id"].as_str().unwrap();
    assert_eq!(ticket["polling_url"], format!("http://sandbox.test/bfl/v1/get_result?id={id}"));
    assert_eq!([&ticket["cost"], &ticket["input_mp"], &ticket["output_mp"]], [&json!(3), &json!(0), &json!(0.13)]);
    let (seen, last) = client.follow(&ticket).await;
    assert_eq!(seen, ["Pending", "Pending", "Ready"]);
    assert_eq!((&last["id"], &last["cost"], &last["details"]), (&ticket["id"], &json!(3), &Value::Null));
    assert_eq!((&last["result"]["seed"], &last["result"]["prompt"]), (&json!(7), &json!("a fox")));
    let link = last["result"]["sample"].as_str().unwrap();
    let public = client.with_key("");
    let file = public.get(link).await;
    assert_eq!((file.status, file.kind.as_str()), (200, "image/webp"));
    assert_eq!(look(&file.body), (image::ImageFormat::WebP, (512, 256)));
    tokio::time::advance(Duration::from_mins(10)).await;
    assert_eq!(public.get(link).await.status, 403);
    assert_eq!(client.billed().await, "0.030000");
}

#[tokio::test(start_paused = true)]
async fn costs_are_credits_by_the_megapixel() {
    let client = Client::new();
    let small = picture(320, 320);
    for (model, input, cost) in [
        ("flux-2-pro", json!({"width": 1024, "height": 1024}), json!(3)),
        ("flux-2-pro", json!({"width": 1040, "height": 1024}), json!(4.5)),
        ("flux-2-max", json!({"width": 2048, "height": 2048}), json!(16)),
        ("flux-2-klein-4b", json!({"width": 2048, "height": 2048}), json!(1.7)),
        ("flux-2-pro", json!({"input_image": small}), json!(4.5)),
        ("flux-2-max", json!({"input_image": small, "input_image_2": small}), json!(13)),
        ("flux-2-flex", json!({"input_image": "https://example.com/a.png"}), json!(10)),
        ("flux-kontext-pro", json!({"input_image": small}), json!(4)),
        ("flux-pro-1.1-ultra", json!({}), json!(6)),
        ("flux-3-image", json!({"resolution": "1k"}), json!(4.8)),
        ("flux-3-image", json!({"resolution": "4k"}), Value::Null),
    ] {
        let mut whole = json!({"prompt": "a fox"});
        whole.as_object_mut().unwrap().extend(input.as_object().unwrap().clone());
        assert_eq!(client.submit(&format!("/bfl/v1/{model}"), whole).await["cost"], cost, "{model}");
    }
}

#[tokio::test(start_paused = true)]
async fn sizes_are_the_models_own() {
    let client = Client::new();
    client.post("/_control", json!({"provider": "bfl", "job_polls": 0})).await;
    let wide = picture(640, 320);
    for (model, input, size) in [
        ("flux-2-klein-9b", json!({}), (1024, 1024)),
        ("flux-2-pro", json!({"input_image": wide}), (640, 320)),
        ("flux-pro-1.1", json!({}), (1024, 768)),
        ("flux-kontext-max", json!({"aspect_ratio": "7:3"}), (1568, 672)),
        ("flux-kontext-max", json!({"input_image": wide}), (1392, 752)),
        ("flux-pro-1.1-ultra", json!({}), (2752, 1536)),
        ("flux-3-image", json!({"aspect_ratio": "1:2"}), (720, 1456)),
        ("flux-pro-1.0-fill", json!({"image": wide, "mask": wide}), (640, 320)),
        ("flux-pro-1.0-expand", json!({"image": wide, "left": 64, "top": 32}), (704, 352)),
    ] {
        let mut whole = json!({"prompt": "a fox"});
        whole.as_object_mut().unwrap().extend(input.as_object().unwrap().clone());
        let ticket = client.submit(&format!("/bfl/{model}"), whole).await;
        let link = client.follow(&ticket).await.1["result"]["sample"].as_str().unwrap().to_owned();
        assert_eq!(look(&client.get(&link).await.body).1, size, "{model} {input}");
    }
}

#[tokio::test(start_paused = true)]
async fn keys_accounts_and_paths() {
    let client = Client::new();
    for (key, path, status, detail) in [
        ("", PRO, 403, "Not authenticated"),
        ("bad", PRO, 403, "Invalid API key format"),
        ("broke", PRO, 402, "Insufficient credits"),
        ("key", "/bfl/flux-9", 404, "Not Found"),
    ] {
        let answer = client.with_key(key).post(path, json!({"prompt": "a fox"})).await;
        assert_eq!((answer.status, answer.json()), (status, json!({"detail": detail})), "{key} {path}");
    }
    let ticket = client.submit(PRO, json!({"prompt": "a fox"})).await;
    assert_eq!(client.with_key("").get(ticket["polling_url"].as_str().unwrap()).await.status, 403);
    let lost = client.get("/bfl/get_result?id=none").await;
    assert_eq!((lost.status, &lost.json()["status"]), (200, &json!("Task not found")));
    assert_eq!(client.get("/bfl/credits").await.json(), json!({"credits": 1000.0}));
    assert_eq!(client.billed().await, "0.030000");
}

#[tokio::test(start_paused = true)]
async fn bad_input_is_told_at_once() {
    let client = Client::new();
    let tiny = picture(64, 64);
    for (model, input, field, kind) in [
        ("flux-2-pro", json!({"prompt": null}), "prompt", "missing"),
        ("flux-2-pro", json!({"prompt": 5}), "prompt", "string_type"),
        ("flux-2-pro", json!({"aspect_ratio": "16:9"}), "aspect_ratio", "extra_forbidden"),
        ("flux-2-pro", json!({"prompt_upsampling": true}), "prompt_upsampling", "extra_forbidden"),
        ("flux-2-flex", json!({"disable_pup": true}), "disable_pup", "extra_forbidden"),
        ("flux-2-klein-4b", json!({"input_image_5": tiny}), "input_image_5", "extra_forbidden"),
        ("flux-2-pro", json!({"width": 63}), "width", "greater_than_equal"),
        ("flux-2-pro", json!({"output_format": "gif"}), "output_format", "enum"),
        ("flux-2-pro", json!({"safety_tolerance": 6}), "safety_tolerance", "less_than_equal"),
        ("flux-2-pro", json!({"input_image": format!("data:image/png;base64,{tiny}")}), "input_image", "value_error"),
        ("flux-2-flex", json!({"guidance": 1}), "guidance", "greater_than_equal"),
        ("flux-pro-1.1", json!({"width": 1000}), "width", "multiple_of"),
        ("flux-pro-1.1", json!({"height": 1472}), "height", "less_than_equal"),
        ("flux-kontext-pro", json!({"aspect_ratio": "3:1"}), "aspect_ratio", "value_error"),
        ("flux-3-image", json!({"output_format": "png"}), "output_format", "extra_forbidden"),
        ("flux-3-image", json!({"images": [tiny]}), "images", "value_error"),
        ("flux-3-image", json!({"aspect_ratio": "10:1"}), "aspect_ratio", "enum"),
        ("flux-pro-1.0-fill", json!({}), "image", "missing"),
        ("flux-3-video", json!({"mode": "t2v", "duration": 4}), "duration", "greater_than_equal"),
        ("flux-3-video", json!({"mode": "i2v"}), "keyframes", "missing"),
    ] {
        let mut whole = json!({"prompt": "a fox"});
        whole.as_object_mut().unwrap().extend(input.as_object().unwrap().clone());
        let answer = client.post(&format!("/bfl/{model}"), whole).await;
        assert_eq!(answer.status, 422, "{model} {field}: {:?}", answer.body);
        let complaint = &answer.json()["detail"][0];
        assert_eq!((&complaint["loc"], &complaint["type"]), (&json!(["body", field]), &json!(kind)), "{model}");
    }
    for (width, height) in [(1000, 1024), (4096, 2048)] {
        let answer = client.post(PRO, json!({"prompt": "a fox", "width": width, "height": height})).await;
        assert_eq!((answer.status, answer.json()["detail"].is_string()), (400, true), "{width}x{height}");
    }
    assert_eq!(client.billed().await, "0.000000");
    // The older schemas do not mind.
    client.submit("/bfl/flux-pro-1.1", json!({"prompt": "a fox", "colour": "red"})).await;
}

#[tokio::test(start_paused = true)]
async fn refusals_and_failures_are_statuses() {
    let client = Client::new();
    for (prompt, status, detail, billed) in [
        ("[refuse]", "Request Moderated", json!({"Moderation Reasons": ["Derivative Works Filter"]}), "0.000000"),
        ("[fail]", "Error", json!({"error": "The model could not finish the task"}), "0.000000"),
        ("[refuse output]", "Content Moderated", json!({"Moderation Reasons": ["NSFW"]}), "0.030000"),
    ] {
        let ticket = client.submit(PRO, json!({"prompt": prompt})).await;
        let (seen, last) = client.follow(&ticket).await;
        assert_eq!(seen, ["Pending", "Pending", status]);
        assert_eq!((&last["details"], &last["result"]), (&detail, &Value::Null));
        assert_eq!(client.billed().await, billed);
    }
}

#[tokio::test(start_paused = true)]
async fn flux_3_tells_its_progress_and_makes_videos() {
    let client = Client::new();
    let input = json!({"prompt": "a fox", "mode": "i2v", "keyframes": [picture(256, 256)], "resolution": "hd"});
    let ticket = client.submit("/bfl/flux-3-video", input).await;
    let (seen, last) = client.follow(&ticket).await;
    assert_eq!(seen, ["Pending", "Generating", "Ready"]);
    let file = client.get(last["result"]["sample"].as_str().unwrap()).await;
    assert_eq!((file.kind.as_str(), &file.body[4..12]), ("video/mp4", b"ftypisom".as_slice()));
}

#[tokio::test(start_paused = true)]
async fn faults_are_steered() {
    let client = Client::new();
    let steer = async |rule: Value| assert_eq!(client.post("/_control", rule).await.status, 201);
    for (status, body) in [(429, json!("Rate limit exceeded: too many active tasks")), (404, json!("Not Found"))] {
        steer(json!({"provider": "bfl", "fault": "status", "status": status, "times": 1})).await;
        let answer = client.post(PRO, json!({"prompt": "a fox"})).await;
        assert_eq!((answer.status, &answer.json()["detail"]), (status, &body));
    }
    steer(json!({"provider": "bfl", "fault": "status", "status": 500, "after_accept": true, "times": 1})).await;
    assert_eq!(client.post(PRO, json!({"prompt": "a fox"})).await.status, 500);
    assert_eq!(client.billed().await, "0.030000", "taken and billed all the same");
    for fault in ["truncate", "wrong_type", "wrong_size", "empty", "refuse"] {
        steer(json!({"provider": "bfl", "fault": fault, "times": 1})).await;
    }
    let input = json!({"prompt": "a fox", "width": 128, "height": 128});
    let ticket = client.submit(PRO, input.clone()).await;
    assert_eq!(client.follow(&ticket).await.1["status"], "Request Moderated");
    let ticket = client.submit(PRO, input.clone()).await;
    assert_eq!(client.follow(&ticket).await.1["result"], Value::Null);
    let last = client.follow(&ticket).await.1;
    let link = last["result"]["sample"].as_str().unwrap();
    assert_eq!(look(&client.get(link).await.body).1, (64, 64));
    assert_eq!(look(&client.get(link).await.body).0, image::ImageFormat::Png);
    assert!(!client.get(link).await.whole);
    assert_eq!(look(&client.get(link).await.body), (image::ImageFormat::Jpeg, (128, 128)));
}
