use crate::form::probe::{Answer, Part, Probe, picture};
use crate::media::{Format, Limits, Size, inspect};
use serde_json::{Value, json};

const THIRD: &str = "/ideogram/v1/ideogram-v3/generate";
const FOURTH: &str = "/ideogram/v1/ideogram-v4/generate";

fn probe() -> Probe {
    Probe::new("ideogram", include_str!("../../../../config/catalog/ideogram.toml"), "api-key", "key")
}

async fn make(probe: &Probe, url: &str, texts: &[(&str, &str)]) -> Answer {
    let parts: Vec<(&str, Part<'_>)> = texts.iter().map(|(name, text)| (*name, Part::Text(text))).collect();
    probe.form(url, &parts).await
}

async fn size(probe: &Probe, answer: &Answer) -> Size {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let file = probe.get(answer.json()["data"][0]["url"].as_str().unwrap()).await;
    let facts = inspect(&file.body, &Limits::default()).unwrap();
    assert_eq!(facts.format, Format::Png);
    facts.size
}

#[tokio::test(start_paused = true)]
async fn generates_links() {
    let probe = probe();
    let answer = make(&probe, THIRD, &[("prompt", "a fox"), ("resolution", "1312x736"), ("num_images", "2")]).await;
    assert_eq!(size(&probe, &answer).await, Size::new(1312, 736));
    let item = &answer.json()["data"][1];
    assert_eq!((&item["is_image_safe"], &item["resolution"]), (&true.into(), &"1312x736".into()));
    assert!(item["url"].as_str().unwrap().contains("?exp=") && item["prompt"] != "a fox");
    let plain =
        [("prompt", "a fox"), ("aspect_ratio", "16x9"), ("rendering_speed", "QUALITY"), ("magic_prompt", "OFF")];
    let answer = make(&probe, THIRD, &plain).await;
    assert_eq!(
        (size(&probe, &answer).await, &answer.json()["data"][0]["prompt"]),
        (Size::new(1376, 768), &"a fox".into())
    );
    let fourth = make(&probe, FOURTH, &[("text_prompt", "a fox"), ("rendering_speed", "TURBO")]).await;
    assert_eq!(fourth.json()["response_type"], "url");
    assert_eq!(size(&probe, &fourth).await, Size::new(2048, 2048));
    // Two at 0.06, one at 0.09, one at 0.03.
    assert_eq!(probe.billed("ideogram").await, "0.240000");
}

#[tokio::test(start_paused = true)]
async fn refuses_bad_fields() {
    let probe = probe();
    for texts in [
        &[("negative_prompt", "x")][..],
        &[("prompt", "a"), ("resolution", "1024x1024"), ("aspect_ratio", "1x1")],
        &[("prompt", "a"), ("resolution", "2048x2048")],
        &[("prompt", "a"), ("aspect_ratio", "16:9")],
        &[("prompt", "a"), ("rendering_speed", "ultra")],
        &[("prompt", "a"), ("num_images", "9")],
        &[("prompt", "a"), ("num_images", "1.5")],
        &[("prompt", "a"), ("seed", "-1")],
        &[("prompt", "a"), ("style_codes", "0123456g")],
        &[("prompt", "a"), ("style_codes", "01234567"), ("style_type", "AUTO")],
        &[("prompt", "a"), ("color_palette", "EMBER")],
    ] {
        assert_eq!(make(&probe, THIRD, texts).await.status, 400, "{texts:?}");
    }
    for texts in [
        &[("prompt", "a")][..],
        &[("text_prompt", "a"), ("json_prompt", "{}")],
        &[("text_prompt", "a"), ("rendering_speed", "FLASH")],
        &[("text_prompt", "a"), ("resolution", "1024x1024")],
    ] {
        assert_eq!(make(&probe, FOURTH, texts).await.status, 400, "{texts:?}");
    }
    assert_eq!(probe.post(THIRD, &json!({"prompt": "a"})).await.status, 400);
    assert_eq!(make(&probe, "/ideogram/v1/ideogram-v9/generate", &[("prompt", "a")]).await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn keys_money_and_both_refusals() {
    let probe = probe();
    let fox = [("prompt", "a fox")];
    assert_eq!(make(&probe.with_key(""), THIRD, &fox).await.status, 401);
    assert_eq!(make(&probe.with_key("bad"), THIRD, &fox).await.status, 401);
    assert_eq!(make(&probe.with_key("broke"), THIRD, &fox).await.status, 402);
    let refused = make(&probe, THIRD, &[("prompt", "[refuse]")]).await;
    assert_eq!((refused.status, refused.json()["error"].is_string()), (422, true));
    assert_eq!(make(&probe, THIRD, &[("prompt", "[fail]")]).await.status, 500);
    assert_eq!(probe.billed("ideogram").await, "0.000000");
    probe.steer_once(json!({"provider": "ideogram", "fault": "refuse"})).await;
    let withheld = make(&probe, THIRD, &fox).await;
    let item = &withheld.json()["data"][0];
    assert_eq!((withheld.status, &item["is_image_safe"], &item["url"]), (200, &false.into(), &Value::Null));
    assert_eq!(probe.billed("ideogram").await, "0.060000");
}

#[tokio::test(start_paused = true)]
async fn remixes_and_the_older_model() {
    let probe = probe();
    let image = || ("image", picture(Format::Jpeg, 320, 256));
    let parts = [image(), ("prompt", Part::Text("a fox")), ("image_weight", Part::Text("80"))];
    let answer = probe.form("/ideogram/v1/ideogram-v3/remix", &parts).await;
    assert_eq!(size(&probe, &answer).await, Size::new(320, 256));
    let answer = probe.form("/ideogram/v1/ideogram-v4/remix", &[image(), ("text_prompt", Part::Text("a fox"))]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(probe.form("/ideogram/v1/ideogram-v3/remix", &[("prompt", Part::Text("a fox"))]).await.status, 400);
    let request = json!({"image_request": {"prompt": "a fox", "model": "V_2", "aspect_ratio": "ASPECT_16_9"}});
    let answer = probe.post("/ideogram/generate", &request).await;
    assert_eq!(size(&probe, &answer).await, Size::new(1376, 768));
    let request = json!({"image_request": {"prompt": "a fox", "aspect_ratio": "16:9"}});
    assert_eq!(probe.post("/ideogram/generate", &request).await.status, 400);
}
