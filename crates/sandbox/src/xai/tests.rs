//! The dialect, against the documentation, with the real catalog.

use crate::Sandbox;
use crate::catalog::load;
use crate::clip::clip;
use crate::media::{Facts, Format, Limits, Size, draw, inspect};
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
        let routes = include_str!("../../../../config/catalog/xai.toml");
        let sandbox = Sandbox::new(Arc::new(load([("models", models), ("xai", routes)]).unwrap()));
        Self { router: sandbox.router(), sandbox, key: "Bearer xai-test" }
    }

    async fn send(&self, method: &str, path: &str, body: String) -> (u16, Bytes) {
        let request = Request::builder().method(method).uri(path).header("host", "sandbox.test");
        let request = request.header("authorization", self.key).header("content-type", "application/json");
        let response = self.router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        (status, to_bytes(response.into_body(), usize::MAX).await.unwrap_or_default())
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let (status, body) = self.send("POST", path, body.to_string()).await;
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn make(&self, extra: Value) -> (u16, Value) {
        self.post(
            "/xai/images/generations",
            with(json!({"model": "grok-imagine-image-2.0", "prompt": "a fox"}), &extra),
        )
        .await
    }

    async fn get(&self, url: &str) -> (u16, Bytes) {
        self.send("GET", url.trim_start_matches("http://sandbox.test"), String::new()).await
    }

    fn billed(&self) -> String {
        let totals = serde_json::to_value(self.sandbox.world.book.read().totals["xai"]).unwrap();
        totals["billed_usd"].as_str().unwrap().to_owned()
    }
}

