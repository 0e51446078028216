//! The parameters of a model as JSON Schema (draft 2020-12): what a caller may send, which routes take it, and how each
//! passes it on.

use super::images::MAX_IMAGES;
use super::videos::{MAX_SECONDS, MAX_VIDEOS};
use crate::catalog::{Model, Route, SizeRule};
use crate::job::Mode;
use crate::media::Format;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The way of a parameter to a provider, in the hosted service's terms.
#[derive(Clone, Copy)]
enum Badge {
    /// Unchanged.
    Passthrough,
    /// Under the provider's name for it.
    Renamed,
    /// As another value.
    Converted,
    /// Not at all: this gateway does it.
    Emulated,
}

impl Badge {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Passthrough => "passthrough",
            Self::Renamed => "renamed",
            Self::Converted => "converted",
            Self::Emulated => "emulated",
        }
    }
}

/// Provider parameters with a meaning of their own: name, type, description.
const PROVIDER_PARAMETERS: [(&str, &str, &str); 8] = [
    ("negative_prompt", "string", "What should not appear in the output."),
    ("seed", "integer", "The same seed gives a similar result."),
    ("quality", "string", "How much effort the provider puts into it."),
    ("style", "string", "A style, by the provider's name for it."),
    ("background", "string", "`transparent`, `opaque` or `auto`."),
    ("moderation", "string", "How strict the provider's filter is."),
    ("guidance_scale", "number", "How closely to follow the prompt."),
    ("num_inference_steps", "integer", "How many steps to take."),
];

/// Parameters that are described elsewhere in the schema.
const GATEWAY_PARAMETERS: [&str; 12] = [
    "prompt",
    "n",
    "size",
    "aspect_ratio",
    "resolution",
    "response_format",
    "output_format",
    "output_compression",
    "image",
    "mask",
    "seconds",
    "generate_audio",
];

/// The schema of a model's calls, over the routes that are not retired.
pub(in crate::api) fn model_schema(model: &Model, routes: &[&Arc<Route>]) -> Value {
    let builder = SchemaBuilder { routes };
    let modes: BTreeSet<Mode> = routes.iter().flat_map(|route| route.modes.iter().copied()).collect();
    let mut properties = Map::new();
    let names: Vec<&str> = std::iter::once(&model.id).chain(&model.aliases).map(String::as_str).collect();
    properties.insert(
        "model".to_owned(),
        json!({"type": "string", "examples": names,
        "description": "This model, by any of its names; `provider/name` forces a provider."}),
    );
    builder.prompt(&mut properties);
    builder.sizes(&mut properties);
    if modes.iter().any(|mode| mode.makes_video()) {
        builder.video_parameters(&mut properties);
    }
    if modes.iter().any(|mode| !mode.makes_video()) {
        builder.image_parameters(&mut properties);
    }
    builder.inputs(&modes, &mut properties);
    for (name, kind, about) in PROVIDER_PARAMETERS {
        builder.put(&mut properties, name, json!({"type": kind, "description": about}), |route| named(route, name));
    }
    builder.extras(&mut properties);
    properties.insert("user".to_owned(), json!({"type": "string", "description": "Your end user, for the log."}));
    let mut required = vec!["model"];
    let needs_prompt = |mode: &Mode| matches!(mode, Mode::TextToImage | Mode::ImageEdit | Mode::TextToVideo);
    if modes.iter().all(needs_prompt) {
        required.push("prompt");
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": model.name,
        "description": model.description,
        "type": "object",
        "properties": properties,
        "required": required,
        // Parameters that we do not know go to the provider unchanged.
        "additionalProperties": true,
    })
}

struct SchemaBuilder<'a> {
    routes: &'a [&'a Arc<Route>],
}

/// A route's support of a parameter, with details. `None`: the route does not take it.
type RouteSupport = Option<(Badge, Value)>;

