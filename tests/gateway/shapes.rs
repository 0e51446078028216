//! Exact sizes, vectors, masks, upscales and variations: what is asked for comes out, or the caller is told.

use super::kit::{Got, Kit, picture, picture_facts};
use lumenfall::media::{Format, Size};
use serde_json::{Value, json};

const EDIT: &str = "/openai/v1/images/edits";

fn uri_of(bytes: &[u8], mime: &str) -> String {
    format!("data:{mime};base64,{}", base64_simd::STANDARD.encode_to_string(bytes))
}

fn uri(spec: &str) -> String {
    uri_of(&picture(spec), "image/png")
}

/// A mask whose left half is transparent.
fn mask(width: u32, height: u32) -> String {
    let pixels =
        image::RgbaImage::from_fn(width, height, |x, _| image::Rgba([0, 0, 0, if x < width / 2 { 0 } else { 255 }]));
    let mut file = std::io::Cursor::new(Vec::new());
    pixels.write_to(&mut file, image::ImageFormat::Png).unwrap();
    uri_of(&file.into_inner(), "image/png")
}

fn adjusted<'a>(got: &'a Got, param: &str) -> Option<&'a Value> {
    got.json["metadata"]["adjustments"].as_array()?.iter().find(|told| told["param"] == param)
}

fn first(got: &Got) -> Vec<u8> {
    let text = got.json["data"][0]["b64_json"].as_str().unwrap_or_else(|| panic!("{}", got.json));
    base64_simd::STANDARD.decode_to_vec(text).unwrap()
}

#[tokio::test]
async fn resize_makes_precisely_the_pixels_of_size() {
    let kit = Kit::start().await;
    for (model, format) in [("gpt-image-2", "jpeg"), ("flux.1-schnell", "webp"), ("gemini-3-pro-image", "png")] {
        for how in ["exact", "cover", "contain"] {
            let body = json!({"model": model, "prompt": "a fox", "size": "500x333", "resize": how,
                "output_format": format, "response_format": "b64_json"});
            let got = kit.generate(body).await;
            assert_eq!(got.status, 200, "{model} {how}: {}", got.json);
            let facts = picture_facts(&first(&got));
            assert_eq!((facts.size, facts.format.name()), (Size::new(500, 333), format), "{model} {how}");
            assert_eq!(got.json["size"], "500x333");
        }
    }
    let got = kit.generate(json!({"model": "gpt-image-2", "prompt": "a fox", "size": "16:9", "resize": "cover"})).await;
    assert_eq!(got.error(), (400, "INVALID_REQUEST", "resize"));
    let body = json!({"model": "gpt-image-2", "prompt": "a fox", "size": "16000x16000", "resize": "cover"});
    assert_eq!(kit.generate(body).await.error(), (400, "INVALID_REQUEST", "size"));
    kit.running.stop().await;
}

