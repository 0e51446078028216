//! The model list with the fields that OpenAI's and the hosted service's clients read.

use super::kit::Kit;
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
