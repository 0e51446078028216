//! How a provider wants to see a credential.

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
