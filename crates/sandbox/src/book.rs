//! The call book: what each provider was asked, and what it would have billed. A call is written down before it is
//! answered, so that whoever has the answer finds it here.

use crate::base::{Timestamp, Usd};
use serde::{Serialize, Serializer};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many calls are kept. Totals are kept forever.
const KEPT: usize = 100_000;

/// What a call was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Something is to be made.
    Create,
    /// Is it done?
    Poll,
    /// The result of a job.
    Fetch,
    /// A job is given up.
    Cancel,
    /// A result file.
    File,
}

/// One call.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// Who was asked.
    pub provider: &'static str,
    /// For what.
    pub operation: Operation,
    /// The provider's id of the model, as far as the call says it.
    pub model: Option<String>,
    /// The provider's id of the job.
    pub job: Option<String>,
    /// What is answered; 0 when nothing is.
    pub status: u16,
    /// What the provider bills for it. Negative when a job is cancelled that was billed and never ran.
    #[serde(serialize_with = "as_dollars")]
    pub billed_usd: Usd,
    /// When, in milliseconds since the epoch.
    pub at_ms: Timestamp,
}

impl Entry {
    /// A call that costs nothing.
    pub fn new(provider: &'static str, operation: Operation, status: u16) -> Self {
        Self { provider, operation, model: None, job: None, status, billed_usd: Usd::ZERO, at_ms: Timestamp::now() }
    }

    /// The same on that model.
    #[must_use]
    pub fn model(self, model: &str) -> Self {
        Self { model: Some(model.to_owned()), ..self }
    }

    /// The same for that job.
    #[must_use]
    pub fn job(self, job: &str) -> Self {
        Self { job: Some(job.to_owned()), ..self }
    }

    /// The same at that price.
    #[must_use]
    pub fn billed(self, billed_usd: Usd) -> Self {
        Self { billed_usd, ..self }
    }
}

/// The sums of one provider's calls since the book was opened.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Totals {
    creates: u64,
    polls: u64,
    fetches: u64,
    files: u64,
    cancels: u64,
    #[serde(serialize_with = "as_dollars")]
    billed_usd: Usd,
}

/// What `GET /_control/calls` shows.
#[derive(Debug, Default, Serialize)]
pub struct Pages {
    /// By provider.
    pub totals: BTreeMap<&'static str, Totals>,
    /// Oldest first.
    pub calls: VecDeque<Entry>,
}

/// The book.
#[derive(Default)]
pub(super) struct Book(Mutex<Pages>);

impl Book {
    pub(super) fn write(&self, entry: Entry) {
        let mut pages = self.locked();
        let totals = pages.totals.entry(entry.provider).or_default();
        match entry.operation {
            Operation::Create => totals.creates += 1,
            Operation::Poll => totals.polls += 1,
            Operation::Fetch => totals.fetches += 1,
            Operation::File => totals.files += 1,
            Operation::Cancel => totals.cancels += 1,
        }
        totals.billed_usd += entry.billed_usd;
        pages.calls.push_back(entry);
        if pages.calls.len() > KEPT {
            pages.calls.pop_front();
        }
    }

    /// A copy of everything, so that writing it out holds nobody up.
    pub(super) fn read(&self) -> Pages {
        let pages = self.locked();
        Pages { totals: pages.totals.clone(), calls: pages.calls.clone() }
    }

    pub(super) fn clear(&self) {
        *self.locked() = Pages::default();
    }

    fn locked(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `"0.050000"`
fn as_dollars<S: Serializer>(amount: &Usd, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&amount.dollars())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_outlive_the_calls() {
        let book = Book::default();
        for _ in 0..KEPT + 5 {
            book.write(Entry::new("fal", Operation::Create, 200).billed(Usd::from_micros(25_000)));
        }
        let pages = book.read();
        assert_eq!(pages.calls.len(), KEPT);
        let totals = serde_json::to_value(pages.totals["fal"]).unwrap();
        assert_eq!((&totals["creates"], &totals["billed_usd"]), (&100_005.into(), &"2500.125000".into()));
    }
}
