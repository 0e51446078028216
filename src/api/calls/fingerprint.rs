//! A hash of a call's body, by which a repeated idempotency key is known to ask for the same.

use crate::api::body::InputSource;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// A hash over path, fields and files. Each part is preceded by its length, so that parts cannot run into each other; an
/// object's members count in any order.
#[derive(Debug)]
pub(super) struct Fingerprint(Sha256);

impl Fingerprint {
    /// Of a call. Both prefixes of the compatible paths mean the same.
    pub(super) fn of_call(path: &str, fields: &Map<String, Value>, inputs: &[(String, InputSource)]) -> String {
        let mut fingerprint = Self(Sha256::new());
        fingerprint.add(path.strip_prefix("/openai").unwrap_or(path).as_bytes());
        fingerprint.object(fields);
        fingerprint.inputs(inputs);
        hex::encode(fingerprint.0.finalize())
    }

    fn object(&mut self, fields: &Map<String, Value>) {
        let mut members: Vec<(&String, &Value)> = fields.iter().collect();
        members.sort_by_key(|(name, _)| *name);
        self.add(format!("{{{}", members.len()).as_bytes());
        for (name, value) in members {
            self.add(name.as_bytes());
            self.value(value);
        }
    }

    fn inputs(&mut self, inputs: &[(String, InputSource)]) {
        for (name, source) in inputs {
            self.add(name.as_bytes());
            match source {
                InputSource::File(bytes) => self.add(bytes),
                InputSource::Text(text) => self.add(text.as_bytes()),
            }
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Object(fields) => self.object(fields),
            Value::Array(items) => {
                self.add(format!("[{}", items.len()).as_bytes());
                for item in items {
                    self.value(item);
                }
            }
            plain => self.add(plain.to_string().as_bytes()),
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn print(path: &str, body: &Value) -> String {
        Fingerprint::of_call(path, body.as_object().unwrap(), &[])
    }

    #[test]
    fn the_same_request_has_the_same_fingerprint() {
        let one = print("/v1/images/generations", &json!({"model": "m", "n": 2, "o": {"a": 1, "b": [1, 2]}}));
        let same = print("/openai/v1/images/generations", &json!({"o": {"b": [1, 2], "a": 1}, "n": 2, "model": "m"}));
        assert_eq!(one, same);
        for other in [
            json!({"model": "m", "n": 3, "o": {"a": 1, "b": [1, 2]}}),
            json!({"model": "m", "n": "2", "o": {"a": 1, "b": [1, 2]}}),
            json!({"model": "m", "n": 2, "o": {"a": 1, "b": [12]}}),
            json!({"model": "m", "n": 2, "o": {"a": 1, "b": [[1], 2]}}),
            json!({"model": "m", "n": 2, "o": {"a": 1, "b": [1, 2]}, "user": "u"}),
        ] {
            assert_ne!(one, print("/v1/images/generations", &other), "{other}");
        }
        assert_ne!(print("/v1/images/edits", &json!({})), print("/v1/videos", &json!({})));
    }

    #[test]
    fn form_parts_do_not_run_into_each_other() {
        let print = |parts: &[(&str, &str)]| {
            let source = |text: &str| InputSource::Text(text.to_owned());
            let inputs: Vec<_> = parts.iter().map(|(name, text)| ((*name).to_owned(), source(text))).collect();
            Fingerprint::of_call("/", &Map::new(), &inputs)
        };
        assert_ne!(print(&[("a", "bc")]), print(&[("ab", "c")]));
        assert_ne!(print(&[("a", "b"), ("c", "d")]), print(&[("c", "d"), ("a", "b")]));
    }
}
