//! Videos and images in the background: jobs that outlive their request, from the call to the file and the webhook.

use super::kit::{Got, KEY, Kit, micros, picture};
use super::postgres;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

pub(super) async fn settled(kit: &Kit, path: &str) -> Value {
    let patience = Instant::now() + Duration::from_mins(1);
    loop {
        let got = kit.get(path).await;
        assert_eq!(got.status, 200, "{}", got.json);
        if got.json["status"] == "completed" || got.json["status"] == "failed" {
            return got.json;
        }
        assert!(Instant::now() < patience, "{}", got.json);
        sleep(Duration::from_millis(50)).await;
    }
}

pub(super) async fn video(kit: &Kit, body: Value) -> Value {
    let got = kit.post("/openai/v1/videos", &body).await;
    assert_eq!(got.status, 202, "{}", got.json);
    settled(kit, &format!("/openai/v1/videos/{}", got.json["id"].as_str().unwrap())).await
}

pub(super) async fn balance(kit: &Kit) {
    let totals = kit.bills().await["totals"].clone();
    let billed: i64 = totals.as_object().unwrap().values().map(|total| micros(&total["billed_usd"])).sum();
    let summary = kit.get("/v1/requests?summary=true").await.json["summary"].clone();
    assert_eq!(micros(&summary["total_cost"]), billed, "the log and the providers agree: {totals}");
}

#[tokio::test]
async fn a_video_is_taken_made_and_kept() {
    for url in [String::new(), postgres::database()] {
        let kit = if url.is_empty() { Kit::start().await } else { Kit::with(&[("DATABASE__URL", &url)]).await };
        let body = json!({"model": "veo-3.1-fast", "prompt": "a fox", "seconds": "6", "size": "1280x720",
            "metadata": {"order": 7}, "user": "u1", "media_retention": "30d"});
        let taken = kit.post("/openai/v1/videos", &body).await;
        assert_eq!(taken.status, 202, "{}", taken.json);
        let queued = &taken.json;
        assert_eq!((&queued["object"], &queued["status"]), (&json!("video"), &json!("queued")));
        assert_eq!((&queued["seconds"], &queued["size"]), (&json!("6"), &json!("1280x720")));
        assert!(queued["metadata"]["cost_estimate"].is_number() && queued["metadata"]["cost_currency"] == "USD");
        assert_eq!(taken.header("x-lumenfall-sandbox"), "true");
        let id = queued["id"].as_str().unwrap();
        assert!(id.starts_with("req_"));
        let done = settled(&kit, &format!("/v1/videos/{id}")).await;
        assert_eq!((&done["id"], &done["status"], &done["progress"]), (&json!(id), &json!("completed"), &json!(100)));
        assert_eq!((&done["seconds"], &done["error"]), (&json!("6"), &Value::Null));
        assert!(done["expires_at"].as_i64() > done["completed_at"].as_i64());
        assert_eq!(done["metadata"]["custom"]["order"], 7);
        let job = done["metadata"]["upstream_id"].as_str().unwrap();
        let calls = kit.bills().await["calls"].clone();
        assert!(calls.as_array().unwrap().iter().any(|call| call["job"] == job), "{job} {calls}");
        let kept = &done["metadata"]["adjustments"][0];
        assert_eq!((&kept["param"], &kept["used"]), (&json!("media_retention"), &json!("60 minutes")), "{done}");
        let output = &done["output"];
        let (bytes, mime) = kit.download(output["url"].as_str().unwrap()).await;
        assert_eq!((mime.as_str(), &output["content_type"]), ("video/mp4", &json!("video/mp4")));
        assert_eq!(output["size_bytes"], bytes.len());
        assert_eq!(&bytes[4..8], b"ftyp");
        // The whole file and a part of it, with the key.
        let path = format!("/v1/videos/{id}/content");
        let part = kit.request(Method::GET, &path).header("range", "bytes=4-7");
        let (status, headers, body) = Kit::raw_bytes(part).await;
        assert_eq!((status, body.as_ref()), (206, b"ftyp".as_slice()));
        assert_eq!(headers["content-range"], format!("bytes 4-7/{}", bytes.len()).as_str());
        // A download goes on only with the same file.
        for (known, right) in [(headers["etag"].to_str().unwrap(), 206), ("\"another\"", 200)] {
            let again = kit.request(Method::GET, &path).header("range", "bytes=4-7").header("if-range", known);
            assert_eq!(Kit::raw_bytes(again).await.0, right, "{known}");
        }
        let (status, ..) = Kit::raw_bytes(kit.request(Method::GET, &path).header("range", "bytes=99999999-")).await;
        assert_eq!(status, 416);
        let (status, _, body) = Kit::raw_bytes(kit.request(Method::GET, &path)).await;
        assert_eq!((status, body.as_ref()), (200, bytes.as_slice()));
        // The row says the same.
        let row = kit.get(&format!("/v1/requests/{id}")).await.json;
        assert_eq!((&row["status"], &row["modality"]), (&json!("completed"), &json!("video")), "{row}");
        assert_eq!(row["cost"], done["metadata"]["cost"]);
        balance(&kit).await;
        // Deleted, it is gone, and its file with it; the row stays.
        assert_eq!(kit.delete(&format!("/v1/videos/{id}")).await.status, 204);
        assert_eq!(kit.get(&format!("/v1/videos/{id}")).await.status, 404);
        assert_eq!(kit.get(output["url"].as_str().unwrap()).await.status, 404);
        assert_eq!(kit.get(&format!("/v1/requests/{id}")).await.status, 200);
        kit.running.stop().await;
    }
}

