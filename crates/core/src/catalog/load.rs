//! Reads catalog files, lays an operator's own over them, and reports every bad row at once, with file and line.

use super::check::{check_model, check_route};
use super::overlay::Overlay;
use super::problem::Problem;
use super::{Catalog, Lifecycle, Model, Route};
use crate::base::nearest::nearest;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::ScopedJoinHandle;
use toml::{Spanned, Table, Value};

/// A catalog file, as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    fields: Table,
    #[serde(default)]
    model: Vec<Spanned<Table>>,
    #[serde(default)]
    route: Vec<Spanned<Table>>,
}

/// A row with the place where it stands.
struct Entry {
    table: Table,
    provider: String,
    file: String,
    line: usize,
}

impl Entry {
    fn text(&self, key: &str) -> &str {
        self.table.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    fn problem(&self, message: String) -> Problem {
        Problem { file: self.file.clone(), line: self.line, message }
    }
}

/// A file as read, before anything of it is checked.
struct Sheet {
    provider: String,
    source: Option<String>,
    fields: Table,
    models: Vec<Entry>,
    routes: Vec<Entry>,
}

/// Everything read so far.
#[derive(Default)]
struct Reader {
    models: Vec<Entry>,
    routes: Vec<Entry>,
    /// What each provider's file says for all its routes: its source, and its names of parameters.
    usual: BTreeMap<String, (String, Table)>,
    problems: Vec<Problem>,
}

/// Builds the catalog from `(provider, text)` pairs; a file named `models` holds models only. All problems at once.
pub fn load<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Catalog, Vec<Problem>> {
    load_over(files, &[], &[])
}

/// The same with an operator's files over it. `deployments` are the names of providers that no file of ours is about.
pub fn load_over<'a>(
    files: impl IntoIterator<Item = (&'a str, &'a str)>,
    overlays: &[Overlay],
    deployments: &[&str],
) -> Result<Catalog, Vec<Problem>> {
    let files: Vec<(&str, &str)> = files.into_iter().collect();
    let mut reader = Reader::default();
    for sheet in parse_all(&files) {
        reader.take(sheet, false);
    }
    let mut names = vec!["models"];
    names.extend(files.iter().map(|(name, _)| *name));
    names.extend(deployments);
    for overlay in overlays {
        if names.contains(&overlay.name.as_str()) {
            reader.take(parse(&overlay.name, &overlay.path, &overlay.text), true);
        } else {
            let near = nearest(&overlay.name, names.iter().copied());
            let hint = near.map(|name| format!("; did you mean {name}.toml?")).unwrap_or_default();
            let message =
                format!("a file is named after a provider, or models.toml; no provider is '{}'{hint}", overlay.name);
            reader.problems.push(Problem { file: overlay.path.clone(), line: 1, message });
        }
    }
    reader.finish()
}

/// Reads the files side by side: they are most of what a start takes.
fn parse_all(files: &[(&str, &str)]) -> Vec<Result<Sheet, Problem>> {
    std::thread::scope(|scope| {
        let read = |(name, text): &(&str, &str)| parse(name, &format!("{name}.toml"), text);
        let readers: Vec<_> = files.iter().map(|file| scope.spawn(move || read(file))).collect();
        let whole = |reader: ScopedJoinHandle<'_, _>| reader.join().unwrap_or_else(|panic| resume_unwind(panic));
        readers.into_iter().map(whole).collect()
    })
}

fn parse(name: &str, path: &str, text: &str) -> Result<Sheet, Problem> {
    let breaks: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
    let line_at = |at: usize| 1 + breaks.partition_point(|end| *end < at);
    let file: File = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_at(span.start));
        Problem { file: path.to_owned(), line, message: error.message().to_owned() }
    })?;
    let entry = |row: Spanned<Table>| {
        let line = line_at(row.span().start);
        Entry { table: row.into_inner(), provider: name.to_owned(), file: path.to_owned(), line }
    };
    Ok(Sheet {
        provider: name.to_owned(),
        source: file.source,
        fields: file.fields,
        models: file.model.into_iter().map(entry).collect(),
        routes: file.route.into_iter().map(entry).collect(),
    })
}

impl Reader {
    fn take(&mut self, sheet: Result<Sheet, Problem>, over: bool) {
        let sheet = match sheet {
            Ok(sheet) => sheet,
            Err(problem) => return self.problems.push(problem),
        };
        let usual = self.usual.entry(sheet.provider).or_default();
        usual.1.extend(sheet.fields);
        if let Some(source) = sheet.source {
            usual.0 = source;
        }
        if over {
            sheet.models.into_iter().for_each(|row| lay_model(&mut self.models, row));
            sheet.routes.into_iter().for_each(|row| lay_route(&mut self.routes, row));
        } else {
            self.models.extend(sheet.models);
            self.routes.extend(sheet.routes);
        }
    }

    fn finish(mut self) -> Result<Catalog, Vec<Problem>> {
        let mut catalog = Catalog::default();
        let models = std::mem::take(&mut self.models);
        for row in &models {
            match Model::deserialize(row.table.clone()) {
                Ok(model) => self.add_model(&mut catalog, model, row),
                Err(error) => self.problems.push(row.problem(format!("model '{}': {}", row.text("id"), tell(&error)))),
            }
        }
        for row in models {
            let successor = row.text("successor");
            if !successor.is_empty() && !catalog.by_name.contains_key(successor) {
                let message = format!("model '{}': its successor '{successor}' is not in the catalog", row.text("id"));
                self.problems.push(row.problem(message));
            }
        }
        for mut row in std::mem::take(&mut self.routes) {
            let name = format!("route '{}' ({})", row.text("upstream"), row.text("model"));
            match self.read_route(&mut row) {
                Ok(route) => self.add_route(&mut catalog, route, &row),
                Err(why) => self.problems.push(row.problem(format!("{name}: {why}"))),
            }
        }
        for list in catalog.routes.values_mut() {
            list.sort_by_key(|route| route.priority);
        }
        if self.problems.is_empty() { Ok(catalog) } else { Err(self.problems) }
    }

