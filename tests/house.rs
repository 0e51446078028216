//! The rules of the house, kept by the machine: who may import whom, how long a file may be, what an adapter may not
//! do, which licences we link. Each rule and its reason is in `CONTRIBUTING.md`.

#![expect(clippy::expect_used, reason = "a house that cannot be read fails its test")]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Who may import whom, from the top floor down. An entry is the head of a path: `providers::call` allows that part of
/// `providers` only. Within a room everything may see everything. Cargo keeps the edges of `providers` and `sandbox`, which
/// are crates.
const FLOORS: &str = "
    main      -> app cli config telemetry
    cli       -> app config store catalog providers sandbox telemetry error base
    app       -> config api sandbox pipeline providers store catalog outbound job media fault error telemetry base
    config    -> api sandbox pipeline providers store outbound media telemetry error base
    api       -> pipeline store catalog job media error base
    sandbox   -> catalog job media base
    pipeline  -> providers outbound catalog store media job fault error base
    providers -> catalog job media fault base
    store     -> job error base
    catalog   -> job media base
    outbound  -> providers::auth providers::call fault error base
    fault     -> job::Usage base
    job       -> media base
    media     -> base
    error     -> catalog base
    telemetry -> base
    base      ->
";

/// Where the crates have their files.
const SOURCES: [&str; 4] = ["src", "crates/core/src", "crates/providers/src", "crates/sandbox/src"];

/// The table as (room, what it may see).
fn floors() -> Vec<(&'static str, Vec<&'static str>)> {
    let row = |line: &'static str| {
        line.split_once("->").map(|(room, below)| (room.trim(), below.split_whitespace().collect()))
    };
    FLOORS.lines().filter_map(row).collect()
}

#[test]
fn imports_point_down() {
    let breaches: Vec<String> = house().iter().flat_map(|file| climbs(&file.path, file.production())).collect();
    assert!(breaches.is_empty(), "imports that point up or sideways:\n{}", breaches.join("\n"));
}

#[test]
fn the_floors_know_every_room_and_have_no_cycle() {
    let floors = floors();
    let mut cleared: BTreeSet<&str> = BTreeSet::new();
    // From the ground up: a room is cleared once all it may see is cleared. A cycle never clears.
    for _ in &floors {
        let sound = |below: &[&str], cleared: &BTreeSet<&str>| below.iter().all(|path| cleared.contains(head(path)));
        let next: Vec<&str> =
            floors.iter().filter(|(_, below)| sound(below, &cleared)).map(|(room, _)| *room).collect();
        cleared.extend(next);
    }
    assert_eq!(cleared.len(), floors.len(), "the table has a cycle, a double or a hole; sound: {cleared:?}");
    for file in house() {
        let room = room(&file.path);
        assert!(room == "lib" || cleared.contains(room), "{} is a room without a floor", file.path);
    }
}

#[test]
fn a_planted_upward_import_is_caught() {
    let planted = |path: &str, source: &str| climbs(path, source).len();
    assert_eq!(planted("crates/core/src/media/size.rs", "use crate::api::state::ApiState;"), 1);
    assert_eq!(
        planted("crates/core/src/catalog/price.rs", "use crate::{base::Money, job, pipeline::{fit, plan::Plan}};"),
        2
    );
    assert_eq!(planted("src/outbound/client.rs", "fn f() { crate::providers::find() }"), 1);
    assert_eq!(
        planted("src/outbound/client.rs", "use crate::providers::{call::{Call, Leg as L}, auth::AuthScheme};"),
        0
    );
    assert_eq!(planted("src/outbound/client.rs", "use crate::providers::*;"), 1);
    assert_eq!(planted("src/store/keys.rs", "use super::super::pipeline::Plan;"), 1);
    assert_eq!(planted("src/store/keys.rs", "use super::sql; use super::pipeline;"), 0);
    assert_eq!(planted("crates/core/src/job.rs", "use super::catalog::Catalog;"), 1);
    assert_eq!(planted("src/main.rs", "lumenfall::store::connect();"), 1);
    assert_eq!(
        planted("crates/core/src/base/id.rs", "// crate::api\n/* crate::api */ const A: &str = \"crate::api::b\";"),
        0
    );
    assert_eq!(
        planted("crates/core/src/base/id.rs", "const A: char = '\"'; use crate::api::b; const B: char = '\"';"),
        1
    );
}

