//! Reads catalog files and reports every bad row at once, with file and key.

use super::{Catalog, Model, Route};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A catalog file, as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    fields: BTreeMap<String, String>,
    #[serde(default)]
    model: Vec<Model>,
    #[serde(default)]
    route: Vec<Route>,
}

/// One mistake in a catalog file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// What is wrong and where.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.message)
    }
}

/// Builds the catalog from `(provider, text)` pairs; a file named `models` holds models only. All problems at once.
pub fn load<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Catalog, Vec<Problem>> {
    let mut catalog = Catalog::default();
    let mut problems = Vec::new();
    let mut routes = Vec::new();
    for (name, text) in files {
        let mut complain = |message: String| problems.push(Problem { file: format!("{name}.toml"), message });
        let file: File = match toml::from_str(text) {
            Ok(file) => file,
            Err(error) => {
                complain(error.to_string());
                continue;
            }
        };
        for model in file.model {
            add_model(&mut catalog, model, &mut complain);
        }
        if !file.route.is_empty() {
            catalog.providers.push(name.to_owned());
        }
        for mut route in file.route {
            name.clone_into(&mut route.provider);
            for (canonical, own) in &file.fields {
                route.fields.entry(canonical.clone()).or_insert_with(|| own.clone());
            }
            check(&route, &mut complain);
            routes.push(route);
        }
    }
    for route in routes {
        if route.model == "*" {
            catalog.patterns.push(route);
            continue;
        }
        let defined = catalog.by_name.get(&route.model).is_some_and(|at| catalog.models[*at].id == route.model);
        if !defined {
            let message =
                format!("route '{}' names the model '{}', which no file defines", route.upstream, route.model);
            problems.push(Problem { file: format!("{}.toml", route.provider), message });
        }
        catalog.routes.entry(route.model.clone()).or_default().push(Arc::new(route));
    }
    for list in catalog.routes.values_mut() {
        list.sort_by_key(|route| route.priority);
    }
    if problems.is_empty() { Ok(catalog) } else { Err(problems) }
}

fn add_model(catalog: &mut Catalog, model: Model, complain: &mut impl FnMut(String)) {
    let at = catalog.models.len();
    if model.id != model.id.to_lowercase() {
        complain(format!("model '{}': ids are lower case", model.id));
    }
    for name in std::iter::once(&model.id).chain(&model.aliases) {
        if catalog.by_name.insert(name.clone(), at).is_some() {
            complain(format!("model '{}': the name '{name}' is taken", model.id));
        }
    }
    catalog.models.push(model);
}

fn check(route: &Route, complain: &mut impl FnMut(String)) {
    let mut wrong = |what: &str| complain(format!("route '{}' ({}): {what}", route.upstream, route.model));
    if route.modes.is_empty() {
        wrong("modes is empty");
    }
    if route.max_n == 0 {
        wrong("max_n is 0");
    }
    if route.default_format.is_some_and(|format| !route.formats.is_empty() && !route.formats.contains(&format)) {
        wrong("default_format is not one of formats");
    }
    if route.price.free && !route.price.lines.is_empty() {
        wrong("price is free and has lines");
    }
    if route.price.lines.iter().any(|line| line.unit_price.is_sign_negative()) {
        wrong("a unit_price is negative");
    }
    if !route.price.lines.is_empty() && (route.price.source.is_empty() || route.price.date.is_empty()) {
        wrong("a price needs its source and date");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODELS: &str = r#"
        [[model]]
        id = "flux.2-max"
        name = "FLUX.2 [max]"
        maker = "black-forest-labs"
        aliases = ["flux-2-max"]
    "#;

    fn route(extra: &str) -> String {
        format!(
            r#"
            fields = {{ n = "num_images" }}
            [[route]]
            model = "flux.2-max"
            upstream = "fal-ai/flux-2-max"
            modes = ["text-to-image"]
            size = {{ rule = "none" }}
            {extra}
        "#
        )
    }

    #[test]
    fn finds_models_by_every_name() {
        let routes = route("");
        let catalog = load([("models", MODELS), ("fal", routes.as_str())]).unwrap();
        for name in ["flux.2-max", "flux-2-max"] {
            let named = catalog.find(name).unwrap();
            assert_eq!((named.model.id.as_str(), named.provider), ("flux.2-max", None));
        }
        for name in ["fal/flux.2-max", "fal/fal-ai/flux-2-max"] {
            let named = catalog.find(name).unwrap();
            assert_eq!((named.model.id.as_str(), named.provider), ("flux.2-max", Some("fal")));
        }
        let miss = catalog.find("flux.2-maks").unwrap_err();
        assert_eq!(miss.message, "Model 'flux.2-maks' not found. Did you mean 'flux.2-max'?");
        assert_eq!(catalog.find("fal/flux.2-mx").unwrap_err().message.matches("'fal/flux.2-max'").count(), 1);
        assert_eq!(catalog.routes(&catalog.models()[0])[0].field("n"), Some("num_images"));
    }

    #[test]
    fn reports_every_problem_with_its_place() {
        let bad = route("max_n = 0\nformats = [\"png\"]\ndefault_format = \"jpeg\"");
        let problems = load([("fal", bad.as_str()), ("bfl", "[[route]]\nmodel = 3")]).unwrap_err();
        let text: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(text[0].starts_with("fal.toml: route 'fal-ai/flux-2-max' (flux.2-max): max_n is 0"), "{text:?}");
        assert!(text.iter().any(|line| line.contains("default_format")), "{text:?}");
        assert!(text.iter().any(|line| line.starts_with("bfl.toml:") && line.contains("line")), "{text:?}");
        assert!(text.iter().any(|line| line.contains("no file defines")), "{text:?}");
    }
}
