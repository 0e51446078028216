//! What test binaries share.

pub(crate) mod postgres;
