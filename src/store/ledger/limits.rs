//! What an account and a key may spend, and what they have. Pure: the rows are locked and written back by `posting.rs`,
//! and here it is decided.

use super::record::Record;
use crate::base::{Timestamp, Usd};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// How an account pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Billing {
    /// From credits that were paid in.
    Prepaid,
    /// Afterwards, up to a limit where there is one.
    #[default]
    Postpaid,
}

impl Billing {
    /// As the database and the API spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prepaid => "prepaid",
            Self::Postpaid => "postpaid",
        }
    }
}

/// An account and its money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name in rows and calls.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// How it pays.
    pub billing: Billing,
    /// Paid in, less what was spent. Below zero for a postpaid account that has spent.
    pub balance: Usd,
    /// Held for requests that run.
    pub reserved: Usd,
    /// How far below zero a postpaid account may go; without end when absent.
    pub credit_limit: Option<Usd>,
    /// The balance right after the latest credit: what "80 % used" is measured from.
    pub topped_up: Usd,
    /// Who is told when a limit is nearly or wholly used.
    pub webhook_url: Option<String>,
}

/// What bounds a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// At most so much in all.
    pub budget: Option<Usd>,
    /// And in a day (UTC).
    pub budget_daily: Option<Usd>,
    /// And in a month (UTC).
    pub budget_monthly: Option<Usd>,
    /// Over a budget we tell and do not refuse.
    pub budget_soft: bool,
    /// Requests begun in a minute.
    pub rate_limit_rpm: Option<i64>,
    /// Requests at once.
    pub max_concurrent: Option<i64>,
}

/// What a key has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Held for requests that run.
    pub reserved: Usd,
    /// Requests that run.
    pub running: i64,
    /// Spent in all.
    pub spent: Usd,
    /// The day of `spent_day`, counted from 1970.
    pub day: i64,
    /// Spent on that day.
    pub spent_day: Usd,
    /// The month of `spent_month`, counted from 1970.
    pub month: i64,
    /// Spent in that month.
    pub spent_month: Usd,
    /// The minute of `begun`, counted from 1970.
    pub minute: i64,
    /// Requests begun in that minute.
    pub begun: i64,
}

/// Why a request may not begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// The account's balance does not cover the estimate.
    Balance,
    /// A budget of the key does not cover the estimate: which.
    Budget(&'static str),
    /// The key has begun as many requests in this minute as it may.
    Rate {
        /// How many.
        limit: i64,
        /// Until the next minute.
        wait: Duration,
    },
    /// As many of the key's requests run as may.
    Concurrency(i64),
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Balance => f.write_str("Insufficient balance"),
            Self::Budget(which) => write!(f, "The key's {which} budget does not cover this request."),
            Self::Rate { limit, .. } => write!(f, "This key may begin {limit} requests a minute."),
            Self::Concurrency(limit) => write!(f, "This key may run {limit} requests at once."),
        }
    }
}

/// A limit of which 80 % or all is used now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LimitEvent {
    /// Whose.
    pub account_id: String,
    /// Which key's; absent for the account's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// `balance`, `credit_limit`, `total`, `daily` or `monthly`.
    pub limit: &'static str,
    /// 80 or 100.
    pub percent: i64,
    /// Used now.
    pub used: Usd,
    /// Of this.
    pub of: Usd,
}

impl Account {
    /// What a request may still hold; `None` without end.
    pub fn available(&self) -> Option<Usd> {
        let own = self.balance + minus(self.reserved);
        match (self.billing, self.credit_limit) {
            (Billing::Prepaid, _) => Some(own),
            (Billing::Postpaid, None) => None,
            (Billing::Postpaid, Some(limit)) => Some(own + limit),
        }
    }

    /// Whether a request of that estimate may begin. One without an estimate may while anything is left.
    pub(crate) fn admits(&self, estimate: Option<Usd>) -> Result<(), Denial> {
        let covered = match (self.available(), estimate) {
            (None, _) => true,
            // What costs nothing needs nothing.
            (Some(_), Some(Usd::ZERO)) => true,
            (Some(left), Some(estimate)) => left >= estimate,
            (Some(left), None) => left > Usd::ZERO,
        };
        if covered { Ok(()) } else { Err(Denial::Balance) }
    }