#[test]
fn every_file_says_what_it_is_for() {
    let is_silent = |file: &File| !file.test && !file.text.starts_with("//! ");
    let silent: Vec<String> = house().into_iter().filter(is_silent).map(|file| file.path).collect();
    assert!(silent.is_empty(), "files that do not start with a `//!` paragraph: {silent:#?}");
}

#[test]
fn files_stay_small() {
    let long: Vec<String> = house()
        .iter()
        .filter(|file| !file.test)
        .filter_map(|file| {
            let (lines, most) = (file.production().lines().count(), if file.is_door() { 150 } else { 400 });
            (lines > most).then(|| format!("{}: {lines} lines without its tests, {most} allowed", file.path))
        })
        .collect();
    assert!(long.is_empty(), "split what does two things:\n{}", long.join("\n"));
}

#[test]
fn files_are_named_for_what_they_hold() {
    let vague = ["utils", "util", "common", "types", "helpers", "helper", "manager", "service", "misc"];
    for file in house() {
        let named = file.path.trim_end_matches(".rs").split('/').any(|part| vague.contains(&part));
        assert!(!named, "{}: call it what it holds", file.path);
    }
}

#[test]
fn adapters_are_pure() {
    let foreign = ["async", "await", "tracing", "tokio", "reqwest", "SystemTime", "Instant"];
    for file in house().iter().filter(|file| room(&file.path) == "providers") {
        for at in lex(&file.text) {
            if let Token::Word(word) = at.token {
                assert!(!foreign.contains(&word), "{}:{}: `{word}` in a translator", file.path, at.line);
            }
        }
    }
}

#[test]
fn only_the_command_line_prints() {
    let printers = ["print", "println", "eprint", "eprintln"];
    for file in house().iter().filter(|file| room(&file.path) != "cli") {
        for pair in lex(file.production()).windows(2) {
            if let [At { token: Token::Word(word), line }, At { token: Token::Sign('!'), .. }] = pair {
                assert!(!printers.contains(word), "{}:{line}: `{word}!` outside src/cli", file.path);
            }
        }
    }
}

#[test]
fn log_messages_read_as_one_voice() {
    // A name in capitals (HTTP, SQLite) may open a message, a sentence may not.
    let is_sentence = |message: &str| {
        let mut capitals = message.chars().map(char::is_uppercase);
        (capitals.next() == Some(true) && capitals.next() != Some(true)) || message.ends_with('.')
    };
    let mut odd = Vec::new();
    for file in house() {
        let messages = log_messages(&lex(&file.text)).into_iter().filter(|(_, message)| is_sentence(message));
        odd.extend(messages.map(|(line, message)| format!("{}:{line}: {message:?}", file.path)));
    }
    assert!(odd.is_empty(), "log messages start lower case and have no final stop:\n{}", odd.join("\n"));
}

#[test]
fn log_messages_are_found_between_their_fields() {
    let source =
        r#"info!("Plain."); tracing::warn!(target: "t", cost = "X.", %id, "with {} fields", 1); debug!(a = 1);"#;
    let found: Vec<_> = log_messages(&lex(source)).into_iter().map(|(_, message)| message).collect();
    assert_eq!(found, ["Plain.", "with {} fields"]);
}

#[test]
fn every_setting_is_explained() {
    let text = fs::read_to_string(root().join("config/default.toml")).expect("config/default.toml");
    text.parse::<toml::Table>().expect("config/default.toml is TOML");
    let (mut above, mut open, mut silent) = ("", 0_i32, Vec::new());
    for line in text.lines().map(str::trim) {
        let opens_nothing = open == 0;
        if !line.starts_with('#') {
            let count = |sign| i32::try_from(line.matches(sign).count()).unwrap_or(0);
            open += count('[') - count(']');
            let is_key = !line.starts_with('[') && line.contains('=');
            if opens_nothing && is_key && !above.starts_with('#') {
                silent.push(line);
            }
        }
        above = line;
    }
    assert!(silent.is_empty(), "settings without a comment on the line above: {silent:#?}");
}

#[test]
fn both_databases_have_the_same_migrations() {
    let names = |folder: &str| -> BTreeSet<String> { entries(&root().join("migrations").join(folder)).collect() };
    assert_eq!(names("sqlite"), names("postgres"));
    assert!(!names("sqlite").is_empty(), "no migration at all");
}

