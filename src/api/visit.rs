//! A creating call: who asks, under which terms, and what its body says, be it a form or JSON.

use super::Api;
use super::body::JsonObject;
use super::caller::Caller;
use super::form;
use super::idempotency::Once;
use super::inputs::Given;
use super::intake::Claim;
use super::layers::{Arrival, Place};
use super::wire::routing::{read_preferences, read_timeout};
use crate::error::Error;
use crate::pipeline::{Preferences, RequestInfo};
use axum::extract::{FromRequest, FromRequestParts, OriginalUri, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

/// What the query may say.
#[derive(Debug, Default, Deserialize)]
struct Options {
    #[serde(default, rename = "dryRun")]
    dry_run: Option<String>,
}

/// What surrounds the body of a call.
pub(super) struct Visit {
    pub(super) asker: RequestInfo,
    /// Its place among the running requests.
    pub(super) place: Place,
    /// Whether only the price is asked for.
    pub(super) dry: bool,
    pub(super) caller: Caller,
    pub(super) arrival: Arrival,
    pub(super) headers: HeaderMap,
}

/// What the body of a call says.
pub(super) struct Ask {
    pub(super) fields: Map<String, Value>,
    /// The pictures and videos that came with it or are named by it, not yet fetched.
    pub(super) given: Given,
    /// Its idempotency key.
    pub(super) key: Option<Once>,
    /// The room that the body takes.
    pub(super) claim: Claim,
}

impl FromRequestParts<Api> for Visit {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Error> {
        let caller = Caller::from_request_parts(parts, api).await?;
        let missing = || Error::internal("a layer is missing");
        let arrival = parts.extensions.get::<Arrival>().cloned().ok_or_else(missing)?;
        let place = parts.extensions.get::<Place>().cloned().ok_or_else(missing)?;
        let OriginalUri(uri) = OriginalUri::from_request_parts(parts, api).await.map_err(Error::internal)?;
        let options = Query::<Options>::try_from_uri(&uri).map(|query| query.0).unwrap_or_default();
        let dry = matches!(options.dry_run.as_deref(), Some("true" | "1"));
        let headers = parts.headers.clone();
        let asker = asker(&caller, &arrival, uri.path(), &headers, api.origin(&headers));
        Ok(Self { asker, place, dry, caller, arrival, headers })
    }
}

impl Visit {
    /// Reads a body that may bring files: a form, or JSON that names them.
    pub(super) async fn read(&mut self, api: &Api, request: Request) -> Result<Ask, Error> {
        let kind = self.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !kind.trim_start().starts_with("multipart/form-data") {
            let body = JsonObject::from_request(request, api).await?;
            let mut ask = self.read_json(api, body)?;
            ask.given = Given::of_json(&mut ask.fields)?;
            return Ok(ask);
        }
        let mut claim = Claim::default();
        let form =
            form::read(request.into_body(), &self.headers, api.0.max_body_bytes, &api.0.intake, &mut claim).await?;
        self.asker.request_bytes = form.bytes;
        let mut fields = form.fields;
        let key = Once::take(api, self, &mut fields, &form.files)?;
        Ok(Ask { fields, given: Given::of_form(form.files)?, key, claim })
    }

    /// A JSON body without files.
    pub(super) fn read_json(&mut self, api: &Api, body: JsonObject) -> Result<Ask, Error> {
        self.asker.request_bytes = body.bytes;
        let mut fields = body.fields;
        let key = Once::take(api, self, &mut fields, &[])?;
        Ok(Ask { fields, given: Given::default(), key, claim: body.claim })
    }

    /// Takes note of what is said about routes and time, by the request and by its key.
    pub(super) fn prefer(&mut self, api: &Api, fields: &mut Map<String, Value>) -> Result<(), Error> {
        let preferences = read_preferences(fields, &self.headers, api.0.gateway.catalog.get().providers())?;
        let allowed = self.caller.key.allowed_models.clone();
        self.asker.preferences = Preferences { allowed, ..preferences };
        self.asker.timeout = read_timeout(&self.headers)?;
        Ok(())
    }

    /// Refuses a model that the key may not use, through any provider.
    pub(super) fn permit(&self, api: &Api, named: &str) -> Result<(), Error> {
        let catalog = api.0.gateway.catalog.get();
        let model = catalog.find(named).ok().map(|named| named.model);
        let mut through = model
            .into_iter()
            .flat_map(|model| catalog.routes(model).iter().map(|route| format!("{}/{}", route.provider, model.id)));
        match self.caller.require_model(named, model.map(|model| model.id.as_str())) {
            Err(_) if through.any(|name| self.caller.require_model(&name, None).is_ok()) => Ok(()),
            told => told,
        }
    }
}

/// The model as the caller spells it, for the row of a request that is refused.
pub(super) fn model_said(fields: &Map<String, Value>) -> String {
    fields.get("model").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn asker(caller: &Caller, arrival: &Arrival, path: &str, headers: &HeaderMap, origin: String) -> RequestInfo {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    RequestInfo {
        request_id: arrival.id.clone(),
        account_id: caller.key.account_id.clone(),
        key_id: caller.key.id.clone(),
        endpoint: path.to_owned(),
        origin,
        created_at: arrival.at,
        arrived: arrival.instant,
        session_id: header("x-lumenfall-session-id").map(|id| id.chars().take(200).collect()),
        trace_id: header("traceparent").and_then(trace_id),
        user: None,
        request_bytes: 0,
        preferences: Preferences::default(),
        timeout: None,
        hung_up: CancellationToken::new(),
    }
}

/// The trace id of a W3C `traceparent`: `00-<32 hex>-<16 hex>-<2 hex>`.
fn trace_id(traceparent: &str) -> Option<String> {
    let id = traceparent.split('-').nth(1)?;
    let sound = id.len() == 32 && id.chars().all(|c| c.is_ascii_hexdigit()) && id.chars().any(|c| c != '0');
    sound.then(|| id.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_trace_id_and_nothing_else() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(trace_id(&format!("00-{id}-00f067aa0ba902b7-01")).as_deref(), Some(id));
        assert_eq!(trace_id("00-00000000000000000000000000000000-00f067aa0ba902b7-01"), None);
        assert_eq!(trace_id("hello"), None);
    }
}
