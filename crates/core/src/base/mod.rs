//! Ground floor: values that know nothing of images, providers or HTTP.

pub mod allowed_models;
pub mod backoff;
pub mod clock;
pub mod id;
pub mod live;
pub mod money;
pub mod nearest;
pub mod secret;

pub use allowed_models::{AllowedModels, AllowedModelsCache};
pub use backoff::Backoff;
pub use clock::Timestamp;
pub use live::Live;
pub use money::Usd;
pub use secret::Secret;
