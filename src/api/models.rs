//! `GET models` and `GET models/{id}`.

use super::Api;
use super::caller::Caller;
use super::wire::models::show;
use crate::error::Error;
use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

/// Every model that this key may use, retired ones aside.
pub(super) async fn list(State(api): State<Api>, caller: Caller) -> Json<Value> {
    let gateway = &api.0.gateway;
    let (catalog, usable) = (gateway.catalog.get(), |provider: &str| gateway.runner.upstreams.has(provider));
    let mut data = Vec::new();
    for model in catalog.models() {
        if caller.require_model(&model.id, None).is_err() {
            continue;
        }
        let shown = show(model, &catalog, usable, gateway.sandbox);
        if shown["model_status"] != "retired" {
            data.push(shown);
        }
    }
    Json(json!({"object": "list", "data": data}))
}

/// One model, by name, alias or `provider/name`; retired ones too, with their successor.
pub(super) async fn one(State(api): State<Api>, _caller: Caller, Path(id): Path<String>) -> Result<Json<Value>, Error> {
    let gateway = &api.0.gateway;
    let catalog = gateway.catalog.get();
    let named = catalog.find(&id)?;
    let usable = |provider: &str| gateway.runner.upstreams.has(provider);
    Ok(Json(show(named.model, &catalog, usable, gateway.sandbox)))
}
