//! Which routes a request takes: the operator's rules, the caller's preferences, and what is known of every route and
//! credential right now.

mod choose;
mod health;
mod queue;
mod rules;
mod switchboard;

pub use choose::{Preferences, Sort};
pub use health::Standing;
pub use rules::{Rule, Rules};
pub use switchboard::{Operator, Report, Switchboard};

pub(super) use choose::{Choice, Excluded, View};
pub(super) use health::Thresholds;
pub(super) use rules::read_rules;
pub(super) use switchboard::Pick;

#[cfg(test)]
mod tests;
