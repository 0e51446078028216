//! What an operator says of a route or of a whole provider.

use serde::{Deserialize, Serialize};

/// What an operator says of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// It may be used.
    #[default]
    Active,
    /// New requests go elsewhere, unless they name its provider.
    Draining,
    /// It is not called at all.
    Disabled,
}

impl Operator {
    /// As the API and the database spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Disabled => "disabled",
        }
    }

    /// Reads what [`Operator::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Active, Self::Draining, Self::Disabled].into_iter().find(|one| one.as_str() == text)
    }

    /// A stored route and its state.
    pub fn read((route, state): &(String, String)) -> Option<(String, Self)> {
        Self::parse(state).map(|state| (route.clone(), state))
    }
}