#[test]
fn every_provider_is_complete() {
    let adapters: Vec<String> = entries(&root().join("crates/providers/src"))
        .filter_map(|name| name.strip_suffix(".rs").map(|stem| stem.replace('_', "-")))
        .filter(|id| {
            !["lib", "auth", "call", "card", "google", "invoice", "lists", "shapes", "tests"].contains(&id.as_str())
        })
        .collect();
    assert!(adapters.len() > 1, "no adapters found: {adapters:?}");
    let cases = ["generate", "rate_limited", "bad_key", "bad_request"];
    let missing: Vec<String> = adapters
        .iter()
        .flat_map(|id| {
            let fixtures = cases.iter().map(move |case| format!("tests/fixtures/{id}/{case}.json"));
            // The provider inside this process has nobody to talk to.
            let fixtures = fixtures.filter(move |_| id != "mock");
            std::iter::once(format!("config/catalog/{id}.toml")).chain(fixtures)
        })
        .filter(|path| !root().join(path).is_file())
        .collect();
    assert!(missing.is_empty(), "an adapter needs its catalog and its conversations; missing: {missing:#?}");
}

#[test]
fn nothing_of_a_workplace_leaks_in() {
    // In pieces, so that this file does not find itself.
    let leaks = [
        ["crates", ".io"].concat(),
        ["pypi", ".org"].concat(),
        ["python", "hosted"].concat(),
        ["npmjs", ".org"].concat(),
        ["proxy.golang", ".org"].concat(),
        ["/work", "/"].concat(),
    ];
    let mut found = Vec::new();
    for path in tracked() {
        let Ok(text) = fs::read_to_string(root().join(&path)) else { continue };
        for (index, line) in text.lines().enumerate() {
            found.extend(
                leaks
                    .iter()
                    .filter(|leak| line.contains(leak.as_str()))
                    .map(|leak| format!("{path}:{}: {leak}", index + 1)),
            );
        }
    }
    assert!(found.is_empty(), "hosts and paths that mean something on one machine only:\n{}", found.join("\n"));
}

#[test]
fn dependencies_obey_the_policy() {
    let text = fs::read_to_string(root().join("deny.toml")).expect("deny.toml");
    let policy = serde_json::to_value(text.parse::<toml::Table>().expect("deny.toml is TOML")).expect("JSON");
    let strings = |value: &Value, key: Option<&str>| -> BTreeSet<String> {
        let one = |item: &Value| key.map_or(item, |key| &item[key]).as_str().map(str::to_owned);
        value.as_array().into_iter().flatten().filter_map(one).collect()
    };
    let allowed = strings(&policy["licenses"]["allow"], None);
    let banned = strings(&policy["bans"]["deny"], Some("crate"));
    assert!(!allowed.is_empty() && !banned.is_empty(), "deny.toml has lost its lists");

    let (mut breaches, mut sources) = (Vec::new(), BTreeSet::new());
    for package in metadata()["packages"].as_array().expect("packages") {
        let (name, licence) =
            (package["name"].as_str().unwrap_or_default(), package["license"].as_str().unwrap_or_default());
        if banned.contains(name) {
            breaches.push(format!("{name} is banned"));
        }
        if !permits(licence, &allowed) {
            breaches.push(format!("{name} is under {licence:?}"));
        }
        sources.extend(package["source"].as_str().map(str::to_owned));
    }
    breaches.extend((sources.len() > 1).then(|| format!("more than one source: {sources:?}")));
    assert!(breaches.is_empty(), "against deny.toml:\n{}", breaches.join("\n"));
}

#[test]
fn licence_expressions_are_understood() {
    let allowed = ["MIT", "ISC"].map(str::to_owned).into();
    for (expression, verdict) in [
        ("MIT", true),
        ("GPL-3.0-only", false),
        ("GPL-3.0-only OR MIT", true),
        ("GPL-3.0-only/MIT", true),
        ("MIT AND GPL-3.0-only", false),
        ("(GPL-3.0-only OR MIT) AND ISC", true),
        ("Apache-2.0 WITH LLVM-exception OR MIT", true),
        ("MIT OR GPL-3.0-only AND ISC", true),
        ("", false),
    ] {
        assert_eq!(permits(expression, &allowed), verdict, "{expression}");
    }
}

// --- the house, as files -------------------------------------------------------------------------------------------

