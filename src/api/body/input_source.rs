//! A picture or video as a caller gives it, and the parameters that may hold one.

use bytes::Bytes;

/// The parameters that hold pictures or videos, besides `mask`, in the order in which their inputs are passed on.
pub(in crate::api) const INPUT_PARAMETERS: [&str; 7] =
    ["input_reference", "image", "images", "image_url", "image_base64", "video", "video_url"];

/// A picture or video before it is fetched, decoded and verified.
#[derive(Debug, Clone)]
pub(in crate::api) enum InputSource {
    /// An uploaded file.
    File(Bytes),
    /// A link, a data URI or base64.
    Text(String),
}

/// True for the names of form parts that hold a picture or a video: `image`, `image[]`, `image[0]`, `images[]`, `mask`, …
pub(super) fn is_input(name: &str) -> bool {
    let stem = name.split('[').next().unwrap_or_default();
    stem == "mask" || INPUT_PARAMETERS.contains(&stem)
}
