//! Keys and ids. Any key is good unless its text says otherwise: one that contains `bad` or `invalid` is unknown, one
//! that contains `broke` belongs to an account without money.

use axum::http::{HeaderMap, header};
use uuid::Uuid;

/// What a key is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    /// There is none, or it is not presented in the provider's way.
    Missing,
    /// The provider does not know it.
    Unknown(String),
    /// Its account is out of money.
    Broke,
    /// It works.
    Good,
}

/// Reads `Authorization: <scheme> <key>`.
pub(super) fn read_key(headers: &HeaderMap, scheme: &str) -> Key {
    let presented = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let key = presented.and_then(|text| text.split_once(' ')).filter(|(said, _)| said.eq_ignore_ascii_case(scheme));
    let Some((_, key)) = key else { return Key::Missing };
    let key = key.trim();
    if key.is_empty() {
        Key::Missing
    } else if key.contains("bad") || key.contains("invalid") {
        Key::Unknown(key.to_owned())
    } else if key.contains("broke") {
        Key::Broke
    } else {
        Key::Good
    }
}

/// 32 hexadecimal digits.
pub(super) fn fresh_hex() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// A random UUID (version 4).
pub(super) fn fresh_uuid() -> String {
    Uuid::new_v4().to_string()
}
