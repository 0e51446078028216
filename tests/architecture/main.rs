//! The architecture as a test: which module may use which, and no circles of files; in `files.rs`, the rules for files.
//! `CONTRIBUTING.md` has the reasons.

#![expect(clippy::expect_used, reason = "a source tree that cannot be read fails its test")]

mod files;
mod tree;

use files::sources;
use std::collections::{BTreeMap, BTreeSet};
use tree::{Tree, within};

/// Which module may use which, from the top layer down: a row may name rows below it only. Each table orders the children
/// of one module, `""` the modules at the root. `outbound::call` on the right allows that part of `outbound` only.
const LAYERS: &[(&str, &str)] = &[
    (
        "",
        "main      -> app cli config telemetry
         cli       -> app config store catalog providers sandbox telemetry error base
         app       -> config api sandbox pipeline providers store catalog outbound job media fault error telemetry base
         config    -> api sandbox pipeline providers store outbound media telemetry error base
         api       -> pipeline store catalog job media error base
         sandbox   -> catalog job media base
         pipeline  -> providers outbound catalog store media job fault error base
         store     -> job error base
         outbound  -> providers::auth providers::call fault error base
         providers -> catalog job media fault base
         error     -> catalog base
         catalog   -> job media base
         fault     -> job::Usage base
         job       -> media base
         media     -> base
         telemetry -> base
         base      ->",
    ),
    (
        "pipeline",
        "jobs      -> gateway retention ledger engine planning routing upstream
         gateway   -> response retention ledger engine planning routing upstream
         response  -> ledger engine planning
         retention -> ledger
         ledger    -> engine planning routing
         engine    -> planning routing upstream
         planning  -> routing
         routing   -> upstream
         upstream  ->",
    ),
    (
        "api",
        "router      -> native calls jobs models media health middleware state error
         native      -> body caller state wire
         calls       -> jobs body middleware caller state body_budget wire
         jobs        -> media caller state wire
         models      -> caller state wire
         media       -> state
         health      -> state
         body        -> state body_budget
         middleware  -> state
         caller      -> state
         state       -> body_budget settings
         body_budget ->
         settings    ->
         wire        -> error
         error       ->",
    ),
    (
        "store",
        "open        -> jobs keys ledger webhooks idempotency routing db
         jobs        -> webhooks ledger db
         keys        -> ledger webhooks db
         ledger      -> webhooks db
         webhooks    -> db
         idempotency -> db
         routing     -> db
         db          ->",
    ),
];

#[test]
fn modules_use_only_what_lies_below_them() {
    let breaches = breaches(&Tree::new(sources()));
    assert!(breaches.is_empty(), "imports that point up or sideways: {breaches:#?}");
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let tree = Tree::new(sources());
    let circles = circles(&tree);
    assert!(circles.is_empty(), "files that use each other in a circle: {circles:#?}");
}

#[test]
fn the_tables_of_layers_point_down() {
    for (parent, table) in LAYERS {
        let rows = rows(table);
        for (index, (name, below)) in rows.iter().enumerate() {
            for entry in below {
                let is_below = rows[index + 1..].iter().any(|(row, _)| within(entry, row));
                assert!(is_below, "{parent}: {name} -> {entry}, which no row below it is");
            }
        }
    }
}

