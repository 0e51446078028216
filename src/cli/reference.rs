//! The reference that the repository carries, `docs/models.md`: every model and route, written from the registry and the
//! catalog. `lumenfall reference` prints it; a test keeps the file current.

use crate::catalog::{Catalog, Route};
use crate::providers::ADAPTERS;
use std::fmt::Write as _;

/// The whole page, in Markdown.
pub fn page(catalog: &Catalog) -> Result<String, std::fmt::Error> {
    let mut text = String::from(
        "# Models, routes and providers\n\nWritten by `lumenfall reference` from the registry and `config/catalog/`; do not edit.\n\n## Providers\n\n\
         | id | name | credential | routes | what it calls otherwise, or lacks, on every route | documentation |\n\
         |---|---|---|---|---|---|\n",
    );
    for card in ADAPTERS.iter().map(|adapter| adapter.card()) {
        let routes = catalog.routes_of(card.id).count();
        let key = if card.key_env.is_empty() { "none" } else { card.key_env };
        let otherwise = names(catalog, card.id);
        writeln!(text, "| `{}` | {} | `{key}` | {routes} | {otherwise} | {} |", card.id, card.name, card.docs)?;
    }
    writeln!(
        text,
        "\n## Models\n\n{} models, {} routes. Sizes are what a route makes; any other is mapped to the nearest.\n",
        catalog.models().len(),
        catalog.models().iter().map(|model| catalog.routes(model).len()).sum::<usize>()
    )?;
    writeln!(
        text,
        "| model | status | route | modes | sizes | formats | n | inputs | prompt | price |\n|---|---|---|---|---|---|---|---|---|---|"
    )?;
    for model in catalog.models() {
        let status = format!("{:?}", model.status).to_lowercase();
        let status = model.retires.as_ref().map_or(status.clone(), |day| format!("{status}, ends {day}"));
        let routes = catalog.routes(model);
        if routes.is_empty() {
            let instead = model.successor.as_deref().map(|name| format!("use `{name}`")).unwrap_or_default();
            writeln!(text, "| `{}` | {status} | {instead} | | | | | | | |", model.id)?;
        }
        for route in routes {
            writeln!(text, "| `{}` | {status} | {} |", model.id, cells(route))?;
        }
    }
    Ok(text)
}

/// Parameters that every route of a provider renames (`n` → `num_images`) or does not have.
fn names(catalog: &Catalog, provider: &str) -> String {
    let mut routes = catalog.routes_of(provider);
    let Some(first) = routes.next() else { return String::new() };
    let mut shared = first.fields.clone();
    for route in routes {
        shared.retain(|name, own| route.fields.get(name) == Some(own));
    }
    let renamed = shared.iter().filter(|(name, own)| !own.is_empty() && own != name);
    let renamed = renamed.map(|(name, own)| format!("`{name}` → `{own}`"));
    let missing = shared.iter().filter(|(_, own)| own.is_empty()).map(|(name, _)| format!("no `{name}`"));
    renamed.chain(missing).collect::<Vec<_>>().join(", ")
}

fn cells(route: &Route) -> String {
    let modes: Vec<&str> = route.modes.iter().map(|mode| mode.as_str()).collect();
    let formats: Vec<&str> = route.formats.iter().map(|format| format.name()).collect();
    let inputs = route.inputs.as_ref().map_or(String::new(), |inputs| {
        let mask = if inputs.mask.is_some() { ", mask" } else { "" };
        format!("{}{mask}", inputs.max)
    });
    let lines: Vec<String> = route.price.lines.iter().map(ToString::to_string).collect();
    let price = match (route.price.free, lines.is_empty()) {
        (true, _) => "free".to_owned(),
        (_, true) => "unknown".to_owned(),
        _ => format!("{} ({})", lines.join("; "), route.price.date),
    };
    let formats = if formats.is_empty() { "its own".to_owned() } else { formats.join(", ") };
    let name = route.executed_model();
    let prompt = route.max_prompt.map_or(String::new(), |most| format!("≤ {most}"));
    format!(
        "`{name}` | {} | {} | {formats} | {} | {inputs} | {prompt} | {price}",
        modes.join(", "),
        route.size,
        route.max_n
    )
}