#[tokio::test]
async fn every_form_of_an_input_reference_is_taken() {
    let kit = Kit::start().await;
    let uri = format!("data:image/png;base64,{}", base64_simd::STANDARD.encode_to_string(picture("png:512x512")));
    for reference in
        [json!({"image_url": uri}), json!([{"image_url": uri}]), json!(uri), json!({"image_url": {"url": uri}})]
    {
        let got = kit
            .post("/v1/videos", &json!({"model": "veo-3.1-fast", "prompt": "a fox", "input_reference": reference}))
            .await;
        assert_eq!(got.status, 202, "{}", got.json);
        let done = settled(&kit, &format!("/v1/videos/{}", got.json["id"].as_str().unwrap())).await;
        assert_eq!(done["status"], "completed", "{done}");
        let row = kit.get(&format!("/v1/requests/{}", done["id"].as_str().unwrap())).await.json;
        assert_eq!(row["mode"], "image-to-video");
    }
    for name in ["input_reference", "input_reference[]", "input_reference[0]"] {
        let file = Part::bytes(picture("png:512x512")).file_name("a.png").mime_str("image/png").unwrap();
        let form =
            Form::new().text("model", "veo-3.1-fast").text("prompt", "a fox").text("seconds", "8").part(name, file);
        let (status, _, body) = Kit::raw_bytes(kit.request(Method::POST, "/openai/v1/videos").multipart(form)).await;
        let taken: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((status, &taken["seconds"]), (202, &json!("8")), "{taken}");
        let done = settled(&kit, &format!("/v1/videos/{}", taken["id"].as_str().unwrap())).await;
        assert_eq!(done["status"], "completed", "{done}");
    }
    balance(&kit).await;
    kit.running.stop().await;
}

