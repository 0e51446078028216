//! The production code as a tree of modules: which file uses which path.

use std::collections::{BTreeMap, BTreeSet};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree, Visibility};

/// The production files of all crates by their modules' paths (`lumenfall::media::size`), and the paths that they use,
/// followed to where a thing is defined.
#[derive(Default)]
pub(crate) struct Tree {
    pub(crate) files: BTreeSet<String>,
    pub(crate) uses: Vec<(String, String)>,
    /// What a module imports or gives out, by the path of the name.
    names: BTreeMap<String, String>,
    /// Modules that are compiled for tests only.
    pub(crate) tests: Vec<String>,
    /// The module that is being read.
    here: String,
}

impl Tree {
    pub(crate) fn new(sources: Vec<(String, String)>) -> Self {
        let mut tree = Self { files: sources.iter().map(|(path, _)| module(path)).collect(), ..Self::default() };
        for (path, text) in sources {
            tree.here = module(&path);
            tree.visit_file(&syn::parse_file(&text).expect(&path));
        }
        let Self { files, uses, tests, .. } = &mut tree;
        let is_tested = |path: &str| tests.iter().any(|test| within(path, test));
        files.retain(|file| !is_tested(file));
        uses.retain(|(file, _)| !is_tested(file));
        let uses = std::mem::take(uses).into_iter().map(|(file, path)| (file, tree.follow(path)));
        tree.uses = uses.filter(|(file, path)| tree.file_of(path) != Some(file)).collect();
        tree
    }

    /// The file in which a path ends.
    pub(crate) fn file_of(&self, path: &str) -> Option<&str> {
        let mut path = path;
        loop {
            match self.files.get(path) {
                Some(file) => return Some(file),
                None => path = path.rsplit_once("::")?.0,
            }
        }
    }

    /// Replaces names that a module only gives out by the paths that they stand for.
    fn follow(&self, mut path: String) -> String {
        for _ in 0..8 {
            let mut ends = path.match_indices("::").map(|(end, _)| end).chain([path.len()]);
            let given = ends.find_map(|end| Some((end, self.names.get(&path[..end])?)));
            let Some((end, target)) = given else { break };
            path = format!("{target}{}", &path[end..]);
        }
        path
    }

    /// A path from the root of its crate on; `None` when that crate is not ours.
    fn absolute(&self, path: &[String]) -> Option<String> {
        let (mut base, mut rest) = (self.here.as_str(), path);
        while let Some((first, after)) = rest.split_first() {
            match first.as_str() {
                "crate" => base = base.split("::").next()?,
                "super" => base = base.rsplit_once("::")?.0,
                "self" => {}
                _ => break,
            }
            rest = after;
        }
        let first = rest.first()?;
        let own = rest.len() < path.len() || self.files.contains(&format!("{base}::{first}"));
        let parts = if own { [&[base.to_owned()], rest].concat() } else { rest.to_vec() };
        (own || self.files.contains(first)).then(|| parts.join("::"))
    }

    fn import(&mut self, tree: &UseTree, before: &[String], is_public: bool) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        let (name, path) = match tree {
            UseTree::Path(inner) => return self.import(&inner.tree, &with(&inner.ident), is_public),
            UseTree::Group(group) => return group.items.iter().for_each(|item| self.import(item, before, is_public)),
            UseTree::Glob(_) => (None, before.to_vec()),
            UseTree::Name(name) if name.ident == "self" => (before.last().cloned(), before.to_vec()),
            UseTree::Name(name) => (Some(name.ident.to_string()), with(&name.ident)),
            UseTree::Rename(name) => (Some(name.rename.to_string()), with(&name.ident)),
        };
        let Some(path) = self.absolute(&path) else { return };
        if let Some(name) = name.map(|name| format!("{}::{name}", self.here)).filter(|name| *name != path) {
            self.names.insert(name, path.clone());
        }
        if !is_public {
            self.uses.push((self.here.clone(), path));
        }
    }
}

impl Visit<'_> for Tree {
    fn visit_item(&mut self, item: &Item) {
        let attributes = match item {
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            _ => &Vec::new(),
        };
        let for_tests = |attribute: &Attribute| {
            attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|flag| flag == "test")
        };
        match item {
            Item::Mod(item) if attributes.iter().any(for_tests) => {
                self.tests.push(format!("{}::{}", self.here, item.ident));
            }
            _ if attributes.iter().any(for_tests) => {}
            Item::Mod(item) if item.content.is_some() => {
                let outer = self.here.clone();
                self.here = format!("{outer}::{}", item.ident);
                visit::visit_item_mod(self, item);
                self.here = outer;
            }
            // Giving a child's name out is no use of the child.
            Item::Use(item) => self.import(&item.tree, &[], !matches!(item.vis, Visibility::Inherited)),
            _ => visit::visit_item(self, item),
        }
    }

    fn visit_path(&mut self, path: &syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.uses.extend(self.absolute(&names).map(|path| (self.here.clone(), path)));
        visit::visit_path(self, path);
    }

    /// What a macro is given is not parsed: paths are found by their looks.
    fn visit_macro(&mut self, call: &syn::Macro) {
        let text = call.tokens.to_string().replace(" :: ", "::").replace(":: ", "::").replace(" ::", "::");
        for word in text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':') {
            if word.starts_with("crate::") || word.starts_with("super::") {
                let names: Vec<String> = word.split("::").map(str::to_owned).collect();
                self.uses.extend(self.absolute(&names).map(|path| (self.here.clone(), path)));
            }
        }
    }
}

/// The path of a file's module: `lumenfall::api::wire` for `src/api/wire/mod.rs`.
pub(crate) fn module(path: &str) -> String {
    let (package, inner) = path.split_once("src/").expect("sources lie in src");
    let package = package.trim_start_matches("crates/").trim_end_matches('/').replace('-', "_");
    let krate = if package.is_empty() { "lumenfall".to_owned() } else { format!("lumenfall_{package}") };
    let inner = inner.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
    if ["lib", "mod"].contains(&inner.as_str()) { krate } else { format!("{krate}::{inner}") }
}

/// Whether a path is another or lies inside it.
pub(crate) fn within(path: &str, other: &str) -> bool {
    path.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}
