//! `GET /v1/routing`: rules, and the state of routes and credentials. `PUT /v1/routing`: drains, disables or reactivates
//! routes, on every replica. For admins.

use crate::api::body::JsonObject;
use crate::api::caller::Caller;
use crate::api::state::Api;
use crate::api::wire::fields::{Fields, invalid_value};
use crate::base::Timestamp;
use crate::base::nearest::nearest;
use crate::error::Error;
use crate::pipeline::Operator;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

/// Everything that this replica knows about routing.
pub(in crate::api) async fn retrieve(State(api): State<Api>, caller: Caller) -> Result<Json<Value>, Error> {
    caller.require_admin()?;
    Ok(Json(report_json(&api)))
}

/// Sets states: `{"route": "fal", "state": "draining"}`, or several in `routes`. A route that becomes active
/// again starts with fresh health.
pub(in crate::api) async fn update(
    State(api): State<Api>,
    caller: Caller,
    body: JsonObject,
) -> Result<Json<Value>, Error> {
    caller.require_admin()?;
    let mut fields = Fields(body.fields);
    let overrides = match fields.take("routes") {
        None => vec![read_override(&api, &mut fields)?],
        Some(Value::Array(items)) => items
            .into_iter()
            .map(|item| match item {
                Value::Object(item) => read_override(&api, &mut Fields(item)),
                other => Err(invalid_value("routes", "a list of objects with 'route' and 'state'", &other)),
            })
            .collect::<Result<_, _>>()?,
        Some(other) => return Err(invalid_value("routes", "a list of objects with 'route' and 'state'", &other)),
    };
    fields.refuse_unknown(&["route", "state", "routes"])?;
    let (store, board) = (&api.store, api.gateway.switchboard());
    for (name, operator) in &overrides {
        let state = (*operator != Operator::Active).then(|| operator.as_str());
        store.routing().set_state(name, state, Timestamp::now()).await?;
        tracing::info!(route = name, state = operator.as_str(), key = caller.key.id, "route state set by an admin");
    }
    board.obey(store.routing().states().await?.iter().filter_map(Operator::read));
    for (name, _) in overrides.iter().filter(|(_, operator)| *operator == Operator::Active) {
        board.forget(name);
    }
    Ok(Json(report_json(&api)))
}

fn read_override(api: &Api, fields: &mut Fields) -> Result<(String, Operator), Error> {
    let name = fields.string("route")?.unwrap_or_default();
    let catalog = api.gateway.catalog.get();
    let routes = catalog.models().iter().flat_map(|model| catalog.routes(model));
    let mut names: Vec<String> = routes.map(|route| route.executed_model()).collect();
    names.extend(catalog.providers().iter().cloned());
    if !names.contains(&name) {
        let near = nearest(&name, names.iter().map(String::as_str));
        let hint = near.map(|near| format!(" Did you mean '{near}'?")).unwrap_or_default();
        let text = format!("'route' should be a provider or provider/endpoint of the catalog.{hint}");
        return Err(Error::invalid("route", text));
    }
    let state = fields.string("state")?.unwrap_or_default();
    let expected = "active, draining or disabled";
    let operator = Operator::parse(&state).ok_or_else(|| invalid_value("state", expected, &json!(state)))?;
    Ok((name, operator))
}

fn report_json(api: &Api) -> Value {
    let report = api.gateway.switchboard().report();
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
