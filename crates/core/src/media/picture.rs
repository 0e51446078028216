//! Bytes that have been inspected, together with what the inspection found.

use super::{Facts, Flaw, Limits, inspect::inspect};
use bytes::Bytes;

/// A verified picture. Cloning is cheap: the bytes are shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// The whole file.
    pub bytes: Bytes,
    /// What it is.
    pub facts: Facts,
}

impl Picture {
    /// Inspects the bytes and keeps them.
    ///
    /// # Errors
    /// Whatever [`inspect`] finds wrong with them.
    pub fn verify(bytes: Bytes, limits: &Limits) -> Result<Self, Flaw> {
        let facts = inspect(&bytes, limits)?;
        Ok(Self { bytes, facts })
    }
}
