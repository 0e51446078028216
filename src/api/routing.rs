//! `GET /v1/routing`: rules, routes and credentials as they stand. `PUT /v1/routing`: drains, disables or reactivates
//! routes, on every replica. For admins.

use super::Api;
use super::body::JsonObject;
use super::caller::Caller;
use super::wire::fields::{Fields, wrong};
use crate::base::Timestamp;
use crate::base::nearest::nearest;
use crate::error::Error;
use crate::pipeline::Operator;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

/// Everything that this replica knows.
pub(super) async fn show(State(api): State<Api>, caller: Caller) -> Result<Json<Value>, Error> {
    caller.require_admin()?;
    Ok(Json(report(&api)))
}

/// Sets states: `{"route": "fal", "state": "draining"}`, or several in `routes`. A route that becomes active starts afresh.
pub(super) async fn change(State(api): State<Api>, caller: Caller, body: JsonObject) -> Result<Json<Value>, Error> {
    caller.require_admin()?;
    let mut fields = Fields(body.fields);
    let words = match fields.take("routes") {
        None => vec![word(&api, &mut fields)?],
        Some(Value::Array(items)) => items
            .into_iter()
            .map(|item| match item {
                Value::Object(item) => word(&api, &mut Fields(item)),
                other => Err(wrong("routes", "a list of objects with 'route' and 'state'", &other)),
            })
            .collect::<Result<_, _>>()?,
        Some(other) => return Err(wrong("routes", "a list of objects with 'route' and 'state'", &other)),
    };
    fields.finish(&["route", "state", "routes"])?;
    let (store, board) = (&api.0.store, &api.0.gateway.engine.board);
    for (name, operator) in &words {
        let state = (*operator != Operator::Active).then(|| operator.as_str());
        store.routing().set_state(name, state, Timestamp::now()).await?;
        tracing::info!(
            route = name,
            state = operator.as_str(),
            key = caller.key.id,
            "the operator set a route's state"
        );
    }
    board.obey(store.routing().states().await?.iter().filter_map(Operator::read));
    for (name, _) in words.iter().filter(|(_, operator)| *operator == Operator::Active) {
        board.forget(name);
    }
    Ok(Json(report(&api)))
}

fn word(api: &Api, fields: &mut Fields) -> Result<(String, Operator), Error> {
    let name = fields.text("route")?.unwrap_or_default();
    let catalog = api.0.gateway.catalog.get();
    let routes = catalog.models().iter().flat_map(|model| catalog.routes(model));
    let mut names: Vec<String> = routes.map(|route| route.executed_model()).collect();
    names.extend(catalog.providers().iter().cloned());
    if !names.contains(&name) {
        let near = nearest(&name, names.iter().map(String::as_str));
        let hint = near.map(|near| format!(" Did you mean '{near}'?")).unwrap_or_default();
        let text = format!("'route' should be a provider or provider/endpoint of the catalog.{hint}");
        return Err(Error::invalid("route", text));
    }
    let said = fields.text("state")?.unwrap_or_default();
    let state = Operator::parse(&said).ok_or_else(|| wrong("state", "active, draining or disabled", &json!(said)))?;
    Ok((name, state))
}

fn report(api: &Api) -> Value {
    let report = api.0.gateway.engine.board.report();
    let listed = |name: &str, map: Value| -> Value {
        let Value::Object(map) = map else { return json!([]) };
        let with_name = |(key, mut value): (String, Value)| {
            value[name] = json!(key);
            value
        };
        map.into_iter().map(with_name).collect()
    };
    json!({
        "object": "routing",
        "rules": report.rules,
        "states": report.states,
        "routes": listed("route", json!(report.routes)),
        "credentials": listed("credential", json!(report.credentials)),
    })
}
