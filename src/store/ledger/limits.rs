//! Balance and budget rules for accounts and keys. Pure; `balances.rs` locks and writes the rows.

use super::record::Record;
use crate::base::{Timestamp, Usd};
use crate::store::db::error::Denial;
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Billing {
    /// From credits.
    Prepaid,
    /// Afterwards, up to a credit limit where there is one.
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

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub id: String,
    pub name: String,
    pub created_at: Timestamp,
    pub billing: Billing,
    /// Credits less costs. Below zero for a postpaid account that has spent.
    pub balance: Usd,
    /// Held for running requests.
    pub reserved: Usd,
    /// How far below zero a postpaid account may go; no limit when absent.
    pub credit_limit: Option<Usd>,
    /// The balance right after the latest credit: what "80 % used" is measured from.
    pub last_topped_up_balance: Usd,
    /// Receives an event when 80 or 100 percent of a limit is used.
    pub webhook_url: Option<String>,
}

/// The limits of a key; absent ones do not apply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// In all.
    pub budget: Option<Usd>,
    /// Per day (UTC).
    pub budget_daily: Option<Usd>,
    /// Per month (UTC).
    pub budget_monthly: Option<Usd>,
    /// Whether a request over budget is only reported, not refused.
    pub budget_soft: bool,
    /// Requests per minute.
    pub rate_limit_rpm: Option<i64>,
    /// Requests at the same time.
    pub max_concurrent: Option<i64>,
}

/// The counters of a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyUsage {
    /// Held for running requests.
    pub reserved: Usd,
    /// Requests running.
    pub running: i64,
    /// In all.
    pub spent: Usd,
    /// The day of `spent_day`, counted from 1970.
    pub day: i64,
    pub spent_day: Usd,
    /// The month of `spent_month`, counted from 1970.
    pub month: i64,
    pub spent_month: Usd,
    /// The minute of `begun`, counted from 1970.
    pub minute: i64,
    /// Requests started in that minute.
    pub begun: i64,
}

/// 80 or 100 percent of a limit has just been reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LimitEvent {
    pub account_id: String,
    /// Absent for the account's own limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// `balance`, `credit_limit`, `total`, `daily` or `monthly`.
    pub limit: &'static str,
    /// 80 or 100.
    pub percent: i64,
    pub used: Usd,
    /// The limit.
    pub of: Usd,
}

impl Account {
    /// What can still be reserved; `None` when there is no limit.
    pub fn available(&self) -> Option<Usd> {
        let own = self.balance + minus(self.reserved);
        match (self.billing, self.credit_limit) {
            (Billing::Prepaid, _) => Some(own),
            (Billing::Postpaid, None) => None,
            (Billing::Postpaid, Some(limit)) => Some(own + limit),
        }
    }

    /// Whether a request of that estimate is admitted. One without an estimate is as long as anything is left.
    pub(crate) fn check(&self, estimate: Option<Usd>) -> Result<(), Denial> {
        let covered = match (self.available(), estimate) {
            (None, _) => true,
            // What costs nothing needs nothing.
            (Some(_), Some(Usd::ZERO)) => true,
            (Some(left), Some(estimate)) => left >= estimate,
            (Some(left), None) => left > Usd::ZERO,
        };
        if covered { Ok(()) } else { Err(Denial::Balance) }
    }

    /// Applies the change of a row, and returns the limits that it reached.
    pub(crate) fn apply_delta(&mut self, delta: BalanceDelta) -> Vec<LimitEvent> {
        let spent = |account: &Self| match (account.billing, account.credit_limit) {
            (Billing::Prepaid, _) => Some((
                "balance",
                account.last_topped_up_balance + minus(account.balance),
                account.last_topped_up_balance,
            )),
            (Billing::Postpaid, Some(limit)) => Some(("credit_limit", minus(account.balance), limit)),
            (Billing::Postpaid, None) => None,
        };
        let before = spent(self);
        self.balance += minus(delta.cost);
        self.reserved = floor(self.reserved + delta.reserved);
        let (Some((limit, was, of)), Some((_, used, _))) = (before, spent(self)) else { return Vec::new() };
        let event = |percent| LimitEvent { account_id: self.id.clone(), key_id: None, limit, percent, used, of };
        thresholds_reached(was, used, of).map(event).collect()
    }
}

impl KeyUsage {
    /// Counts a request of that estimate, or denies it.
    pub(crate) fn admit(&mut self, limits: &Limits, estimate: Option<Usd>, at: Timestamp) -> Result<(), Denial> {
        self.roll_windows(at);
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

    /// Applies the change of a row, and returns the budgets that it reached.
    pub(crate) fn apply_delta(&mut self, limits: &Limits, delta: BalanceDelta, row: &Record) -> Vec<LimitEvent> {
        self.roll_windows(row.created_at);
        let before = self.budgets(limits);
        self.reserved = floor(self.reserved + delta.reserved);
        self.running = (self.running + delta.running).max(0);
        self.spent += delta.cost;
        // A late row of yesterday does not count today.
        if self.day == row.created_at.day() {
            self.spent_day += delta.cost;
        }
        if self.month == row.created_at.month() {
            self.spent_month += delta.cost;
        }
        let mut events = Vec::new();
        for ((limit, of, was), (_, _, used)) in before.into_iter().zip(self.budgets(limits)) {
            events.extend(thresholds_reached(was, used, of).map(|percent| LimitEvent {
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

    /// Resets the counters of the minute, the day and the month when a new one has begun.
    fn roll_windows(&mut self, at: Timestamp) {
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

    /// The budgets that apply: name, amount, spent.
    fn budgets(&self, limits: &Limits) -> Vec<(&'static str, Usd, Usd)> {
        let all = [
            ("total", limits.budget, self.spent),
            ("daily", limits.budget_daily, self.spent_day),
            ("monthly", limits.budget_monthly, self.spent_month),
        ];
        all.into_iter().filter_map(|(name, budget, spent)| Some((name, budget?, spent))).collect()
    }
}

/// The change of one row as its account and its key see it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct BalanceDelta {
    pub(crate) cost: Usd,
    pub(crate) reserved: Usd,
    /// Requests running.
    pub(crate) running: i64,
}

fn minus(amount: Usd) -> Usd {
    Usd::from_micros(amount.micros().saturating_neg())
}

fn floor(amount: Usd) -> Usd {
    amount.max(Usd::ZERO)
}

/// Those of 80 and 100 percent of `of` that lie between what was used and what is.
fn thresholds_reached(was: Usd, used: Usd, of: Usd) -> impl Iterator<Item = i64> {
    let reaches = move |amount: Usd, percent: i64| {
        i128::from(amount.micros()) * 100 >= i128::from(of.micros()) * i128::from(percent)
    };
    [80, 100].into_iter().filter(move |percent| of > Usd::ZERO && !reaches(was, *percent) && reaches(used, *percent))
}
