//! What single endpoints do in ways of their own, by their ids (<https://fal.ai/models>). Sizes, counts, formats and
//! input fields are not here: the catalog knows them.

use crate::catalog::Route;
use crate::job::Mode;

const FIVE: &[&str] = &["1", "2", "3", "4", "5"];
const SIX: &[&str] = &["1", "2", "3", "4", "5", "6"];

/// Fields that take one of a few words, and the words.
pub(super) fn choices(route: &Route) -> Vec<(&'static str, &'static [&'static str])> {
    let id = route.upstream.as_str();
    let mut found: Vec<(&str, &[&str])> = Vec::new();
    if id.starts_with("fal-ai/flux-2-") {
        found.push(("safety_tolerance", FIVE));
    } else if ["fal-ai/flux-pro/", "fal-ai/nano-banana", "fal-ai/gemini-", "fal-ai/veo3.1"]
        .iter()
        .any(|start| id.starts_with(start))
    {
        found.push(("safety_tolerance", SIX));
    }
    if id.contains("gpt-image") {
        let quality: &[&str] = if id.contains("gpt-image-2.5") {
            &["auto", "low", "medium", "high", "xhigh", "max"]
        } else if id.contains("gpt-image-1.5") {
            &["low", "medium", "high"]
        } else {
            &["auto", "low", "medium", "high"]
        };
        found.push(("quality", quality));
        found.push(("background", &["auto", "transparent", "opaque"]));
    }
    if ["ideogram/v3", "ideogram/v4", "ideogram/character"].iter().any(|family| id.contains(family)) {
        found.push(("rendering_speed", &["TURBO", "BALANCED", "QUALITY"]));
    }
    if ["fal-ai/flux/", "fal-ai/z-image/"].iter().any(|start| id.starts_with(start)) {
        found.push(("acceleration", &["none", "regular", "high"]));
    }
    if id.starts_with("google/nano-banana-lite") || id.starts_with("fal-ai/nano-banana-2") {
        found.push(("thinking_level", &["minimal", "high"]));
    }
    if id.starts_with("fal-ai/pixverse/") {
        found.push(("style", &["anime", "3d_animation", "clay", "comic", "cyberpunk"]));
    }
    if id.starts_with("fal-ai/vidu/") {
        found.push(("movement_amplitude", &["auto", "small", "medium", "large"]));
    }
    if id.starts_with("bytedance/seedance-2.0") {
        found.push(("bitrate_mode", &["standard", "high"]));
    }
    found
}

/// Whether the result is one `image` instead of a list `images`.
pub(super) fn single_image(route: &Route) -> bool {
    let id = route.upstream.as_str();
    ["bria/", "fal-ai/nextstep-1", "fal-ai/vidu/q2/", "fal-ai/wan/v2.2-a14b/"].iter().any(|start| id.starts_with(start))
}

/// Whether it makes videos.
pub(super) fn makes_video(route: &Route) -> bool {
    route.modes.iter().any(|mode| mode.makes_video())
}

/// Whether it works on pictures only, so that a call without one is a mistake.
pub(super) fn needs_pictures(route: &Route) -> bool {
    route.inputs.is_some() && !route.modes.iter().any(|mode| matches!(mode, Mode::TextToImage | Mode::TextToVideo))
}

/// Fields besides the prompt and the pictures that an endpoint requires.
pub(super) fn required(route: &Route) -> &'static [&'static str] {
    match route.upstream.as_str() {
        "fal-ai/ideogram/v3/edit" => &["mask_url"],
        "fal-ai/ideogram/character/edit" => &["mask_url", "reference_image_urls"],
        "fal-ai/luma-photon/modify" | "fal-ai/luma-photon/flash/modify" => &["aspect_ratio", "strength"],
        "fal-ai/nextstep-1" => &["negative_prompt"],
        "fal-ai/veo3.1/first-last-frame-to-video" => &["last_frame_url"],
        _ => &[],
    }
}

/// The open models behind `fal-ai/`.
const OPEN: [&str; 28] = [
    "bagel",
    "cogview4",
    "f-lite/",
    "fast-lightning-sdxl",
    "fast-sdxl",
    "firered-image-edit",
    "flux-1/",
    "flux-2",
    "flux-kontext/",
    "flux/",
    "glm-image",
    "hidream-",
    "hunyuan-image/",
    "kolors",
    "longcat-image",
    "lumina-image/",
    "omnigen-",
    "ovis-image",
    "playground-v25",
    "pony-v7",
    "qwen-image",
    "sana/",
    "stable-cascade",
    "stable-diffusion-",
    "step1x-edit",
    "stepx-edit2",
    "wan/v2.2",
    "z-image/",
];

/// Open models are guarded by a checker that looks at the picture, closed ones by their makers.
pub(super) fn open_weights(route: &Route) -> bool {
    let Some(id) = route.upstream.strip_prefix("fal-ai/") else {
        return route.upstream.starts_with("rundiffusion-fal/");
    };
    let closed = ["flux-2-", "qwen-image-2/", "qwen-image-max/"];
    OPEN.iter().any(|start| id.starts_with(start)) && !closed.iter().any(|start| id.starts_with(start))
}

/// Where the prompt comes back as the model rewrote it.
pub(super) fn rewritten_prompt(route: &Route) -> Option<&'static str> {
    let id = route.upstream.as_str();
    if id.starts_with("xai/grok-imagine-image") {
        Some("revised_prompt")
    } else if ["fal-ai/wan-25-preview/", "wan/v2.6/", "fal-ai/wan/v2.7/"].iter().any(|start| id.starts_with(start)) {
        Some("actual_prompt")
    } else {
        None
    }
}
