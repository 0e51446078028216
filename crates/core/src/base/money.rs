//! Money: whole millionths of a US dollar. Prices are exact decimals until the one rounding in [`Usd::from_dollars`].

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};

/// An amount in micro-USD (1 = $0.000001). Serialised as a JSON number of dollars (`0.04`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Usd(i64);

impl Usd {
    /// No money.
    pub const ZERO: Self = Self(0);

    /// From millionths of a dollar.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Millionths of a dollar, as the dry run and the databases show them.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// The one rounding: dollars to the nearest millionth, halves away from zero. `None` beyond what fits.
    pub fn from_dollars(dollars: Decimal) -> Option<Self> {
        let micros = dollars.checked_mul(Decimal::from(1_000_000))?;
        micros.round_dp_with_strategy(0, rust_decimal::RoundingStrategy::MidpointAwayFromZero).to_i64().map(Self)
    }

    /// Dollars as an exact decimal.
    pub fn dollars(self) -> Decimal {
        Decimal::new(self.0, 6)
    }

    /// Dollars as the JSON number that clients read. Exact to the millionth below nine billion dollars.
    #[expect(clippy::cast_precision_loss, reason = "a double holds every micro-dollar amount below 2^53")]
    pub fn as_number(self) -> f64 {
        self.0 as f64 / 1_000_000.0
    }
}

impl Add for Usd {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Usd {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Usd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

/// `$0.040000`
impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}${}.{:06}", self.0.unsigned_abs() / 1_000_000, self.0.unsigned_abs() % 1_000_000)
    }
}

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.as_number())
    }
}

/// Reads what [`Serialize`] wrote: stored attempts come back to the same millionth.
impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let dollars = <Decimal as Deserialize>::deserialize(deserializer)?;
        Self::from_dollars(dollars).ok_or_else(|| D::Error::custom("amount out of range"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rounds_once_half_away_from_zero() {
        assert_eq!(Usd::from_dollars("0.0000005".parse().unwrap()), Some(Usd::from_micros(1)));
        assert_eq!(Usd::from_dollars("0.00000049".parse().unwrap()), Some(Usd::ZERO));
        assert_eq!(Usd::from_dollars(Decimal::MAX), None);
        assert_eq!(Usd::from_micros(40_000).to_string(), "$0.040000");
    }

    proptest! {
        #[test]
        fn survives_json_to_the_millionth(micros in 0i64..9_000_000_000_000) {
            let text = serde_json::to_string(&Usd::from_micros(micros)).unwrap();
            prop_assert_eq!(serde_json::from_str::<Usd>(&text).unwrap(), Usd::from_micros(micros));
        }
    }
}
