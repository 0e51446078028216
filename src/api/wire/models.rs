//! Model objects: OpenAI's four fields, those that the hosted service's clients read, and ours.

use crate::base::Timestamp;
use crate::catalog::price::PriceLine;
use crate::catalog::{Catalog, Model, Route};
use crate::job::Mode;
use crate::pipeline::provider_name;
use rust_decimal::prelude::ToPrimitive;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The routes of a model that are not retired.
pub(in crate::api) fn live_routes<'a>(model: &Model, catalog: &'a Catalog, today: &str) -> Vec<&'a Arc<Route>> {
    catalog.routes(model).iter().filter(|route| !route.retired(today)).collect()
}

/// One model object.
pub(in crate::api) fn model_json(
    model: &Model,
    catalog: &Catalog,
    is_configured: impl Fn(&str) -> bool,
    sandbox: bool,
) -> Value {
    let now = Timestamp::now().rfc3339();
    let today = &now[..10];
    let live = live_routes(model, catalog, today);
    let status = model.status_on(today);
    let served = live.iter().any(|route| is_configured(&route.provider));
    let mut modes: Vec<Mode> = live.iter().flat_map(|route| route.modes.iter().copied()).collect();
    modes.sort_unstable();
    modes.dedup();
    let price = live.iter().filter_map(|route| route.starting_price()).min();
    let created = model.released.as_deref().and_then(Timestamp::parse).map_or(0, Timestamp::seconds);
    let reads_images = modes.iter().any(|mode| mode.reads_media() && !mode.reads_video());
    let reads_videos = modes.iter().any(|mode| mode.reads_video());
    let input = [("text", true), ("image", reads_images), ("video", reads_videos)];
    let input: Vec<&str> = input.into_iter().filter(|(_, read)| *read).map(|(name, _)| name).collect();
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
        "model_status": if served || !status.is_open() { json!(status) } else { json!("disabled") },
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
        "providers": live.iter().map(|route| route_json(route, is_configured(&route.provider))).collect::<Vec<_>>(),
        "sandbox": sandbox,
    })
}

fn route_json(route: &Route, configured: bool) -> Value {
    let (pricing, note) = price_json(route);
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
        "pricing": pricing,
        "pricing_note": note,
        "capabilities": capabilities_json(route),
        "retires": route.retires,
        "source": route.source,
        "confidence": route.confidence,
    })
}

/// The price list, or a note why there is none.
fn price_json(route: &Route) -> (Value, Option<&'static str>) {
    let price = &route.price;
    if !price.known() {
        return (Value::Null, Some("The price is not known in advance; the provider reports it, and that is charged."));
    }
    // Free of charge is our own fact; a price list may come from elsewhere than its provider.
    let official = price.free || route.confidence == "documented";
    let list = json!({
        "currency": "USD",
        "source": if official { "official" } else { "estimated" },
        "source_url": price.source,
        "effective_at": price.date,
        "components": price.lines.iter().map(price_line_json).collect::<Vec<_>>(),
    });
    (list, None)
}

fn price_line_json(line: &PriceLine) -> Value {
    let mut conditions = Map::new();
    for (name, values) in &line.when {
        conditions.insert(name.clone(), json!(values));
    }
    if line.cached {
        conditions.insert("cached".to_owned(), json!(true));
    }
    for (name, bound) in [("up_to", line.up_to.map(u64::from)), ("max_area", line.max_area)] {
        conditions.extend(bound.map(|bound| (name.to_owned(), json!(bound))));
    }
    for (name, bound) in [("beyond", u64::from(line.beyond)), ("min_area", line.min_area)] {
        conditions.extend((bound > 0).then(|| (name.to_owned(), json!(bound))));
    }
    conditions.extend(line.times.as_ref().map(|name| ("times".to_owned(), json!(name))));
    json!({
        "type": line.flow,
        "metric": line.metric,
        "unit_price": line.unit_price.to_f64(),
        "unit_size": line.unit_size,
        "conditions": conditions,
        "description": line.to_string(),
    })
}

fn capabilities_json(route: &Route) -> Value {
    let inputs = route.inputs.as_ref();
    let video = route.video.as_ref();
    json!({
        "sizes": route.size.to_string(),
        "default_size": route.default_size,
        "native_formats": route.formats,
        "native_n": route.max_n,
        "max_input_images": inputs.map_or(0, |inputs| inputs.max),
        "mask": inputs.is_some_and(|inputs| inputs.mask.is_some()),
        "last_frame": inputs.is_some_and(|inputs| inputs.last.is_some()),
        "seed": route.field("seed").is_some(),
        "negative_prompt": route.field("negative_prompt").is_some(),
        "max_prompt_length": route.max_prompt,
        "seconds": video.map(|video| &video.seconds),
        "default_seconds": video.map(|video| video.default),
        "audio": video.map(|video| if video.audio.is_some() { "switchable" } else if video.sound { "always" } else { "never" }),
        "typical_seconds": route.typical_seconds,
    })
}
