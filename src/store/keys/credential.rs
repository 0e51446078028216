//! The shape of a key, `lmnfl_<id>.<secret>`, and how its secret is kept: as a hash, compared in constant time.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const PREFIX: &str = "lmnfl_";
const MAX_LENGTH: usize = 200;

/// The two halves of a key.
pub(crate) struct Credential<'a> {
    pub(crate) id: &'a str,
    pub(crate) secret: &'a str,
}

impl<'a> Credential<'a> {
    /// `None`, cheaply, for anything that is not a key.
    pub(crate) fn parse(full: &'a str) -> Option<Self> {
        if full.len() > MAX_LENGTH {
            return None;
        }
        let (id, secret) = full.strip_prefix(PREFIX)?.split_once('.')?;
        let id_fits =
            (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
        let secret_fits = !secret.is_empty() && secret.bytes().all(|b| b.is_ascii_graphic());
        (id_fits && secret_fits).then_some(Self { id, secret })
    }

    /// The last characters, by which people recognise their key. Fewer when the secret is short.
    pub(crate) fn last_four(&self) -> &'a str {
        let shown = (self.secret.len() / 2).min(4);
        // Secrets are ASCII.
        &self.secret[self.secret.len() - shown..]
    }
}

/// The full key.
pub(crate) fn assemble(id: &str, secret: &str) -> String {
    format!("{PREFIX}{id}.{secret}")
}

/// SHA-256 in hexadecimal: what is stored of a secret. Secrets are long and random, so a plain hash cannot be searched.
pub(crate) fn hash(secret: &str) -> String {
    hex::encode(Sha256::digest(secret))
}

/// Whether two hashes are equal, in a time that does not tell where they differ.
pub(crate) fn matches(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_keys_apart() {
        let key = Credential::parse("lmnfl_key_abc.SECRETvalue1234").unwrap();
        assert_eq!((key.id, key.secret, key.last_four()), ("key_abc", "SECRETvalue1234", "1234"));
        let long = format!("lmnfl_a.{}", "x".repeat(200));
        for other in ["", "sk-123", "lmnfl_", "lmnfl_a", "lmnfl_.s", "lmnfl_a.", "lmnfl_a b.s", "lmnfl_a.s s", &long] {
            assert!(Credential::parse(other).is_none(), "{other}");
        }
    }

    #[test]
    fn short_secrets_are_not_given_away() {
        assert_eq!(Credential::parse("lmnfl_a.xyz").unwrap().last_four(), "z");
    }

    #[test]
    fn hashes_are_sha_256() {
        assert_eq!(hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(matches(&hash("abc"), &hash("abc")) && !matches(&hash("abc"), &hash("abd")));
    }
}
