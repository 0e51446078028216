//! The glob patterns of the models that a key may use, compiled once.

use globset::{Glob, GlobSet, GlobSetBuilder};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Patterns such as `flux.*` or `fal/*`. No pattern at all allows every model.
#[derive(Debug, Clone, Default)]
pub struct AllowedModels(Option<Arc<Compiled>>);

#[derive(Debug)]
struct Compiled {
    patterns: Vec<String>,
    set: GlobSet,
}

impl AllowedModels {
    /// Compiles patterns. One that is not a glob matches nothing, but still makes the list a restriction.
    pub fn new(patterns: &[String]) -> Self {
        if patterns.is_empty() {
            return Self::default();
        }
        let mut builder = GlobSetBuilder::new();
        for glob in patterns.iter().filter_map(|pattern| Glob::new(pattern).ok()) {
            builder.add(glob);
        }
        // A set that cannot be built must not become "every model".
        let set = builder.build().unwrap_or_else(|_| GlobSet::empty());
        Self(Some(Arc::new(Compiled { patterns: patterns.to_vec(), set })))
    }

    /// Whether a text is a pattern.
    pub fn is_pattern(text: &str) -> bool {
        Glob::new(text).is_ok()
    }

    /// The patterns as they were written.
    pub fn patterns(&self) -> &[String] {
        self.0.as_ref().map_or(&[], |compiled| compiled.patterns.as_slice())
    }

    /// Whether a pattern matches one of the names that a model goes by: as asked for, canonical, `provider/model`.
    pub fn allow_any<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> bool {
        match &self.0 {
            None => true,
            Some(compiled) => names.into_iter().any(|name| compiled.set.is_match(name)),
        }
    }
}

impl PartialEq for AllowedModels {
    fn eq(&self, other: &Self) -> bool {
        self.patterns() == other.patterns()
    }
}

/// The compiled patterns of the keys seen lately. Keys are read from the database on every request; compiling their
/// patterns again each time would cost more than the look-up.
#[derive(Debug, Default)]
pub struct AllowedModelsCache(Mutex<HashMap<String, AllowedModels>>);

/// Keys whose patterns are remembered. Forgetting them costs one compilation each.
const MAX_CACHED_KEYS: usize = 10_000;

impl AllowedModelsCache {
    /// The patterns of a key, compiled. Changed patterns replace what was remembered.
    pub fn get(&self, key_id: &str, patterns: &[String]) -> AllowedModels {
        if patterns.is_empty() {
            return AllowedModels::default();
        }
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = cached.get(key_id).filter(|known| known.patterns() == patterns) {
            return known.clone();
        }
        if cached.len() >= MAX_CACHED_KEYS {
            cached.clear();
        }
        let compiled = AllowedModels::new(patterns);
        cached.insert(key_id.to_owned(), compiled.clone());
        compiled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn no_pattern_allows_everything_and_a_broken_one_nothing() {
        assert!(AllowedModels::default().allow_any(["anything"]));
        let allowed = AllowedModels::new(&patterns(&["flux.*", "fal/*"]));
        assert!(allowed.allow_any(["flux.2-max"]));
        assert!(allowed.allow_any(["gpt-image-2", "fal/gpt-image-2"]));
        assert!(!allowed.allow_any(["gpt-image-2", "openai/gpt-image-2"]));
        assert!(!AllowedModels::new(&patterns(&["[z"])).allow_any(["z", "[z"]));
        assert!(AllowedModels::new(&patterns(&["[z", "flux.*"])).allow_any(["flux.2-max"]));
    }

    #[test]
    fn the_cache_follows_a_key_whose_patterns_change() {
        let cache = AllowedModelsCache::default();
        assert!(!cache.get("k", &patterns(&["fal/*"])).allow_any(["openai/m"]));
        assert!(cache.get("k", &patterns(&["openai/*"])).allow_any(["openai/m"]));
        assert!(cache.get("k", &[]).allow_any(["anything"]));
    }
}
