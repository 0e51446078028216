//! Rules for files: small, with a purpose, complete for every provider, explained, equal for both databases; and what they
//! name exists.

use crate::tree::{Tree, module, within};
use lumenfall::providers::{ADAPTERS, Reach};
use lumenfall::sandbox::SIMULATORS;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn files_are_small_and_say_what_they_are_for() {
    let tests = Tree::new(sources()).tests;
    let mut found = Vec::new();
    for (path, text) in sources() {
        if tests.iter().any(|test| within(&module(&path), test)) {
            continue;
        }
        let (lines, most) = (production_lines(&text), if path.ends_with("/mod.rs") { 150 } else { 400 });
        found.extend((lines > most).then(|| format!("{path}: {lines} lines without its tests, {most} allowed")));
        found.extend((!text.starts_with("//! ")).then(|| format!("{path} does not start with a `//!` paragraph")));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The lines before the module of tests at a file's end.
fn production_lines(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let opens_tests = |index: &usize| {
        let item = lines[index + 1..].iter().find(|line| !line.starts_with("#["));
        lines[*index] == "#[cfg(test)]" && item.is_some_and(|item| item.starts_with("mod ") && item.ends_with('{'))
    };
    (0..lines.len()).find(opens_tests).unwrap_or(lines.len())
}

#[test]
fn every_provider_is_complete() {
    let adapters = sources().iter().filter(|(_, text)| text.contains("\nimpl Adapter for ")).count();
    assert_eq!(adapters, ADAPTERS.len(), "an adapter is missing in `ADAPTERS`");
    let mut missing = Vec::new();
    for card in ADAPTERS.iter().map(|adapter| adapter.card()) {
        let id = card.id;
        // The provider inside this process has nobody to talk to.
        let cases: &[&str] = match card.reach {
            Reach::Inside => &[],
            _ => &["generate", "rate_limited", "bad_key", "bad_request"],
        };
        let fixtures = cases.iter().map(|case| format!("tests/fixtures/{id}/{case}.json"));
        let files = fixtures.chain([format!("config/catalog/{id}.toml")]);
        missing.extend(files.filter(|path| !root().join(path).is_file()));
        let is_simulated = SIMULATORS.iter().any(|simulator| simulator.id == id);
        missing.extend((card.reach == Reach::Hosted && !is_simulated).then(|| format!("a simulator of {id}")));
    }
    assert!(missing.is_empty(), "an adapter needs its catalog, conversations and simulator; missing: {missing:#?}");
}

#[test]
fn every_setting_is_explained() {
    let text = fs::read_to_string(root().join("config/default.toml")).expect("config/default.toml");
    let (mut above, mut open, mut silent) = ("", 0, Vec::new());
    for line in text.lines().map(str::trim) {
        if open == 0 && !line.starts_with(['#', '[']) && line.contains('=') && !above.starts_with('#') {
            silent.push(line);
        }
        if !line.starts_with('#') {
            open += line.matches('[').count();
            open -= line.matches(']').count();
        }
        above = line;
    }
    assert!(silent.is_empty(), "settings without a comment on the line above: {silent:#?}");
}

#[test]
fn both_databases_have_the_same_migrations() {
    let names =
        |folder: &str| files(folder).iter().filter_map(|path| Some(path.rsplit_once('/')?.1.to_owned())).collect();
    let (sqlite, postgres): (BTreeSet<String>, BTreeSet<String>) =
        (names("migrations/sqlite"), names("migrations/postgres"));
    assert!(!sqlite.is_empty(), "no migration at all");
    assert_eq!(sqlite, postgres);
}

/// Every `*.md` and `*.rs` that a comment or a document names lies in the repository.
#[test]
fn named_files_exist() {
    let all = files("");
    // `providers/fal.rs` stands for `crates/providers/src/fal.rs`.
    let places: Vec<String> = all.iter().flat_map(|path| [path.clone(), path.replace("/src/", "/")]).collect();
    let ends_with = |name: &str| places.iter().any(|path| path == name || path.ends_with(&format!("/{name}")));
    let mut missing = Vec::new();
    for path in &all {
        let Ok(text) = fs::read_to_string(root().join(path)) else { continue };
        let is_code = has_extension(path, "rs");
        for (index, line) in text.lines().enumerate() {
            let said = if is_code { line.split_once("//").map_or("", |(_, comment)| comment) } else { line };
            let words = said.split(|c: char| !c.is_alphanumeric() && !"_-./:".contains(c));
            let names = words.filter(|word| {
                (has_extension(word, "md") || has_extension(word, "rs")) && !word.starts_with(['.', '/'])
            });
            let names = names.filter(|name| !name.contains("://") && !ends_with(name));
            missing.extend(names.map(|name| format!("{path}:{}: {name}", index + 1)));
        }
    }
    assert!(missing.is_empty(), "files that are named and do not exist:\n{}", missing.join("\n"));
}

/// Hosts and paths that mean something on one machine only: they come in with lock files and copied commands.
#[test]
fn no_file_names_a_registry_or_a_machine() {
    // In pieces, so that this file does not find itself.
    let hosts =
        [["crates", ".io"], ["pypi", ".org"], ["python", "hosted"], ["npmjs", ".org"], ["proxy.golang", ".org"]];
    let leaks: Vec<String> = hosts.iter().chain([&["/work", "/"]]).map(|parts| parts.concat()).collect();
    for path in files("").iter().filter(|path| *path != "Cargo.lock") {
        let Ok(text) = fs::read_to_string(root().join(path)) else { continue };
        let leak = leaks.iter().find(|leak| text.contains(leak.as_str()));
        assert!(leak.is_none(), "{path} names {leak:?}");
    }
}

/// `cargo deny check` reads the same file, and adds the advisories.
#[test]
fn dependencies_obey_the_policy() {
    let text = fs::read_to_string(root().join("deny.toml")).expect("deny.toml");
    let policy: toml::Table = text.parse().expect("deny.toml is TOML");
    let list = |table: &str, key: &str| policy[table][key].as_array().expect("a list").clone();
    let allowed: Vec<toml::Value> = list("licenses", "allow");
    let permits = |licence: &str| {
        let is_allowed = |name: &str| allowed.iter().any(|known| known.as_str() == Some(name));
        let expression = spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX);
        expression.is_ok_and(|expression| {
            expression.evaluate(|licence| licence.license.id().is_some_and(|id| is_allowed(id.name)))
        })
    };
    assert!(permits("GPL-3.0-only/MIT") && !permits("MIT AND GPL-3.0-only") && !permits(""), "the rule reads licences");
    let banned = list("bans", "deny");
    let (mut breaches, mut registries) = (Vec::new(), BTreeSet::new());
    for package in metadata()["packages"].as_array().expect("packages") {
        let text = |key: &str| package[key].as_str().unwrap_or_default();
        let is_banned = banned.iter().any(|ban| ban["crate"].as_str() == Some(text("name")));
        breaches.extend(is_banned.then(|| format!("{} is banned", text("name"))));
        breaches
            .extend((!permits(text("license"))).then(|| format!("{} is under {:?}", text("name"), text("license"))));
        registries.extend(package["source"].as_str().map(str::to_owned));
    }
    breaches.extend((registries.len() > 1).then(|| format!("more than one source: {registries:?}")));
    assert!(breaches.is_empty(), "against deny.toml:\n{}", breaches.join("\n"));
}

/// What may be linked on any platform and with any feature; without a network, what this machine builds.
fn metadata() -> Value {
    let cargo = |arguments: &[&str]| {
        let fixed = ["metadata", "--format-version", "1", "--locked"];
        let run = Command::new(env!("CARGO")).args(fixed).args(arguments).current_dir(root()).output();
        run.ok().filter(|output| output.status.success()).map(|output| output.stdout)
    };
    let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let answer = cargo(&["--all-features"]).or_else(|| cargo(&["--offline", "--filter-platform", &host]));
    serde_json::from_slice(&answer.expect("cargo metadata")).expect("JSON")
}

/// Every source file of every crate: its path and its text.
pub(crate) fn sources() -> Vec<(String, String)> {
    let all = files("src").into_iter().chain(files("crates"));
    let sources = all.filter(|path| has_extension(path, "rs") && path.contains("src/"));
    sources.map(|path| (path.clone(), fs::read_to_string(root().join(&path)).expect(&path))).collect()
}

/// The paths of all files in a folder, without what builds and tests leave behind.
fn files(folder: &str) -> Vec<String> {
    let left_behind = [".git", "target", "data", "node_modules", ".venv", "__pycache__"];
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            match entry.path().is_dir() {
                _ if left_behind.contains(&name.as_str()) => {}
                true => folders.push(path),
                false => found.push(path),
            }
        }
    }
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn has_extension(path: &str, extension: &str) -> bool {
    std::path::Path::new(path).extension().is_some_and(|own| own == extension)
}
