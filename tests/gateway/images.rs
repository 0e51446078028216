//! Pictures come back as they were asked for, whichever provider made them.

use super::kit::{Kit, picture_facts};
use lumenfall::media::{Format, Size};
use serde_json::{Value, json};

const MODELS: [(&str, &str); 3] = [("gpt-image-2", "openai"), ("flux.1-schnell", "fal"), ("mock-image", "mock")];

/// The pictures of an answer, as bytes, whichever form they came in.
async fn pictures(kit: &Kit, answer: &Value) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for item in answer["data"].as_array().unwrap() {
        match (&item["b64_json"], &item["url"]) {
            (Value::String(text), Value::Null) => found.push(base64_simd::STANDARD.decode_to_vec(text).unwrap()),
            (Value::Null, Value::String(link)) => {
                let (bytes, mime) = kit.download(link).await;
                assert_eq!(mime, picture_facts(&bytes).format.mime());
                found.push(bytes);
            }
            both => panic!("exactly one of url and b64_json, not {both:?}"),
        }
    }
    found
}

#[tokio::test]
async fn every_format_in_both_forms_from_every_shape_of_provider() {
    let kit = Kit::start().await;
    for (model, provider) in MODELS {
        for format in Format::OUTPUTS {
            for form in ["url", "b64_json"] {
                // AVIF takes a second a megapixel here: small where the model allows it.
                let size = if model == "gpt-image-2" { "816x816" } else { "256x192" };
                let body = json!({"model": model, "prompt": "a fox", "size": size, "output_format": format.name(),
                    "response_format": form, "output_compression": 60});
                let got = kit.generate(body).await;
                assert_eq!(got.status, 200, "{model} {format} {form}: {}", got.json);
                let facts = picture_facts(&pictures(&kit, &got.json).await[0]);
                assert_eq!((facts.format, facts.size.to_string()), (format, size.to_owned()), "{model} {form}");
                assert_eq!(got.json["size"], size);
                assert_eq!(got.json["output_format"], format.name());
                assert_eq!(got.json["metadata"]["provider"], provider);
                assert_eq!(got.header("x-lumenfall-provider"), provider);
            }
        }
    }
    kit.running.stop().await;
}

#[tokio::test]
async fn n_pictures_from_models_that_make_one_at_a_time() {
    let kit = Kit::start().await;
    for (model, attempts) in [("flux.2-max", 3), ("flux.1-schnell", 1), ("gpt-image-2", 1)] {
        let got = kit.generate(json!({"model": model, "prompt": "a fox", "n": 3, "size": "1024x1024"})).await;
        assert_eq!(pictures(&kit, &got.json).await.len(), 3, "{model}");
        assert_eq!(got.json["metadata"]["attempts"].as_array().unwrap().len(), attempts, "{model}");
        assert_eq!(got.header("x-lumenfall-attempts"), attempts.to_string());
    }
    let got = kit.generate(json!({"model": "flux.1-schnell", "prompt": "a fox", "n": 10, "size": "64x64"})).await;
    assert_eq!(got.json["data"].as_array().unwrap().len(), 10);
    assert_eq!(got.json["metadata"]["attempts"].as_array().unwrap().len(), 3, "4 + 4 + 2");
    kit.running.stop().await;
}

#[tokio::test]
async fn any_size_is_mapped_to_the_nearest_and_said() {
    let kit = Kit::start().await;
    let told = |got: &Value| got["metadata"]["adjustments"].as_array().unwrap().iter().any(|a| a["param"] == "size");
    for (model, asked, size, adjusted) in [
        ("gpt-image-2", json!({"size": "1920x1080"}), "1920x1088", true),
        ("gpt-image-2", json!({"size": "16:9"}), "1360x768", false),
        ("gpt-image-2", json!({"size": "auto"}), "1024x1024", false),
        ("gpt-image-2", json!({"aspect_ratio": "1:1", "resolution": "2K"}), "2048x2048", false),
        ("gpt-image-1.5", json!({"size": "16:9"}), "1536x1024", true),
        ("flux.1-schnell", json!({"size": "1920x1080"}), "1920x1080", false),
        ("flux.1-schnell", json!({"size": "16:9"}), "1365x768", false),
        ("flux.1-schnell", json!({"aspect_ratio": "9:16"}), "768x1365", false),
        ("flux.1-schnell", json!({}), "1024x768", false),
    ] {
        let mut body = json!({"model": model, "prompt": "a fox"});
        body.as_object_mut().unwrap().extend(asked.as_object().unwrap().clone());
        let got = kit.generate(body).await;
        assert_eq!(got.json["size"], size, "{model} {asked}: {}", got.json);
        let bytes = &pictures(&kit, &got.json).await[0];
        assert_eq!(picture_facts(bytes).size, Size::parse(size).unwrap());
        assert_eq!(told(&got.json), adjusted, "{model} {asked}: {}", got.json["metadata"]["adjustments"]);
    }
    kit.running.stop().await;
}