/// One source file.
struct File {
    path: String,
    text: String,
    /// Compiled for tests only.
    test: bool,
}

impl File {
    /// What ships: the text up to the test module, nothing of a file that is for tests only.
    fn production(&self) -> &str {
        let lines: Vec<&str> = self.text.split_inclusive('\n').collect();
        let is_test_module = |(index, line): (usize, &&str)| {
            let opens = |next: &&&str| !next.starts_with("#[");
            let module = lines[index + 1..]
                .iter()
                .find(opens)
                .is_some_and(|next| next.starts_with("mod ") && next.contains('{'));
            line.starts_with("#[cfg(test)]") && module
        };
        match lines.iter().enumerate().position(is_test_module) {
            _ if self.test => "",
            Some(end) => &self.text[..lines[..end].iter().map(|line| line.len()).sum()],
            None => &self.text,
        }
    }

    /// `mod.rs` is the door of a room.
    fn is_door(&self) -> bool {
        self.path.ends_with("/mod.rs")
    }
}

/// Every source file, sorted by path.
fn house() -> Vec<File> {
    let mut files = Vec::new();
    let mut folders = SOURCES.map(PathBuf::from).to_vec();
    while let Some(folder) = folders.pop() {
        for name in entries(&root().join(&folder)) {
            let path = folder.join(&name);
            if root().join(&path).is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(root().join(&path)).expect("a source file is text");
                files.push(File { path: path.to_string_lossy().into_owned(), text, test: false });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let only_for_tests: Vec<String> = files.iter().flat_map(test_files).collect();
    for file in &mut files {
        let module = file.path.trim_end_matches(".rs").trim_end_matches("/mod");
        file.test = only_for_tests.iter().any(|test| module == test || module.starts_with(&format!("{test}/")));
    }
    files
}

/// The modules (as paths without `.rs`) that a file declares with `#[cfg(test)] mod name;`.
fn test_files(file: &File) -> Vec<String> {
    let stem = file.path.trim_end_matches(".rs");
    let folder = match stem.rsplit_once('/') {
        Some((folder, "mod" | "lib" | "main")) => folder,
        _ => stem,
    };
    let mut lines = file.text.lines();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            let next = lines.by_ref().find(|next| !next.trim_start().starts_with("#["));
            let name = next.and_then(|next| next.trim().strip_prefix("mod ")?.strip_suffix(';'));
            found.extend(name.map(|name| format!("{folder}/{name}")));
        }
    }
    found
}

/// The room that a file belongs to: `src/api/wire/images.rs` is in `api`, `crates/core/src/job.rs` in `job`, and all of
/// `crates/sandbox` is one room.
fn room(path: &str) -> &str {
    match path.strip_prefix("crates/").map(head) {
        None | Some("core") => head(inside(path)).trim_end_matches(".rs"),
        Some(name) => name,
    }
}

/// The path below the `src` of its crate.
fn inside(path: &str) -> &str {
    path.split_once("src/").map_or(path, |(_, inside)| inside)
}

fn head(path: &str) -> &str {
    path.split(['/', ':']).next().unwrap_or(path)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The names in a folder.
fn entries(folder: &Path) -> impl Iterator<Item = String> {
    let listing = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display())).expect("a folder");
    listing.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned())
}

