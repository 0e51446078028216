use crate::form::probe::{Answer, Part, Probe, picture};
use crate::media::{Format, Limits, Size, inspect};
use serde_json::json;

const ULTRA: &str = "generate/ultra";
const SD3: &str = "generate/sd3";

fn probe() -> Probe {
    Probe::new("stability", include_str!("../../../../config/catalog/stability.toml"), "authorization", "Bearer sk-1")
}

async fn send(probe: &Probe, route: &str, parts: &[(&str, Part<'_>)]) -> Answer {
    probe.form(&format!("/stability/v2beta/stable-image/{route}"), parts).await
}

async fn make(probe: &Probe, route: &str, texts: &[(&str, &str)]) -> Answer {
    let parts: Vec<(&str, Part<'_>)> = texts.iter().map(|(name, text)| (*name, Part::Text(text))).collect();
    send(probe, route, &parts).await
}

fn look(answer: &Answer) -> (Format, Size) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let facts = inspect(&answer.body, &Limits::default()).unwrap();
    (facts.format, facts.size)
}

#[tokio::test(start_paused = true)]
async fn generates_files_with_headers() {
    let probe = probe();
    let answer = make(&probe, ULTRA, &[("prompt", "a fox"), ("aspect_ratio", "16:9"), ("output_format", "webp")]).await;
    assert_eq!(look(&answer), (Format::Webp, Size::new(1344, 768)));
    assert_eq!(answer.headers["finish-reason"], "SUCCESS");
    assert_eq!(
        look(&make(&probe, "generate/core", &[("prompt", "a fox")]).await),
        (Format::Png, Size::new(1280, 1280))
    );
    let turbo = [("prompt", "a fox"), ("model", "sd3.5-large-turbo"), ("seed", "7"), ("output_format", "jpeg")];
    let answer = make(&probe, SD3, &turbo).await;
    assert_eq!((look(&answer).0, answer.headers["seed"].to_str().unwrap()), (Format::Jpeg, "7"));
    // 8, 3 and 4 credits.
    assert_eq!(probe.billed("stability").await, "0.150000");
}

#[tokio::test(start_paused = true)]
async fn refuses_bad_fields() {
    let probe = probe();
    let long = "x".repeat(10_001);
    for (route, texts) in [
        (ULTRA, &[("negative_prompt", "a")][..]),
        (ULTRA, &[("prompt", &long)]),
        (ULTRA, &[("prompt", "a"), ("aspect_ratio", "4:3")]),
        (ULTRA, &[("prompt", "a"), ("output_format", "gif")]),
        (ULTRA, &[("prompt", "a"), ("seed", "-1")]),
        (ULTRA, &[("prompt", "a"), ("style_preset", "vivid")]),
        (SD3, &[("prompt", "a"), ("output_format", "webp")]),
        (SD3, &[("prompt", "a"), ("model", "sd3-large")]),
        (SD3, &[("prompt", "a"), ("mode", "image-to-image")]),
        (SD3, &[("prompt", "a"), ("cfg_scale", "11")]),
        ("edit/erase", &[("grow_mask", "1")]),
    ] {
        let answer = make(&probe, route, texts).await;
        assert_eq!((answer.status, &answer.json()["name"]), (400, &"bad_request".into()), "{texts:?}");
        assert!(answer.json()["errors"][0].is_string() && answer.json()["id"].is_string());
    }
    assert_eq!(make(&probe, "generate/sd9", &[("prompt", "a")]).await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn keys_money_and_both_refusals() {
    let probe = probe();
    let fox = [("prompt", "a fox")];
    assert_eq!(make(&probe.with_key("Bearer bad"), ULTRA, &fox).await.status, 401);
    let broke = make(&probe.with_key("Bearer broke"), ULTRA, &fox).await;
    assert_eq!((broke.status, &broke.json()["name"]), (402, &"payment_required".into()));
    let refused = make(&probe, ULTRA, &[("prompt", "[refuse]")]).await;
    assert_eq!((refused.status, &refused.json()["name"]), (403, &"content_moderation".into()));
    assert_eq!(make(&probe, ULTRA, &[("prompt", "[fail]")]).await.json()["name"], "internal_error");
    assert_eq!(probe.billed("stability").await, "0.000000");
    probe.steer_once(json!({"provider": "stability", "fault": "refuse"})).await;
    let filtered = make(&probe, ULTRA, &fox).await;
    assert_eq!((filtered.status, filtered.headers["finish-reason"].to_str().unwrap()), (200, "CONTENT_FILTERED"));
    assert_eq!(probe.billed("stability").await, "0.080000");
    assert_eq!(probe.get("/stability/v1/user/balance").await.json()["credits"], 1000.0);
}

#[tokio::test(start_paused = true)]
async fn edits_pictures() {
    let probe = probe();
    let image = || ("image", picture(Format::Png, 320, 256));
    let fox = || ("prompt", Part::Text("a fox"));
    let mode = || ("mode", Part::Text("image-to-image"));
    let strength = || ("strength", Part::Text("0.7"));
    let turned = send(&probe, SD3, &[image(), fox(), mode(), strength()]).await;
    assert_eq!(look(&turned).1, Size::new(320, 256));
    assert_eq!(send(&probe, SD3, &[image(), fox(), mode()]).await.status, 400);
    assert_eq!(
        send(&probe, SD3, &[image(), fox(), mode(), strength(), ("aspect_ratio", Part::Text("1:1"))]).await.status,
        400
    );
    let mask = |width| ("mask", picture(Format::Png, width, 256));
    assert_eq!(look(&send(&probe, "edit/inpaint", &[image(), mask(320), fox()]).await).1, Size::new(320, 256));
    assert_eq!(send(&probe, "edit/inpaint", &[image(), mask(256), fox()]).await.status, 400);
    assert_eq!(send(&probe, "edit/search-and-replace", &[image(), fox()]).await.status, 400);
    let wider = send(&probe, "edit/outpaint", &[image(), ("left", Part::Text("64"))]).await;
    assert_eq!(look(&wider).1, Size::new(384, 256));
    assert_eq!(look(&send(&probe, "edit/remove-background", &[image()]).await).0, Format::Png);
    assert_eq!(look(&send(&probe, "upscale/fast", &[image()]).await).1, Size::new(1280, 1024));
    assert_eq!(probe.billed("stability").await, "0.065000");
}
