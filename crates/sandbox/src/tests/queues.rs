//! The providers whose every call is a job: Kling, both of Luma, MiniMax' videos, Runway; with the real catalog.

use super::super::Sandbox;
use crate::catalog::load;
use crate::media::{Format, Size, draw};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use serde_json::{Value, json};
use std::sync::Arc;
use tower::ServiceExt;

struct Client {
    sandbox: Sandbox,
    router: Router,
    provider: &'static str,
    key: String,
}

impl Client {
    fn new(provider: &'static str) -> Self {
        let models = include_str!("../../../../config/catalog/models.toml");
        let routes = match provider {
            "kling" => include_str!("../../../../config/catalog/kling.toml"),
            "luma" => include_str!("../../../../config/catalog/luma.toml"),
            "luma-dream-machine" => include_str!("../../../../config/catalog/luma-dream-machine.toml"),
            "minimax" => include_str!("../../../../config/catalog/minimax.toml"),
            _ => include_str!("../../../../config/catalog/runway.toml"),
        };
        let sandbox = Sandbox::new(Arc::new(load([("models", models), (provider, routes)]).unwrap()));
        Self { router: sandbox.router(), sandbox, provider, key: "Bearer a-key".to_owned() }
    }

    async fn send(&self, method: &str, path: &str, body: &Value) -> (u16, Vec<u8>) {
        let path = match path.strip_prefix("http://sandbox.test") {
            Some(path) => path.to_owned(),
            None => format!("/{}{path}", self.provider),
        };
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = Request::builder().method(method).uri(path).header("host", "sandbox.test");
        let request = request.header("authorization", &self.key).header("x-runway-version", "2024-11-06");
        let response = self.router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        (status, to_bytes(response.into_body(), usize::MAX).await.unwrap_or_default().to_vec())
    }

    async fn json(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let (status, body) = self.send(method, path, body).await;
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.json("POST", path, &body).await
    }

    /// What three polls say under `pointer`, and the last answer.
    async fn follow(&self, path: &str, pointer: &str) -> (Vec<String>, Value) {
        let (mut said, mut last) = (Vec::new(), Value::Null);
        for _ in 0..3 {
            last = self.json("GET", path, &Value::Null).await.1;
            said.push(last.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned());
        }
        (said, last)
    }

    async fn is_video(&self, link: &Value) -> bool {
        let (status, file) = self.send("GET", link.as_str().unwrap(), &Value::Null).await;
        status == 200 && &file[4..8] == b"ftyp"
    }

    fn billed(&self) -> String {
        let totals = serde_json::to_value(self.sandbox.world.book.read().totals[self.provider]).unwrap();
        totals["billed_usd"].as_str().unwrap().to_owned()
    }
}

