//! What single endpoints do in ways of their own, by their ids (`providers-2.md` 1.7 and 1.8). Sizes, counts, formats and
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
    } else if ["fal-ai/flux-pro/", "fal-ai/nano-banana", "fal-ai/veo3.1"].iter().any(|start| id.starts_with(start)) {
        found.push(("safety_tolerance", SIX));
    }
    if id.contains("gpt-image") {
        found.push(("quality", &["auto", "low", "medium", "high"]));
        found.push(("background", &["auto", "transparent", "opaque"]));
    }
    if id.contains("ideogram/") {
        found.push(("rendering_speed", &["TURBO", "BALANCED", "QUALITY"]));
    }
    if ["fal-ai/flux/", "fal-ai/z-image/"].iter().any(|start| id.starts_with(start)) {
        found.push(("acceleration", &["none", "regular", "high"]));
    }
    if id.starts_with("google/nano-banana-lite") || id.starts_with("fal-ai/nano-banana-2") {
        found.push(("thinking_level", &["minimal", "high"]));
    }
    if id.starts_with("bytedance/seedance-2.0") {
        found.push(("bitrate_mode", &["standard", "high"]));
    }
    found
}

/// Whether the result is one `image` instead of a list `images`.
pub(super) fn single_image(route: &Route) -> bool {
    route.upstream.starts_with("bria/") || route.upstream == "fal-ai/wan/v2.2-a14b/text-to-image"
}

/// Whether it makes videos.
pub(super) fn makes_video(route: &Route) -> bool {
    route.modes.iter().any(|mode| matches!(mode, Mode::TextToVideo | Mode::ImageToVideo | Mode::VideoToVideo))
}

/// Whether it works on pictures only, so that a call without one is a mistake.
pub(super) fn needs_pictures(route: &Route) -> bool {
    route.inputs.is_some() && !route.modes.iter().any(|mode| matches!(mode, Mode::TextToImage | Mode::TextToVideo))
}

/// Whether the megapixels of input pictures are billed as well.
pub(super) fn bills_inputs(route: &Route) -> bool {
    let id = route.upstream.as_str();
    id.starts_with("fal-ai/flux-2-") || id.starts_with("fal-ai/flux-2/klein/")
}

/// Open models are guarded by a checker that looks at the picture, closed ones by their makers.
pub(super) fn open_weights(route: &Route) -> bool {
    let open = ["flux/", "flux-2/", "flux-kontext/", "qwen-image", "z-image/", "hunyuan-image/", "wan/v2.2"];
    let id = route.upstream.strip_prefix("fal-ai/").unwrap_or_default();
    open.iter().any(|start| id.starts_with(start))
        && !id.starts_with("qwen-image-2/")
        && !id.starts_with("qwen-image-max")
}

/// Where the prompt comes back as the model rewrote it.
pub(super) fn rewritten_prompt(route: &Route) -> Option<&'static str> {
    let id = route.upstream.as_str();
    if id.starts_with("xai/grok-imagine-image") {
        Some("revised_prompt")
    } else if id.starts_with("fal-ai/wan-25-preview/") || id.starts_with("wan/v2.6/") {
        Some("actual_prompt")
    } else {
        None
    }
}
