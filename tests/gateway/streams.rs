//! Streamed pictures: OpenAI's events, whoever makes them, and one purchase whatever happens.

use super::kit::{Kit, picture, picture_facts};
use lumenfall::media::Format;
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use std::time::Duration;

const GENERATE: &str = "/openai/v1/images/generations";

/// The events of a stream, each with the name before it, which is the `type` inside.
pub(super) fn events(text: &str) -> Vec<Value> {
    let blocks = text.split("\n\n").filter(|block| !block.is_empty() && !block.starts_with(':'));
    let read = |block: &str| {
        let (name, data) = block.split_once('\n').unwrap();
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(name.strip_prefix("event: "), data["type"].as_str());
        data
    };
    blocks.map(read).collect()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

fn decoded(event: &Value) -> Vec<u8> {
    base64_simd::STANDARD.decode_to_vec(event["b64_json"].as_str().unwrap()).unwrap()
}

async fn stream(kit: &Kit, body: Value) -> Vec<Value> {
    let request = kit.request(Method::POST, GENERATE).header("content-type", "application/json").body(body.to_string());
    let (status, mime, text) = kit.stream(request).await;
    assert_eq!((status, mime.as_str()), (200, "text/event-stream"), "{text}");
    events(&text)
}

async fn row(kit: &Kit, id: &Value) -> Value {
    kit.get(&format!("/v1/requests/{}", id.as_str().unwrap())).await.json
}

#[tokio::test]
async fn unfinished_pictures_come_before_the_finished_one() {
    let kit = Kit::start().await;
    let body = json!({"model": "openai/gpt-image-2", "prompt": "a fox", "stream": true, "partial_images": 2,
        "quality": "high", "size": "1024x1024"});
    let all = stream(&kit, body).await;
    let partial = "image_generation.partial_image";
    assert_eq!(kinds(&all), [partial, partial, "image_generation.completed"]);
    for (index, event) in all.iter().enumerate() {
        let facts = picture_facts(&decoded(event));
        assert_eq!((event["size"].as_str(), facts.format), (Some("1024x1024"), Format::Png));
        assert_eq!((&event["quality"], &event["output_format"]), (&json!("high"), &json!("png")));
        assert!(event["created_at"].as_i64().unwrap() > 1_700_000_000);
        assert_eq!(event["partial_image_index"], if index < 2 { json!(index) } else { Value::Null });
    }
    let metadata = &all[2]["metadata"];
    let row = row(&kit, &all[2]["id"]).await;
    assert_eq!((&row["status"], &row["cost"]), (&json!("completed"), &metadata["cost"]));
    let bills = kit.bills().await["totals"]["openai"].clone();
    assert_eq!(bills["creates"], 1);
    let billed: f64 = bills["billed_usd"].as_str().unwrap().parse().unwrap();
    assert_eq!(json!(billed), metadata["cost"]);
    kit.running.stop().await;
}

#[tokio::test]
async fn edits_are_streamed_too() {
    let kit = Kit::start().await;
    let file = Part::bytes(picture("png:1024x1024")).file_name("a.png").mime_str("image/png").unwrap();
    let form = Form::new().part("image", file).text("stream", "true").text("partial_images", "1");
    let form = form.text("prompt", "a fox").text("model", "openai/gpt-image-2");
    let request = kit.request(Method::POST, "/v1/images/edits").multipart(form);
    let (status, _, text) = kit.stream(request).await;
    assert_eq!(status, 200, "{text}");
    assert_eq!(kinds(&events(&text)), ["image_edit.partial_image", "image_edit.completed"]);
    kit.running.stop().await;
}

#[tokio::test]
async fn where_nothing_is_streamed_the_finished_event_comes_alone() {
    let kit = Kit::start().await;
    let all = stream(
        &kit,
        json!({"model": "flux.1-schnell", "prompt": "a fox", "stream": true, "partial_images": 3, "size": "256x192",
            "output_format": "webp", "n": 2}),
    )
    .await;
    assert_eq!(kinds(&all), ["image_generation.completed"; 2], "one for each picture");
    let facts = picture_facts(&decoded(&all[0]));
    assert_eq!((facts.format, facts.size.to_string().as_str()), (Format::Webp, "256x192"), "emulated as ever");
    let told = all[0]["metadata"]["adjustments"].as_array().unwrap();
    assert!(told.iter().any(|told| told["param"] == "partial_images"), "{told:?}");
    // OpenRouter shows as many as it likes, and its comments and [DONE] are not ours.
    let all = stream(&kit, json!({"model": "openrouter/gpt-image-2", "prompt": "a fox", "stream": true, "n": 2})).await;
    let mut seen = kinds(&all);
    seen.sort_unstable();
    assert_eq!(
        seen,
        [
            "image_generation.completed",
            "image_generation.completed",
            "image_generation.partial_image",
            "image_generation.partial_image"
        ]
    );
    assert_eq!(kit.bills().await["totals"]["openrouter"]["creates"], 2);
    // A link, when one is asked for.
    let all =
        stream(&kit, json!({"model": "mock-image", "prompt": "a fox", "stream": true, "response_format": "url"})).await;
    assert!(all[0]["b64_json"].is_null());
    kit.download(all[0]["url"].as_str().unwrap()).await;
    kit.running.stop().await;
}

#[tokio::test]
async fn errors_have_their_status_while_nothing_was_sent_and_are_events_later() {
    let kit = Kit::start().await;
    for (model, prompt, status, code) in [
        ("gpt-image-9", "a fox", 404, "MODEL_NOT_FOUND"),
        ("openai/gpt-image-2", "[refuse]", 400, "CONTENT_POLICY_VIOLATION"),
    ] {
        let got = kit.generate(json!({"model": model, "prompt": prompt, "stream": true})).await;
        assert_eq!((got.error().0, got.error().1), (status, code), "{}", got.json);
    }
    kit.control(json!({"provider": "openai", "fault": "status", "status": 500, "latency_ms": 1300, "times": 1})).await;
    let all = stream(&kit, json!({"model": "openai/gpt-image-2", "prompt": "a fox", "stream": true})).await;
    assert_eq!((kinds(&all), &all[0]["error"]["code"]), (vec!["error"], &json!("UPSTREAM_ERROR")));
    let page = kit.get("/v1/requests?limit=1").await.json;
    let list = page["data"].as_array().unwrap();
    assert_eq!(list[0]["status"], "upstream_failure", "{page}");
    kit.running.stop().await;
}

/// The stream breaks after an unfinished picture: that call may be billed, is not repeated, and the next route serves.
#[tokio::test]
async fn a_broken_stream_moves_on_to_the_next_route() {
    let kit = Kit::start().await;
    kit.control(json!({"provider": "openai", "fault": "truncate", "times": 1})).await;
    let body =
        json!({"model": "gpt-image-2", "prompt": "a fox", "stream": true, "partial_images": 3, "size": "1024x1024"});
    let all = stream(&kit, body).await;
    let last = all.last().unwrap();
    assert_eq!(last["type"], "image_generation.completed");
    assert!(all.len() > 1 && kinds(&all)[0] == "image_generation.partial_image", "{:?}", kinds(&all));
    assert_eq!(last["metadata"]["provider"], "fal");
    assert_eq!(last["metadata"]["attempts"].as_array().unwrap().len(), 2);
    assert!(last["metadata"]["cost_uncertain"].as_f64().unwrap() > 0.0, "{}", last["metadata"]);
    let totals = kit.bills().await["totals"].clone();
    assert_eq!((&totals["openai"]["creates"], &totals["fal"]["creates"]), (&json!(1), &json!(1)));
    kit.running.stop().await;
}

#[tokio::test]
async fn a_caller_who_hangs_up_is_still_in_the_books() {
    let kit = Kit::start().await;
    kit.control(json!({"provider": "openai", "latency_ms": 1500, "times": 1})).await;
    let body = json!({"model": "openai/gpt-image-2", "prompt": "a fox", "stream": true}).to_string();
    let request = kit.request(Method::POST, GENERATE).header("content-type", "application/json").body(body);
    let gone = tokio::time::timeout(Duration::from_millis(1200), kit.stream(request)).await;
    assert!(gone.is_err(), "the stream was still open");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let page = kit.get("/v1/requests?limit=1&summary=true").await.json;
    assert_eq!(page["data"][0]["status"], "completed", "{page}");
    let billed = kit.bills().await["totals"]["openai"]["billed_usd"].as_str().unwrap().parse::<f64>().unwrap();
    assert_eq!(page["summary"]["total_cost"], json!(billed));
    kit.running.stop().await;
}

/// With a key, the events are one answer that can be given again: once made, they are not bought twice.
#[tokio::test]
async fn an_idempotency_key_replays_the_events() {
    let kit = Kit::start().await;
    let body =
        json!({"model": "openai/gpt-image-2", "prompt": "a fox", "stream": true, "partial_images": 1}).to_string();
    let ask = || {
        let request = kit.request(Method::POST, GENERATE).header("content-type", "application/json");
        kit.stream(request.header("idempotency-key", "k1").body(body.clone()))
    };
    let (first, again) = (ask().await, ask().await);
    assert_eq!(first.0, 200);
    assert_eq!(first, again);
    assert_eq!(kinds(&events(&first.2)), ["image_generation.partial_image", "image_generation.completed"]);
    assert_eq!(kit.bills().await["totals"]["openai"]["creates"], 1);
    kit.running.stop().await;
}
