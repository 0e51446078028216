//! Authentication: the bearer key, looked up on every request, so that a revoked key is refused at once.

use super::state::Api;
use crate::base::{AllowedModels, Timestamp};
use crate::error::{Error, ErrorKind};
use crate::store::Key;
use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

/// The authenticated key of a request.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// The key, without its secret.
    pub(super) key: Key,
    pub(super) allowed_models: AllowedModels,
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
        let key = api.store.keys().authenticate(full, Timestamp::now()).await?;
        let key = key.ok_or_else(|| refused("Invalid API key"))?;
        let allowed_models = api.allowed_models.get(&key.id, &key.allowed_models);
        Ok(Self { key, allowed_models })
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
}