#[tokio::test]
async fn what_fails_says_so_with_http_200() {
    let kit = Kit::start().await;
    let refused = video(&kit, json!({"model": "veo-3.1-fast", "prompt": "[refuse] a fox"})).await;
    assert_eq!((&refused["status"], &refused["output"]), (&json!("failed"), &Value::Null));
    assert_eq!(refused["error"]["code"], "CONTENT_POLICY_VIOLATION", "{refused}");
    assert!(refused["metadata"].is_object());
    // One provider down: the next one makes it, and the id stays.
    kit.control(json!({"provider": "fal", "fault": "status", "status": 503})).await;
    let made = video(&kit, json!({"model": "kling-v3", "prompt": "a fox"})).await;
    let served = made["metadata"]["provider"].as_str().unwrap().to_owned();
    assert!(made["status"] == "failed" || served != "fal", "{made}");
    for wrong in [
        json!({"model": "veo-3.1-fast"}),
        json!({"model": "veo-3.1-fast", "prompt": "a fox", "seconds": -4}),
        json!({"model": "gpt-image-2", "prompt": "a fox"}),
        json!({"model": "veo-3.1-fast", "prompt": "a fox", "webhook_url": "http://example.com/"}),
        json!({"model": "veo-3.1-fast", "prompt": "a fox", "webhook_url": "https://127.0.0.1/"}),
        json!({"model": "veo-3.1-fast", "prompt": "a fox", "input_reference": {"image_url": "data:image/png;base64,AAAA"}}),
    ] {
        assert_eq!(kit.post("/v1/videos", &wrong).await.error().0, 400, "{wrong}");
    }
    assert_eq!(kit.post("/v1/videos", &json!({"model": "nothing", "prompt": "a fox"})).await.error().0, 404);
    assert_eq!(kit.get("/v1/videos/req_nothing").await.status, 404);
    let rows = kit.get("/v1/requests?summary=true&modality=video").await.json;
    assert!(rows["summary"]["count"].as_i64().unwrap() >= 8, "{}", rows["summary"]);
    kit.running.stop().await;
}

#[tokio::test]
async fn a_dry_run_buys_nothing() {
    let kit = Kit::start().await;
    let got =
        kit.post("/v1/videos?dryRun=true", &json!({"model": "veo-3.1-fast", "prompt": "a fox", "seconds": 8})).await;
    assert_eq!((got.status, &got.json["estimated"]), (200, &json!(true)), "{}", got.json);
    assert!(got.json["total_cost_micros"].as_i64().unwrap() > 0);
    assert!(got.json.get("id").is_none() && got.json.get("status").is_none());
    assert_eq!(kit.get("/v1/videos").await.json["data"], json!([]));
    assert_eq!(kit.bills().await["totals"], json!({}));
    kit.running.stop().await;
}

#[tokio::test]
async fn a_key_makes_one_video() {
    let kit = Kit::start().await;
    let body = json!({"model": "veo-3.1-fast", "prompt": "a fox", "idempotency_key": "order-1"});
    let (first, second) = (kit.post("/v1/videos", &body).await, kit.post("/openai/v1/videos", &body).await);
    assert_eq!((first.status, second.status), (202, 202));
    assert_eq!(first.json["id"], second.json["id"]);
    let other = json!({"model": "veo-3.1-fast", "prompt": "q", "idempotency_key": "order-1"});
    assert_eq!(kit.post("/v1/videos", &other).await.status, 409);
    settled(&kit, &format!("/v1/videos/{}", first.json["id"].as_str().unwrap())).await;
    assert_eq!(kit.get("/v1/videos").await.json["data"].as_array().unwrap().len(), 1);
    kit.running.stop().await;
}

