//! JSON Web Tokens from a pair of keys, signed with HMAC-SHA256: how Kling is shown an access key and its secret.
//! <https://app.klingai.com/global/dev/document-api> (read 2026-11).

use crate::base::{Secret, Timestamp};
use ring::hmac;
use serde_json::json;

/// How long a token is good for, in seconds.
const LIFE: i64 = 1_800;
/// How far the provider's clock may be behind ours, in seconds.
const SLACK: i64 = 5;

/// The token for a key written as `access:secret`. A key without a colon is a token already.
pub(super) fn token(key: &Secret, now: Timestamp) -> Secret {
    let Some((access, secret)) = key.expose().split_once(':') else { return key.clone() };
    let encode = |bytes: &[u8]| base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes);
    let now = now.seconds();
    let header = json!({"alg": "HS256", "typ": "JWT"});
    let claims = json!({"iss": access, "exp": now + LIFE, "nbf": now - SLACK});
    let signed = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), signed.as_bytes());
    Secret::new(format!("{signed}.{}", encode(signature.as_ref())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn signs_with_the_secret_and_never_shows_it() {
        let now = Timestamp::parse("2026-11-20T10:00:00Z").unwrap();
        let token = token(&Secret::new("ak-1:sk:2"), now);
        let (signed, signature) = token.expose().rsplit_once('.').unwrap();
        let decode = |text: &str| base64_simd::URL_SAFE_NO_PAD.decode_to_vec(text).unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"sk:2");
        hmac::verify(&key, signed.as_bytes(), &decode(signature)).unwrap();
        let (header, claims) = signed.split_once('.').unwrap();
        assert_eq!(decode(header), br#"{"alg":"HS256","typ":"JWT"}"#);
        let claims: Value = serde_json::from_slice(&decode(claims)).unwrap();
        let at = now.seconds();
        assert_eq!(claims, json!({"iss": "ak-1", "exp": at + 1_800, "nbf": at - 5}));
        assert!(!String::from_utf8(decode(signed.split_once('.').unwrap().1)).unwrap().contains("sk:2"));
        assert_eq!(format!("{token:?}"), "[secret]");
    }

    #[test]
    fn a_plain_key_is_shown_as_it_is() {
        let key = Secret::new("api-key-1");
        assert_eq!(token(&key, Timestamp::from_millis(0)), key);
    }
}