impl SchemaBuilder<'_> {
    /// Adds a property when any route takes it, with each route's support. The badge of the first route, which is tried
    /// first, is the property's.
    fn put(
        &self,
        properties: &mut Map<String, Value>,
        name: &str,
        mut property: Value,
        support: impl Fn(&Route) -> RouteSupport,
    ) {
        let mut takers = Map::new();
        let mut modes: BTreeSet<Mode> = BTreeSet::new();
        for route in self.routes {
            let Some((badge, mut about)) = support(route) else { continue };
            about["badge"] = json!(badge.as_str());
            if property["x-badge"].is_null() {
                property["x-badge"] = json!(badge.as_str());
            }
            modes.extend(&route.modes);
            // A model may have a row for each of its modes.
            let mut name = route.executed_model();
            if takers.contains_key(&name) {
                let modes: Vec<&str> = route.modes.iter().map(|mode| mode.as_str()).collect();
                name = format!("{name} ({})", modes.join(", "));
            }
            takers.insert(name, about);
        }
        if takers.is_empty() {
            return;
        }
        property["x-modes"] = json!(modes);
        property["x-routes"] = Value::Object(takers);
        properties.insert(name.to_owned(), property);
    }

    fn prompt(&self, properties: &mut Map<String, Value>) {
        let longest = self.routes.iter().map(|route| route.max_prompt).collect::<Option<Vec<_>>>();
        let mut property = json!({"type": "string", "description": "What to make."});
        if let Some(longest) = longest.and_then(|all| all.into_iter().max()) {
            property["maxLength"] = json!(longest);
        }
        self.put(properties, "prompt", property, |route| {
            let (badge, mut about) = named(route, "prompt")?;
            if let Some(most) = route.max_prompt {
                about["max_length"] = json!(most);
            }
            Some((badge, about))
        });
    }

    fn sizes(&self, properties: &mut Map<String, Value>) {
        let sized = |route: &Route| match &route.size {
            SizeRule::None => None,
            rule => Some((Badge::Converted, json!({"allowed": rule.to_string()}))),
        };
        let ratio = r"[0-9]+(\.[0-9]+)?:[0-9]+(\.[0-9]+)?";
        let size = json!({"type": "string", "pattern": format!("^([aA][uU][tT][oO]|[0-9]{{1,5}} *[xX×] *[0-9]{{1,5}}|{ratio})$"),
            "examples": ["1024x1024", "16:9", "auto"],
            "description": "Pixels or an aspect ratio; a size that a route cannot make becomes the nearest that it can."});
        self.put(properties, "size", size, sized);
        let shape = json!({"type": "string", "pattern": format!("^([aA][uU][tT][oO]|{ratio})$"), "examples": ["16:9"],
            "description": "An aspect ratio, when there is no `size`."});
        self.put(properties, "aspect_ratio", shape, sized);
        let scale = json!({"type": "string", "examples": ["1K", "2K", "720p", "auto"],
            "description": "A resolution, when there is no `size`."});
        self.put(properties, "resolution", scale, sized);
    }

    fn count(&self, most: u64, properties: &mut Map<String, Value>) {
        let count =
            json!({"type": "integer", "minimum": 1, "maximum": most, "default": 1, "description": "How many to make."});
        self.put(properties, "n", count, |route| match named(route, "n").filter(|_| route.max_n > 1) {
            Some((badge, mut about)) => {
                about["at_once"] = json!(route.max_n);
                Some((badge, about))
            }
            None => Some((Badge::Emulated, json!({"at_once": 1}))),
        });
    }

    fn image_parameters(&self, properties: &mut Map<String, Value>) {
        self.count(MAX_IMAGES, properties);
        let form = json!({"type": "string", "enum": ["url", "b64_json"], "default": "url",
            "description": "A link that works for an hour, or base64."});
        self.put(properties, "response_format", form, |_| Some((Badge::Emulated, json!({}))));
        let formats: Vec<&str> = Format::OUTPUTS.iter().map(|format| format.name()).collect();
        let format = json!({"type": "string", "enum": formats, "description": "The format of the file; by default the route's own."});
        self.put(properties, "output_format", format, |route| {
            let native = json!({"native": route.formats, "default": route.default_format});
            let asked = named(route, "output_format").filter(|_| !route.formats.is_empty());
            Some((asked.map_or(Badge::Emulated, |(badge, _)| badge), native))
        });
        let quality =
            json!({"type": "integer", "minimum": 0, "maximum": 100, "description": "The quality of a lossy format."});
        self.put(properties, "output_compression", quality, |route| {
            let asked = named(route, "output_compression").filter(|_| !route.formats.is_empty());
            asked.or(Some((Badge::Emulated, json!({}))))
        });
    }

    fn video_parameters(&self, properties: &mut Map<String, Value>) {
        self.count(MAX_VIDEOS, properties);
        let seconds = json!({"type": ["integer", "string"], "minimum": 1, "maximum": MAX_SECONDS,
            "pattern": "^([0-9]+s?|[aA][uU][tT][oO])$", "examples": [8, "8", "5s", "auto"],
            "description": "The length; one that a route cannot make becomes the nearest that it can."});
        self.put(properties, "seconds", seconds, |route| {
            let video = route.video.as_ref()?;
            let about = json!({"field": video.field, "allowed": video.seconds, "default": video.default});
            Some((Badge::Converted, about))
        });
        let sound = json!({"type": "boolean", "description": "Whether it should have sound."});
        self.put(properties, "generate_audio", sound, |route| {
            let video = route.video.as_ref()?;
            let field = video.audio.as_ref()?;
            let badge = if field == "generate_audio" { Badge::Passthrough } else { Badge::Renamed };
            Some((badge, json!({"field": field, "default": video.sound})))
        });
    }

    fn inputs(&self, modes: &BTreeSet<Mode>, properties: &mut Map<String, Value>) {
        let reads = |route: &Route, video: bool| {
            let inputs = route.inputs.as_ref()?;
            let pictured = |mode: &Mode| !mode.reads_video() || inputs.max > 0;
            let wanted = |mode: &Mode| mode.reads_media() && mode.makes_video() == video && pictured(mode);
            route.modes.iter().any(wanted).then(|| (Badge::Converted, json!({"max": inputs.max})))
        };
        let picture = json!({"type": ["string", "object"]});
        let pictures = json!({"anyOf": [picture, {"type": "array", "items": picture, "minItems": 1}],
            "description": "The picture to start from, or several: links, data URIs, base64, or uploads in a form."});
        self.put(properties, "image", pictures.clone(), |route| reads(route, false));
        self.put(properties, "input_reference", pictures, |route| reads(route, true));
        let source = json!({"type": ["string", "object"], "description": "The video to edit or to extend: \
            `{\"id\": …}` of one that was made here, a link, a data URI, base64, or an upload in a form."});
        self.put(properties, "video", source, |route| {
            let inputs = route.inputs.as_ref()?;
            let modes: Vec<&Mode> = route.modes.iter().filter(|mode| mode.reads_video()).collect();
            let field = inputs.video.as_ref().filter(|_| !modes.is_empty())?;
            Some((Badge::Converted, json!({"field": field, "modes": modes})))
        });
        let mask = json!({"type": ["string", "object"], "description": "Where to edit: the transparent part of this picture."});
        self.put(properties, "mask", mask, |route| {
            let mask = route.inputs.as_ref()?.mask.as_ref()?;
            Some((Badge::Converted, json!({"field": mask})))
        });
        if modes.contains(&Mode::Upscale) {
            let factor = json!({"type": ["number", "string"], "description": "How many times as large."});
            self.put(properties, "scale_factor", factor, |route| {
                named(route, "scale_factor").filter(|_| route.modes.contains(&Mode::Upscale))
            });
        }
    }

    /// Parameters of single providers, as far as the catalog names them.
    fn extras(&self, properties: &mut Map<String, Value>) {
        let names_of = |route: &Route| route.fields.keys().chain(route.defaults.keys()).cloned().collect::<Vec<_>>();
        let names: BTreeSet<String> = self.routes.iter().flat_map(|route| names_of(route)).collect();
        for name in names
            .iter()
            .filter(|name| !GATEWAY_PARAMETERS.contains(&name.as_str()) && !properties.contains_key(*name))
            .cloned()
            .collect::<Vec<_>>()
        {
            let knows = |route: &Route| route.fields.contains_key(&name) || route.defaults.contains_key(&name);
            self.put(properties, &name, json!({}), |route| {
                let (badge, mut about) = named(route, &name).filter(|_| knows(route))?;
                if let Some(value) = route.defaults.get(&name) {
                    about["default"] = value.clone();
                }
                Some((badge, about))
            });
        }
    }
}

/// A parameter that the route's catalog row names.
fn named(route: &Route, name: &str) -> RouteSupport {
    let field = route.field(name)?;
    let values = route.values.get(name);
    let badge = match values {
        Some(_) => Badge::Converted,
        None if field == name => Badge::Passthrough,
        None => Badge::Renamed,
    };
    let mut about = json!({"field": field});
    if let Some(values) = values {
        about["values"] = json!(values);
    }
    Some((badge, about))
}
