//! The operator's own catalog files: rows that change, add or switch off models, routes and prices of the built-in ones.

use super::problem::Problem;
use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};

/// A file of an operator's own, to be laid over the program's.
#[derive(Debug, Clone)]
pub struct Overlay {
    /// The path, for messages.
    pub path: String,
    /// Its name without the ending: `models`, or the provider of its routes.
    pub name: String,
    /// What is in it.
    pub text: String,
}

impl Overlay {
    /// The TOML files of a directory, in the order of their names.
    pub fn read_all(directory: &Path) -> Result<Vec<Self>, Vec<Problem>> {
        let listed = fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<DirEntry>>>);
        let listed = listed.map_err(|error| vec![unreadable(directory, &error)])?;
        let mut paths: Vec<PathBuf> = listed.iter().map(DirEntry::path).collect();
        paths.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
        paths.sort();
        paths.iter().map(|path| Self::read(path).map_err(|error| vec![unreadable(path, &error)])).collect()
    }

    fn read(path: &Path) -> io::Result<Self> {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { path: path.display().to_string(), name, text: fs::read_to_string(path)? })
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    Problem { file: path.display().to_string(), line: 1, message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Usd;
    use crate::catalog::{Catalog, Lifecycle, load_over};

    const MODELS: &str = r#"
        [[model]]
        id = "m"
        name = "M"
        maker = "someone"
    "#;

    const FAL: &str = r#"
        source = "the documentation"
        fields = { n = "num_images" }
        [[route]]
        model = "m"
        upstream = "maker/m"
        modes = ["text-to-image"]
        size = { rule = "none" }
        defaults = { steps = 4, safe = true }
        confidence = "documented"
        [[route]]
        model = "m"
        upstream = "maker/m"
        modes = ["image-edit"]
        size = { rule = "none" }
        inputs = { max = 1, field = "image_url" }
        confidence = "documented"
    "#;

    fn over(files: &[(&str, &str)]) -> Result<Catalog, Vec<String>> {
        let overlays: Vec<Overlay> = files
            .iter()
            .map(|(name, text)| Overlay {
                path: format!("/etc/{name}.toml"),
                name: (*name).to_owned(),
                text: (*text).to_owned(),
            })
            .collect();
        load_over([("models", MODELS), ("fal", FAL)], &overlays, &["localai"])
            .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn rows_are_changed_added_and_switched_off() {
        let fal = r#"
            [[route]]
            model = "m"
            upstream = "maker/m"
            modes = ["text-to-image"]
            priority = 1
            defaults = { steps = 8 }
            price = { source = "our contract", date = "2026-11-20", lines = [{ metric = "image", unit_price = "0.01" }] }
            [[route]]
            model = "m"
            upstream = "maker/m"
            modes = ["image-edit"]
            disabled = true
            [[route]]
            model = "mine"
            upstream = "me/mine"
            modes = ["text-to-image"]
            size = { rule = "none" }
            confidence = "unconfirmed"
        "#;
        let models = r#"
            [[model]]
            id = "mine"
            name = "Mine"
            maker = "me"
            [[model]]
            id = "m"
            status = "disabled"
            aliases = ["emm"]
        "#;
        let catalog = over(&[("fal", fal), ("models", models)]).unwrap();
        let m = catalog.find("emm").unwrap().model;
        assert_eq!((m.name.as_str(), m.status), ("M", Lifecycle::Disabled), "what is not said stays");
        let [route] = catalog.routes(m) else { panic!("the edit is switched off") };
        assert_eq!(
            (route.priority, route.defaults["steps"].as_u64(), route.defaults["safe"].as_bool()),
            (1, Some(8), Some(true))
        );
        assert_eq!(route.starting_price().map(Usd::micros), Some(10_000));
        let mine = &catalog.routes(catalog.find("mine").unwrap().model)[0];
        assert_eq!((mine.field("n"), mine.source.as_str()), (Some("num_images"), "the documentation"));
    }

    #[test]
    fn mistakes_are_told_with_their_line_and_reject_everything() {
        let typo = "[[route]]\nmodel = \"m\"\nupstream = \"maker/m\"\npriorty = 1\n";
        let shape = "\n\n[[model]]\nid = 3\n";
        let broken = "[[route]\n";
        let problems = over(&[("fal", typo), ("models", shape), ("fall", ""), ("fal", broken)]).unwrap_err();
        let told = |place: &str, what: &str| problems.iter().any(|text| text.starts_with(place) && text.contains(what));
        assert!(told("/etc/fal.toml:1:", "priorty"), "{problems:#?}");
        assert!(told("/etc/models.toml:3:", "invalid type: integer"), "{problems:#?}");
        assert!(told("/etc/fall.toml:1:", "did you mean fal.toml?"), "{problems:#?}");
        assert!(told("/etc/fal.toml:1:", "array of tables") || told("/etc/fal.toml:1:", "table"), "{problems:#?}");
    }

    /// A deployment's own file may say more of its models than the pattern does.
    #[test]
    fn deployments_have_files_too() {
        let text = r#"
            source = "our own server"
            [[route]]
            model = "m"
            upstream = "flux-local"
            modes = ["text-to-image"]
            size = { rule = "none" }
            confidence = "documented"
            price = { free = true }
        "#;
        let catalog = over(&[("localai", text)]).unwrap();
        assert!(catalog.routes_of("localai").next().unwrap().price.free);
    }
}
