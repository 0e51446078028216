use crate::form::probe::{Answer, Part, Probe, picture};
use crate::media::{Format, Limits, Size, inspect};
use bytes::Bytes;
use serde_json::{Value, json};

const MAKE: &str = "/recraft/images/generations";

fn probe() -> Probe {
    Probe::new("recraft", include_str!("../../../../config/catalog/recraft.toml"), "authorization", "Bearer token")
}

async fn make(probe: &Probe, extra: Value) -> Answer {
    let mut body = json!({"prompt": "a fox", "model": "recraftv3"});
    for (name, value) in extra.as_object().unwrap() {
        body[name] = value.clone();
    }
    probe.post(MAKE, &body).await
}

fn look(file: &[u8]) -> (Format, Size) {
    let facts = inspect(&Bytes::copy_from_slice(file), &Limits::default()).unwrap();
    (facts.format, facts.size)
}

#[tokio::test(start_paused = true)]
async fn generates_by_link_and_inline() {
    let probe = probe();
    let linked = make(&probe, json!({"n": 2, "size": "16:9"})).await;
    assert_eq!((linked.status, &linked.json()["credits"]), (200, &80.into()), "{}", linked.text());
    let file = probe.get(linked.json()["data"][1]["url"].as_str().unwrap()).await;
    assert_eq!(look(&file.body), (Format::Webp, Size::new(1820, 1024)));
    let inline = json!({"model": "recraftv4_1_raster", "response_format": "b64_json", "image_format": "png"});
    let inline = make(&probe, inline).await.json();
    let file = base64_simd::STANDARD.decode_to_vec(inline["data"][0]["b64_json"].as_str().unwrap()).unwrap();
    assert_eq!((look(&file), &inline["credits"]), ((Format::Png, Size::new(1024, 1024)), &35.into()));
    assert_eq!(inline["data"][0]["image_id"].as_str().unwrap().len(), 36);
    // Two at 0.04 and one at 0.035.
    assert_eq!(probe.billed("recraft").await, "0.115000");
}

#[tokio::test(start_paused = true)]
async fn draws_vectors_by_model_and_by_style() {
    let probe = probe();
    for extra in [json!({"style": "vector_illustration"}), json!({"model": "recraftv4_1_vector"})] {
        let answer = make(&probe, extra).await.json();
        assert_eq!(answer["credits"], 80);
        let file = probe.get(answer["data"][0]["url"].as_str().unwrap()).await;
        assert_eq!(
            (look(&file.body).0, file.headers["content-type"].to_str().unwrap()),
            (Format::Svg, "image/svg+xml")
        );
    }
    assert_eq!(
        probe.post(&format!("{MAKE}/raster"), &json!({"prompt": "a", "model": "recraftv3_vector"})).await.status,
        400
    );
}

#[tokio::test(start_paused = true)]
async fn refuses_what_the_real_one_refuses() {
    let probe = probe();
    for extra in [
        json!({"prompt": ""}),
        json!({"prompt": "x".repeat(1001)}),
        json!({"model": "recraftv9"}),
        json!({"n": 7}),
        json!({"size": "1344x768"}),
        json!({"size": "big"}),
        json!({"style": "vivid"}),
        json!({"style": "icon", "style_id": "1"}),
        json!({"substyle": "hand_drawn"}),
        json!({"image_format": "gif"}),
        json!({"response_format": "bytes"}),
        json!({"random_seed": "x"}),
        json!({"model": "recraftv4_styles"}),
    ] {
        let answer = make(&probe, extra.clone()).await;
        assert_eq!((answer.status, answer.json()["message"].is_string()), (400, true), "{extra}: {}", answer.text());
    }
    assert_eq!(make(&probe, json!({"model": "recraftv4", "style": "vivid", "size": "1344x768"})).await.status, 200);
    let nowhere = probe.post("/recraft/images/edits", &json!({})).await;
    assert_eq!((nowhere.status, nowhere.text()), (404, "404 page not found".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn keys_money_moderation_and_rules() {
    let probe = probe();
    let wrong = make(&probe.with_key("Bearer bad"), json!({})).await;
    assert_eq!((wrong.status, wrong.text()), (401, "request unauthorized".to_owned()));
    assert_eq!(make(&probe.with_key("Bearer broke"), json!({})).await.status, 402);
    assert_eq!(make(&probe, json!({"prompt": "[refuse]"})).await.json()["code"], "prompt_moderation");
    assert_eq!(make(&probe, json!({"prompt": "[fail]"})).await.status, 500);
    probe.steer_once(json!({"provider": "recraft", "fault": "status", "status": 429, "retry_after": 2})).await;
    let limited = make(&probe, json!({})).await;
    assert_eq!((limited.status, limited.headers["retry-after"].to_str().unwrap()), (429, "2"));
    assert_eq!(probe.billed("recraft").await, "0.000000");
    probe.steer_once(json!({"provider": "recraft", "fault": "truncate"})).await;
    let broken = make(&probe, json!({})).await.json();
    assert!(!probe.get(broken["data"][0]["url"].as_str().unwrap()).await.whole);
    probe.steer_once(json!({"provider": "recraft", "fault": "empty"})).await;
    assert_eq!(make(&probe, json!({})).await.json()["data"], json!([]));
    assert_eq!(probe.billed("recraft").await, "0.080000");
}

#[tokio::test(start_paused = true)]
async fn edits_take_forms() {
    let probe = probe();
    let image = || ("image", picture(Format::Png, 320, 256));
    let (prompt, model) = (("prompt", Part::Text("a fox")), ("model", Part::Text("recraftv3")));
    let url = "/recraft/images/imageToImage";
    let parts = [image(), prompt, model, ("strength", Part::Text("0.5")), ("n", Part::Text("2"))];
    let answer = probe.form(url, &parts).await;
    assert_eq!((answer.status, &answer.json()["credits"]), (200, &80.into()), "{}", answer.text());
    let file = probe.get(answer.json()["data"][0]["url"].as_str().unwrap()).await;
    assert_eq!(look(&file.body).1, Size::new(320, 256));
    let without = probe.form(url, &[image(), ("prompt", Part::Text("a fox"))]).await;
    assert_eq!(without.json()["message"], "strength: is required");
    let small = [("image", picture(Format::Png, 64, 64)), ("prompt", Part::Text("a")), ("strength", Part::Text("1"))];
    assert_eq!(probe.form(url, &small).await.status, 400);
    let mask = ("mask", picture(Format::Png, 320, 256));
    let inpaint = probe.form("/recraft/images/inpaint", &[image(), mask, ("prompt", Part::Text("a fox"))]).await;
    assert_eq!(inpaint.json()["credits"], 40, "{}", inpaint.text());
    let tool = probe.form("/recraft/images/vectorize", &[("file", picture(Format::Png, 320, 256))]).await;
    assert_eq!((&tool.json()["credits"], tool.json()["image"]["url"].is_string()), (&10.into(), true));
    assert_eq!(probe.billed("recraft").await, "0.130000");
}
