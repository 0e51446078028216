//! Videos made of other videos: remixed, edited, and gone on from, be they made here or given.

use super::kit::{Kit, clip, picture};
use super::videos::{balance, settled, video};
use lumenfall::media::{Probe, VideoFacts};
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

const GROK: &str = "xai/grok-imagine-video";

fn uri(mime: &str, file: &[u8]) -> String {
    format!("data:{mime};base64,{}", base64_simd::STANDARD.encode_to_string(file))
}

fn source() -> String {
    uri("video/mp4", &clip("mp4:5"))
}

async fn begun(kit: &Kit, path: &str, body: &Value) -> Value {
    let taken = kit.post(path, body).await;
    assert_eq!(taken.status, 202, "{path}: {}", taken.json);
    taken.json
}

async fn finished(kit: &Kit, taken: &Value) -> Value {
    let done = settled(kit, &format!("/v1/videos/{}", taken["id"].as_str().unwrap())).await;
    assert_eq!(done["status"], "completed", "{done}");
    done
}

/// How long the file of a video is, in milliseconds.
async fn length(kit: &Kit, done: &Value) -> u64 {
    let (file, _) = kit.download(done["output"]["url"].as_str().unwrap()).await;
    let mut probe = Probe::default();
    let VideoFacts { millis, .. } = probe.feed(&file).and_then(|()| probe.finish()).unwrap();
    millis.unwrap()
}

async fn mode_of(kit: &Kit, done: &Value) -> Value {
    kit.get(&format!("/v1/requests/{}", done["id"].as_str().unwrap())).await.json["mode"].clone()
}

