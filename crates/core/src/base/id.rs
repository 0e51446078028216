//! Identifiers: KSUIDs with milliseconds, so that text order is time order, and with 120 random bits, so that they
//! cannot be guessed. 27 characters, the shape of the hosted service's ids.

use super::Timestamp;
use rand::Rng;
use svix_ksuid::{KsuidLike, KsuidMs};
use uuid::Uuid;

/// A fresh id of 27 characters, ordered by `at`.
pub fn fresh(at: Timestamp) -> String {
    let mut payload = [0u8; 15];
    rand::rng().fill_bytes(&mut payload);
    let seconds = u32::try_from(at.seconds().saturating_sub(EPOCH)).unwrap_or(0);
    let step = u8::try_from(at.millis().rem_euclid(1000) / 4).unwrap_or(u8::MAX);
    let mut bytes = [0u8; 20];
    bytes[..4].copy_from_slice(&seconds.to_be_bytes());
    bytes[4] = step;
    bytes[5..].copy_from_slice(&payload);
    KsuidMs::from_bytes(bytes).to_string()
}

/// When an id of [`fresh`] was made, to 4 ms. `None` when the text is not such an id.
pub fn made_at(id: &str) -> Option<Timestamp> {
    let parsed: KsuidMs = id.parse().ok()?;
    let bytes = parsed.bytes();
    let seconds = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    Some(Timestamp::from_millis((i64::from(seconds) + EPOCH) * 1000 + i64::from(bytes[4]) * 4))
}

/// KSUID time starts on 2014-05-13.
const EPOCH: i64 = 1_400_000_000;

/// A request id, `req_` and 27 characters.
pub fn request(at: Timestamp) -> String {
    format!("req_{}", fresh(at))
}

/// A random UUID, version 4.
pub fn uuid() -> String {
    Uuid::new_v4().to_string()
}

/// 192 random bits in 32 URL-safe characters: the secret half of a key.
pub fn secret() -> String {
    let mut bytes = [0u8; 24];
    rand::rng().fill_bytes(&mut bytes);
    base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes)
}

/// A fresh secret for signing webhooks: `whsec_` and 256 random bits in base64, as Standard Webhooks spells it.
pub fn webhook_secret() -> String {
    let mut bytes = [0u8; 32];
    rand::rng().fill_bytes(&mut bytes);
    format!("whsec_{}", base64_simd::STANDARD.encode_to_string(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_ordered_by_time_and_say_when() {
        let early = Timestamp::parse("2026-11-20T10:00:00.004Z").unwrap();
        let late = Timestamp::from_millis(early.millis() + 4);
        let (a, b) = (fresh(early), fresh(late));
        assert_eq!(a.len(), 27);
        assert!(a < b, "{a} < {b}");
        assert_eq!(made_at(&a), Some(early));
        assert_eq!(made_at("../../etc/passwd"), None);
        assert_ne!(fresh(early), fresh(early));
    }

    #[test]
    fn secrets_are_url_safe() {
        let secret = secret();
        assert_eq!(secret.len(), 32);
        assert!(secret.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'));
    }
}
