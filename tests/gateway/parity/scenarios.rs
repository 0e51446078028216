//! The table: what is asked, what the providers answer, and what has to come of it, whichever way it is asked.

mod calls;
mod pictures;

use super::upstream::Script;
use crate::kit::{file, mime};
use serde_json::{Value, json};

/// One row of the table.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    /// Settings besides the usual ones.
    pub(super) settings: &'static [(&'static str, &'static str)],
    /// The keys for the first provider.
    pub(super) keys: &'static str,
    /// What the providers answer.
    pub(super) upstream: Vec<Script>,
    /// What is asked each time.
    pub(super) ask: Ask,
    /// When it is asked.
    pub(super) steps: Vec<Step>,
    /// Whether retained payloads are looked at.
    pub(super) payloads: bool,
    /// Whether what follows has to come true; otherwise the ways only have to agree.
    pub(super) pinned: bool,
    /// What becomes of each request. Those of one step are in the order of their texts.
    pub(super) ends: Vec<Vec<&'static str>>,
    /// Every creating call, sorted.
    pub(super) calls: Vec<&'static str>,
}

/// A request.
pub(super) struct Ask {
    pub(super) path: &'static str,
    pub(super) body: Value,
}

/// Requests that are sent at the same time.
pub(super) struct Step {
    pub(super) after_ms: u64,
    pub(super) requests: usize,
}

const ONE: Step = Step { after_ms: 0, requests: 1 };
const FIRST: &str = "openrouter k1";
const SECOND: &str = "together k1";

/// One request for one picture, with nothing in its way.
fn plain(name: &'static str) -> Scenario {
    Scenario {
        name,
        settings: &[],
        keys: "k1",
        upstream: Vec::new(),
        ask: generation(json!({})),
        steps: vec![ONE],
        payloads: false,
        pinned: true,
        ends: vec![vec![
            "completed cost=0.04 price_table",
            "openrouter/parity n=1 completed cost=0.04 price_table",
            "pictures 1 png:64x64",
        ]],
        calls: vec!["openrouter k1 n=1"],
    }
}

fn generation(more: Value) -> Ask {
    Ask { path: "/v1/images/generations", body: with(more) }
}

fn edit(image: &str, more: Value) -> Ask {
    let mut body = with(more);
    body["image"] = uri(image);
    Ask { path: "/v1/images/edits", body }
}

fn with(more: Value) -> Value {
    let mut body = json!({"model": "parity", "prompt": "a fox", "response_format": "url"});
    let Value::Object(more) = more else { panic!("parameters have names") };
    body.as_object_mut().unwrap().extend(more);
    body
}

fn uri(spec: &str) -> Value {
    json!(format!("data:{};base64,{}", mime(spec), base64_simd::STANDARD.encode_to_string(file(spec))))
}

/// Only the first provider.
fn forced() -> Ask {
    generation(json!({"model": "openrouter/parity"}))
}

pub(super) fn all() -> Vec<Scenario> {
    calls::all().into_iter().chain(pictures::all()).collect()
}
