//! Text that must not be seen: no `Display`, no `Serialize`, a `Debug` that says nothing.

use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::fmt;

/// A key or password. Call [`Secret::expose`] only where it goes on the wire.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Eight characters that tell it from others and say nothing about it: the beginning of its SHA-256.
    pub fn mark(&self) -> String {
        hex::encode(Sha256::digest(self.0.as_bytes()).split_at(4).0)
    }

    /// Whether it is the empty text, which configuration uses for "not set".
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_shows_itself() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "[secret]");
    }
}
