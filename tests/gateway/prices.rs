//! The catalog's prices against published price lists: a route, what is asked of it, what that costs.

use lumenfall::app;
use lumenfall::catalog::{Catalog, Made, Route};
use lumenfall::job::{Tokens, Usage};
use lumenfall::media::Size;
use rust_decimal::Decimal;
use serde_json::{Value, json};

/// What is asked: parameters, the size, seconds of video, pictures given, tokens reported.
struct Ask {
    input: Value,
    size: &'static str,
    seconds: u32,
    given: &'static [&'static str],
    tokens: Option<Tokens>,
}

fn ask(input: Value, size: &'static str) -> Ask {
    Ask { input, size, seconds: 0, given: &[], tokens: None }
}

fn film(input: Value, size: &'static str, seconds: u32) -> Ask {
    Ask { seconds, ..ask(input, size) }
}

fn edit(input: Value, size: &'static str, given: &'static [&'static str]) -> Ask {
    Ask { given, ..ask(input, size) }
}

fn told(tokens: Tokens) -> Ask {
    Ask { tokens: Some(tokens), ..ask(json!({}), "1024x1024") }
}

fn route<'a>(catalog: &'a Catalog, name: &'a str) -> &'a Route {
    let (provider, upstream) = name.split_once('/').unwrap();
    catalog.routes_of(provider).find(|route| route.upstream == upstream).unwrap_or_else(|| panic!("no {name}"))
}

fn cost(catalog: &Catalog, name: &str, ask: &Ask) -> Option<i64> {
    let route = route(catalog, name);
    let mut input = route.defaults.clone();
    input.extend(ask.input.as_object().unwrap().clone());
    let made = Made {
        sizes: vec![Size::parse(ask.size).unwrap()],
        seconds: Decimal::from(ask.seconds),
        given: ask.given.iter().map(|size| Size::parse(size).unwrap()).collect(),
        input: Some(&input),
        usage: Usage { tokens: ask.tokens, ..Usage::default() },
        ..Made::default()
    };
    let charge = if ask.tokens.is_some() { route.price.charge(&made) } else { route.price.estimate(&made) };
    charge.amount.map(lumenfall::base::Usd::micros)
}

/// Micro-dollars.
#[test]
fn routes_cost_what_the_price_tables_say() {
    let catalog = app::embedded_catalog().unwrap();
    let text = |text_in, cached_text_in, image_out| Tokens { text_in, cached_text_in, image_out, ..Tokens::default() };
    let seen = Tokens { text_in: 100, image_in: 1_000, cached_image_in: 400, image_out: 1_000, ..Tokens::default() };
    let rows = [
        // OpenAI: 5 and 1.25 for text read, 8 and 2 for pictures read, 30 for pictures, per million tokens.
        ("openai/gpt-image-2", told(text(1_000, 400, 1_000)), 3_000 + 500 + 30_000),
        ("openai/gpt-image-2", told(seen), 500 + 4_800 + 800 + 30_000),
        ("openai/gpt-image-1-mini", told(text(1_000, 0, 1_000)), 2_000 + 8_000),
        // OpenAI: 0.053 and 0.211 for a square, 0.165 for 1536x1024.
        ("openai/gpt-image-2", ask(json!({"quality": "medium"}), "1024x1024"), 52_680),
        ("openai/gpt-image-2", ask(json!({"quality": "high"}), "1024x1024"), 210_720),
        ("openai/gpt-image-2", ask(json!({"quality": "high"}), "1536x1024"), 164_640),
        // OpenAI's calculator for 2.5: its high is a quarter of 2's, its max is 2's high.
        ("openai/gpt-image-2.5-sunburst", ask(json!({"quality": "high"}), "1024x1024"), 52_680),
        ("openai/gpt-image-2.5-flare", ask(json!({"quality": "max"}), "1536x1024"), 164_640),
        // Google: 0.134 and 0.24; 0.0336; 0.039; 0.045 and 0.101; a picture given is 560 tokens.
        ("gemini/gemini-3-pro-image", ask(json!({"imageSize": "2K"}), "2048x2048"), 134_400),
        ("gemini/gemini-3-pro-image", ask(json!({"imageSize": "4K"}), "4096x4096"), 240_000),
        ("gemini/gemini-3-pro-image", edit(json!({}), "1024x1024", &["1024x1024"]), 134_400 + 1_120),
        ("gemini/gemini-3.1-flash-lite-image", ask(json!({}), "1024x1024"), 33_600),
        ("gemini/gemini-2.5-flash-image", ask(json!({}), "1024x1024"), 38_700),
        ("vertex/gemini-3.1-flash-image", ask(json!({"imageSize": "512"}), "512x512"), 44_820),
        ("vertex/gemini-3.1-flash-image", ask(json!({"imageSize": "2K"}), "2048x2048"), 100_800),
        ("gemini/gemini-omni-1.1-flash", film(json!({"resolution": "720p"}), "1280x720", 10), 1_013_600),
        // Google: 0.12 a second of 1080p, 0.60 of 4k.
        ("vertex/veo-3.1-fast-generate-001", film(json!({"resolution": "1080p"}), "1920x1080", 8), 960_000),
        ("vertex/veo-3.1-generate-001", film(json!({"resolution": "4k"}), "3840x2160", 8), 4_800_000),
        ("xai/grok-imagine-image-2.0", ask(json!({"quality": "medium", "resolution": "2k"}), "2048x2048"), 80_000),
        ("xai/grok-imagine-video", film(json!({"resolution": "720p"}), "1280x720", 6), 420_000),
        // First + further megapixels.
        ("bfl/flux-2-max", ask(json!({}), "2048x2048"), 160_000),
        ("bfl/flux-2-pro", ask(json!({}), "1040x1024"), 45_000),
        ("fal/fal-ai/flux/schnell", ask(json!({}), "1024x1024"), 3_000),
        ("fal/fal-ai/flux-2-max", ask(json!({}), "1025x1024"), 100_000),
        ("fal/fal-ai/nano-banana-pro", ask(json!({"resolution": "4K"}), "4096x4096"), 300_000),
        ("fal/fal-ai/veo3.1", film(json!({"generate_audio": true}), "1280x720", 8), 3_200_000),
        ("fal/fal-ai/veo3.1", film(json!({"generate_audio": false}), "1280x720", 8), 1_600_000),
        ("fal/fal-ai/ltx-2.3/text-to-video", film(json!({"resolution": "1440p"}), "2560x1440", 6), 720_000),
        ("replicate/google/nano-banana-pro", ask(json!({"resolution": "4K"}), "4096x4096"), 300_000),
        ("replicate/black-forest-labs/flux-2-pro", ask(json!({"resolution": "2 MP"}), "1448x1448"), 45_000),
        ("runware/google:4@2", ask(json!({"width": 4096, "height": 4096}), "4096x4096"), 244_000),
        // 0.00035 a step.
        ("fireworks/accounts/fireworks/models/flux-1-schnell-fp8", ask(json!({}), "1024x1024"), 1_400),
        // Width × height × 24 × seconds / 1024 tokens.
        ("byteplus/seedream-4-0-250828", ask(json!({}), "2048x2048"), 30_000),
        ("byteplus/seedance-1-0-pro-250528", film(json!({"resolution": "1080p"}), "1920x1080", 5), 607_500),
        ("byteplus/dreamina-seedance-2-0-260128", film(json!({"resolution": "720p"}), "1280x720", 5), 756_000),
        ("alibaba/qwen-image-2.0", ask(json!({}), "1024x1024"), 35_000),
        ("alibaba/wan2.6-t2v", film(json!({"size": "1920*1080"}), "1920x1080", 5), 750_000),
        // 35 units of a thousandth of a dollar.
        ("recraft/recraftv4_1", ask(json!({}), "1024x1024"), 35_000),
        ("ideogram/ideogram-v4", ask(json!({"rendering_speed": "QUALITY"}), "2048x2048"), 100_000),
        // 8 credits of a cent.
        ("stability/generate/ultra", ask(json!({}), "1024x1024"), 80_000),
        ("minimax/image-01", ask(json!({}), "1024x1024"), 3_500),
        ("luma/uni-1", edit(json!({}), "1024x1024", &["512x512", "512x512"]), 40_400 + 6_000),
        ("runway/gen4.5", film(json!({}), "1280x720", 5), 600_000),
        ("kling/v1/videos/omni-video/kling-video-o1", film(json!({"mode": "1080p"}), "1920x1080", 5), 560_000),
        ("mock/mock-image", ask(json!({}), "1024x1024"), 0),
    ];
    let wrong: Vec<String> = rows
        .iter()
        .map(|(name, ask, right)| (name, cost(&catalog, name, ask), *right))
        .filter(|(_, cost, right)| *cost != Some(*right))
        .map(|(name, cost, right)| format!("{name}: {cost:?} instead of {right}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the catalog promises to hold. How long it takes to read and check it is printed; `cargo bench --bench catalog` measures.
#[test]
fn the_catalog_is_as_large_as_promised() {
    let started = std::time::Instant::now();
    let catalog = app::embedded_catalog().unwrap();
    let taken = started.elapsed();
    let models = catalog.models();
    let open = models.iter().filter(|model| model.status_on("2026-11-20").is_open()).count();
    let routes: usize = models.iter().map(|model| catalog.routes(model).len()).sum();
    println!("{} models, {open} of them not retired, {routes} routes, read and checked in {taken:?}", models.len());
    assert!(
        models.len() >= 310 && open >= 285 && routes >= 880,
        "{} models, {open} open, {routes} routes",
        models.len()
    );
}
