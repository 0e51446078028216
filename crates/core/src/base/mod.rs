//! Ground floor: values that know nothing of images, providers or HTTP.

pub mod backoff;
pub mod clock;
pub mod id;
pub mod live;
pub mod money;
pub mod nearest;
pub mod secret;

pub use backoff::Backoff;
pub use clock::Timestamp;
pub use live::Live;
pub use money::Usd;
pub use secret::Secret;
