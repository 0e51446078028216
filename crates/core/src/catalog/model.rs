//! A canonical model: the name that callers use, whoever serves it.

use crate::job::Modality;
use serde::{Deserialize, Serialize};

/// One row `[[model]]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The name, lower case.
    pub id: String,
    /// For people.
    pub name: String,
    /// Who made it.
    pub maker: String,
    /// One or two sentences in our words.
    #[serde(default)]
    pub description: String,
    /// What it makes.
    #[serde(default)]
    pub modality: Modality,
    /// Other names it answers to.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Words to find it by.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The day it came out, `YYYY-MM-DD`.
    #[serde(default)]
    pub released: Option<String>,
    /// Where it is in its life.
    #[serde(default)]
    pub status: Lifecycle,
    /// The day after which it is retired, `YYYY-MM-DD`.
    #[serde(default)]
    pub retires: Option<String>,
    /// What to use instead.
    #[serde(default)]
    pub successor: Option<String>,
    /// Whether listings show it first.
    #[serde(default)]
    pub featured: bool,
}

/// Where a model is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lifecycle {
    /// In use.
    #[default]
    Active,
    /// Offered before it is finished.
    Preview,
    /// Its end is announced.
    Deprecated,
    /// It has ended.
    Retired,
    /// Switched off by the operator.
    Disabled,
}

impl Model {
    /// A model that only an operator's own deployment knows.
    pub fn unknown(id: &str, deployment: &str) -> Self {
        Self {
            id: id.to_owned(),
            name: id.to_owned(),
            maker: deployment.to_owned(),
            description: String::new(),
            modality: Modality::Image,
            aliases: Vec::new(),
            tags: Vec::new(),
            released: None,
            status: Lifecycle::Active,
            retires: None,
            successor: None,
            featured: false,
        }
    }

    /// Its state on `today` (`YYYY-MM-DD`): the day after `retires` it is retired, whatever the row says.
    pub fn status_on(&self, today: &str) -> Lifecycle {
        if self.retires.as_deref().is_some_and(|last| last < today) { Lifecycle::Retired } else { self.status }
    }
}
