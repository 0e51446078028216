//! Pictures and videos as the core knows them, and the storage of finished ones.

pub mod storage;

pub use lumenfall_core::media::*;
