//! Every active route of the catalog, once, through the whole gateway against its provider's simulator.

use super::kit::{Kit, clip, picture, picture_facts};
use futures::stream::{self, StreamExt};
use lumenfall::app;
use lumenfall::base::{Timestamp, Usd};
use lumenfall::catalog::price::{Flow, Metric};
use lumenfall::catalog::{Rounding, Route, SizeRule};
use lumenfall::job::Mode;
use lumenfall::media::{Format, Size, draw};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A picture as a data address.
fn uri(spec: &str) -> String {
    format!("data:image/png;base64,{}", base64_simd::STANDARD.encode_to_string(picture(spec)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// What a caller gives: sixteen pictures, each another one, and a mask for any of them, as data addresses with hashes.
struct Gifts {
    pictures: Vec<(String, String)>,
    mask: String,
}

impl Gifts {
    fn new() -> Self {
        let size = Size::new(512, 512);
        let uri = |file: &[u8]| format!("data:image/png;base64,{}", base64_simd::STANDARD.encode_to_string(file));
        let pictures = (0..16).map(|index| {
            let file = draw(&format!("gift {index}"), size, Format::Png).unwrap();
            (uri(&file), hex(&Sha256::digest(&file)))
        });
        let clear = |x: u32| if x < 256 { 0 } else { 255 };
        let mask = image::RgbaImage::from_fn(512, 512, |x, _| image::Rgba([0, 0, 0, clear(x)]));
        let mut file = std::io::Cursor::new(Vec::new());
        mask.write_to(&mut file, image::ImageFormat::Png).unwrap();
        Self { pictures: pictures.collect(), mask: uri(&file.into_inner()) }
    }
}

/// One picture from a route, and for edits another with a mask where it takes one; every input must have arrived.
async fn make_picture(kit: &Kit, gifts: &Gifts, route: &Route, mode: Mode) -> Result<(), String> {
    try_picture(kit, gifts, route, mode, None).await?;
    match route.inputs.as_ref().filter(|inputs| inputs.mask.is_some() && mode == Mode::ImageEdit) {
        Some(inputs) => {
            try_picture(kit, gifts, route, mode, Some(if inputs.white_mask { "white" } else { "transparent" })).await
        }
        None => Ok(()),
    }
}

/// What a simulator must have been sent: every picture, the words, and a mask marked so.
fn arrived(receipts: &[Value], route: &Route, prompt: Option<&str>, hashes: &[&str], marks: Option<&str>) -> bool {
    receipts.iter().filter(|one| one["provider"] == route.provider.as_str()).any(|receipt| {
        let pictures = receipt["pictures"].as_array().unwrap();
        let texts = receipt["texts"].as_array().unwrap();
        let words = prompt.is_none_or(|prompt| texts.iter().any(|text| text.as_str().unwrap().contains(prompt)));
        let given = hashes.iter().all(|hash| pictures.iter().any(|seen| seen["sha256"] == *hash));
        let marked = marks.is_none_or(|marks| pictures.iter().any(|seen| seen["marks"] == marks));
        words && given && marked
    })
}

/// One picture from a route; the complaint when it is not what was asked for.
async fn try_picture(kit: &Kit, gifts: &Gifts, route: &Route, mode: Mode, marks: Option<&str>) -> Result<(), String> {
    let model = format!("{}/{}", route.provider, route.upstream);
    let prompt = format!("a fox in the snow, {mode} by {model}, mask {}", marks.is_some());
    let mut body = json!({"model": model, "prompt": prompt, "response_format": "b64_json"});
    let path = if mode == Mode::TextToImage { "generations" } else { "edits" };
    let most = route.inputs.as_ref().map_or(1, |inputs| inputs.max).min(16);
    let given = if mode == Mode::TextToImage { &[] } else { &gifts.pictures[..most] };
    if !given.is_empty() {
        body["image"] = given.iter().map(|(uri, _)| json!(uri)).collect();
    }
    if marks.is_some() {
        body["mask"] = json!(gifts.mask);
    }
    if mode == Mode::Upscale {
        body["scale_factor"] = json!(2);
    }
    body.as_object_mut().unwrap().extend(required(&route.upstream));
    let dry = kit.post(&format!("/v1/images/{path}?dryRun=true"), &body).await;
    let got = kit.post(&format!("/v1/images/{path}"), &body).await;
    let complain = |what: &str| Err(format!("{model} {mode}: {what}: {}", shorten(&got.json)));
    if got.status != 200 {
        return complain("failed");
    }
    let hashes: Vec<&str> = given.iter().map(|(_, hash)| hash.as_str()).collect();
    let said = route.field("prompt").map(|_| prompt.as_str());
    let receipts = match said {
        Some(said) => kit.received("text", said).await,
        None => kit.received("provider", &route.provider).await,
    };
    // What is drawn inside has nobody to arrive at.
    if route.provider != "mock" && !arrived(&receipts, route, said, &hashes, marks) {
        return complain("an input did not reach the provider");
    }
    let text = got.json["data"][0]["b64_json"].as_str().unwrap_or_default();
    let bytes = base64_simd::STANDARD.decode_to_vec(text).unwrap();
    let facts = picture_facts(&bytes);
    if got.json["size"] != facts.size.to_string() || got.json["output_format"] != facts.format.name() {
        return complain("the answer lies about its picture");
    }
    if got.json["metadata"]["executed_model"] != route.executed_model() {
        return complain("another route ran");
    }
    let priced = !route.price.lines.is_empty() || route.price.free;
    let told = got.json["metadata"]["cost_note"].is_string();
    if priced && !got.json["metadata"]["cost"].is_number() && !told {
        return complain("a priced route without a cost, and no word why");
    }
    agree(route, &dry.json, &got.json["metadata"])
        .map_err(|why| format!("{model} {mode}: {why}: {}", shorten(&dry.json)))
}

/// Whether the dry run foretold the cost. Two things cannot be foretold: words and thoughts beside a picture, where they
/// are billed (a few hundred tokens), and the pixels that a provider picks and bills exactly (a percent).
fn agree(route: &Route, dry: &Value, metadata: &Value) -> Result<(), String> {
    let (Some(foreseen), Some(cost)) = (dry["total_cost_micros"].as_i64(), metadata["cost"].as_f64()) else {
        return Ok(());
    };
    #[expect(clippy::cast_possible_truncation, reason = "a few dollars")]
    let cost = (cost * 1e6).round() as i64;
    let words = route.price.lines.iter().filter(|line| (line.flow, line.metric) == (Flow::Output, Metric::TokenText));
    let beside: Usd = words.filter_map(|line| Usd::from_dollars(line.unit_price * Decimal::new(200, 6))).sum();
    let exact = route.price.lines.iter().any(|line| line.round == Rounding::Exact && line.metric == Metric::Megapixel);
    let picked = if exact && !matches!(route.size, SizeRule::Pixels(_)) { foreseen / 100 } else { 0 };
    if (foreseen - picked..=foreseen + picked + beside.micros()).contains(&cost) {
        Ok(())
    } else {
        Err(format!("the dry run said {foreseen} micro-dollars, it cost {cost} ({})", metadata["cost_source"]))
    }
}

/// Parameters without which an endpoint refuses to work.
fn required(upstream: &str) -> serde_json::Map<String, Value> {
    let fields = match upstream {
        style if style.contains("_styles") => json!({"style_id": "3b5d3f4e-8c2a-4d6b-9f1e-2a7c5e8d9b01"}),
        "edit/search-and-replace" => json!({"search_prompt": "the fox"}),
        "edit/search-and-recolor" => json!({"select_prompt": "the fox"}),
        "edit/outpaint" => json!({"left": 64}),
        "fal-ai/ideogram/v3/edit" => json!({"mask_url": uri("png:1024x1024")}),
        "fal-ai/ideogram/character/edit" => {
            json!({"mask_url": uri("png:1024x1024"), "reference_image_urls": [uri("png:512x512")]})
        }
        "fal-ai/veo3.1/first-last-frame-to-video" => json!({"last_frame_url": uri("png:512x512")}),
        _ => json!({}),
    };
    fields.as_object().unwrap().clone()
}

fn shorten(value: &Value) -> String {
    value.to_string().chars().take(600).collect()
}

/// One video from a route, through the whole gateway.
async fn make_video(kit: &Kit, route: &Route, mode: Mode) -> Result<(), String> {
    let model = route.executed_model();
    let door = match mode {
        Mode::VideoToVideo => "/v1/videos/edits",
        Mode::VideoExtension => "/v1/videos/extensions",
        _ => "/v1/videos",
    };
    let mut body = json!({"model": model, "prompt": "a fox in the snow"});
    body.as_object_mut().unwrap().extend(required(&route.upstream));
    match mode {
        Mode::ImageToVideo => body["input_reference"] = json!({"image_url": uri("png:512x512")}),
        Mode::VideoToVideo | Mode::VideoExtension => {
            let file = base64_simd::STANDARD.encode_to_string(clip("mp4:5"));
            body["video"] = json!(format!("data:video/mp4;base64,{file}"));
        }
        _ => {}
    }
    let dry = kit.post(&format!("{door}?dryRun=true"), &body).await;
    let taken = kit.post(door, &body).await;
    let complain = |what: &str, json: &Value| Err(format!("{model} {mode}: {what}: {}", shorten(json)));
    if taken.status != 202 {
        return complain("not taken", &taken.json);
    }
    let path = format!("/v1/videos/{}", taken.json["id"].as_str().unwrap());
    let patience = Instant::now() + Duration::from_mins(2);
    let video = loop {
        let video = kit.get(&path).await.json;
        if video["status"] == "completed" {
            break video;
        }
        if video["status"] == "failed" || Instant::now() > patience {
            return complain("failed", &video);
        }
        sleep(Duration::from_millis(100)).await;
    };
    if let Err(why) = agree(route, &dry.json, &video["metadata"]) {
        return complain(&why, &dry.json);
    }
    let (file, mime) = kit.download(video["output"]["url"].as_str().unwrap()).await;
    if mime != "video/mp4" || file.get(4..8) != Some(b"ftyp") {
        return complain("what came is no MP4", &video);
    }
    if video["metadata"]["executed_model"] != model {
        return complain("another route ran", &video);
    }
    let priced = !route.price.lines.is_empty() || route.price.free;
    let told = video["metadata"]["cost_note"].is_string();
    if priced && !video["metadata"]["cost"].is_number() && !told {
        return complain("a priced route without a cost, and no word why", &video);
    }
    agree(route, &dry.json, &video["metadata"]).map_err(|why| format!("{model} {mode}: {why}: {}", shorten(&dry.json)))
}

#[tokio::test]
async fn every_active_route_works_in_the_sandbox() {
    let catalog = app::embedded_catalog().unwrap();
    let now = Timestamp::now().rfc3339();
    let kit = Kit::start().await;
    let gifts = Gifts::new();
    let live =
        catalog.models().iter().filter(|model| model.status_on(&now[..10]) != lumenfall::catalog::Lifecycle::Retired);
    let routes = live.flat_map(|model| catalog.routes(model)).filter(|route| !route.retired(&now[..10]));
    let work: Vec<(Arc<Route>, Mode)> =
        routes.flat_map(|route| route.modes.iter().map(|mode| (Arc::clone(route), *mode))).collect();
    let count = work.len();
    assert!(count >= 10, "only {count} routes");
    let tried = stream::iter(work).map(|(route, mode)| {
        let (kit, gifts) = (&kit, &gifts);
        async move {
            match mode {
                Mode::TextToImage | Mode::ImageEdit | Mode::Upscale => make_picture(kit, gifts, &route, mode).await,
                Mode::TextToVideo | Mode::ImageToVideo | Mode::VideoToVideo | Mode::VideoExtension => {
                    make_video(kit, &route, mode).await
                }
            }
        }
    });
    let outcomes: Vec<Result<(), String>> = tried.buffer_unordered(24).collect().await;
    let complaints: Vec<String> = outcomes.into_iter().filter_map(Result::err).collect();
    assert!(complaints.is_empty(), "{} of {count} routes do not work:\n{}", complaints.len(), complaints.join("\n"));
    kit.running.stop().await;
}