#[test]
fn planted_violations_are_found() {
    // The modules that there are, without their contents, and one file more.
    let modules: BTreeMap<String, String> = sources().into_iter().map(|(path, _)| (path, String::new())).collect();
    let breaches_with = |path: &str, text: &str| {
        let mut files = modules.clone();
        files.insert(path.to_owned(), text.to_owned());
        breaches(&Tree::new(files.into_iter().collect()))
    };
    let sound = breaches_with("src/base/planted.rs", "");
    let planted = |path: &str, text: &str| breaches_with(path, text).difference(&sound).count();
    assert_eq!(planted("src/media/planted.rs", "use crate::api::Api;"), 1, "upwards");
    assert_eq!(planted("src/catalog/planted.rs", "use crate::{base::Usd, job, pipeline::{self, Gateway as G}};"), 2);
    assert_eq!(planted("src/media/planted.rs", "use super::super::pipeline::Plan;"), 1, "by way of the parent");
    assert_eq!(planted("src/base/planted.rs", "fn f() -> crate::api::Api { g() }"), 1, "in a signature");
    assert_eq!(planted("src/base/planted.rs", "fn f() { info!(a = crate::store::open()); }"), 1, "in a macro");
    assert_eq!(planted("src/main.rs", "fn main() { lumenfall::store::open() }"), 1, "by the name of the crate");
    assert_eq!(planted("src/base/planted.rs", "#[cfg(test)] mod tests { use crate::api::Api; }"), 0, "in a test");
    assert_eq!(planted("src/base/planted.rs", "/// crate::api\nconst A: &str = \"crate::api::b\";"), 0, "in a text");
    assert_eq!(planted("src/planted.rs", ""), 1, "a module without a row");

    let circle_of = |files: &[(&str, &str)]| {
        let owned = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        let tree = Tree::new(owned.collect());
        circles(&tree).into_iter().flatten().collect::<Vec<_>>().join(" ")
    };
    let (a, b) = (("src/x/a.rs", "use super::b::B;"), ("src/x/b.rs", "use super::a::A;"));
    assert_eq!(circle_of(&[("src/x/mod.rs", ""), a, b]), "lumenfall::x::a lumenfall::x::b");
    let x = ("src/x/mod.rs", "mod a; mod b; pub use a::A; pub struct Settings;");
    let b = ("src/x/b.rs", "use super::A;");
    assert_eq!(circle_of(&[x, a, b]), "lumenfall::x::a lumenfall::x::b", "through the name that the parent gives out");
    let three = [x, ("src/x/a.rs", "use crate::z;"), ("src/z.rs", "use crate::y;"), ("src/y.rs", "use crate::x::A;")];
    assert_eq!(circle_of(&three), "lumenfall::x::a lumenfall::y lumenfall::z", "three modules");
    assert_eq!(circle_of(&[x, ("src/x/a.rs", "use super::Settings;")]), "", "a child may use its parent");
}

/// What no table allows, and files that their module's table does not know.
fn breaches(tree: &Tree) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (parent, table) in LAYERS {
        let rows = rows(table);
        let row_of = |path: &str| rows.iter().filter(|(row, _)| within(path, row)).max_by_key(|(row, _)| row.len());
        let unknown = |file: &&String| child(layer(file), parent).is_some_and(|path| row_of(path).is_none());
        found.extend(
            tree.files.iter().filter(unknown).map(|file| format!("{file} has no row in the table of {parent:?}")),
        );
        for (file, path) in &tree.uses {
            let (Some(from), Some(to)) = (child(layer(file), parent), child(layer(path), parent)) else { continue };
            let (Some((own, below)), Some((other, _))) = (row_of(from), row_of(to)) else { continue };
            if own != other && !below.iter().any(|entry| within(to, entry)) {
                found.insert(format!("{file} may not use {path}"));
            }
        }
    }
    found
}

/// The sets of files that reach each other.
fn circles(tree: &Tree) -> BTreeSet<BTreeSet<&str>> {
    let mut targets: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (file, path) in &tree.uses {
        let target = tree.file_of(path).filter(|parent| !within(file, parent)); // a child may use its parent
        targets.entry(file).or_default().extend(target);
    }
    let mut reach: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for start in targets.keys() {
        let (mut seen, mut next) = (BTreeSet::new(), vec![*start]);
        while let Some(file) = next.pop() {
            next.extend(targets.get(file).into_iter().flatten().filter(|target| seen.insert(**target)));
        }
        reach.insert(start, seen);
    }
    let circle = |file: &str| -> BTreeSet<&str> {
        reach[file].iter().copied().filter(|other| reach.get(other).is_some_and(|back| back.contains(file))).collect()
    };
    reach.keys().map(|file| circle(file)).filter(|circle| !circle.is_empty()).collect()
}

/// A table as (row, what it may use).
fn rows(table: &'static str) -> Vec<(&'static str, Vec<&'static str>)> {
    let row = |line: &'static str| {
        line.split_once("->").map(|(name, below)| (name.trim(), below.split_whitespace().collect()))
    };
    table.lines().filter_map(row).collect()
}

/// A path from its parent on; `None` for the parent itself and for what is not inside it.
fn child<'a>(path: &'a str, parent: &str) -> Option<&'a str> {
    let rest = if parent.is_empty() { path } else { path.strip_prefix(parent)?.strip_prefix("::")? };
    (!rest.is_empty()).then_some(rest)
}

/// A path as the tables name it: without our crate, or with that of a crate which is a layer.
fn layer(path: &str) -> &str {
    match path.strip_prefix("lumenfall_") {
        Some(split) if !within(split, "core") => split,
        _ => path.split_once("::").map_or("", |(_, rest)| rest),
    }
}
