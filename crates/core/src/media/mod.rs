//! Pictures and videos: what they are, whether they are sound, and how one becomes another. No network, no provider.

mod bitmap;
mod colour;
mod decode;
pub mod draw;
mod draw_font;
mod encode;
pub mod format;
mod gif;
pub mod inspect;
#[cfg(feature = "native-codecs")]
mod jpeg_native;
pub mod mask;
pub mod picture;
mod resize;
#[cfg(test)]
mod samples;
mod sides;
pub mod size;
pub mod transcode;
mod vector;
pub mod video;
pub mod workers;

pub use draw::{draw, draw_black};
pub use format::Format;
pub use inspect::{Facts, Flaw, Limits, inspect, inspect_base64, sniff};
pub use picture::Picture;
pub use resize::{Resize, Shaping, fit_within};
pub use size::{Ratio, Size, SizeAsk, Tier};
pub use transcode::{Recipe, Transcoded, transcode};
pub use video::{Container, Probe, VideoFacts, VideoFlaw};
pub use workers::Workers;
