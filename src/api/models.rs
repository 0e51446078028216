//! `GET models` and `GET models/{id}`.

use super::caller::Caller;
use super::state::Api;
use super::wire::models::{live_routes, model_json};
use super::wire::schema::model_schema;
use crate::base::Timestamp;
use crate::error::Error;
use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

/// The query of a single model.
#[derive(Deserialize)]
pub(super) struct ModelQuery {
    #[serde(default)]
    schema: String,
}

/// Every model that this key may use, except retired and disabled ones.
pub(super) async fn list(State(api): State<Api>, caller: Caller) -> Json<Value> {
    let gateway = &api.gateway;
    let catalog = gateway.catalog.get();
    let is_configured = |provider: &str| gateway.is_configured(provider);
    let today = Timestamp::now().rfc3339();
    let open = catalog.models().iter().filter(|model| model.status_on(&today[..10]).is_open());
    let allowed = open.filter(|model| caller.allowed_models.allow_any([model.id.as_str()]));
    let data: Vec<Value> = allowed.map(|model| model_json(model, &catalog, is_configured, gateway.sandbox)).collect();
    Json(json!({"object": "list", "data": data}))
}

/// One model, by name, alias or `provider/name`; retired ones too, with their successor. With `?schema=true` the
/// JSON Schema of its parameters instead.
pub(super) async fn retrieve(
    State(api): State<Api>,
    _caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<ModelQuery>,
) -> Result<Json<Value>, Error> {
    let gateway = &api.gateway;
    let catalog = gateway.catalog.get();
    let named = catalog.find(&id)?;
    if matches!(query.schema.as_str(), "true" | "1") {
        let today = Timestamp::now().rfc3339();
        let mut routes = live_routes(named.model, &catalog, &today[..10]);
        routes.retain(|route| named.provider.is_none_or(|provider| route.provider == provider));
        return Ok(Json(model_schema(named.model, &routes)));
    }
    let is_configured = |provider: &str| gateway.is_configured(provider);
    Ok(Json(model_json(named.model, &catalog, is_configured, gateway.sandbox)))
}
