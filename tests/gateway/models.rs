//! The model list with the fields that OpenAI's and the hosted service's clients read.

use super::kit::Kit;
use jsonschema::draft202012;
use serde_json::json;

#[tokio::test]
async fn models_are_listed_with_their_rich_fields() {
    let kit = Kit::start().await;
    let list = kit.get("/openai/v1/models").await.json;
    assert_eq!(list["object"], "list");
    let models = list["data"].as_array().unwrap();
    let find = |id: &str| models.iter().find(|model| model["id"] == id);
    for model in models {
        for field in ["created", "starting_price"] {
            assert!(model[field].is_number() || model[field].is_null(), "{model}");
        }
        assert_eq!(model["object"], "model");
        for field in ["name", "owned_by", "creator_organization", "description", "model_status", "modality"] {
            assert!(model[field].is_string(), "{field} of {model}");
        }
        for field in ["tags", "aliases", "alternative_names", "capabilities", "modes", "providers"] {
            assert!(model[field].is_array(), "{field} of {model}");
        }
    }
    let mock = find("mock-image").unwrap();
    assert_eq!((&mock["free"], &mock["starting_price"]), (&json!(true), &json!(0.0)));
    let flux = find("flux.1-schnell").unwrap();
    assert_eq!(flux["starting_price"], 0.0013, "the cheapest of its routes");
    assert_eq!(flux["modes"], json!(["text-to-image"]));
    assert_eq!(flux["modalities"], json!({"input": ["text"], "output": ["image"]}));
    assert!(find("dall-e-3").is_none(), "retired models are not offered");

    let retired = kit.get("/v1/models/dall-e-3").await.json;
    assert_eq!((&retired["model_status"], &retired["successor"]), (&json!("retired"), &json!("gpt-image-2")));
    assert_eq!(kit.get("/v1/models/flux-schnell").await.json["id"], "flux.1-schnell", "aliases answer");
    assert_eq!(kit.get("/v1/models/fal/flux.1-schnell").await.json["id"], "flux.1-schnell");
    assert_eq!(kit.get("/v1/models/invalid-model").await.error(), (404, "MODEL_NOT_FOUND", "model"));
    kit.running.stop().await;
}

#[tokio::test]
async fn models_without_a_credential_say_so() {
    let kit = Kit::with(&[("PROVIDERS__FAL__API_KEY", "k")]).await;
    assert!(kit.running.sandbox.is_none(), "one real credential switches the sandbox off");
    let status = async |id: &str| kit.get(&format!("/v1/models/{id}")).await.json["model_status"].clone();
    assert_eq!(status("flux.1-schnell").await, "active");
    assert_eq!(status("gpt-image-2.6-flare").await, "disabled");
    assert_eq!(status("mock-image").await, "active");
    let got = kit.generate(json!({"model": "gpt-image-2.6-flare", "prompt": "a fox"})).await;
    assert_eq!(got.error(), (404, "MODEL_DISABLED", "model"));
    assert!(got.json["error"]["message"].as_str().unwrap().contains("openai"), "{}", got.json);
    let got = kit.generate(json!({"model": "mock-image", "prompt": "a fox", "size": "16x16"})).await;
    assert_eq!((got.status, got.header("x-lumenfall-sandbox")), (200, ""));
    kit.running.stop().await;
}

#[tokio::test]
async fn routes_tell_their_prices_and_what_they_can() {
    let kit = Kit::start().await;
    let flux = kit.get("/v1/models/flux.2-max").await.json;
    let routes = flux["providers"].as_array().unwrap();
    let bfl = routes.iter().find(|route| route["provider"] == "bfl").unwrap();
    let list = &bfl["pricing"];
    assert_eq!((&list["currency"], &list["effective_at"].is_string()), (&json!("USD"), &true));
    let first = &list["components"][0];
    assert_eq!(
        (&first["type"], &first["metric"], &first["unit_price"]),
        (&json!("output"), &json!("megapixel"), &json!(0.07))
    );
    assert_eq!(first["conditions"]["up_to"], 1);
    for field in ["sizes", "native_formats", "native_n", "max_input_images", "mask", "seed", "typical_seconds"] {
        assert!(!bfl["capabilities"][field].is_null(), "{field}: {bfl}");
    }
    for model in kit.get("/v1/models").await.json["data"].as_array().unwrap() {
        for route in model["providers"].as_array().unwrap() {
            assert!(route["pricing"].is_object() != route["pricing_note"].is_string(), "a price or why not: {route}");
        }
    }
    let miss = kit.get("/v1/models/flux.1-dve").await;
    assert!(miss.json["error"]["message"].as_str().unwrap().contains("'flux.1-dev'"), "{}", miss.json);
    kit.running.stop().await;
}

