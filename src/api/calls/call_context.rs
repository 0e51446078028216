//! Extractor for endpoints that create something: authenticated key and request metadata. It reads the body and checks
//! what the key may do.

use crate::api::body::{InputSource, JsonObject, is_form, read_form};
use crate::api::body_budget::BudgetPermit;
use crate::api::caller::Caller;
use crate::api::middleware::{ConcurrencyPermit, RequestMeta};
use crate::api::state::Api;
use crate::api::wire::routing;
use crate::error::{Error, ErrorKind};
use crate::pipeline::{Preferences, RequestInfo};
use axum::extract::{FromRequest, FromRequestParts, OriginalUri, Query, Request};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

/// The query parameters of a creating call.
#[derive(Debug, Default, Deserialize)]
struct CallQuery {
    #[serde(default, rename = "dryRun")]
    dry_run: Option<String>,
}

/// Everything about a creating call except its body.
pub(in crate::api) struct CallContext {
    pub(super) info: RequestInfo,
    pub(super) concurrency: ConcurrencyPermit,
    /// Only the price is asked for.
    pub(super) dry_run: bool,
    pub(super) caller: Caller,
    pub(super) meta: RequestMeta,
    pub(super) headers: HeaderMap,
}

/// The body of a creating call.
pub(super) struct CallBody {
    pub(super) fields: Map<String, Value>,
    /// Pictures and videos, when the body is a form. JSON has them among its fields.
    pub(super) form_inputs: Option<Vec<(String, InputSource)>>,
    pub(super) permit: BudgetPermit,
}

impl CallBody {
    /// The model as the caller spells it, for the row of a request that is rejected.
    pub(super) fn model(&self) -> String {
        self.fields.get("model").and_then(Value::as_str).unwrap_or_default().to_owned()
    }
}

impl FromRequestParts<Api> for CallContext {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Error> {
        let caller = Caller::from_request_parts(parts, api).await?;
        let missing = || Error::internal("a middleware is missing");
        let meta = parts.extensions.get::<RequestMeta>().cloned().ok_or_else(missing)?;
        let concurrency = parts.extensions.get::<ConcurrencyPermit>().cloned().ok_or_else(missing)?;
        let OriginalUri(uri) = OriginalUri::from_request_parts(parts, api).await.map_err(Error::internal)?;
        let query = Query::<CallQuery>::try_from_uri(&uri).map(|query| query.0).unwrap_or_default();
        let dry_run = matches!(query.dry_run.as_deref(), Some("true" | "1"));
        let headers = parts.headers.clone();
        let info = request_info(&caller, &meta, uri.path(), &headers, api.origin(&headers));
        Ok(Self { info, concurrency, dry_run, caller, meta, headers })
    }
}

impl CallContext {
    /// Reads a body that is JSON, without files.
    pub(super) async fn read_json(&mut self, api: &Api, request: Request) -> Result<CallBody, Error> {
        let JsonObject { fields, bytes, permit } = JsonObject::from_request(request, api).await?;
        self.info.request_bytes = bytes;
        Ok(CallBody { fields, form_inputs: None, permit })
    }

    /// Reads a body that may bring files: a form, or JSON.
    pub(super) async fn read_form_or_json(&mut self, api: &Api, request: Request) -> Result<CallBody, Error> {
        if !is_form(&self.headers) {
            return self.read_json(api, request).await;
        }
        let form = read_form(api, &self.headers, request.into_body()).await?;
        self.info.request_bytes = form.bytes;
        Ok(CallBody { fields: form.fields, form_inputs: Some(form.inputs), permit: form.permit })
    }

    /// Takes routing preferences and the timeout, from the request and from its key.
    pub(super) fn read_preferences(&mut self, api: &Api, fields: &mut Map<String, Value>) -> Result<(), Error> {
        let known = api.gateway.catalog.get();
        let preferences = routing::read_preferences(fields, &self.headers, known.providers())?;
        self.info.preferences = Preferences { allowed: self.caller.allowed_models.clone(), ..preferences };
        self.info.timeout = routing::read_timeout(&self.headers)?;
        Ok(())
    }

    /// Refuses a model that the key may not use through any provider. Which routes it may use is for the planner.
    pub(super) fn check_model_access(&self, api: &Api, named: &str) -> Result<(), Error> {
        let catalog = api.gateway.catalog.get();
        let model = catalog.find(named).ok().map(|named| named.model);
        let through: Vec<String> = model
            .into_iter()
            .flat_map(|model| catalog.routes(model).iter().map(|route| format!("{}/{}", route.provider, model.id)))
            .collect();
        let names = std::iter::once(named)
            .chain(model.map(|model| model.id.as_str()))
            .chain(through.iter().map(String::as_str));
        let allowed = &self.caller.allowed_models;
        if allowed.allow_any(names) {
            return Ok(());
        }
        let shown: String = named.chars().take(120).collect();
        let text = format!("This key may not use '{shown}'. It may use: {}.", allowed.patterns().join(", "));
        Err(Error { param: Some("model".to_owned()), ..Error::new(ErrorKind::Forbidden, text) })
    }

    /// Writes the row of a call that is rejected before anything was bought, and returns the error. A dry run has no row.
    pub(super) async fn reject(&self, api: &Api, model: &str, error: Error) -> Error {
        if self.dry_run { error } else { api.gateway.ledger.reject(&self.info, model, &error).await }
    }
}

fn request_info(caller: &Caller, meta: &RequestMeta, path: &str, headers: &HeaderMap, origin: String) -> RequestInfo {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    RequestInfo {
        request_id: meta.id.clone(),
        account_id: caller.key.account_id.clone(),
        key_id: caller.key.id.clone(),
        endpoint: path.to_owned(),
        origin,
        created_at: meta.created_at,
        arrived: meta.started,
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
    let is_valid = id.len() == 32 && id.chars().all(|c| c.is_ascii_hexdigit()) && id.chars().any(|c| c != '0');
    is_valid.then(|| id.to_ascii_lowercase())
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