/// What git keeps or would keep; where there is no git, every file outside the folders that builds make.
fn tracked() -> Vec<String> {
    let listing = ["ls-files", "--cached", "--others", "--exclude-standard"];
    if let Ok(output) = Command::new("git").args(listing).current_dir(root()).output()
        && output.status.success()
    {
        let names = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect::<Vec<_>>();
        return names.into_iter().filter(|name| name != "Cargo.lock").collect();
    }
    let built = ["Cargo.lock", ".git", "target", "data", "node_modules", ".venv", "__pycache__"];
    let (mut files, mut folders) = (Vec::new(), vec![String::new()]);
    while let Some(folder) = folders.pop() {
        for name in entries(&root().join(&folder)).filter(|name| !built.contains(&name.as_str())) {
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            if root().join(&path).is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}

// --- paths ---------------------------------------------------------------------------------------------------------

/// The imports of a file that its floor does not allow.
fn climbs(path: &str, source: &str) -> Vec<String> {
    let own = room(path);
    if path.starts_with("crates/") && ["providers", "sandbox"].contains(&own) {
        return Vec::new();
    }
    let floors = floors();
    let Some((_, allowed)) = floors.iter().find(|(name, _)| *name == own) else { return Vec::new() };
    let is_room = |name: &str| floors.iter().any(|(known, _)| *known == name);
    let permitted = |path: &str| {
        allowed
            .iter()
            .any(|prefix| path == *prefix || path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with("::")))
    };
    house_paths(source, depth(path))
        .into_iter()
        .filter(|(_, path)| is_room(head(path)) && head(path) != own && !permitted(path))
        .map(|(line, target)| format!("{path}:{line}: {own} may not use {target}"))
        .collect()
}

/// How many `super`s lead from a file to the root of the crate.
fn depth(path: &str) -> usize {
    let inner = inside(path).trim_end_matches(".rs").trim_end_matches("/mod");
    if ["lib", "main"].contains(&inner) { 0 } else { inner.split('/').count() }
}

/// Every path of a source that starts at the root of our crate, with its line; braces are spelled out.
fn house_paths(source: &str, depth: usize) -> Vec<(usize, String)> {
    let tokens = lex(source);
    let (mut paths, mut index) = (Vec::new(), 0);
    while index < tokens.len() {
        let begin = index;
        index += 1;
        let rooted = match tokens[begin].token {
            Token::Word("crate" | "lumenfall" | "lumenfall_core") => Some(begin + 1),
            Token::Word("super") => {
                let mut climbed = 1;
                while is_colons(&tokens, index) && matches!(word(&tokens, index + 2), Some("super")) {
                    (climbed, index) = (climbed + 1, index + 3);
                }
                (climbed >= depth).then_some(index)
            }
            _ => None,
        };
        if let Some(next) = rooted.filter(|next| is_colons(&tokens, *next)) {
            let mut leaves = Vec::new();
            index = branch(&tokens, next + 2, &[], &mut leaves);
            paths.extend(leaves.into_iter().map(|leaf| (tokens[begin].line, leaf)));
        }
    }
    paths
}

/// Reads one branch of a path (`a::b`, `a::{b, c::d}`, `*`) and returns where it ends.
fn branch<'a>(tokens: &[At<'a>], mut index: usize, prefix: &[&'a str], leaves: &mut Vec<String>) -> usize {
    let mut path = prefix.to_vec();
    loop {
        match tokens.get(index).map(|at| at.token) {
            Some(Token::Word(name)) => {
                path.push(name);
                if !is_colons(tokens, index + 1) {
                    leaves.push(path.join("::"));
                    return index + 1;
                }
                index += 3;
            }
            Some(Token::Sign('{')) => {
                index += 1;
                while index < tokens.len() && !sign(tokens, index, "}") {
                    index = branch(tokens, index, &path, leaves);
                    // Past `as name` and the comma.
                    while index < tokens.len() && !sign(tokens, index, ",}") {
                        index += 1;
                    }
                    index += usize::from(sign(tokens, index, ","));
                }
                return index + 1;
            }
            _ => {
                leaves.push(path.join("::"));
                return index + 1;
            }
        }
    }
}

fn is_colons(tokens: &[At<'_>], index: usize) -> bool {
    sign(tokens, index, ":") && sign(tokens, index + 1, ":")
}

/// Whether a token is one of those signs.
fn sign(tokens: &[At<'_>], index: usize, signs: &str) -> bool {
    tokens.get(index).is_some_and(|at| matches!(at.token, Token::Sign(sign) if signs.contains(sign)))
}

fn word<'a>(tokens: &[At<'a>], index: usize) -> Option<&'a str> {
    tokens.get(index).and_then(|at| if let Token::Word(word) = at.token { Some(word) } else { None })
}

/// The messages of tracing's macros: the string that is an argument by itself, neither a field's value nor
/// `"a field" = value`.
fn log_messages<'a>(tokens: &[At<'a>]) -> Vec<(usize, &'a str)> {
    let levels = ["trace", "debug", "info", "warn", "error", "event"];
    let mut messages = Vec::new();
    for start in 0..tokens.len() {
        let called = sign(tokens, start + 1, "!") && sign(tokens, start + 2, "(");
        if !called || !word(tokens, start).is_some_and(|name| levels.contains(&name)) {
            continue;
        }
        let (mut level, mut argument_begins) = (1, true);
        for (index, at) in tokens.iter().enumerate().skip(start + 3) {
            match at.token {
                Token::Text(text) if level == 1 && argument_begins && !sign(tokens, index + 1, "=") => {
                    messages.push((at.line, text));
                    break;
                }
                Token::Sign('(' | '[' | '{') => level += 1,
                Token::Sign(')' | ']' | '}') => level -= 1,
                _ => {}
            }
            if level == 0 {
                break;
            }
            argument_begins = level == 1 && matches!(at.token, Token::Sign(','));
        }
    }
    messages
}

