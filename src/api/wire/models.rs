//! Models on the wire: OpenAI's four fields, those that the hosted service's clients read, and ours.

use crate::base::Timestamp;
use crate::catalog::{Catalog, Lifecycle, Model, Route};
use crate::job::Mode;
use crate::pipeline::provider_name;
use serde_json::{Value, json};
use std::sync::Arc;

/// One model object. `usable` says which providers are configured here.
pub(in crate::api) fn show(model: &Model, catalog: &Catalog, usable: impl Fn(&str) -> bool, sandbox: bool) -> Value {
    let now = Timestamp::now().rfc3339();
    let today = &now[..10];
    let live: Vec<&Arc<Route>> = catalog.routes(model).iter().filter(|route| !route.retired(today)).collect();
    let status = model.status_on(today);
    let served = live.iter().any(|route| usable(&route.provider));
    let mut modes: Vec<Mode> = live.iter().flat_map(|route| route.modes.iter().copied()).collect();
    modes.sort_unstable();
    modes.dedup();
    let price = live.iter().filter_map(|route| route.starting_price()).min();
    let created = model.released.as_deref().and_then(Timestamp::parse).map_or(0, Timestamp::seconds);
    let reads_images = modes.iter().any(|mode| !matches!(mode, Mode::TextToImage | Mode::TextToVideo));
    let input: &[&str] = if reads_images { &["text", "image"] } else { &["text"] };
    let capabilities: Vec<&str> =
        modes.iter().map(|mode| if *mode == Mode::ImageEdit { "editing" } else { mode.as_str() }).collect();
    json!({
        "id": model.id,
        "object": "model",
        "created": created,
        "owned_by": model.maker,
        "name": model.name,
        "description": model.description,
        "creator_organization": model.maker,
        "featured": model.featured,
        "model_status": if served || status == Lifecycle::Retired { json!(status) } else { json!("disabled") },
        "successor": model.successor,
        "starting_price": price,
        "free": price.is_some_and(|price| price.micros() == 0),
        "tags": model.tags,
        "aliases": model.aliases,
        "alternative_names": model.aliases,
        "image_url": null,
        "model_page_path": null,
        "capabilities": capabilities,
        "modality": model.modality.as_str(),
        "modalities": {"input": input, "output": [model.modality.as_str()]},
        "modes": modes,
        "providers": live.iter().map(|route| show_route(route, usable(&route.provider))).collect::<Vec<_>>(),
        "sandbox": sandbox,
    })
}

fn show_route(route: &Route, configured: bool) -> Value {
    json!({
        "id": format!("{}/{}", route.provider, route.model),
        "provider": route.provider,
        "provider_name": provider_name(&route.provider),
        "provider_model": route.upstream,
        "configured": configured,
        "modes": route.modes,
        "output_formats": route.formats,
        "max_n": route.max_n,
        "starting_price": route.starting_price(),
        "price_source": route.price.source,
        "price_date": route.price.date,
    })
}
