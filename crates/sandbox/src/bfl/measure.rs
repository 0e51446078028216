//! Numbers as BFL writes them: credits, megapixels.

use crate::base::Usd;
use rust_decimal::Decimal;
use serde_json::{Value, json};

/// Hundredths of a dollar: `3`, `4.8`. `null` for what has no price.
pub(super) fn credits(cost: Usd) -> Value {
    if cost == Usd::ZERO { Value::Null } else { number(Decimal::new(cost.micros(), 4)) }
}

/// Millions of pixels, to two places: `1.05`.
pub(super) fn megapixels(pixels: u64) -> Value {
    number((Decimal::from(pixels) / Decimal::from(1_000_000)).round_dp(2))
}

fn number(value: Decimal) -> Value {
    serde_json::from_str(&value.normalize().to_string()).unwrap_or_else(|_| json!(0))
}
