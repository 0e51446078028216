//! Several keys for one provider: `api_keys = ["one", { key = "two", weight = 3 }]`, and the same as JSON in the
//! environment, or plain keys separated by commas there.

use super::Provider;
use crate::base::Secret;
use serde::{Deserialize, Deserializer};

/// A key and its share of the calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightedKey {
    /// The key.
    pub key: Secret,
    /// Its share; 0 makes it the last choice.
    pub weight: u32,
}

/// The keys of `api_keys`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys(pub Vec<WeightedKey>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Plain(Secret),
    Table(Table),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    key: Secret,
    #[serde(default = "one")]
    weight: u32,
}

const fn one() -> u32 {
    1
}

impl From<Entry> for WeightedKey {
    fn from(entry: Entry) -> Self {
        match entry {
            Entry::Plain(key) => Self { key, weight: 1 },
            Entry::Table(Table { key, weight }) => Self { key, weight },
        }
    }
}

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Given {
            Text(String),
            List(Vec<Entry>),
        }
        let entries = match Given::deserialize(from) {
            Ok(Given::List(entries)) => entries,
            Ok(Given::Text(text)) if text.trim_start().starts_with('[') => {
                serde_json::from_str(&text).map_err(unsaid)?
            }
            Ok(Given::Text(text)) => {
                let keys = text.split(',').map(str::trim).filter(|key| !key.is_empty());
                keys.map(|key| Entry::Plain(Secret::new(key))).collect()
            }
            Err(error) => return Err(unsaid(error)),
        };
        let keys: Vec<WeightedKey> = entries.into_iter().map(WeightedKey::from).collect();
        let blank = keys.iter().any(|one| one.key.is_empty());
        if blank { Err(unsaid("")) } else { Ok(Self(keys)) }
    }
}

/// The reader's own complaint could repeat a key.
fn unsaid<E: serde::de::Error>(_: impl std::fmt::Display) -> E {
    E::custom("api_keys should be a list of keys, or of tables with key and weight")
}

impl Provider {
    /// Whether there is a credential.
    pub fn has_key(&self) -> bool {
        !self.api_key.is_empty() || !self.api_keys.0.is_empty()
    }

    /// Every credential; without any, an empty one.
    pub fn credentials(&self) -> Vec<WeightedKey> {
        let first = !self.api_key.is_empty() || self.api_keys.0.is_empty();
        let first = first.then(|| WeightedKey { key: self.api_key.clone(), weight: 1 });
        first.into_iter().chain(self.api_keys.0.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Vec<(String, u32)>, String> {
        let keys: Keys = serde_json::from_str(json).map_err(|error| error.to_string())?;
        Ok(keys.0.into_iter().map(|one| (one.key.expose().to_owned(), one.weight)).collect())
    }

    #[test]
    fn keys_come_as_lists_tables_and_texts() {
        let both = vec![("a:b".to_owned(), 1), ("c".to_owned(), 3)];
        assert_eq!(read(r#"["a:b", {"key": "c", "weight": 3}]"#).unwrap(), both);
        assert_eq!(read(r#""[\"a:b\", {\"key\": \"c\", \"weight\": 3}]""#).unwrap(), both);
        assert_eq!(read(r#""a:b, c""#).unwrap(), [("a:b".to_owned(), 1), ("c".to_owned(), 1)]);
        assert!(read(r#""""#).unwrap().is_empty());
    }

    #[test]
    fn complaints_repeat_no_key() {
        for bad in
            [r#"[{"key": "hunter2", "wait": 3}]"#, r#"["hunter2", 7]"#, r#""[\"hunter2\"""#, r#"["hunter2", ""]"#]
        {
            let told = read(bad).unwrap_err();
            assert!(told.contains("list of keys") && !told.contains("hunter2"), "{told}");
        }
    }
}
