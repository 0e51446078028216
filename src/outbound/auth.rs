//! The header that carries a credential.

use crate::base::Secret;
use lumenfall_providers::auth::AuthScheme;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};

/// The header for that key, marked sensitive so that nothing prints it. `None` when the scheme has none or the key
/// cannot stand in a header.
pub(super) fn header(scheme: AuthScheme, key: &Secret) -> Option<(HeaderName, HeaderValue)> {
    let (name, text) = match scheme {
        AuthScheme::None => return None,
        AuthScheme::Bearer | AuthScheme::Google | AuthScheme::Jwt => {
            (AUTHORIZATION, format!("Bearer {}", key.expose()))
        }
        AuthScheme::Word(word) => (AUTHORIZATION, format!("{word} {}", key.expose())),
        AuthScheme::Header(name) => (HeaderName::from_static(name), key.expose().to_owned()),
    };
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_key_as_each_provider_wants_it() {
        let key = Secret::new("k-1");
        let shown = |scheme: AuthScheme| {
            header(scheme, &key).map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        };
        assert_eq!(shown(AuthScheme::Bearer).as_deref(), Some("authorization: Bearer k-1"));
        assert_eq!(shown(AuthScheme::Word("Key")).as_deref(), Some("authorization: Key k-1"));
        assert_eq!(shown(AuthScheme::Header("x-key")).as_deref(), Some("x-key: k-1"));
        assert_eq!(shown(AuthScheme::None), None);
        assert!(header(AuthScheme::Bearer, &Secret::new("two\nlines")).is_none());
        assert!(!format!("{:?}", header(AuthScheme::Bearer, &key)).contains("k-1"));
    }
}
