use super::{Answer, Client, look};
use image::ImageFormat;
use serde_json::{Value, json};

fn client() -> Client {
    Client::new("Bearer sk-test")
}

async fn make(client: &Client, extra: Value) -> Answer {
    let mut body = json!({"model": "gpt-image-2", "prompt": "a fox in the snow", "size": "1024x640", "quality": "low"});
    for (name, value) in extra.as_object().unwrap() {
        body[name] = value.clone();
    }
    client.post("/openai/images/generations", body).await
}

fn picture(answer: &Answer, index: usize) -> Vec<u8> {
    base64_simd::STANDARD.decode_to_vec(answer.json()["data"][index]["b64_json"].as_str().unwrap()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn makes_what_was_asked_for_and_bills_its_tokens() {
    let client = client();
    let answer = make(&client, json!({"n": 2, "output_format": "jpeg", "user": "u1"})).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    let body = answer.json();
    assert_eq!(look(&picture(&answer, 0)), (ImageFormat::Jpeg, (1024, 640)));
    assert_ne!(picture(&answer, 0), picture(&answer, 1), "two pictures, not one twice");
    let told = [&body["output_format"], &body["size"], &body["quality"], &body["background"]];
    assert_eq!(told, ["jpeg", "1024x640", "low", "opaque"]);
    // ceil(16 · 10 · 2,655,360 / 4,000,000) = 107 for each of two, and 17 characters are 5 tokens.
    assert_eq!(body["usage"]["output_tokens"], 214);
    assert_eq!(body["usage"]["input_tokens_details"]["text_tokens"], 5);
    assert_eq!(body["usage"]["total_tokens"], 219);
    // 214 · $30 + 5 · $5 a million
    assert_eq!(client.totals("openai").await["billed_usd"], "0.006445");
    assert!(answer.header("x-request-id").starts_with("req_"));
    assert!(!answer.header("x-ratelimit-remaining-requests").is_empty());
}

#[tokio::test(start_paused = true)]
async fn resolves_what_is_left_to_the_model() {
    let answer = make(&client(), json!({"size": "auto", "quality": "auto", "n": null})).await;
    let body = answer.json();
    assert_eq!([&body["size"], &body["quality"], &body["output_format"]], ["1024x1024", "medium", "png"]);
    assert_eq!(body["usage"]["output_tokens"], 1756);
    assert_eq!(look(&picture(&answer, 0)), (ImageFormat::Png, (1024, 1024)));
}

#[tokio::test(start_paused = true)]
async fn keys_and_accounts() {
    let client = client();
    for (authorization, status, code) in [
        ("", 401, Value::Null),
        ("Basic sk-test", 401, Value::Null),
        ("Bearer bad-key", 401, "invalid_api_key".into()),
        ("Bearer broke-key", 429, "insufficient_quota".into()),
    ] {
        let answer = make(&client.with_key(authorization), json!({})).await;
        assert_eq!(answer.status, status, "{authorization}");
        assert_eq!(answer.json()["error"]["code"], code, "{authorization}");
    }
    let wrong = make(&client.with_key("Bearer bad-key"), json!({})).await.json();
    let message = wrong["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("Incorrect API key provided: ba***ey. You can find"), "{message}");
    assert_eq!(client.totals("openai").await["billed_usd"], "0.000000");
}

#[tokio::test(start_paused = true)]
async fn refuses_bad_parameters_by_name() {
    let client = client();
    let long = "x".repeat(32_001);
    for (extra, param, code) in [
        (json!({"response_format": "url"}), "response_format", "unknown_parameter"),
        (json!({"style": "vivid"}), "style", "unknown_parameter"),
        (json!({"prompt": null}), "prompt", "missing_required_parameter"),
        (json!({"prompt": long}), "prompt", "string_above_max_length"),
        (json!({"prompt": 3}), "prompt", "invalid_type"),
        (json!({"n": 0}), "n", "integer_below_min_value"),
        (json!({"n": 11}), "n", "integer_above_max_value"),
        (json!({"n": "2"}), "n", "invalid_type"),
        (json!({"size": "1000x1000"}), "size", "invalid_value"),
        (json!({"size": "512x512"}), "size", "invalid_value"),
        (json!({"size": "3856x1600"}), "size", "invalid_value"),
        (json!({"size": "3200x1024"}), "size", "invalid_value"),
        (json!({"size": "big"}), "size", "invalid_value"),
        (json!({"quality": "xhigh"}), "quality", "invalid_value"),
        (json!({"quality": "hd"}), "quality", "invalid_value"),
        (json!({"background": "blue"}), "background", "invalid_value"),
        (json!({"background": "transparent", "output_format": "jpeg"}), "background", "invalid_value"),
        (json!({"moderation": "none"}), "moderation", "invalid_value"),
        (json!({"output_format": "gif"}), "output_format", "invalid_value"),
        (json!({"output_compression": 50}), "output_compression", "invalid_value"),
        (json!({"output_compression": 101, "output_format": "webp"}), "output_compression", "integer_above_max_value"),
        (json!({"stream": "yes"}), "stream", "invalid_type"),
        (json!({"partial_images": 1}), "partial_images", "invalid_value"),
        (json!({"stream": true, "partial_images": 4}), "partial_images", "integer_above_max_value"),
    ] {
        let answer = make(&client, extra.clone()).await;
        let error = &answer.json()["error"];
        assert_eq!(answer.status, 400, "{param}: {error}");
        assert_eq!((&error["param"], &error["code"]), (&param.into(), &code.into()), "{error}");
        if param == "size" {
            assert_eq!(error["type"], "image_generation_user_error");
            assert!(error["message"].as_str().unwrap().starts_with("Invalid size '"), "{error}");
        }
    }
    let answer = make(&client, json!({"model": "gpt-image-2.5-flare", "size": "1024x1024", "quality": "xhigh"})).await;
    assert_eq!(answer.status, 200);
    let answer = make(&client, json!({"model": "gpt-image-2.5-flare", "size": "1024x640"})).await;
    assert!(answer.json()["error"]["message"].as_str().unwrap().contains("'1536x1024', and 'auto'"));
    let answer = client.send("POST", "/openai/images/generations", "{").await;
    assert_eq!((answer.status.as_u16(), answer.json()["error"]["type"].as_str()), (400, Some("invalid_request_error")));
}

#[tokio::test(start_paused = true)]
async fn models_come_from_the_catalog_and_retire() {
    let client = client();
    for model in ["gpt-image-1", "dall-e-3"] {
        let answer = make(&client, json!({"model": model})).await;
        assert_eq!((answer.status.as_u16(), answer.json()["error"]["code"].as_str()), (404, Some("model_not_found")));
    }
    let list = client.get("/openai/models").await.json();
    let ids: Vec<&str> = list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["gpt-image-2", "gpt-image-2.5-flare"]);
    assert_eq!(client.get("/openai/models/gpt-image-2").await.json()["object"], "model");
    assert_eq!(client.get("/openai/models/dall-e-3").await.status, 404);
    assert_eq!(client.get("/openai/nowhere").await.json()["error"]["code"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn refuses_and_fails_on_request() {
    let client = client();
    let refused = make(&client, json!({"prompt": "a [refuse] fox"})).await;
    let error = &refused.json()["error"];
    assert_eq!(refused.status, 400);
    assert_eq!([&error["type"], &error["code"]], ["image_generation_user_error", "moderation_blocked"]);
    assert!(error["message"].as_str().unwrap().contains("safety_violations=["), "{error}");
    let failed = make(&client, json!({"prompt": "a [fail] fox"})).await;
    assert_eq!((failed.status.as_u16(), failed.json()["error"]["type"].as_str()), (500, Some("server_error")));
    let totals = client.totals("openai").await;
    assert_eq!((&totals["creates"], &totals["billed_usd"]), (&2.into(), &"0.000000".into()));
}

#[tokio::test(start_paused = true)]
async fn spoils_results_that_are_billed_all_the_same() {
    let client = client();
    client.steer(json!({"provider": "openai", "fault": "empty", "times": 1})).await;
    assert_eq!(make(&client, json!({})).await.json()["data"], json!([]));
    client.steer(json!({"provider": "openai", "fault": "garbage", "times": 1})).await;
    let answer = make(&client, json!({})).await;
    assert!(answer.status == 200 && serde_json::from_slice::<Value>(&answer.body).is_err());
    client.steer(json!({"provider": "openai", "fault": "truncate", "times": 1})).await;
    assert!(!make(&client, json!({})).await.whole);
    client.steer(json!({"provider": "openai", "fault": "wrong_type", "times": 1})).await;
    assert_eq!(look(&picture(&make(&client, json!({})).await, 0)).0, ImageFormat::Jpeg);
    client.steer(json!({"provider": "openai", "fault": "wrong_size", "times": 1})).await;
    assert_eq!(look(&picture(&make(&client, json!({})).await, 0)).1, (512, 320));
    // Five times 107 · $30 + 5 · $5 a million.
    assert_eq!(client.totals("openai").await["billed_usd"], "0.016175");
}