// --- words ---------------------------------------------------------------------------------------------------------

/// As much of a Rust token as the rules need. Comments and the insides of strings are not words.
#[derive(Clone, Copy)]
enum Token<'a> {
    Word(&'a str),
    Text(&'a str),
    Sign(char),
}

struct At<'a> {
    line: usize,
    token: Token<'a>,
}

fn lex(source: &str) -> Vec<At<'_>> {
    let (mut tokens, mut rest, mut line) = (Vec::new(), source, 1);
    while let Some(first) = rest.chars().next() {
        let (length, token) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), None)
        } else if rest.starts_with("/*") {
            (block_comment(rest), None)
        } else if let Some((length, text)) = string(rest) {
            (length, Some(Token::Text(text)))
        } else if first == '\'' {
            (quote(rest), None)
        } else if first.is_alphanumeric() || first == '_' {
            let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            (length, Some(Token::Word(&rest[..length])))
        } else {
            (first.len_utf8(), (!first.is_whitespace()).then_some(Token::Sign(first)))
        };
        tokens.extend(token.map(|token| At { line, token }));
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    tokens
}

/// The length of a comment, which may hold others.
fn block_comment(rest: &str) -> usize {
    let (mut at, mut open) = (2, 1);
    while open > 0 && at < rest.len() {
        let step = match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => 1,
            [b'*', b'/', ..] => -1,
            _ => 0,
        };
        open += step;
        at += if step == 0 { 1 } else { 2 };
    }
    at
}

/// A string literal at the start: its length and what is between its quotes.
fn string(rest: &str) -> Option<(usize, &str)> {
    let marked = rest.trim_start_matches(['b', 'c']);
    let (raw, body) = marked.strip_prefix('r').map_or((false, marked), |body| (true, body));
    let hashes = if raw { body.len() - body.trim_start_matches('#').len() } else { 0 };
    let inside = body[hashes..].strip_prefix('"')?;
    let prefix = rest.len() - inside.len();
    if prefix > 3 + hashes {
        return None;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    let end = if raw {
        inside.find(&close)?
    } else {
        let mut escaped = false;
        inside.bytes().position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        })?
    };
    Some((prefix + end + close.len(), &inside[..end]))
}

/// The length of a character literal, or of the mark of a lifetime.
fn quote(rest: &str) -> usize {
    let mut inside = rest[1..].char_indices();
    match inside.next() {
        Some((_, '\\')) => rest[3..].find('\'').map_or(1, |end| end + 4),
        Some(_) => inside.next().filter(|(_, c)| *c == '\'').map_or(1, |(at, _)| at + 2),
        None => 1,
    }
}

// --- licences ------------------------------------------------------------------------------------------------------

/// Everything that may be linked, on every platform and with every feature; what this machine builds, when there is no
/// network to ask about the rest.
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

/// Whether an SPDX expression can be met with the allowed licences. `OR` binds least, `/` is its old spelling.
fn permits(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let expression = expression.replace('/', " OR ");
    let mut inner: BTreeMap<String, bool> = allowed.iter().map(|licence| (licence.clone(), true)).collect();
    let mut flat = expression;
    // From the innermost brackets outwards, each replaced by its verdict.
    while let Some(close) = flat.find(')') {
        let Some(open) = flat[..close].rfind('(') else { return false };
        let name = format!("#{}", inner.len());
        inner.insert(name.clone(), any_of(&flat[open + 1..close], &inner));
        flat.replace_range(open..=close, &name);
    }
    any_of(&flat, &inner)
}

fn any_of(expression: &str, known: &BTreeMap<String, bool>) -> bool {
    let all_of = |part: &str| part.split(" AND ").all(|licence| known.get(licence.trim()).copied().unwrap_or(false));
    expression.split(" OR ").any(all_of)
}
