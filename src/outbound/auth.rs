//! How a credential is shown to a provider.

use crate::base::Secret;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};

/// The header that carries the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthScheme {
    /// No key at all.
    None,
    /// `Authorization: Bearer <key>`
    Bearer,
    /// `Authorization: Bearer <token>`, the token being had for a Google service account's key.
    Google,
    /// `Authorization: Bearer <token>`, the token being a JWT signed with the secret half of a key written as
    /// `access:secret`; a key without a colon is shown as it is. As Kling wants it.
    Jwt,
    /// `Authorization: <word> <key>`, as fal's `Key`.
    Word(&'static str),
    /// A header of its own, as BFL's `x-key`. Lower case.
    Header(&'static str),
}

impl AuthScheme {
    /// The header for that key, marked sensitive so that nothing prints it. `None` when the scheme has none or the key
    /// cannot stand in a header.
    pub fn header(self, key: &Secret) -> Option<(HeaderName, HeaderValue)> {
        let (name, text) = match self {
            Self::None => return None,
            Self::Bearer | Self::Google | Self::Jwt => (AUTHORIZATION, format!("Bearer {}", key.expose())),
            Self::Word(word) => (AUTHORIZATION, format!("{word} {}", key.expose())),
            Self::Header(name) => (HeaderName::from_static(name), key.expose().to_owned()),
        };
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some((name, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_key_as_each_provider_wants_it() {
        let key = Secret::new("k-1");
        let header = |scheme: AuthScheme| {
            scheme.header(&key).map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        };
        assert_eq!(header(AuthScheme::Bearer).as_deref(), Some("authorization: Bearer k-1"));
        assert_eq!(header(AuthScheme::Word("Key")).as_deref(), Some("authorization: Key k-1"));
        assert_eq!(header(AuthScheme::Header("x-key")).as_deref(), Some("x-key: k-1"));
        assert_eq!(header(AuthScheme::None), None);
        assert!(AuthScheme::Bearer.header(&Secret::new("two\nlines")).is_none());
        assert!(!format!("{:?}", AuthScheme::Bearer.header(&key)).contains("k-1"));
    }
}