fn with(mut body: Value, extra: &Value) -> Value {
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

fn look(bytes: &[u8]) -> (Format, String) {
    let Facts { format, size, .. } = inspect(bytes, &Limits::default()).unwrap();
    (format, size.to_string())
}

fn uri(width: u32, height: u32) -> String {
    let file = draw("in", Size::new(width, height), Format::Png).unwrap();
    format!("data:image/png;base64,{}", base64_simd::STANDARD.encode_to_string(&file))
}

#[tokio::test(start_paused = true)]
async fn makes_jpegs_of_a_shape_and_says_what_they_cost() {
    let client = Client::new();
    let (status, body) = client.make(json!({"aspect_ratio": "16:9", "resolution": "2k", "quality": "medium"})).await;
    assert_eq!((status, &body["usage"]["cost_in_usd_ticks"]), (200, &json!(800_000_000)));
    let url = body["data"][0]["url"].as_str().unwrap();
    assert_eq!(look(&client.get(url).await.1), (Format::Jpeg, "2736x1536".to_owned()));
    assert_eq!(client.get("/xai/files/nothing.jpeg").await.0, 404);
    let (_, body) =
        client.make(json!({"response_format": "b64_json", "n": 2, "model": "grok-imagine-image-quality"})).await;
    let file = base64_simd::STANDARD.decode_to_vec(body["data"][1]["b64_json"].as_str().unwrap()).unwrap();
    assert_eq!(look(&file), (Format::Jpeg, "1024x1024".to_owned()));
    assert_eq!(
        (&body["model"], &body["usage"]["cost_in_usd_ticks"]),
        (&json!("grok-imagine-image-2.0"), &json!(800_000_000))
    );
    assert_eq!(client.billed(), "0.160000");
}

#[tokio::test(start_paused = true)]
async fn edits_keep_the_shape_of_one_picture() {
    let client = Client::new();
    let body = json!({"model": "grok-imagine-image-2.0", "prompt": "a hat", "image": {"url": uri(100, 200)}, "response_format": "b64_json"});
    let (status, body) = client.post("/xai/images/edits", body).await;
    assert_eq!((status, &body["usage"]["cost_in_usd_ticks"]), (200, &json!(700_000_000)), "medium and one picture in");
    let file = base64_simd::STANDARD.decode_to_vec(body["data"][0]["b64_json"].as_str().unwrap()).unwrap();
    assert_eq!(look(&file).1, "720x1456");
    let one = json!({"url": uri(64, 64), "type": "image_url"});
    for (extra, right) in [
        (json!({"images": [one, one]}), 200),
        (json!({"images": vec![one.clone(); 6]}), 400),
        (json!({"image": one, "images": [one]}), 400),
        (json!({"image": {"url": "data:image/gif;base64,R0lGODlh"}}), 400),
        (json!({"image": {"url": "https://example.com/a.png"}}), 200),
        (json!({}), 400),
    ] {
        let body = with(json!({"model": "grok-imagine-image-2.0", "prompt": "a hat"}), &extra);
        assert_eq!(client.post("/xai/images/edits", body.clone()).await.0, right, "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn complains_in_three_envelopes() {
    let mut client = Client::new();
    for (extra, status, text) in [
        (json!({"size": "1024x1024"}), 400, "Argument not supported: size"),
        (json!({"quality": "high"}), 400, "Invalid value 'high' for quality"),
        (json!({"resolution": "2K"}), 400, "Invalid value '2K' for resolution"),
        (json!({"n": 11}), 400, "n must be between 1 and 10"),
        (json!({"model": "grok-2-image"}), 404, "The model grok-2-image does not exist"),
        (json!({"model": "grok-imagine-image", "quality": "low"}), 400, "Argument not supported: quality"),
        (json!({"prompt": null}), 422, "Failed to deserialize"),
        (json!({"prompt": 3}), 422, "Failed to deserialize"),
    ] {
        let (got, body) = client.make(extra).await;
        assert_eq!(got, status, "{body}");
        assert!(body["error"].as_str().unwrap().starts_with(text), "{body}");
    }
    for (key, status) in [("Bearer bad-key", 400), ("Bearer broke", 429), ("nothing", 401)] {
        client.key = key;
        assert_eq!(client.make(json!({})).await.0, status, "{key}");
    }
    assert_eq!(client.billed(), "0.000000");
}

#[tokio::test(start_paused = true)]
async fn moderates_quietly_and_fails_loudly() {
    let client = Client::new();
    let (status, body) = client.make(json!({"prompt": "a [refuse] fox"})).await;
    assert_eq!(
        (status, &body["data"][0]["respect_moderation"], &body["data"][0]["url"]),
        (200, &json!(false), &json!(""))
    );
    assert_eq!(client.billed(), "0.040000");
    assert_eq!(client.make(json!({"prompt": "a [fail] fox"})).await.0, 500);
    for (fault, status) in [("gone", 404), ("status", 503), ("garbage", 200), ("empty", 200)] {
        client.post("/_control", json!({"provider": "xai", "fault": fault, "times": 1})).await;
        assert_eq!(client.make(json!({})).await.0, status, "{fault}");
    }
    client.post("/_control", json!({"provider": "xai", "fault": "wrong_size", "times": 1})).await;
    let (_, body) = client.make(json!({})).await;
    assert_eq!(look(&client.get(body["data"][0]["url"].as_str().unwrap()).await.1).1, "512x512");
}

#[tokio::test(start_paused = true)]
async fn videos_are_polled_until_they_are_done() {
    let client = Client::new();
    let body = json!({"model": "grok-imagine-video-1.5", "prompt": "a fox", "duration": 4, "resolution": "720p", "image": {"url": uri(64, 64)}});
    let (_, ticket) = client.post("/xai/videos/generations", body).await;
    let path = format!("/xai/videos/{}", ticket["request_id"].as_str().unwrap());
    let (first, second, third) = (client.get(&path).await, client.get(&path).await, client.get(&path).await);
    assert_eq!((first.0, first.1.len()), (202, 0), "the first answer has no body");
    assert_eq!(second.0, 202);
    let done: Value = serde_json::from_slice(&third.1).unwrap();
    assert_eq!(
        [&done["status"], &done["video"]["duration"], &done["usage"]["cost_in_usd_ticks"]],
        [&json!("done"), &json!(4), &json!(5_700_000_000_u64)]
    );
    let file = client.get(done["video"]["url"].as_str().unwrap()).await.1;
    assert_eq!(&file[4..8], b"ftyp");
    assert_eq!(client.billed(), "0.570000");
    for (prompt, key, value) in
        [("[fail]", "/status", json!("failed")), ("[refuse]", "/video/respect_moderation", json!(false))]
    {
        client.post("/_control", json!({"provider": "xai", "job_polls": 0, "times": 1})).await;
        let (_, ticket) =
            client.post("/xai/videos/generations", json!({"model": "grok-imagine-video", "prompt": prompt})).await;
        let answer = client.get(&format!("/xai/videos/{}", ticket["request_id"].as_str().unwrap())).await.1;
        assert_eq!(serde_json::from_slice::<Value>(&answer).unwrap().pointer(key), Some(&value));
    }
    assert_eq!(client.get("/xai/videos/nothing").await.0, 404);
}

/// The address of a video of that many milliseconds.
fn film(millis: u32) -> String {
    format!("data:video/mp4;base64,{}", base64_simd::STANDARD.encode_to_string(clip(millis)))
}

#[tokio::test(start_paused = true)]
async fn videos_are_edited_and_gone_on_from() {
    let client = Client::new();
    client.post("/_control", json!({"provider": "xai", "job_polls": 0})).await;
    let ask = |millis: u32| json!({"model": "grok-imagine-video", "prompt": "a fox", "video": {"url": film(millis)}});
    for (door, extra, seconds, ticks) in [
        ("edits", json!({}), 5, 2_500_000_000_u64),
        ("extensions", json!({}), 10, 3_000_000_000),
        ("extensions", json!({"duration": 2}), 6, 1_000_000_000),
    ] {
        // Four seconds and a bit: what is edited counts as five, what is gone on from is whole.
        let millis = if door == "edits" { 4_200 } else { 4_000 };
        let (_, ticket) = client.post(&format!("/xai/videos/{door}"), with(ask(millis), &extra)).await;
        let path = format!("/xai/videos/{}", ticket["request_id"].as_str().unwrap());
        let done: Value = serde_json::from_slice(&client.get(&path).await.1).unwrap();
        assert_eq!(
            [&done["status"], &done["video"]["duration"], &done["usage"]["cost_in_usd_ticks"]],
            [&json!("done"), &json!(seconds), &json!(ticks)],
            "{door}"
        );
        let file = client.get(done["video"]["url"].as_str().unwrap()).await.1;
        assert_eq!(file, if door == "edits" { clip(4_200) } else { clip(seconds * 1_000) });
    }
    assert_eq!(client.billed(), "0.650000");
    for (door, extra, right) in [
        ("edits", json!({"video": {"url": film(8_800)}}), 400),
        ("edits", json!({"video": {"url": film(8_700)}}), 200),
        ("edits", json!({"duration": 5}), 400),
        ("edits", json!({"resolution": "720p"}), 400),
        ("edits", json!({"video": null}), 422),
        ("edits", json!({"video": film(4_000)}), 422),
        ("edits", json!({"video": {"url": uri(64, 64)}}), 400),
        ("edits", json!({"video": {"url": "https://example.com/a.mp4"}}), 200),
        ("edits", json!({"video": {"url": film(4_000), "file_id": "f"}}), 400),
        ("edits", json!({"model": "grok-imagine-video-1.5"}), 404),
        ("extensions", json!({"video": {"url": film(1_900)}}), 400),
        ("extensions", json!({"video": {"url": film(30_100)}}), 400),
        ("extensions", json!({"duration": 11}), 400),
        ("extensions", json!({"aspect_ratio": "16:9"}), 400),
        ("extensions", json!({"prompt": ""}), 400),
        ("extensions", json!({"model": "grok-imagine-image-2.0"}), 404),
    ] {
        let (status, body) = client.post(&format!("/xai/videos/{door}"), with(ask(4_000), &extra)).await;
        assert_eq!(status, right, "{door} {extra}: {body}");
    }
}