fn with(mut body: Value, extra: &Value) -> Value {
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

fn base64() -> String {
    base64_simd::STANDARD.encode_to_string(draw("in", Size::new(320, 320), Format::Png).unwrap())
}

#[tokio::test(start_paused = true)]
async fn runway_films_and_says_what_it_cost() {
    let client = Client::new("runway");
    let body = json!({"model": "gen4.5", "promptText": "a fox", "ratio": "1280:720", "duration": 5});
    let (status, task) = client.post("/v1/text_to_video", body.clone()).await;
    assert_eq!((status, &task["estimatedCost"]["credits"]), (200, &json!(60)));
    let path = format!("/v1/tasks/{}", task["id"].as_str().unwrap());
    let (said, last) = client.follow(&path, "/status").await;
    assert_eq!(said, ["PENDING", "RUNNING", "SUCCEEDED"]);
    assert_eq!(last["cost"]["credits"], 60);
    assert!(client.is_video(&last["output"][0]).await);
    for (extra, code) in [("[refuse]", "SAFETY.INPUT.TEXT"), ("[fail]", "INTERNAL.BAD_OUTPUT.CODE01")] {
        let (_, task) = client.post("/v1/text_to_video", with(body.clone(), &json!({"promptText": extra}))).await;
        let path = format!("/v1/tasks/{}", task["id"].as_str().unwrap());
        let (said, last) = client.follow(&path, "/status").await;
        assert_eq!(
            (said[2].as_str(), &last["failureCode"], &last["cost"]["credits"]),
            ("FAILED", &json!(code), &json!(0))
        );
    }
    let (_, task) = client.post("/v1/text_to_video", body.clone()).await;
    let path = format!("/v1/tasks/{}", task["id"].as_str().unwrap());
    assert_eq!(client.send("DELETE", &path, &Value::Null).await.0, 204);
    assert_eq!(client.json("GET", &path, &Value::Null).await.1["status"], "CANCELLED");
    assert_eq!(client.billed(), "0.600000", "what failed or was given up costs nothing");
}

#[tokio::test(start_paused = true)]
async fn runway_checks_what_it_is_sent() {
    let mut client = Client::new("runway");
    let body = json!({"model": "gen4_image", "promptText": "a fox", "ratio": "1280:720"});
    for extra in [
        json!({"promptText": ""}),
        json!({"promptText": "x".repeat(1_001)}),
        json!({"ratio": "1280x720"}),
        json!({"model": "gen-5"}),
        json!({"model": "gen4.5"}),
        json!({"model": "gen4_image_turbo"}),
        json!({"referenceImages": [{"uri": "data:image/png;base64,AAAA"}]}),
    ] {
        assert_eq!(client.post("/v1/text_to_image", with(body.clone(), &extra)).await.0, 400, "{extra}");
    }
    let film = json!({"model": "veo3.1", "promptText": "a", "ratio": "1280:720", "duration": 5,
        "promptImage": [{"uri": "https://x/a.png", "position": "first"}]});
    assert_eq!(client.post("/v1/image_to_video", film).await.0, 400, "lengths are 4, 6 and 8");
    for (key, status) in [("", 401), ("Bearer bad", 401), ("Bearer broke", 400)] {
        key.clone_into(&mut client.key);
        assert_eq!(client.post("/v1/text_to_image", body.clone()).await.0, status, "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn luma_draws_edits_and_films() {
    let mut client = Client::new("luma");
    let body = json!({"model": "uni-1", "prompt": "a fox", "aspect_ratio": "16:9"});
    let (status, made) = client.post("/generations", body.clone()).await;
    assert_eq!((status, &made["state"]), (201, &json!("queued")));
    let path = format!("/generations/{}", made["id"].as_str().unwrap());
    let (said, last) = client.follow(&path, "/state").await;
    assert_eq!(said, ["queued", "processing", "completed"]);
    let (_, file) = client.send("GET", last["output"][0]["url"].as_str().unwrap(), &Value::Null).await;
    assert_eq!(image::load_from_memory(&file).unwrap().width(), 2731, "of the 2K class");
    let media = json!({"data": base64(), "media_type": "image/png"});
    let edit = json!({"type": "image_edit", "source": media, "image_ref": [media]});
    assert_eq!(client.post("/generations", with(body.clone(), &edit)).await.0, 201);
    let film = json!({"model": "ray-3.2", "type": "video", "prompt": "a fox", "video": {"duration": "10s"}});
    assert_eq!(client.post("/generations", film.clone()).await.0, 201);
    // 0.0404 + (0.0404 + 2 x 0.003) + three times 0.30
    assert_eq!(client.billed(), "0.986800");
    let framed = json!({"video": {"duration": "10s", "start_frame": media}});
    for (body, status) in [
        (with(body.clone(), &json!({"prompt": ""})), 422),
        (with(body.clone(), &json!({"aspect_ratio": "5:4"})), 422),
        (with(body.clone(), &json!({"type": "image_edit"})), 422),
        (with(body.clone(), &json!({"image_ref": [{"data": base64()}]})), 422),
        (with(film, &framed), 422),
    ] {
        assert_eq!(client.post("/generations", body.clone()).await.0, status, "{body}");
    }
    let (_, made) = client.post("/generations", with(body.clone(), &json!({"prompt": "[refuse]"}))).await;
    let path = format!("/generations/{}", made["id"].as_str().unwrap());
    assert_eq!(client.follow(&path, "/failure_code").await.0[2], "content_moderated");
    for (key, status) in [("", 401), ("Bearer bad", 401), ("Bearer broke", 402)] {
        key.clone_into(&mut client.key);
        assert_eq!(client.post("/generations", body.clone()).await.0, status, "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn dream_machine_dreams() {
    let mut client = Client::new("luma-dream-machine");
    let body = json!({"model": "ray-2", "prompt": "a fox", "resolution": "720p", "duration": "9s"});
    let (status, made) = client.post("/generations/video", body.clone()).await;
    assert_eq!((status, &made["state"]), (201, &json!("queued")));
    let path = format!("/generations/{}", made["id"].as_str().unwrap());
    let (said, last) = client.follow(&path, "/state").await;
    assert_eq!(said, ["queued", "dreaming", "completed"]);
    assert!(client.is_video(&last["assets"]["video"]).await);
    let picture = json!({"model": "photon-1", "prompt": "a fox", "aspect_ratio": "1:1", "format": "png"});
    assert_eq!(client.post("/generations/image", picture.clone()).await.0, 201);
    // 9 x 0.142, and 1024 x 1024 px at 0.0073 a million
    assert_eq!(client.billed(), "1.285655");
    for extra in [json!({"model": "ray-2"}), json!({"format": "jpeg"}), json!({"aspect_ratio": "5:4"})] {
        let (status, answer) = client.post("/generations/image", with(picture.clone(), &extra)).await;
        assert_eq!((status, answer["detail"].is_array()), (400, true), "{extra}");
    }
    for (key, status) in [("", 403), ("Bearer bad", 403), ("Bearer broke", 402)] {
        key.clone_into(&mut client.key);
        assert_eq!(client.post("/generations/image", picture.clone()).await.0, status, "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn kling_speaks_two_generations() {
    let client = Client::new("kling");
    let body = json!({"model_name": "kling-v3", "prompt": "a fox", "mode": "pro", "sound": "on", "duration": "10",
        "aspect_ratio": "16:9"});
    let (status, made) = client.post("/v1/videos/text2video", body).await;
    assert_eq!((status, &made["code"], &made["data"]["task_status"]), (200, &json!(0), &json!("submitted")));
    let path = format!("/v1/videos/text2video/{}", made["data"]["task_id"].as_str().unwrap());
    let (said, last) = client.follow(&path, "/data/task_status").await;
    assert_eq!(said, ["submitted", "processing", "succeed"]);
    assert!(client.is_video(&last["data"]["task_result"]["videos"][0]["url"]).await);
    let body = json!({"contents": [{"type": "prompt", "text": "a fox"}, {"type": "first_frame", "url": base64()}],
        "settings": {"duration": 5, "resolution": "1080p"}});
    let (_, made) = client.post("/image-to-video/kling-3.0-turbo", body).await;
    let path = format!("/tasks?task_ids={}", made["data"]["id"].as_str().unwrap());
    let (said, last) = client.follow(&path, "/data/0/status").await;
    assert_eq!(said, ["submitted", "processing", "succeeded"]);
    assert!(client.is_video(&last["data"][0]["outputs"][0]["url"]).await);
    let pictures = json!({"model_name": "kling-v3", "prompt": "a fox", "n": 2, "aspect_ratio": "1:1"});
    let (_, made) = client.post("/v1/images/generations", pictures).await;
    let path = format!("/v1/images/generations/{}", made["data"]["task_id"].as_str().unwrap());
    let (_, last) = client.follow(&path, "/data/task_status").await;
    assert_eq!(last["data"]["task_result"]["images"].as_array().unwrap().len(), 2);
    // 10 x 0.168, 5 x 0.14, 2 x 0.028
    assert_eq!(client.billed(), "2.436000");
}

#[tokio::test(start_paused = true)]
async fn kling_says_no_in_codes() {
    let mut client = Client::new("kling");
    let body = json!({"model_name": "kling-v2-6", "prompt": "a fox", "mode": "std"});
    for (path, extra, status, code) in [
        ("/v1/videos/text2video", json!({"prompt": ""}), 400, 1201),
        ("/v1/videos/text2video", json!({"duration": 5}), 400, 1201),
        ("/v1/videos/text2video", json!({"duration": "7"}), 400, 1201),
        ("/v1/videos/text2video", json!({"sound": "on"}), 400, 1201),
        ("/v1/videos/text2video", json!({"model_name": "kling-v2-1"}), 404, 1203),
        ("/v1/videos/text2video", json!({"prompt": "[refuse]"}), 400, 1301),
        ("/v1/videos/image2video", json!({}), 400, 1201),
        ("/v1/videos/image2video", json!({"image": format!("data:image/png;base64,{}", base64())}), 400, 1201),
        ("/v1/videos/image2video", json!({"image": base64(), "aspect_ratio": "16:9"}), 400, 1201),
        ("/v1/videos/effects", json!({}), 404, 1203),
    ] {
        let (got, answer) = client.post(path, with(body.clone(), &extra)).await;
        assert_eq!((got, &answer["code"]), (status, &json!(code)), "{path} {extra}");
    }
    let token = |claims: Value| {
        let encode = |text: String| base64_simd::URL_SAFE_NO_PAD.encode_to_string(text);
        let head = encode(json!({"alg": "HS256", "typ": "JWT"}).to_string());
        format!("Bearer {head}.{}.{}", encode(claims.to_string()), encode("x".repeat(32)))
    };
    let now = crate::base::Timestamp::now().seconds();
    for (key, status, code) in [
        (String::new(), 401, 1001),
        ("Bearer bad".to_owned(), 401, 1002),
        ("Bearer broke".to_owned(), 429, 1102),
        (token(json!({"iss": "ak-bad", "exp": now + 60, "nbf": now - 5})), 401, 1002),
        (token(json!({"iss": "ak", "exp": now + 60, "nbf": now + 30})), 401, 1003),
        (token(json!({"iss": "ak", "exp": now - 1, "nbf": now - 5})), 401, 1004),
        (token(json!({"iss": "ak-broke", "exp": now + 60, "nbf": now - 5})), 429, 1102),
        (token(json!({"iss": "ak", "exp": now + 60, "nbf": now - 5})), 200, 0),
    ] {
        client.key = key;
        let (got, answer) = client.post("/v1/videos/text2video", body.clone()).await;
        assert_eq!((got, &answer["code"]), (status, &json!(code)), "{}", client.key);
    }
}

#[tokio::test(start_paused = true)]
async fn minimax_films_in_two_versions() {
    let mut client = Client::new("minimax");
    let older = json!({"model": "MiniMax-Hailuo-2.3", "prompt": "a fox", "duration": 10, "resolution": "768P"});
    let (_, made) = client.post("/v1/video_generation", older.clone()).await;
    let path = format!("/v1/query/video_generation?task_id={}", made["task_id"].as_str().unwrap());
    let (said, last) = client.follow(&path, "/status").await;
    assert_eq!(said, ["Queueing", "Processing", "Success"]);
    let path = format!("/v1/files/retrieve?file_id={}", last["file_id"].as_str().unwrap());
    let (_, file) = client.json("GET", &path, &Value::Null).await;
    assert!(client.is_video(&file["file"]["download_url"]).await);
    let newer = json!({"model": "MiniMax-H3", "content": [{"type": "text", "text": "a fox"}], "resolution": "2K",
        "duration": 8, "ratio": "16:9"});
    let (_, made) = client.post("/v2/video_generation", newer.clone()).await;
    let path = format!("/v2/query/video_generation/{}", made["task_id"].as_str().unwrap());
    let (said, last) = client.follow(&path, "/task/status").await;
    assert_eq!(said, ["queued", "running", "succeeded"]);
    assert!(client.is_video(&last["task"]["content"]["url"]).await);
    // 0.56, and 8 x 0.13
    assert_eq!(client.billed(), "1.600000");
    let (_, made) = client.post("/v2/video_generation", newer.clone()).await;
    let path = format!("/v2/video_generation/{}", made["task_id"].as_str().unwrap());
    assert_eq!(client.json("DELETE", &path, &Value::Null).await.1["action"], "cancelled");
    assert_eq!(client.billed(), "1.600000", "what waited is given back");
    for (extra, code) in [
        (json!({"resolution": "1080P"}), 2013),
        (json!({"model": "MiniMax-Hailuo-2.3-Fast"}), 2013),
        (json!({"prompt": "[refuse]"}), 1026),
    ] {
        let (status, answer) = client.post("/v1/video_generation", with(older.clone(), &extra)).await;
        assert_eq!((status, &answer["base_resp"]["status_code"]), (200, &json!(code)), "{extra}");
    }
    for (extra, status) in [
        (json!({"ratio": "adaptive"}), 400),
        (json!({"content": []}), 400),
        (json!({"content": [{"type": "text", "text": "[refuse]"}]}), 422),
    ] {
        assert_eq!(client.post("/v2/video_generation", with(newer.clone(), &extra)).await.0, status, "{extra}");
    }
    for (key, status) in [("", 401), ("Bearer bad", 401), ("Bearer broke", 402)] {
        key.clone_into(&mut client.key);
        assert_eq!(client.post("/v2/video_generation", newer.clone()).await.0, status, "{key}");
    }
}