#[tokio::test]
async fn a_running_video_can_be_stopped() {
    let kit = Kit::start().await;
    kit.control(json!({"provider": "*", "latency_ms": 60000})).await;
    let got = kit.post("/v1/videos", &json!({"model": "xai/grok-imagine-video", "prompt": "a fox"})).await;
    let path = format!("/v1/videos/{}", got.json["id"].as_str().unwrap());
    let patience = Instant::now() + Duration::from_secs(20);
    while kit.get(&path).await.json["status"] != "in_progress" {
        assert!(Instant::now() < patience, "it is not begun");
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(kit.delete(&path).await.status, 204);
    let done = settled(&kit, &path).await;
    assert_eq!((&done["status"], &done["error"]["code"]), (&json!("failed"), &json!("CANCELLED")), "{done}");
    let row = kit.get(&format!("/v1/requests/{}", got.json["id"].as_str().unwrap())).await.json;
    assert_eq!(row["status"], "cancelled");
    assert!(row["cost_uncertain"].as_f64().unwrap() > 0.0, "what was begun may be billed: {row}");
    kit.running.stop().await;
}

#[tokio::test]
async fn videos_are_listed_as_openai_lists_them() {
    let kit = Kit::start().await;
    let mut ids = Vec::new();
    for index in 0..5 {
        let done = video(&kit, json!({"model": "veo-3.1-fast", "prompt": format!("fox {index}")})).await;
        ids.push(done["id"].as_str().unwrap().to_owned());
    }
    let walk = async |order: &str| {
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let page = kit.get(&format!("/v1/videos?limit=2&order={order}{after}")).await.json;
            assert_eq!(page["object"], "list");
            seen.extend(page["data"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()));
            assert_eq!(page["last_id"].as_str(), seen.last().map(String::as_str));
            if page["has_more"] == false {
                return seen;
            }
            after = format!("&after={}", page["last_id"].as_str().unwrap());
        }
    };
    assert_eq!(walk("asc").await, ids);
    ids.reverse();
    assert_eq!(walk("desc").await, ids);
    assert_eq!(kit.get("/v1/videos?after=req_nothing").await.error(), (400, "INVALID_REQUEST", "after"));
    kit.running.stop().await;
}

/// A receiver that refuses the first try of everything.
#[derive(Default)]
struct Receiver {
    got: Mutex<Vec<(HeaderMap, Bytes)>>,
}

async fn receive(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut got = receiver.got.lock().unwrap();
    let again = got.iter().any(|(seen, _)| seen["webhook-id"] == headers["webhook-id"]);
    got.push((headers, body));
    if again { StatusCode::NO_CONTENT } else { StatusCode::INTERNAL_SERVER_ERROR }
}

fn signature(secret: &str, headers: &HeaderMap, body: &[u8]) -> String {
    let key = base64_simd::STANDARD.decode_to_vec(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let said = |name: &str| headers[name].to_str().unwrap().to_owned();
    let text = format!("{}.{}.{}", said("webhook-id"), said("webhook-timestamp"), String::from_utf8_lossy(body));
    let tag = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key), text.as_bytes());
    format!("v1,{}", base64_simd::STANDARD.encode_to_string(tag.as_ref()))
}

