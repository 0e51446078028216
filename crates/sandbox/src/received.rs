//! What a provider's simulator was sent, whichever dialect it speaks: every picture and every text of a body, so that a
//! test can tell that nothing of a caller's was lost on the way. `GET /_control/received?provider=…&text=…` shows it.

use crate::media::{Format, Size};
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// How many calls are remembered.
const KEPT: usize = 2_000;

/// One call with a body.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Receipt {
    pub(super) provider: &'static str,
    pub(super) path: String,
    pub(super) pictures: Vec<Seen>,
    pub(super) texts: Vec<String>,
}

/// One picture.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Seen {
    /// The parameter or part that held it.
    pub(super) name: String,
    pub(super) sha256: String,
    pub(super) format: Format,
    pub(super) size: Size,
    /// Of a mask: what marks the pixels to be changed, `transparent` or `white`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) marks: Option<&'static str>,
}

/// The last calls, oldest first.
#[derive(Default)]
pub(super) struct Received(Mutex<VecDeque<Receipt>>);

impl Received {
    /// The calls of that provider, and those in which that text stands.
    pub(super) fn find(&self, provider: Option<&str>, text: Option<&str>) -> Vec<Receipt> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has = |one: &Receipt, text: &str| one.texts.iter().any(|said| said.contains(text));
        let found = all
            .iter()
            .filter(|one| provider.is_none_or(|provider| one.provider == provider))
            .filter(|one| text.is_none_or(|text| has(one, text)));
        found.cloned().collect()
    }

    pub(super) fn note(&self, receipt: Receipt) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push_back(receipt);
        if all.len() > KEPT {
            all.pop_front();
        }
    }
}
