//! Keys and ids. Any key is good unless its text says otherwise: one that contains `bad` or `invalid` is unknown, one
//! that contains `broke` belongs to an account without money.

use crate::base::hex;
use axum::http::{HeaderMap, header};
use rand::Rng;

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
    hex(&random_bytes())
}

/// A random UUID (version 4).
pub(super) fn fresh_uuid() -> String {
    let mut bytes = random_bytes();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = hex(&bytes);
    [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
}

fn random_bytes() -> [u8; 16] {
    let mut bytes = [0u8; 16];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_version_four() {
        let id = fresh_uuid();
        assert_eq!(id.len(), 36);
        assert_eq!(&id[14..15], "4");
        assert!("89ab".contains(&id[19..20]), "{id}");
        assert_ne!(fresh_uuid(), id);
    }
}
