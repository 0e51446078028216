//! `GET models` and `GET models/{id}`.

use super::Api;
use super::caller::Caller;
use super::wire::models::{live_routes, show};
use super::wire::schema::schema;
use crate::base::Timestamp;
use crate::error::Error;
use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

/// `?schema=true`
#[derive(Deserialize)]
pub(super) struct Wish {
    #[serde(default)]
    schema: String,
}

/// Every model that this key may use, but for those that are retired or switched off.
pub(super) async fn list(State(api): State<Api>, caller: Caller) -> Json<Value> {
    let gateway = &api.0.gateway;
    let (catalog, usable) = (gateway.catalog.get(), |provider: &str| gateway.engine.upstreams.has(provider));
    let today = Timestamp::now().rfc3339();
    let open = catalog.models().iter().filter(|model| model.status_on(&today[..10]).is_open());
    let allowed = open.filter(|model| caller.require_model(&model.id, None).is_ok());
    let data: Vec<Value> = allowed.map(|model| show(model, &catalog, usable, gateway.sandbox)).collect();
    Json(json!({"object": "list", "data": data}))
}

/// One model, by name, alias or `provider/name`; retired ones too, with their successor. With `schema=true` the JSON
/// Schema of its parameters instead.
pub(super) async fn one(
    State(api): State<Api>,
    _caller: Caller,
    Path(id): Path<String>,
    Query(wish): Query<Wish>,
) -> Result<Json<Value>, Error> {
    let gateway = &api.0.gateway;
    let catalog = gateway.catalog.get();
    let named = catalog.find(&id)?;
    if matches!(wish.schema.as_str(), "true" | "1") {
        let today = Timestamp::now().rfc3339();
        let mut routes = live_routes(named.model, &catalog, &today[..10]);
        routes.retain(|route| named.provider.is_none_or(|provider| route.provider == provider));
        return Ok(Json(schema(named.model, &routes)));
    }
    let usable = |provider: &str| gateway.engine.upstreams.has(provider);
    Ok(Json(show(named.model, &catalog, usable, gateway.sandbox)))
}