#[tokio::test]
async fn vectors_are_passed_through_or_drawn() {
    let kit = Kit::start().await;
    let ask = |model: &str, more: Value| {
        let mut body = json!({"model": model, "prompt": "a fox", "response_format": "b64_json"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        kit.generate(body)
    };
    for (model, more, format) in [
        ("recraft-v3-vector", json!({}), Format::Svg),
        ("recraft-v3-vector", json!({"output_format": "svg"}), Format::Svg),
        ("recraft-v3-vector", json!({"output_format": "png"}), Format::Png),
        ("recraft-v3-vector", json!({"output_format": "jpeg", "output_compression": 70}), Format::Jpeg),
        ("gpt-image-2.6-flare", json!({"output_format": "svg", "size": "1024x1024"}), Format::Svg),
    ] {
        let got = ask(model, more.clone()).await;
        assert_eq!(got.status, 200, "{model} {more}: {}", got.json);
        let facts = picture_facts(&first(&got));
        assert_eq!((facts.format, facts.size), (format, Size::new(1024, 1024)), "{model} {more}");
        assert_eq!(got.json["output_format"], format.name());
    }
    let got = ask("recraft-v3-vector", json!({"size": "1024x1024", "resize": "exact"})).await;
    assert_eq!(got.json["output_format"], "svg", "already that size");
    let bills = kit.bills().await["totals"].clone();
    let got = ask("flux.1-schnell", json!({"output_format": "svg"})).await;
    assert_eq!(got.error().0, 400, "{}", got.json);
    assert!(got.json["error"]["message"].as_str().unwrap().contains("SVG"), "{}", got.json);
    assert_eq!(kit.bills().await["totals"], bills, "nothing was bought");
    kit.running.stop().await;
}

#[tokio::test]
async fn masks_go_out_in_each_routes_own_convention() {
    let kit = Kit::start().await;
    let body = |model: &str, prompt: &str, mask: String| json!({"model": model, "prompt": prompt, "image": uri("png:1024x1024"), "mask": mask});
    for (model, marks) in [
        ("openai/gpt-image-2", "transparent"),
        ("recraft/recraft-v3", "white"),
        ("stability/stable-image-inpaint", "white"),
        ("bfl/flux.1-fill-pro", "white"),
    ] {
        let prompt = format!("a fox for {model}");
        let got = kit.post(EDIT, &body(model, &prompt, mask(1024, 1024))).await;
        assert_eq!(got.status, 200, "{model}: {}", got.json);
        let received = kit.received("text", &prompt).await;
        let receipt = received.first().unwrap();
        let seen = receipt["pictures"].as_array().unwrap();
        let mask = seen.iter().find(|one| one["name"] == "mask").unwrap_or_else(|| panic!("{model}: {receipt}"));
        assert_eq!((mask["marks"].as_str(), &mask["size"]), (Some(marks), &json!("1024x1024")), "{model}");
        assert_eq!(seen.len(), 2, "{model}");
    }
    let bills = kit.bills().await["totals"].clone();
    for (model, mask, param) in [
        ("gpt-image-2", mask(512, 1024), "mask"),
        ("gpt-image-2", uri("png:1024x1024"), "mask"),
        ("gpt-image-2", "not a picture".to_owned(), "mask"),
        ("flux.2-max", mask(1024, 1024), "none"),
    ] {
        let got = kit.post(EDIT, &body(model, "a fox", mask)).await;
        assert_eq!(got.error(), (400, "INVALID_REQUEST", param), "{}", got.json);
        assert!(got.json["error"]["message"].as_str().unwrap().contains("mask"), "{}", got.json);
    }
    assert_eq!(kit.bills().await["totals"], bills, "nothing was bought");
    // fal's route of the model takes no mask: it is no way out when OpenAI fails.
    kit.control(json!({"provider": "openai", "fault": "status", "status": 500, "times": 1})).await;
    let got = kit.post(EDIT, &body("gpt-image-2", "a fox", mask(1024, 1024))).await;
    assert_eq!(got.error().1, "ALL_PROVIDERS_EXHAUSTED", "{}", got.json);
    assert_eq!(kit.bills().await["totals"]["fal"], Value::Null);
    kit.running.stop().await;
}

#[tokio::test]
async fn inputs_are_converted_only_when_a_route_does_not_take_them() {
    let kit = Kit::start().await;
    let ask = async |image: String, prompt: &str| {
        let body =
            json!({"model": "openai/gpt-image-2", "prompt": prompt, "image": image, "response_format": "b64_json"});
        kit.post(EDIT, &body).await
    };
    let seen = async |prompt: &str| {
        let received = kit.received("text", prompt).await;
        received[0]["pictures"][0]["format"].as_str().unwrap().to_owned()
    };
    for (spec, mime, sent) in [
        ("jpeg:640x480", "image/jpeg", "jpeg"),
        ("webp:640x480", "image/webp", "webp"),
        ("gif:640x480", "image/gif", "png"),
    ] {
        let prompt = format!("from {mime}");
        let got = ask(uri_of(&picture(spec), mime), &prompt).await;
        assert_eq!(got.status, 200, "{spec}: {}", got.json);
        assert_eq!(seen(&prompt).await, sent, "{spec}");
        let told = adjusted(&got, "image");
        assert_eq!(told.is_some(), sent == "png", "{told:?}");
    }
    let svg = br#"<svg xmlns="http://www.w3.org/2000/svg" width="640" height="480"><rect width="9" height="9"/></svg>"#;
    let got = ask(uri_of(svg, "image/svg+xml"), "from svg").await;
    assert_eq!((got.status, seen("from svg").await.as_str()), (200, "png"), "{}", got.json);
    let bills = kit.bills().await["totals"].clone();
    let got = ask(uri_of(&picture("avif:64x64"), "image/avif"), "from avif").await;
    assert_eq!(got.error().0, 400, "{}", got.json);
    assert!(got.json["error"]["message"].as_str().unwrap().contains("AVIF"), "{}", got.json);
    assert_eq!(kit.bills().await["totals"], bills, "nothing was bought");
    kit.running.stop().await;
}

#[tokio::test]
async fn upscales_need_no_prompt_and_tell_their_factor() {
    let kit = Kit::start().await;
    for model in ["recraft-crisp-upscale", "stable-image-upscale-fast"] {
        let body =
            json!({"model": model, "image": uri("png:320x256"), "scale_factor": "3", "response_format": "b64_json"});
        let got = kit.post(EDIT, &body).await;
        assert_eq!(got.status, 200, "{model}: {}", got.json);
        let facts = picture_facts(&first(&got));
        assert_eq!(got.json["size"], facts.size.to_string(), "{model}");
        assert!(facts.size.width > 320, "{model}: {}", facts.size);
        let told = adjusted(&got, "scale_factor").unwrap_or_else(|| panic!("{model}: {}", got.json));
        assert_eq!(told["requested"], 3.0, "the factor is the model's own");
    }
    for factor in [json!(0), json!("big"), json!(99)] {
        let body = json!({"model": "recraft-crisp-upscale", "image": uri("png:256x192"), "scale_factor": factor});
        assert_eq!(kit.post(EDIT, &body).await.error(), (400, "INVALID_REQUEST", "scale_factor"));
    }
    let got = kit.post(EDIT, &json!({"model": "gpt-image-2", "image": uri("png:256x192"), "scale_factor": 2})).await;
    assert_eq!(got.error().0, 400, "{}", got.json);
    kit.running.stop().await;
}

#[tokio::test]
async fn a_variation_is_an_edit_and_says_so() {
    let kit = Kit::start().await;
    let path = "/openai/v1/images/variations";
    let got = kit.post(path, &json!({"model": "gpt-image-2", "image": uri("png:256x256"), "n": 2})).await;
    assert_eq!((got.status, got.json["data"].as_array().map(Vec::len)), (200, Some(2)), "{}", got.json);
    let told = adjusted(&got, "prompt").unwrap();
    assert!(told["used"].as_str().unwrap().contains("variation"), "{told}");
    let row = kit.get(&format!("/v1/requests/{}", got.json["id"].as_str().unwrap())).await.json;
    assert_eq!(row["endpoint"], path);
    let got = kit.post(path, &json!({"model": "gpt-image-2"})).await;
    assert_eq!(got.error(), (400, "INVALID_REQUEST", "image"));
    let got = kit.post(path, &json!({"model": "mock-image", "image": uri("png:8x8")})).await;
    assert_eq!(got.error().0, 400, "{}", got.json);
    kit.running.stop().await;
}
