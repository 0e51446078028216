//! What was changed or dropped of a request on the way, as answers report it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Something that the caller asked for and did not get exactly so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Adjustment {
    /// The parameter, by its public name.
    pub param: String,
    /// What was asked for.
    pub requested: Value,
    /// What it became; `null` when it was dropped.
    pub used: Value,
    /// Why, for people.
    pub reason: String,
}

impl Adjustment {
    /// What a conversion of ours lost.
    pub fn of_conversion(note: &str) -> Self {
        let param = "output_format".to_owned();
        Self { param, requested: Value::Null, used: Value::Null, reason: note.to_owned() }
    }
}
