//! Which routes a request takes: the operator's rules, the caller's preferences, and what is known of every route and
//! credential right now.

mod choose;
mod health;
mod operator;
mod queue;
mod rules;
mod settings;
mod switchboard;

pub use choose::{Preferences, Sort};
pub use health::Standing;
pub use operator::Operator;
pub use rules::{Rule, Rules};
pub use settings::Settings;
pub use switchboard::{Report, Switchboard};

pub(super) use choose::{Choice, Excluded, View};
#[cfg(test)]
pub(super) use rules::{Others, Share};
pub(super) use switchboard::Pick;
