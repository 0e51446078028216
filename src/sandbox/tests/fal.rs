use super::{Answer, Client, look};
use image::ImageFormat;
use serde_json::{Value, json};
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
