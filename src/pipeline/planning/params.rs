//! The parameters of a provider's request: under the names, and with the values, that the catalog gives.

use crate::catalog::{InputForm, InputShape, Route};
use crate::job::{Input, Job};
use serde_json::{Map, Value};

/// Puts input pictures where the catalog says, as `write` writes them; adapters place the others themselves.
pub(super) fn put_inputs(input: &mut Map<String, Value>, job: &Job, route: &Route, write: impl Fn(&Input) -> Value) {
    let Some(inputs) = route.inputs.as_ref().filter(|inputs| inputs.form != InputForm::Parts) else { return };
    let (videos, pictures): (Vec<&Input>, Vec<&Input>) =
        job.images.iter().partition(|given| given.mime.starts_with("video/"));
    if let (Some(video), Some(field)) = (videos.first(), &inputs.video) {
        input.insert(field.clone(), write(video));
    }
    let (given, last) = match &inputs.last {
        Some(field) if pictures.len() > inputs.max => (&pictures[..inputs.max], pictures.last().zip(Some(field))),
        _ => (&pictures[..], None),
    };
    if let Some((image, field)) = last {
        input.insert(field.clone(), write(image));
    }
    let mut images = given.iter().map(|image| write(image));
    match inputs.shape {
        InputShape::List if pictures.is_empty() => {}
        InputShape::List => drop(input.insert(inputs.field.clone(), images.collect())),
        InputShape::Single => input.extend(images.next().map(|image| (inputs.field.clone(), image))),
        InputShape::Numbered => {
            for (index, image) in images.enumerate() {
                let field = if index == 0 { inputs.field.clone() } else { format!("{}_{}", inputs.field, index + 1) };
                input.insert(field, image);
            }
        }
    }
    if let (Some(mask), Some(field)) = (&job.mask, &inputs.mask) {
        input.insert(field.clone(), write(mask));
    }
}

/// Sets a parameter under the provider's name for it; says whether the provider has one.
pub(super) fn set_param(input: &mut Map<String, Value>, route: &Route, name: &str, value: Value) -> bool {
    let Some(field) = route.field(name) else { return false };
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let called = route.values.get(name).and_then(|values| values.get(&text)).cloned();
    input.insert(field.to_owned(), called.unwrap_or(value));
    true
}