#[tokio::test]
async fn both_prefixes_answer_alike_with_the_whole_envelope() {
    let kit = Kit::start().await;
    for prefix in ["/openai/v1", "/v1"] {
        let body =
            json!({"model": "flux-schnell", "prompt": "a fox", "size": "64x64", "user": "u-1", "quality": "high"});
        let got = kit.post(&format!("{prefix}/images/generations"), &body).await;
        assert_eq!(got.status, 200, "{}", got.json);
        assert_eq!(got.json["id"], got.header("x-lumenfall-request-id"));
        let metadata = &got.json["metadata"];
        assert_eq!(metadata["model"], "flux.1-schnell", "the canonical name, not the alias");
        assert_eq!(metadata["executed_model"], "fal/fal-ai/flux/schnell");
        assert_eq!(metadata["provider_name"], "fal.ai");
        assert_eq!(metadata["cost"], 0.003);
        assert_eq!(metadata["cost_currency"], "USD");
        assert_eq!(metadata["sandbox"], true);
        assert_eq!(metadata["adjustments"][0]["param"], "quality");
        assert!(
            metadata["timing"]["total_ms"].as_u64().unwrap() >= metadata["timing"]["provider_ms"].as_u64().unwrap()
        );
        for phase in ["gateway;dur=", "provider;dur=", "response;dur="] {
            assert!(got.header("server-timing").contains(phase));
        }
        assert_eq!(got.header("x-lumenfall-sandbox"), "true");
        let row = kit.get(&format!("/v1/requests/{}", got.json["id"].as_str().unwrap())).await.json;
        assert_eq!(row["endpoint"], format!("{prefix}/images/generations"));
        assert_eq!(row["user"], "u-1");
        assert_eq!(row["attempts"], metadata["attempts"]);
        assert_eq!(row["response_size_bytes"].to_string(), got.header("content-length"));
    }
    kit.running.stop().await;
}

#[tokio::test]
async fn a_dry_run_tells_the_price_and_does_nothing() {
    let kit = Kit::start().await;
    let path = "/openai/v1/images/generations?dryRun=true";
    let got = kit.post(path, &json!({"model": "flux.2-max", "prompt": "a fox", "n": 2, "size": "2048x1024"})).await;
    assert_eq!(got.status, 200);
    assert_eq!(
        got.json,
        json!({"estimated": true, "model": "flux.2-max", "provider": "fal", "total_cost_micros": 200_000, "currency": "USD",
        "components": [
            {"type": "output", "metric": "megapixel", "quantity": 4, "billable_quantity": 2, "unit_price": 0.07, "total_cost": 140_000},
            {"type": "output", "metric": "megapixel", "quantity": 4, "billable_quantity": 2, "unit_price": 0.03, "total_cost": 60_000},
        ]})
    );
    let got = kit
        .post(path, &json!({"model": "gpt-image-2", "prompt": "a fox", "quality": "high", "size": "1024x1024"}))
        .await;
    assert_eq!(got.json["total_cost_micros"], 210_730, "{}", got.json);
    assert_eq!(kit.post(path, &json!({"model": "gpt-image-2", "prompt": "a fox", "n": 11})).await.status, 400);
    assert_eq!(kit.get("/v1/requests?summary=true").await.json["summary"]["count"], 0);
    assert_eq!(kit.bills().await["totals"], json!({}));
    kit.running.stop().await;
}