async fn made(kit: &Kit) -> usize {
    kit.get("/v1/videos").await.json["data"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_video_is_made_from_one_that_was_made_here() {
    let kit = Kit::start().await;
    let first = kit.post("/v1/videos", &json!({"model": "veo-3.1-fast", "prompt": "a fox"})).await.json;
    let id = first["id"].as_str().unwrap();
    let ask = json!({"model": "lucy-edit-pro", "prompt": "the same at night"});
    let path = format!("/v1/videos/{id}/remix");
    let early = kit.post(&path, &ask).await;
    assert_eq!(early.status, 400, "{}", early.json);
    settled(&kit, &format!("/v1/videos/{id}")).await;
    let made = async || kit.get("/v1/videos").await.json["data"].as_array().unwrap().len();
    let dry = kit.post(&format!("{path}?dryRun=true"), &ask).await;
    assert_eq!((dry.status, &dry.json["estimated"]), (200, &json!(true)), "{}", dry.json);
    assert_eq!(made().await, 1, "a dry run begins nothing");
    let taken = kit.post(&path, &ask).await;
    assert_eq!((taken.status, &taken.json["remixed_from_video_id"]), (202, &json!(id)), "{}", taken.json);
    let done = settled(&kit, &format!("/v1/videos/{}", taken.json["id"].as_str().unwrap())).await;
    assert_eq!(done["status"], "completed", "{done}");
    // The model of the first one takes no videos.
    let same = kit.post(&path, &json!({"prompt": "again"})).await;
    assert_eq!(same.status, 400, "{}", same.json);
    assert_eq!(made().await, 2);
    balance(&kit).await;
    kit.running.stop().await;
}

#[tokio::test]
async fn a_video_made_here_is_edited_and_gone_on_from() {
    let kit = Kit::start().await;
    let first = video(&kit, json!({"model": GROK, "prompt": "a fox", "seconds": 4})).await;
    let id = &first["id"];
    // Without a model, that of the video.
    let ask = json!({"prompt": "it jumps", "video": {"id": id}, "seconds": "3"});
    let dry = kit.post("/openai/v1/videos/extensions?dryRun=true", &ask).await;
    assert_eq!((dry.status, &dry.json["estimated"]), (200, &json!(true)), "{}", dry.json);
    assert_eq!(made(&kit).await, 1, "a dry run begins nothing");
    let taken = begun(&kit, "/openai/v1/videos/extensions", &ask).await;
    assert_eq!((&taken["remixed_from_video_id"], &taken["seconds"]), (id, &json!("3")), "{taken}");
    assert_eq!(taken["model"], "grok-imagine-video");
    let done = finished(&kit, &taken).await;
    // Seven seconds came, and three were made and paid.
    assert_eq!((length(&kit, &done).await, &done["seconds"]), (7_000, &json!("7")), "{done}");
    assert_eq!(
        (&done["metadata"]["cost"], &done["metadata"]["cost_source"]),
        (&json!(0.15), &json!("provider")),
        "{done}"
    );
    assert_eq!(mode_of(&kit, &done).await, "video-extension");
    let ask = json!({"prompt": "at night", "video": {"id": id}, "seconds": 9});
    let edited = finished(&kit, &begun(&kit, "/v1/videos/edits", &ask).await).await;
    assert_eq!((length(&kit, &edited).await, &edited["remixed_from_video_id"]), (4_000, id), "as long as it was");
    assert_eq!(edited["metadata"]["adjustments"][0]["param"], "seconds", "{edited}");
    assert_eq!((mode_of(&kit, &edited).await, &edited["metadata"]["cost"]), (json!("video-to-video"), &json!(0.2)));
    // As OpenAI's SDKs spell it in a form.
    for name in ["video[id]", "video"] {
        let text = id.as_str().unwrap().to_owned();
        let text = if name == "video" { json!({"id": text}).to_string() } else { text };
        let form = Form::new().text("prompt", "it sleeps").text(name, text);
        let (status, _, body) =
            Kit::raw_bytes(kit.request(Method::POST, "/v1/videos/extensions").multipart(form)).await;
        let taken: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((status, &taken["remixed_from_video_id"], &taken["seconds"]), (202, id, &json!("6")), "{taken}");
        finished(&kit, &taken).await;
    }
    balance(&kit).await;
    kit.running.stop().await;
}

#[tokio::test]
async fn a_video_that_is_given_is_edited_and_gone_on_from() {
    let kit = Kit::start().await;
    for (path, mode, millis) in [("edits", "video-to-video", 5_000), ("extensions", "video-extension", 11_000)] {
        let path = format!("/v1/videos/{path}");
        for given in [json!(source()), json!({"url": source()}), json!({"video_url": source()})] {
            let ask =
                json!({"model": GROK, "prompt": "a fox", "video": given, "webhook_url": "https://example.com/hook"});
            let dry = kit.post(&format!("{path}?dryRun=true"), &ask).await;
            assert_eq!(dry.status, 200, "{}", dry.json);
            let taken = begun(&kit, &path, &ask).await;
            assert_eq!(taken["remixed_from_video_id"], Value::Null);
            let done = finished(&kit, &taken).await;
            assert_eq!((length(&kit, &done).await, mode_of(&kit, &done).await), (millis, json!(mode)), "{done}");
        }
        let file = Part::bytes(clip("mp4:5")).file_name("a.mp4").mime_str("video/mp4").unwrap();
        let form = Form::new().text("model", GROK).text("prompt", "a fox").part("video", file);
        let (status, _, body) = Kit::raw_bytes(kit.request(Method::POST, &path).multipart(form)).await;
        let taken: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(status, 202, "{taken}");
        assert_eq!(length(&kit, &finished(&kit, &taken).await).await, millis);
    }
    // fal's price is not known, and what came is counted all the same.
    let ask = json!({"model": "veo-3.1", "prompt": "a fox", "video": source()});
    let done = finished(&kit, &begun(&kit, "/v1/videos/extensions", &ask).await).await;
    assert_eq!((&done["metadata"]["provider"], &done["metadata"]["cost"]), (&json!("fal"), &Value::Null), "{done}");
    balance(&kit).await;
    kit.running.stop().await;
}

#[tokio::test]
async fn a_key_extends_once() {
    let kit = Kit::start().await;
    let ask = json!({"model": GROK, "prompt": "a fox", "video": source(), "idempotency_key": "order-1"});
    let taken = begun(&kit, "/v1/videos/extensions", &ask).await;
    assert_eq!(begun(&kit, "/v1/videos/extensions", &ask).await["id"], taken["id"]);
    assert_eq!(kit.post("/v1/videos/edits", &ask).await.status, 409, "an edit is another request");
    finished(&kit, &taken).await;
    assert_eq!(made(&kit).await, 1);
    balance(&kit).await;
    kit.running.stop().await;
}

#[tokio::test]
async fn what_cannot_be_edited_or_gone_on_from_is_refused_and_named() {
    let kit = Kit::start().await;
    let first = video(&kit, json!({"model": GROK, "prompt": "a fox", "seconds": 2})).await;
    kit.control(json!({"provider": "xai", "latency_ms": 60000, "times": 1})).await;
    let running = begun(&kit, "/v1/videos", &json!({"model": GROK, "prompt": "a slow fox"})).await;
    // The worker submits it after the answer.
    while kit.bills().await["totals"]["xai"]["creates"] != 2 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let key = kit.customer(&json!({"id": "acme", "billing": "postpaid"}), &json!({"account": "acme"}), 0.0).await;
    let before = kit.bills().await["totals"].clone();
    let picture = uri("image/png", &picture("png:64x64"));
    for path in ["/v1/videos/edits", "/openai/v1/videos/extensions"] {
        for (video, status, param) in [
            (json!({"id": "req_nothing"}), 404, "video"),
            (json!({"id": running["id"]}), 400, ""),
            (json!({"id": 7}), 400, "video"),
            (json!({"id": ""}), 400, "video"),
            (json!({"id": first["id"], "url": source()}), 400, "video"),
            (json!([{"id": first["id"]}]), 400, "video"),
            (json!([source(), source()]), 400, "video"),
            (json!({}), 400, "video"),
            (json!(3), 400, "video"),
            (Value::Null, 400, "video"),
            (json!(picture), 400, "video"),
            (json!("https://169.254.169.254/latest/meta-data"), 400, "video"),
        ] {
            let got = kit.post(path, &json!({"model": GROK, "prompt": "a fox", "video": video})).await;
            let told = (got.status, got.json["error"]["param"].as_str().unwrap_or_default());
            assert_eq!(told, (status, param), "{path} {video}: {}", got.json);
        }
        for (ask, param) in [
            (json!({"model": GROK, "video": source()}), "prompt"),
            (json!({"prompt": "a fox", "video": source()}), "model"),
            (json!({"model": GROK, "prompt": "a fox", "video": source(), "seconds": "long"}), "seconds"),
            (json!({"model": "veo-3.1-fast", "prompt": "a fox", "video": source()}), "model"),
            (json!({"model": "gpt-image-2", "prompt": "a fox", "video": {"id": first["id"]}}), "model"),
        ] {
            let got = kit.post(path, &ask).await;
            assert_eq!((got.status, &got.json["error"]["param"]), (400, &json!(param)), "{path}: {}", got.json);
        }
        // Another account's video is nobody's.
        let ask = json!({"prompt": "a fox", "video": {"id": first["id"]}});
        let (status, body) = kit.as_customer(&key, Method::POST, path, Some(&ask)).await;
        assert_eq!((status, &body["error"]["param"]), (404, &json!("video")), "{body}");
    }
    let got =
        kit.post("/v1/videos/extensions", &json!({"model": "veo-3.1-fast", "prompt": "p", "video": source()})).await;
    let told = got.json["error"]["message"].as_str().unwrap();
    assert!(told.contains("does not support video-extension"), "{told}");
    // A video is named by its id in these calls only.
    let got = kit.post("/v1/videos", &json!({"model": GROK, "prompt": "p", "video": {"id": first["id"]}})).await;
    assert_eq!(got.error(), (400, "INVALID_REQUEST", "video"), "{}", got.json);
    let twice = json!({"prompt": "p", "video": {"id": first["id"]}});
    let got = kit.post(&format!("/v1/videos/{}/remix", first["id"].as_str().unwrap()), &twice).await;
    assert_eq!(got.error(), (400, "INVALID_REQUEST", "video"), "{}", got.json);
    assert_eq!(kit.bills().await["totals"]["xai"]["billed_usd"], before["xai"]["billed_usd"], "nothing was bought");
    kit.running.stop().await;
}

#[tokio::test]
async fn models_say_that_they_go_on_from_videos() {
    let kit = Kit::start().await;
    let grok = kit.get("/v1/models/grok-imagine-video").await.json;
    assert_eq!(grok["modes"], json!(["text-to-video", "image-to-video", "video-to-video", "video-extension"]));
    assert_eq!(grok["modalities"]["input"], json!(["text", "image", "video"]));
    assert!(grok["capabilities"].as_array().unwrap().contains(&json!("video-extension")), "{grok}");
    let lucy = kit.get("/v1/models/lucy-edit-pro").await.json;
    assert_eq!(lucy["modalities"]["input"], json!(["text", "video"]));
    let schema = kit.get("/v1/models/grok-imagine-video?schema=true").await.json;
    let told = &schema["properties"]["seconds"]["x-routes"];
    assert_eq!(told["xai/grok-imagine-video"]["allowed"].as_array().unwrap().len(), 15, "{told}");
    assert_eq!(told["xai/grok-imagine-video (video-extension)"]["default"], 6, "{told}");
    assert!(
        schema["properties"]["video"]["x-routes"].is_object() && schema["properties"]["input_reference"].is_object()
    );
    let schema = kit.get("/v1/models/veo-3.1-fast?schema=true").await.json;
    assert_eq!(schema["properties"]["video"], Value::Null);
    kit.running.stop().await;
}
