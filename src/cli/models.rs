//! `lumenfall models`: the catalog as a table.

use crate::app;
use crate::base::Timestamp;
use crate::catalog::{Catalog, Route};
use crate::config::Config;
use std::collections::BTreeSet;
use std::sync::Arc;

const TITLES: [&str; 6] = ["MODEL", "MAKER", "STATUS", "FROM", "MODES", "ROUTES"];

/// Every model, or those that one provider serves. `FROM` is the least that a picture or a second of video costs.
pub(super) fn table(config: &Config, catalog: &Catalog, provider: Option<&str>) -> String {
    let now = Timestamp::now().rfc3339();
    let usable: BTreeSet<String> = app::upstreams(config, None).into_iter().map(|upstream| upstream.name).collect();
    let mut rows = vec![TITLES.map(str::to_owned)];
    for model in catalog.models() {
        let routes = catalog.routes(model);
        if provider.is_some_and(|only| routes.iter().all(|route| route.provider != only)) {
            continue;
        }
        let price = routes.iter().filter_map(|route| route.starting_price()).min();
        let modes: BTreeSet<&str> = routes.iter().flat_map(|route| &route.modes).map(|mode| mode.as_str()).collect();
        rows.push([
            model.id.clone(),
            model.maker.clone(),
            format!("{:?}", model.status_on(&now[..10])).to_lowercase(),
            price.map_or_else(|| "-".to_owned(), |usd| usd.to_string()),
            modes.into_iter().collect::<Vec<_>>().join(", "),
            name_routes(routes, |id| config.simulated() || usable.contains(id)),
        ]);
    }
    align(&rows)
}

/// Each provider once, with the number of its routes where there are several.
fn name_routes(routes: &[Arc<Route>], usable: impl Fn(&str) -> bool) -> String {
    let mut names: Vec<&str> = Vec::new();
    for route in routes.iter().filter(|route| !route.provider.is_empty()) {
        if !names.contains(&route.provider.as_str()) {
            names.push(&route.provider);
        }
    }
    let name = |id: &&str| {
        let count = routes.iter().filter(|route| route.provider == **id).count();
        let count = if count > 1 { format!(" ×{count}") } else { String::new() };
        format!("{id}{count}{}", if usable(id) { "" } else { " (off)" })
    };
    names.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// Columns as wide as their widest cell; the last one is not padded.
fn align<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}