#[tokio::test]
async fn the_end_is_told_signed_and_again_until_it_is_heard() {
    let receiver = Arc::new(Receiver::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/hook", post(receive)).with_state(Arc::clone(&receiver));
    tokio::spawn(axum::serve(listener, router).into_future());
    let kit = Kit::with(&[("WEBHOOKS__ALLOW_PRIVATE", "true")]).await;
    let old = kit.get("/v1/webhooks/secret").await.json["key"].as_str().unwrap().to_owned();
    let rotated = kit.post("/v1/webhooks/secret/rotate", &json!({})).await.json["key"].as_str().unwrap().to_owned();
    assert_ne!(old, rotated);
    assert_eq!(kit.get("/v1/webhooks/secret").await.json["key"], rotated.as_str());
    let hook = format!("http://{address}/hook");
    let done = video(&kit, json!({"model": "veo-3.1-fast", "prompt": "a fox", "webhook_url": hook})).await;
    let patience = Instant::now() + Duration::from_secs(20);
    while receiver.got.lock().unwrap().len() < 2 {
        assert!(Instant::now() < patience, "not told again");
        sleep(Duration::from_millis(100)).await;
    }
    {
        let got = receiver.got.lock().unwrap();
        let (headers, body) = &got[1];
        assert_eq!(headers["webhook-id"], format!("msg_{}", done["id"].as_str().unwrap()).as_str());
        let signed = headers["webhook-signature"].to_str().unwrap();
        let both = [signature(&rotated, headers, body), signature(&old, headers, body)].join(" ");
        assert_eq!(signed, both, "the new secret and, for a while, the old one");
        let event: Value = serde_json::from_slice(body).unwrap();
        assert_eq!((&event["type"], &event["data"]["id"]), (&json!("video.completed"), &done["id"]));
        assert_eq!(event["data"]["output"]["url"], done["output"]["url"]);
        assert_eq!(got[0].1, got[1].1, "the same body each time");
    }
    let listed = loop {
        let listed = kit.get("/v1/webhooks/deliveries?status=delivered").await.json;
        if listed["data"][0]["status"] == "delivered" {
            break listed;
        }
        assert!(Instant::now() < patience, "{listed}");
        sleep(Duration::from_millis(100)).await;
    };
    let delivery = &listed["data"][0];
    assert_eq!((&delivery["attempts"], &delivery["event"]), (&json!(2), &json!("video.completed")));
    let again = format!("/v1/webhooks/deliveries/{}/redeliver", delivery["id"].as_str().unwrap());
    assert_eq!(kit.post(&again, &json!({})).await.status, 202);
    while receiver.got.lock().unwrap().len() < 3 {
        assert!(Instant::now() < patience + Duration::from_secs(5), "not told once more");
        sleep(Duration::from_millis(100)).await;
    }
    kit.running.stop().await;
}

#[tokio::test]
async fn images_can_be_made_in_the_background() {
    let kit = Kit::start().await;
    let ask = |body: Value| {
        kit.request(Method::POST, "/v1/images/generations")
            .header("content-type", "application/json")
            .body(body.to_string())
    };
    let (status, headers, body) = Kit::raw_bytes(
        ask(json!({"model": "flux.2-pro", "prompt": "a fox", "n": 3})).header("prefer", "respond-async"),
    )
    .await;
    let taken: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, headers["preference-applied"].to_str().unwrap()), (202, "respond-async"), "{taken}");
    let path = format!("/v1/images/{}", taken["id"].as_str().unwrap());
    let done = settled(&kit, &path).await;
    assert_eq!(done["data"].as_array().unwrap().len(), 3, "{done}");
    assert!(done.get("error").is_none());
    let (_, mime) = kit.download(done["data"][0]["url"].as_str().unwrap()).await;
    assert_eq!(mime, format!("image/{}", done["output_format"].as_str().unwrap()));
    // A boolean asks for it too; a text is OpenAI's parameter.
    let body = json!({"model": "gpt-image-2", "prompt": "a fox", "background": true, "response_format": "b64_json",
        "output_format": "webp"});
    let got = kit.generate(body).await;
    assert_eq!(got.status, 202, "{}", got.json);
    let done = settled(&kit, &format!("/v1/images/{}", got.json["id"].as_str().unwrap())).await;
    assert!(done["data"][0]["b64_json"].is_string() && done["data"][0].get("url").is_none(), "{}", done["metadata"]);
    let got = kit.generate(json!({"model": "gpt-image-2", "prompt": "a fox", "background": "opaque"})).await;
    assert_eq!((got.status, got.json["data"].is_array()), (200, true));
    let refused = kit.generate(json!({"model": "gpt-image-2", "prompt": "[refuse]", "background": true})).await;
    let done = settled(&kit, &format!("/v1/images/{}", refused.json["id"].as_str().unwrap())).await;
    assert_eq!(done["error"]["code"], "CONTENT_POLICY_VIOLATION");
    balance(&kit).await;
    assert_eq!(kit.delete(&path).await.status, 204);
    assert_eq!(kit.get(&path).await.status, 404);
    kit.running.stop().await;
}

#[tokio::test]
async fn one_account_does_not_see_anothers() {
    let kit = Kit::start().await;
    let done = video(&kit, json!({"model": "veo-3.1-fast", "prompt": "a fox"})).await;
    let key = kit.post("/v1/keys", &json!({"name": "other"})).await.json["key"].as_str().unwrap().to_owned();
    assert_ne!(key, KEY);
    let id = done["id"].as_str().unwrap().to_owned();
    let mine: Got = kit.raw(|client, base| client.get(format!("{base}/v1/videos/{id}")).bearer_auth(&key)).await;
    assert_eq!(mine.status, 200, "the same account");
    let nobody = kit.raw(|client, base| client.get(format!("{base}/v1/videos/{id}/content"))).await;
    assert_eq!(nobody.status, 401, "the content needs a key; the link of the output does not");
    kit.running.stop().await;
}
