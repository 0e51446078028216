//! `POST images/edits`: every way in which clients give pictures, all of them used or the call refused.

use super::kit::{KEY, Kit, picture};
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

const PATH: &str = "/openai/v1/images/edits";

fn file(spec: &str) -> Part {
    Part::bytes(picture(spec)).file_name("a.png").mime_str("image/png").unwrap()
}

fn uri(spec: &str) -> String {
    format!("data:image/png;base64,{}", base64_simd::STANDARD.encode_to_string(picture(spec)))
}

async fn form(kit: &Kit, form: Form) -> super::kit::Got {
    kit.raw(|client, base| client.post(format!("{base}{PATH}")).bearer_auth(KEY).multipart(form)).await
}

#[tokio::test]
async fn bad_inputs_are_refused_before_anything_is_bought() {
    let kit = Kit::with(&[("SERVER__MAX_BODY_BYTES", "200000")]).await;
    let base = json!({"model": "gpt-image-2", "prompt": "a fox"});
    for (change, param) in [
        (json!({}), "image"),
        (json!({"image": []}), "image"),
        (json!({"image": 7}), "image"),
        (json!({"image": {"colour": "red"}}), "image"),
        (json!({"image": "not base64 at all!"}), "image"),
        (json!({"image": "data:image/png;base64,AAAA"}), "image"),
        (json!({"image_url": "http://127.0.0.1:1/a.png"}), "image_url"),
        (json!({"image_url": "https://169.254.169.254/latest/meta-data"}), "image_url"),
        (json!({"images": [{"image_url": "https://[::1]/a.png"}]}), "images"),
        (json!({"image": uri("png:8x8"), "mask": "x"}), "mask"),
        (json!({"image": vec![uri("png:8x8"); 17]}), "image"),
    ] {
        let mut body = base.clone();
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let got = kit.post(PATH, &body).await;
        assert_eq!(got.error(), (400, "INVALID_REQUEST", param), "{change}: {}", got.json);
    }
    // The sandbox's own listener is for providers' results, never for a caller's link.
    let own = format!("http://{}/_control/calls", kit.running.sandbox.unwrap());
    let got = kit.post(PATH, &json!({"model": "gpt-image-2", "prompt": "a fox", "image_url": own})).await;
    assert_eq!(got.error(), (400, "INVALID_REQUEST", "image_url"));
    let got = form(&kit, Form::new().text("prompt", "a fox").part("image", file("png:8x8"))).await;
    assert_eq!(got.error(), (400, "INVALID_REQUEST", "model"));
    let huge = Part::bytes(vec![0; 300_000]).file_name("a.png");
    let got = form(&kit, Form::new().text("model", "gpt-image-2").part("image", huge)).await;
    assert_eq!(got.error().1, "REQUEST_TOO_LARGE", "{}", got.json);
    let text = Part::bytes(b"hello".to_vec()).file_name("a.png");
    let got = form(&kit, Form::new().text("model", "gpt-image-2").text("prompt", "a fox").part("image", text)).await;
    assert!(got.json["error"]["message"].as_str().unwrap().starts_with("Invalid image file provided"), "{}", got.json);
    let got = kit.post(PATH, &json!({"model": "mock-image", "prompt": "a fox", "image": uri("png:8x8")})).await;
    assert!(got.json["error"]["message"].as_str().unwrap().contains("does not support image-edit"), "{}", got.json);
    assert_eq!(kit.bills().await["totals"], json!({}));
    assert_ne!(got.json, Value::Null);
    kit.running.stop().await;
}
