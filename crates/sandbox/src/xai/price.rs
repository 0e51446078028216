//! xAI's price table in ticks, ten thousand millionths of a dollar (<https://docs.x.ai/developers/models>, 2026-11).
//! Written apart from the gateway's catalog, so that the two can disagree.

use crate::base::Usd;

/// Ticks of a tenth of a cent.
const MILL: u64 = 10_000_000;

/// What pictures cost: so many made at a quality and a scale, from so many others.
pub(super) fn pictures(model: &str, quality: &str, scale: &str, made: u32, read: usize) -> u64 {
    let (each, input) = match (model, quality, scale) {
        ("grok-imagine-image", _, _) => (20, 2),
        (_, "low", "2k") => (60, 10),
        (_, "low", _) => (40, 10),
        (_, _, "2k") => (80, 10),
        _ => (60, 10),
    };
    MILL * (u64::from(made) * each + read as u64 * input)
}

/// What a video costs: seconds at a resolution, and the picture that it starts from.
pub(super) fn video(model: &str, resolution: &str, seconds: u32, read: usize) -> u64 {
    let (each, input) = match (model, resolution) {
        ("grok-imagine-video", "720p") => (70, 2),
        ("grok-imagine-video", _) => (50, 2),
        ("grok-imagine-video-1.5-lite", "720p") => (35, 10),
        ("grok-imagine-video-1.5-lite", _) => (20, 10),
        (_, "1080p") => (250, 10),
        (_, "720p") => (140, 10),
        _ => (80, 10),
    };
    MILL * (u64::from(seconds) * each + read as u64 * input)
}

/// Ticks as money.
pub(super) fn dollars(ticks: u64) -> Usd {
    Usd::from_micros(i64::try_from(ticks / 10_000).unwrap_or(i64::MAX))
}
