//! The file in which a provider tells what it billed: which columns say what. Columns are found by name, whatever their
//! order and whatever stands beside them.

/// The columns of a provider's file, by the names that are tried in turn.
#[derive(Debug)]
pub struct Invoice {
    /// When.
    pub time: &'static [&'static str],
    /// How much.
    pub amount: &'static [&'static str],
    /// For which model or endpoint.
    pub what: &'static [&'static str],
    /// For which call, by the provider's id.
    pub id: &'static [&'static str],
    /// Millionths of a dollar in one unit of the amount.
    pub unit: i64,
    /// Whether a line is the sum of a day (UTC) and not one call.
    pub daily: bool,
}

/// The unit of amounts that are dollars.
pub const DOLLAR: i64 = 1_000_000;