    /// Takes in what a row changed; tells which limits that crossed.
    pub(crate) fn shift(&mut self, change: Change) -> Vec<LimitEvent> {
        let spent = |account: &Self| match (account.billing, account.credit_limit) {
            (Billing::Prepaid, _) => Some(("balance", account.topped_up + minus(account.balance), account.topped_up)),
            (Billing::Postpaid, Some(limit)) => Some(("credit_limit", minus(account.balance), limit)),
            (Billing::Postpaid, None) => None,
        };
        let before = spent(self);
        self.balance += minus(change.cost);
        self.reserved = floor(self.reserved + change.reserved);
        let (Some((limit, was, of)), Some((_, used, _))) = (before, spent(self)) else { return Vec::new() };
        let tell = |percent| LimitEvent { account_id: self.id.clone(), key_id: None, limit, percent, used, of };
        crossed(was, used, of).map(tell).collect()
    }
}

impl Used {
    /// Whether a request of that estimate may begin at that moment; counts it if so.
    pub(crate) fn admit(&mut self, limits: &Limits, estimate: Option<Usd>, at: Timestamp) -> Result<(), Denial> {
        self.turn(at);
        if let Some(limit) = limits.rate_limit_rpm.filter(|limit| self.begun >= *limit) {
            let left = 60_000 - at.millis().rem_euclid(60_000);
            return Err(Denial::Rate { limit, wait: Duration::from_millis(u64::try_from(left).unwrap_or(60_000)) });
        }
        if let Some(limit) = limits.max_concurrent.filter(|limit| self.running >= *limit) {
            return Err(Denial::Concurrency(limit));
        }
        if !limits.budget_soft && estimate != Some(Usd::ZERO) {
            for (which, budget, spent) in self.budgets(limits) {
                let left = budget + minus(spent + self.reserved);
                if estimate.map_or(left <= Usd::ZERO, |estimate| left < estimate) {
                    return Err(Denial::Budget(which));
                }
            }
        }
        self.begun += 1;
        Ok(())
    }

    /// Takes in what a row changed; tells which budgets that crossed.
    pub(crate) fn shift(&mut self, limits: &Limits, change: Change, row: &Record) -> Vec<LimitEvent> {
        self.turn(row.created_at);
        let before = self.budgets(limits);
        self.reserved = floor(self.reserved + change.reserved);
        self.running = (self.running + change.running).max(0);
        self.spent += change.cost;
        // A late row of yesterday is none of today's.
        if self.day == row.created_at.day() {
            self.spent_day += change.cost;
        }
        if self.month == row.created_at.month() {
            self.spent_month += change.cost;
        }
        let mut events = Vec::new();
        for ((limit, of, was), (_, _, used)) in before.into_iter().zip(self.budgets(limits)) {
            events.extend(crossed(was, used, of).map(|percent| LimitEvent {
                account_id: row.account_id.clone(),
                key_id: Some(row.key_id.clone()),
                limit,
                percent,
                used,
                of,
            }));
        }
        events
    }

    /// Starts a new minute, day or month when that moment lies in one.
    fn turn(&mut self, at: Timestamp) {
        if at.minute() > self.minute {
            (self.minute, self.begun) = (at.minute(), 0);
        }
        if at.day() > self.day {
            (self.day, self.spent_day) = (at.day(), Usd::ZERO);
        }
        if at.month() > self.month {
            (self.month, self.spent_month) = (at.month(), Usd::ZERO);
        }
    }

    /// The budgets that there are: name, amount, spent.
    fn budgets(&self, limits: &Limits) -> Vec<(&'static str, Usd, Usd)> {
        let all = [
            ("total", limits.budget, self.spent),
            ("daily", limits.budget_daily, self.spent_day),
            ("monthly", limits.budget_monthly, self.spent_month),
        ];
        all.into_iter().filter_map(|(name, budget, spent)| Some((name, budget?, spent))).collect()
    }
}

/// What one row's change does to its account and its key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// Spent more.
    pub(crate) cost: Usd,
    /// Held more.
    pub(crate) reserved: Usd,
    /// More requests running.
    pub(crate) running: i64,
}

fn minus(amount: Usd) -> Usd {
    Usd::from_micros(amount.micros().saturating_neg())
}

fn floor(amount: Usd) -> Usd {
    amount.max(Usd::ZERO)
}

/// The marks, 80 and 100 percent of `of`, that lie between what was used and what is.
fn crossed(was: Usd, used: Usd, of: Usd) -> impl Iterator<Item = i64> {
    let reaches = move |amount: Usd, percent: i64| {
        i128::from(amount.micros()) * 100 >= i128::from(of.micros()) * i128::from(percent)
    };
    [80, 100].into_iter().filter(move |percent| of > Usd::ZERO && !reaches(was, *percent) && reaches(used, *percent))
}
