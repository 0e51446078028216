use super::{Answer, Client, look};
use crate::Sandbox;
use crate::catalog::{Catalog, InputShape, load};
use crate::media::{Format, Size, draw};
use image::ImageFormat;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const SCHNELL: &str = "/fal/fal-ai/flux/schnell";
const MAX: &str = "/fal/fal-ai/flux-2-max";

fn client() -> Client {
    Client::new("Key id:secret")
}

/// The path of an absolute link of ours.
fn path(link: &Value) -> String {
    link.as_str().unwrap().strip_prefix("http://sandbox.test").unwrap().to_owned()
}

async fn submit(client: &Client, endpoint: &str, input: Value) -> Value {
    let answer = client.post(endpoint, input).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    answer.json()
}

/// Polls to the end: the statuses seen, and the result.
async fn follow(client: &Client, job: &Value) -> (Vec<String>, Answer) {
    let mut seen = Vec::new();
    loop {
        let answer = client.get(&path(&job["status_url"])).await;
        let status = answer.json()["status"].as_str().unwrap().to_owned();
        assert_eq!(answer.status.as_u16(), if status == "COMPLETED" { 200 } else { 202 });
        seen.push(status);
        if answer.status == 200 {
            return (seen, client.get(&path(&job["response_url"])).await);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_goes_through_the_queue() {
    let client = client();
    let input =
        json!({"prompt": "a fox", "num_images": 2, "image_size": {"width": 512, "height": 256}, "seed": 7, "any": 1});
    let job = submit(&client, SCHNELL, input).await;
    let id = job["request_id"].as_str().unwrap();
    assert_eq!(job["status"], "IN_QUEUE");
    assert_eq!(job["status_url"], format!("http://sandbox.test/fal/fal-ai/flux/requests/{id}/status"));
    let early = client.get(&path(&job["response_url"])).await;
    assert_eq!((early.status.as_u16(), early.json()), (400, json!({"detail": "Request is still in progress"})));
    let (seen, result) = follow(&client, &job).await;
    assert_eq!(seen, ["IN_PROGRESS", "COMPLETED"], "the early fetch was the first poll");
    assert_eq!(result.status, 200);
    assert_eq!((result.header("x-fal-billable-units"), result.header("x-fal-request-id")), ("2", id));
    let body = result.json();
    assert_eq!([&body["seed"], &body["prompt"]], [&json!(7), &json!("a fox")]);
    assert_eq!(body["has_nsfw_concepts"], json!([false, false]));
    let images = body["images"].as_array().unwrap();
    assert_eq!(images.len(), 2);
    let public = client.with_key("");
    let file = public.get(&path(&images[1]["url"])).await;
    assert_eq!((file.status.as_u16(), file.header("content-type")), (200, "image/jpeg"));
    assert_eq!(look(&file.body), (ImageFormat::Jpeg, (512, 256)));
    assert_eq!(images[1]["file_size"], file.body.len());
    assert_ne!(public.get(&path(&images[0]["url"])).await.body, file.body);
    let totals = client.totals("fal").await;
    let counts = ["creates", "polls", "fetches", "files"].map(|name| totals[name].as_u64().unwrap());
    assert_eq!((counts, totals["billed_usd"].as_str()), ([1, 2, 2, 2], Some("0.006000")));
}

#[tokio::test(start_paused = true)]
async fn polls_and_time_are_steered() {
    let client = client();
    let job = submit(&client, SCHNELL, json!({"prompt": "a fox"})).await;
    assert_eq!(follow(&client, &job).await.0, ["IN_QUEUE", "IN_PROGRESS", "COMPLETED"]);
    client.steer(json!({"provider": "fal", "job_polls": 0})).await;
    let job = submit(&client, SCHNELL, json!({"prompt": "a fox"})).await;
    assert_eq!(follow(&client, &job).await.0, ["COMPLETED"]);
    client.steer(json!({"provider": "fal", "latency_ms": 1000})).await;
    let job = submit(&client, SCHNELL, json!({"prompt": "a fox"})).await;
    for (wait, status) in [(0, "IN_QUEUE"), (500, "IN_PROGRESS"), (600, "COMPLETED")] {
        tokio::time::advance(Duration::from_millis(wait)).await;
        assert_eq!(client.get(&path(&job["status_url"])).await.json()["status"], status);
    }
}

#[tokio::test(start_paused = true)]
async fn keys_accounts_and_endpoints() {
    let client = client();
    for (authorization, endpoint, status) in [
        ("", SCHNELL, 401),
        ("Bearer id:secret", SCHNELL, 401),
        ("Key bad", SCHNELL, 401),
        ("Key broke", SCHNELL, 403),
        ("Key good", "/fal/fal-ai/imagen4", 404),
    ] {
        let answer = client.with_key(authorization).post(endpoint, json!({"prompt": "a fox"})).await;
        assert_eq!(answer.status, status, "{authorization} {endpoint}");
        assert!(answer.json()["detail"].is_string());
    }
    let broke = client.with_key("Key broke").post(SCHNELL, json!({"prompt": "a fox"})).await.json();
    assert!(broke["detail"].as_str().unwrap().starts_with("User is locked. Reason: Exhausted balance."));
    assert_eq!(client.send("POST", SCHNELL, "[]").await.json()["error_type"], "bad_request");
    let job = submit(&client, SCHNELL, json!({"prompt": "a fox"})).await;
    assert_eq!(client.with_key("Key bad").get(&path(&job["status_url"])).await.status, 401);
    let full = path(&job["status_url"]).replace("flux/requests", "flux/schnell/requests");
    assert_eq!(client.get(&full).await.status, 404, "only the first two segments");
}

#[tokio::test(start_paused = true)]
async fn bad_input_is_told_by_the_result() {
    let client = client();
    for (input, place, kind) in [
        (json!({}), json!(["body", "prompt"]), "missing"),
        (json!({"prompt": 5}), json!(["body", "prompt"]), "string_type"),
        (json!({"num_images": 5}), json!(["body", "num_images"]), "less_than_equal"),
        (json!({"num_images": 0}), json!(["body", "num_images"]), "greater_than_equal"),
        (json!({"output_format": "webp"}), json!(["body", "output_format"]), "literal_error"),
        (json!({"image_size": "huge"}), json!(["body", "image_size"]), "literal_error"),
        (
            json!({"image_size": {"width": 0, "height": 5}}),
            json!(["body", "image_size", "width"]),
            "greater_than_equal",
        ),
        (json!({"image_size": {"height": 14143}}), json!(["body", "image_size", "height"]), "less_than_equal"),
        (json!({"image_size": {"width": 4096, "height": 4096}}), json!(["body", "image_size"]), "image_too_large"),
        (json!({"sync_mode": "yes"}), json!(["body", "sync_mode"]), "bool_type"),
    ] {
        let mut whole = if kind == "missing" { json!({}) } else { json!({"prompt": "a fox"}) };
        whole.as_object_mut().unwrap().extend(input.as_object().unwrap().clone());
        let job = submit(&client, SCHNELL, whole).await;
        let (seen, result) = follow(&client, &job).await;
        assert_eq!((seen.last().unwrap().as_str(), result.status.as_u16()), ("COMPLETED", 422));
        let complaint = result.json()["detail"][0].clone();
        assert_eq!((&complaint["loc"], &complaint["type"]), (&place, &json!(kind)), "{complaint}");
        for name in ["msg", "url", "ctx", "input"] {
            assert!(!complaint[name].is_null(), "{name} of {complaint}");
        }
    }
    assert_eq!(client.totals("fal").await["billed_usd"], "0.000000");
    // No `num_images` there: unknown fields are ignored.
    let job = submit(&client, MAX, json!({"prompt": "a fox", "num_images": 3, "image_size": "square"})).await;
    let result = follow(&client, &job).await.1.json();
    assert_eq!((result["images"].as_array().unwrap().len(), &result["images"][0]["width"]), (1, &json!(512)));
}

#[tokio::test(start_paused = true)]
async fn two_ways_of_refusing_and_one_of_failing() {
    let client = client();
    let job = submit(&client, MAX, json!({"prompt": "a [refuse] fox"})).await;
    let result = follow(&client, &job).await.1;
    assert_eq!(result.status, 422);
    assert_eq!(result.json()["detail"][0]["type"], "content_policy_violation");

    let job = submit(&client, MAX, json!({"prompt": "a [fail] fox"})).await;
    while client.get(&path(&job["status_url"])).await.status != 200 {}
    let status = client.get(&path(&job["status_url"])).await.json();
    assert_eq!([&status["status"], &status["error_type"]], ["COMPLETED", "internal_server_error"]);
    let result = client.get(&path(&job["response_url"])).await;
    assert_eq!(
        (result.status.as_u16(), result.json()["detail"][0]["type"].as_str()),
        (500, Some("internal_server_error"))
    );
    assert_eq!(client.totals("fal").await["billed_usd"], "0.000000");

    client.steer(json!({"provider": "fal", "model": "flux.1-schnell", "fault": "refuse"})).await;
    let job = submit(&client, SCHNELL, json!({"prompt": "a fox", "output_format": "png"})).await;
    let result = follow(&client, &job).await.1;
    assert_eq!((result.status.as_u16(), &result.json()["has_nsfw_concepts"]), (200, &json!([true])));
    let file = client.get(&path(&result.json()["images"][0]["url"])).await;
    let picture = image::load_from_memory(&file.body).unwrap().to_rgb8();
    assert!(picture.pixels().all(|pixel| pixel.0 == [0, 0, 0]));
    assert_eq!(client.totals("fal").await["billed_usd"], "0.003000", "it was made, so it is billed");
}

#[tokio::test(start_paused = true)]
async fn cancelling_a_queued_job_takes_the_bill_back() {
    let client = client();
    let job = submit(&client, MAX, json!({"prompt": "a fox"})).await;
    assert_eq!(client.totals("fal").await["billed_usd"], "0.070000");
    let cancel = path(&job["cancel_url"]);
    let answer = client.send("PUT", &cancel, "").await;
    assert_eq!((answer.status.as_u16(), answer.json()), (202, json!({"status": "CANCELLATION_REQUESTED"})));
    assert_eq!(client.totals("fal").await["billed_usd"], "0.000000");
    assert_eq!(follow(&client, &job).await.1.json()["error_type"], "client_cancelled");
    let answer = client.send("PUT", &cancel, "").await;
    assert_eq!((answer.status.as_u16(), answer.json()), (400, json!({"status": "ALREADY_COMPLETED"})));
    let answer = client.send("PUT", "/fal/fal-ai/flux-2-max/requests/none/cancel", "").await;
    assert_eq!((answer.status.as_u16(), answer.json()), (404, json!({"status": "NOT_FOUND"})));

    let job = submit(&client, MAX, json!({"prompt": "a fox"})).await;
    client.get(&path(&job["status_url"])).await;
    client.get(&path(&job["status_url"])).await;
    assert_eq!(client.send("PUT", &path(&job["cancel_url"]), "").await.status, 202);
    assert_eq!(follow(&client, &job).await.1.status, 200, "a running job finishes");
    assert_eq!(client.totals("fal").await["billed_usd"], "0.070000");
}

#[tokio::test(start_paused = true)]
async fn results_are_inline_on_request_and_do_not_last() {
    let client = client();
    let job = submit(&client, SCHNELL, json!({"prompt": "a fox", "sync_mode": true})).await;
    let result = follow(&client, &job).await.1.json();
    assert!(result["images"][0]["url"].as_str().unwrap().starts_with("data:image/jpeg;base64,/9j/"));
    tokio::time::advance(Duration::from_hours(1)).await;
    assert_eq!(client.get(&path(&job["response_url"])).await.status, 404);
    for name in ["x", "x_0.png", "none_0.jpg"] {
        assert_eq!(client.get(&format!("/fal/files/{name}")).await.status, 404);
    }
}

#[tokio::test(start_paused = true)]
async fn spoils_results_and_files() {
    let client = client();
    for fault in ["truncate", "wrong_type", "wrong_size", "garbage", "empty"] {
        client.steer(json!({"provider": "fal", "fault": fault, "times": 1})).await;
    }
    let job = submit(&client, SCHNELL, json!({"prompt": "a fox"})).await;
    assert_eq!(follow(&client, &job).await.1.json()["images"], json!([]));
    let again = client.get(&path(&job["response_url"])).await;
    assert!(again.status == 200 && serde_json::from_slice::<Value>(&again.body).is_err());
    let result = client.get(&path(&job["response_url"])).await.json();
    let link = path(&result["images"][0]["url"]);
    assert_eq!(look(&client.get(&link).await.body).1, (512, 384));
    let file = client.get(&link).await;
    assert_eq!((file.header("content-type"), look(&file.body).0), ("image/jpeg", ImageFormat::Png));
    assert!(!client.get(&link).await.whole);
    assert_eq!(look(&client.get(&link).await.body), (ImageFormat::Jpeg, (1024, 768)));
    assert_eq!(client.totals("fal").await["billed_usd"], "0.003000");
}

/// A sandbox that serves the whole catalog of fal, and that catalog.
fn whole_client() -> (Client, Arc<Catalog>) {
    let files = [
        ("models", include_str!("../../../../config/catalog/models.toml")),
        ("fal", include_str!("../../../../config/catalog/fal.toml")),
    ];
    let catalog = Arc::new(load(files).unwrap());
    let sandbox = Arc::new(Sandbox::new(Arc::clone(&catalog)));
    (Client { router: sandbox.router(), sandbox, authorization: "Key id:secret".to_owned() }, catalog)
}

/// A picture to work from, as a data URI.
fn given(width: u32, height: u32) -> String {
    let file = draw("given", Size::new(width, height), Format::Png).unwrap();
    format!("data:image/png;base64,{}", base64_simd::STANDARD.encode_to_string(file))
}

async fn run(client: &Client, endpoint: &str, input: Value) -> Answer {
    let job = submit(client, &format!("/fal/{endpoint}"), input).await;
    follow(client, &job).await.1
}

#[tokio::test(start_paused = true)]
async fn every_endpoint_of_the_catalog_answers_in_its_own_shape() {
    let (client, catalog) = whole_client();
    let mut seen = 0;
    for route in catalog.routes_of("fal") {
        let mut input = route.defaults.clone();
        input.insert(route.field("prompt").unwrap_or("prompt").to_owned(), json!("a fox"));
        for (place, name, value) in [
            ("ideogram/v3/edit", "mask_url", json!(given(64, 48))),
            ("ideogram/character/edit", "mask_url", json!(given(64, 48))),
            ("ideogram/character/edit", "reference_image_urls", json!([given(64, 48)])),
            ("veo3.1/first-last-frame-to-video", "last_frame_url", json!(given(64, 48))),
        ] {
            if route.upstream.ends_with(place) {
                input.insert(name.to_owned(), value);
            }
        }
        if let Some(inputs) = &route.inputs {
            let picture = json!(given(64, 48));
            let value = if inputs.shape == InputShape::Single { picture } else { json!([picture]) };
            let video = inputs.video.clone().map(|field| (field, json!("https://media.test/fox.mp4")));
            input.extend([video.unwrap_or_else(|| (inputs.field.clone(), value))]);
        }
        let answer = run(&client, &route.upstream, Value::Object(input)).await;
        assert_eq!(answer.status, 200, "{}: {:?}", route.upstream, answer.body);
        let body = answer.json();
        let found = [&body["images"][0], &body["image"], &body["video"]].into_iter().find(|file| file.is_object());
        let file = found.unwrap_or_else(|| panic!("{}: {body}", route.upstream));
        assert_eq!(file["content_type"] == "video/mp4", body["video"].is_object(), "{}", route.upstream);
        assert!(file["url"].as_str().unwrap().starts_with("http://sandbox.test/fal/files/"));
        seen += 1;
    }
    assert!(seen > 350, "{seen}");
}

#[tokio::test(start_paused = true)]
async fn edits_want_sound_pictures_and_bill_them() {
    let (client, _) = whole_client();
    let edit = "fal-ai/flux-2-pro/edit";
    let picture = given(64, 48);
    for (input, place, kind) in [
        (json!({}), json!(["body", "image_urls"]), "missing"),
        (json!({"image_urls": []}), json!(["body", "image_urls"]), "sequence_too_short"),
        (json!({"image_urls": picture}), json!(["body", "image_urls"]), "list_type"),
        (json!({"image_urls": vec![picture.as_str(); 9]}), json!(["body", "image_urls"]), "sequence_too_long"),
        (json!({"image_urls": [picture, "fox.png"]}), json!(["body", "image_urls", "1"]), "file_download_error"),
        (json!({"image_urls": ["data:image/png;base64,AAAA"]}), json!(["body", "image_urls", "0"]), "image_load_error"),
        (json!({"image_urls": [picture], "safety_tolerance": 2}), json!(["body", "safety_tolerance"]), "literal_error"),
    ] {
        let mut whole = json!({"prompt": "a fox"});
        whole.as_object_mut().unwrap().extend(input.as_object().unwrap().clone());
        let answer = run(&client, edit, whole).await;
        assert_eq!(answer.status, 422, "{kind}");
        let complaint = answer.json()["detail"][0].clone();
        assert_eq!((&complaint["loc"], &complaint["type"]), (&place, &json!(kind)), "{complaint}");
    }
    assert_eq!(client.totals("fal").await["billed_usd"], "0.000000");
    // Two pictures of a started megapixel each, and one made: 0.03 + 2 · 0.015.
    let input = json!({"prompt": "a fox", "image_urls": [picture, picture], "image_size": "auto"});
    let answer = run(&client, edit, input).await;
    assert_eq!((answer.header("x-fal-billable-units"), answer.json()["images"][0]["width"].as_u64()), ("3", Some(64)));
    assert_eq!(client.totals("fal").await["billed_usd"], "0.060000");
    let single = run(&client, "fal-ai/qwen-image-edit", json!({"prompt": "a fox", "image_url": [picture]})).await;
    assert_eq!(single.json()["detail"][0]["type"], "string_type");
}

#[tokio::test(start_paused = true)]
async fn shapes_scales_and_shapes_of_results() {
    let (client, _) = whole_client();
    let pro = "fal-ai/nano-banana-pro";
    let answer = run(&client, pro, json!({"prompt": "a fox", "aspect_ratio": "7:5", "resolution": "8K"})).await;
    let complaints = answer.json()["detail"].as_array().unwrap().clone();
    let fields: Vec<&str> = complaints.iter().map(|one| one["loc"][1].as_str().unwrap()).collect();
    assert_eq!((answer.status.as_u16(), fields), (422, vec!["aspect_ratio", "resolution"]));
    let answer = run(&client, pro, json!({"prompt": "a fox", "aspect_ratio": "16:9", "resolution": "2K"})).await;
    let file = &answer.json()["images"][0];
    assert_eq!((file["width"].as_u64(), file["height"].as_u64()), (Some(2736), Some(1536)));
    assert_eq!(client.totals("fal").await["billed_usd"], "0.150000");
    let answer = run(&client, "bria/text-to-image/3.2", json!({"prompt": "a fox"})).await.json();
    assert!(answer["image"].is_object() && answer["images"].is_null(), "{answer}");
    let answer = run(&client, "xai/grok-imagine-image", json!({"prompt": "a fox"})).await.json();
    assert_eq!((&answer["revised_prompt"], &answer["has_nsfw_concepts"]), (&json!("a fox, in detail"), &Value::Null));
}

#[tokio::test(start_paused = true)]
async fn videos_last_as_long_as_they_were_ordered_and_cost_so() {
    let (client, _) = whole_client();
    let veo = "fal-ai/veo3.1";
    for duration in [json!(6), json!("6"), json!("5s")] {
        let answer = run(&client, veo, json!({"prompt": "a fox", "duration": duration})).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["detail"][0]["loc"][1]), (422, &json!("duration")));
    }
    let answer = run(&client, veo, json!({"prompt": "a fox", "duration": "6s", "generate_audio": false})).await;
    let body = answer.json();
    assert_eq!(answer.header("x-fal-billable-units"), "6");
    let file = client.with_key("").get(&path(&body["video"]["url"])).await;
    assert_eq!((file.header("content-type"), &file.body[4..8]), ("video/mp4", b"ftyp".as_slice()));
    assert_eq!(body["video"]["file_size"], file.body.len());
    assert_eq!(client.totals("fal").await["billed_usd"], "1.200000");
    let frames = run(&client, "fal-ai/wan/v2.2-a14b/text-to-video", json!({"prompt": "a fox", "num_frames": 81})).await;
    assert_eq!(frames.header("x-fal-billable-units"), "5");
    assert_eq!(client.totals("fal").await["billed_usd"], "1.600000");
    let start =
        run(&client, "fal-ai/kling-video/v3/pro/image-to-video", json!({"prompt": "a fox", "duration": "3"})).await;
    assert_eq!(start.json()["detail"][0]["loc"][1], "start_image_url");
    let refused = run(&client, veo, json!({"prompt": "a [refuse] fox"})).await;
    assert_eq!(refused.json()["detail"][0]["type"], "content_policy_violation");
}

#[tokio::test(start_paused = true)]
async fn videos_are_billed_in_every_way_that_fal_has() {
    let (client, _) = whole_client();
    let mut before = 0.0;
    for (endpoint, input, units, dollars) in [
        // 1280 x 720 x 24 x 5 / 1024 tokens at 2.40 a million, half of it without sound.
        ("fal-ai/bytedance/seedance/v1.5/pro/text-to-video", json!({}), "1", 0.2592),
        ("fal-ai/bytedance/seedance/v1.5/pro/text-to-video", json!({"generate_audio": false}), "1", 0.1296),
        // The page's own example: 121 frames of 1280x720 are 112 megapixels, 0.2016.
        (
            "fal-ai/ltx-2-19b/text-to-video",
            json!({"num_frames": 121, "video_size": {"width": 1280, "height": 720}}),
            "112",
            0.2016,
        ),
        ("fal-ai/vidu/q2/image-to-video/pro", json!({"resolution": "1080p", "duration": 5}), "5", 0.8),
        ("fal-ai/wan-t2v", json!({"num_frames": 81, "resolution": "480p"}), "1", 0.2),
        ("fal-ai/pixverse/v5.6/text-to-video", json!({"duration": "8", "generate_audio_switch": true}), "1", 1.8),
        ("fal-ai/veo3.1/lite", json!({"duration": "4s", "generate_audio": false}), "4", 0.12),
    ] {
        let mut whole = json!({"prompt": "a fox", "image_url": given(64, 48)});
        whole.as_object_mut().unwrap().extend(input.as_object().unwrap().clone());
        let answer = run(&client, endpoint, whole).await;
        assert_eq!(answer.status, 200, "{endpoint}: {:?}", answer.body);
        assert_eq!(answer.header("x-fal-billable-units"), units, "{endpoint}");
        let billed: f64 = client.totals("fal").await["billed_usd"].as_str().unwrap().parse().unwrap();
        assert!((billed - before - dollars).abs() < 1e-6, "{endpoint}: {}", billed - before);
        before = billed;
    }
}

#[tokio::test(start_paused = true)]
async fn endpoints_have_fields_of_their_own() {
    let (client, _) = whole_client();
    let picture = given(64, 48);
    for (endpoint, input, place, kind) in [
        ("fal-ai/ideogram/v3/edit", json!({"image_url": picture}), json!(["body", "mask_url"]), "missing"),
        ("fal-ai/luma-photon/modify", json!({"image_url": picture}), json!(["body", "aspect_ratio"]), "missing"),
        (
            "fal-ai/veo3.1/first-last-frame-to-video",
            json!({"first_frame_url": picture}),
            json!(["body", "last_frame_url"]),
            "missing",
        ),
        ("bria/fibo-edit/edit", json!({"image_url": picture}), json!(["body", "instruction"]), "missing"),
        (
            "fal-ai/kling-video/o1/image-to-video",
            json!({"start_image_url": picture, "end_image_url": "fox.png"}),
            json!(["body", "end_image_url"]),
            "file_download_error",
        ),
        ("fal-ai/wan-t2v", json!({"num_frames": "81"}), json!(["body", "num_frames"]), "int_type"),
        ("fal-ai/vidu/q3/text-to-video", json!({"duration": "5"}), json!(["body", "duration"]), "literal_error"),
        ("fal-ai/vidu/q3/text-to-video", json!({"audio": "no"}), json!(["body", "audio"]), "bool_type"),
        ("decart/lucy-edit/pro", json!({"image_url": picture}), json!(["body", "video_url"]), "missing"),
        ("fal-ai/fast-sdxl", json!({"format": "webp"}), json!(["body", "format"]), "literal_error"),
    ] {
        let mut whole = json!({"prompt": "a fox"});
        whole.as_object_mut().unwrap().extend(input.as_object().unwrap().clone());
        let answer = run(&client, endpoint, whole).await;
        assert_eq!(answer.status, 422, "{endpoint}");
        let complaint = answer.json()["detail"][0].clone();
        assert_eq!((&complaint["loc"], &complaint["type"]), (&place, &json!(kind)), "{complaint}");
    }
    // What says nothing of a prompt is not asked for one.
    let answer = run(&client, "fal-ai/stable-video", json!({"image_url": picture})).await;
    assert_eq!(answer.status, 200);
}