    fn add_model(&mut self, catalog: &mut Catalog, model: Model, row: &Entry) {
        let at = catalog.models.len();
        let mut complain = |what: String| self.problems.push(row.problem(format!("model '{}': {what}", model.id)));
        check_model(&model, &mut complain);
        for name in std::iter::once(&model.id).chain(&model.aliases) {
            if let Some(first) = catalog.by_name.get(name) {
                complain(format!(
                    "the name '{name}' is taken by '{}'",
                    catalog.models.get(*first).map_or(&model.id, |taken| &taken.id)
                ));
            } else {
                catalog.by_name.insert(name.clone(), at);
            }
        }
        catalog.models.push(model);
    }

    /// `None` when it is switched off.
    fn read_route(&self, row: &mut Entry) -> Result<Option<Route>, String> {
        let mut table = std::mem::take(&mut row.table);
        if table.remove("disabled").is_some_and(|off| off == Value::Boolean(true)) {
            return Ok(None);
        }
        let mut route = Route::deserialize(table).map_err(|error| tell(&error))?;
        route.provider.clone_from(&row.provider);
        if let Some((source, fields)) = self.usual.get(&row.provider) {
            if route.source.is_empty() {
                route.source.clone_from(source);
            }
            for (canonical, own) in fields {
                let own = own.as_str().ok_or_else(|| format!("fields.{canonical} should be a text"))?;
                route.fields.entry(canonical.clone()).or_insert_with(|| own.to_owned());
            }
        }
        Ok(Some(route))
    }

    fn add_route(&mut self, catalog: &mut Catalog, route: Option<Route>, row: &Entry) {
        if !catalog.providers.contains(&row.provider) {
            catalog.providers.push(row.provider.clone());
        }
        let Some(route) = route else { return };
        let mut complain = |what: String| {
            self.problems.push(row.problem(format!("route '{}' ({}): {what}", route.upstream, route.model)));
        };
        check_route(&route, &mut complain);
        if route.model == "*" {
            catalog.patterns.push(route);
            return;
        }
        let defined = catalog.by_name.get(&route.model).and_then(|at| catalog.models.get(*at));
        if defined.is_none_or(|model| model.id != route.model) {
            complain(format!("no file defines the model '{}'", route.model));
        }
        catalog.routes.entry(route.model.clone()).or_default().push(Arc::new(route));
    }
}

/// An operator's row changes the keys that it names, or adds a model.
fn lay_model(models: &mut Vec<Entry>, row: Entry) {
    match models.iter_mut().find(|known| known.text("id") == row.text("id")) {
        Some(known) => lay(known, row),
        None => models.push(row),
    }
}

/// An operator's row changes every route of that provider, model and endpoint (the one with just these `modes`, where
/// there are several), or adds one.
fn lay_route(routes: &mut Vec<Entry>, row: Entry) {
    let same = |known: &&mut Entry| {
        known.provider == row.provider && ["model", "upstream"].iter().all(|key| known.text(key) == row.text(key))
    };
    let mut known: Vec<&mut Entry> = routes.iter_mut().filter(same).collect();
    if known.len() > 1
        && let Some(modes) = row.table.get("modes")
    {
        known.retain(|known| known.table.get("modes") == Some(modes));
    }
    if known.is_empty() {
        return routes.push(row);
    }
    for known in known {
        let Entry { table, provider, file, line } = &row;
        lay(known, Entry { table: table.clone(), provider: provider.clone(), file: file.clone(), line: *line });
    }
}

/// Names and values are laid over key by key; everything else is replaced as it stands, a price with all its lines.
fn lay(known: &mut Entry, row: Entry) {
    for (key, value) in row.table {
        match (known.table.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above))
                if matches!(key.as_str(), "fields" | "values" | "defaults") =>
            {
                below.extend(above);
            }
            (_, value) => drop(known.table.insert(key, value)),
        }
    }
    known.file = row.file;
    known.line = row.line;
}

fn tell(error: &toml::de::Error) -> String {
    error.to_string().trim().replace('\n', " ")
}

impl Lifecycle {
    /// Whether it can be asked for at all.
    pub const fn is_open(self) -> bool {
        !matches!(self, Self::Retired | Self::Disabled)
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
            source = "the documentation"
            fields = {{ n = "num_images" }}
            [[route]]
            model = "flux.2-max"
            upstream = "fal-ai/flux-2-max"
            modes = ["text-to-image"]
            size = {{ rule = "none" }}
            confidence = "documented"
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
        assert!(text[0].starts_with("fal.toml:4: route 'fal-ai/flux-2-max' (flux.2-max): max_n is 0"), "{text:?}");
        assert!(text.iter().any(|line| line.contains("default_format")), "{text:?}");
        assert!(text.iter().any(|line| line.starts_with("bfl.toml:1:")), "{text:?}");
        assert!(text.iter().any(|line| line.contains("no file defines")), "{text:?}");
    }
}