/// Every model's schema is one by the standard, and says of every parameter how each route is told.
#[tokio::test]
async fn schemas_are_json_schema() {
    let kit = Kit::start().await;
    for model in kit.get("/v1/models").await.json["data"].as_array().unwrap() {
        let id = model["id"].as_str().unwrap();
        let schema = kit.get(&format!("/v1/models/{id}?schema=true")).await.json;
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{id}");
        if let Err(error) = draft202012::meta::validate(&schema) {
            panic!("{id}: {error} at {}", error.instance_path());
        }
        draft202012::new(&schema).unwrap();
        for (name, property) in schema["properties"].as_object().unwrap() {
            let Some(routes) = property["x-routes"].as_object() else { continue };
            assert!(!routes.is_empty(), "{id}: {name}");
            for told in routes.values() {
                let badge = told["badge"].as_str().unwrap();
                assert!(["passthrough", "renamed", "converted", "emulated"].contains(&badge), "{id}: {name}: {badge}");
            }
        }
    }
    let wrong =
        json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "properties": {"n": {"type": "int"}}});
    assert!(!draft202012::meta::is_valid(&wrong), "the standard's own schema is what is asked");
    let schema = kit.get("/v1/models/gpt-image-2?schema=true").await.json;
    let properties = &schema["properties"];
    assert!(properties["size"]["x-routes"].as_object().unwrap().len() > 1, "several routes are told");
    assert_eq!(properties["size"]["x-badge"], "converted");
    assert_eq!(properties["response_format"]["x-badge"], "emulated");
    assert_eq!(
        properties["n"]["x-routes"]["openai/gpt-image-2"],
        json!({"field": "n", "at_once": 10, "badge": "passthrough"})
    );
    assert_eq!(properties["quality"]["x-routes"]["openai/gpt-image-2"]["badge"], "converted");
    kit.running.stop().await;
}

/// What the schema of a model allows the gateway takes, and what it forbids the gateway refuses.
#[tokio::test]
async fn schemas_say_what_the_gateway_takes() {
    let kit = Kit::start().await;
    let pictures = [
        (json!({}), true),
        (json!({"n": 10, "size": "1024x1536", "output_format": "avif", "output_compression": 40}), true),
        (json!({"size": "16:9", "response_format": "b64_json", "quality": "high", "user": "u"}), true),
        (json!({"aspect_ratio": "19.5:9", "resolution": "2K", "something_new": {"a": 1}}), true),
        (json!({"size": "auto"}), true),
        (json!({"n": 11}), false),
        (json!({"n": 0}), false),
        (json!({"size": "big"}), false),
        (json!({"aspect_ratio": "wide"}), false),
        (json!({"output_format": "bmp"}), false),
        (json!({"output_compression": 101}), false),
        (json!({"response_format": "link"}), false),
        (json!({"prompt": 3}), false),
        (json!({"prompt": null}), false),
        (json!({"model": 3}), false),
    ];
    let videos = [
        (json!({}), true),
        (json!({"seconds": 8, "size": "1280x720", "generate_audio": false}), true),
        (json!({"seconds": "8", "aspect_ratio": "9:16", "resolution": "1080p"}), true),
        (json!({"seconds": "5s", "something_new": [1]}), true),
        (json!({"seconds": "auto"}), true),
        (json!({"seconds": 0}), false),
        (json!({"seconds": 601}), false),
        (json!({"seconds": 7.5}), false),
        (json!({"seconds": "long"}), false),
        (json!({"seconds": [8]}), false),
        (json!({"generate_audio": "loud"}), false),
        (json!({"size": "big"}), false),
        (json!({"prompt": ["a fox"]}), false),
    ];
    for (path, model, rows) in [
        ("images/generations", "gpt-image-2", &pictures[..]),
        ("images/generations", "flux.1-schnell", &pictures[..]),
        ("videos", "veo-3.1-fast", &videos[..]),
        ("videos", "veo-3.1", &videos[..]),
    ] {
        let schema = kit.get(&format!("/v1/models/{model}?schema=true")).await.json;
        let validator = draft202012::new(&schema).unwrap();
        for (change, fine) in rows {
            let mut body = json!({"model": model, "prompt": "a fox"});
            body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            let got = kit.post(&format!("/v1/{path}?dryRun=true"), &body).await;
            assert_eq!(got.status, if *fine { 200 } else { 400 }, "{body}: {}", got.json);
            assert_eq!(validator.is_valid(&body), *fine, "the schema of {body}");
        }
        assert!(!validator.is_valid(&json!({"prompt": "a fox"})), "{model}: a model is required");
    }
    kit.running.stop().await;
}
