//! Who is calling: the bearer key, checked against the store on every request, so that a revoked key is dead at once.

use super::Api;
use crate::base::Timestamp;
use crate::error::{Error, ErrorKind};
use crate::store::Key;
use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use globset::Glob;

/// The key that a request came with.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// The key, without its secret.
    pub(super) key: Key,
}

impl FromRequestParts<Api> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Error> {
        let refused = |text: &str| Error::new(ErrorKind::Authentication, text);
        let header = parts
            .headers
            .get(AUTHORIZATION)
            .ok_or_else(|| refused("No API key. Send it as 'Authorization: Bearer lmnfl_<id>.<secret>'."))?;
        let text = header.to_str().unwrap_or_default();
        let full = match text.split_once(' ') {
            Some((scheme, full)) if scheme.eq_ignore_ascii_case("bearer") => full.trim(),
            _ => return Err(refused("The Authorization header should be 'Bearer lmnfl_<id>.<secret>'.")),
        };
        let key = api.0.store.keys().authenticate(full, Timestamp::now()).await?;
        key.map(|key| Self { key }).ok_or_else(|| refused("Invalid API key"))
    }
}

impl Caller {
    /// The account whose rows and keys it sees; every account for an admin.
    pub(super) fn scope(&self) -> Option<&str> {
        (!self.key.admin).then_some(self.key.account_id.as_str())
    }

    /// Refuses keys that are not an admin's.
    pub(super) fn require_admin(&self) -> Result<(), Error> {
        let text = "This call needs an admin key.";
        if self.key.admin { Ok(()) } else { Err(Error::new(ErrorKind::Forbidden, text)) }
    }

    /// Refuses models that the key may not use. Patterns are globs; none means every model.
    pub(super) fn require_model(&self, name: &str, canonical: Option<&str>) -> Result<(), Error> {
        let patterns = &self.key.allowed_models;
        let fits = |pattern: &String| {
            let matcher = Glob::new(pattern).map(|glob| glob.compile_matcher());
            matcher.is_ok_and(|glob| glob.is_match(name) || canonical.is_some_and(|id| glob.is_match(id)))
        };
        if patterns.is_empty() || patterns.iter().any(fits) {
            return Ok(());
        }
        let shown: String = name.chars().take(120).collect();
        let text = format!("This key may not use '{shown}'. It may use: {}.", patterns.join(", "));
        Err(Error { param: Some("model".to_owned()), ..Error::new(ErrorKind::Forbidden, text) })
    }
}
