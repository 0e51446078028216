//! Keys and balances as they were last seen, for the time when the database is away.
//!
//! The rule: while the database answers, it is asked about every key on every request, so a revoked key is dead at once.
//! While it does not, a key that this process saw within the last 15 minutes is good, and new requests are let in against
//! the last balance and budgets seen, less what this process has let in since. Whoever was not seen has to wait.

use super::credential::{self, Credential};
use super::repository::{self as keys, Key};
use crate::base::Timestamp;
use crate::store::db::page::moment;
use crate::store::db::sql::Sql;
use crate::store::ledger::limits::{Account, Denial};
use crate::store::ledger::transaction::{Act, Books, Step};
use crate::store::{Store, StoreError};
use sqlx::Row;
use sqlx::any::AnyRow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How old what was seen may be.
const STALE: Duration = Duration::from_mins(15);
/// How old a balance may be before it is looked at again along with a key.
const GLANCE: Duration = Duration::from_secs(30);
/// How long the database may take to say whose a key is, where we could say it ourselves.
const PATIENCE: Duration = Duration::from_secs(1);
/// After a silence, how long it is not asked.
const PAUSE: Duration = Duration::from_millis(500);
/// Keys and accounts that are remembered.
const MOST: usize = 10_000;

/// What this process has seen.
#[derive(Clone, Default)]
pub(crate) struct Known(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    keys: HashMap<String, (Card, Instant)>,
    books: Books,
    accounts: HashMap<String, Instant>,
    /// The database is silent, and is asked again only then.
    silent_until: Option<Instant>,
}

impl Inner {
    /// The limits of a key may have been changed since the ledger last saw them. What it used stays as it was seen: this
    /// process may have let in more since.
    fn bound(&mut self, key: &Key) {
        if let Some((limits, _)) = self.books.keys.get_mut(&key.id) {
            *limits = key.limits;
        }
    }
}

/// A key with what opens it.
#[derive(Clone)]
struct Card {
    key: Key,
    hash: String,
    previous: Option<(String, Timestamp)>,
}

impl Card {
    fn read(row: &AnyRow) -> Result<Self, StoreError> {
        let previous = row.try_get::<Option<String>, _>("previous_hash")?.zip(moment(row, "previous_until")?);
        Ok(Self { key: keys::read(row)?, hash: row.try_get("hash")?, previous })
    }

    fn opens(&self, secret: &str, now: Timestamp) -> bool {
        let offered = credential::hash(secret);
        let current = credential::matches(&offered, &self.hash);
        let graced = |(hash, until): &(String, Timestamp)| now < *until && credential::matches(&offered, hash);
        let usable = self.key.revoked_at.is_none() && self.key.expires_at.is_none_or(|end| now < end);
        (current || self.previous.as_ref().is_some_and(graced)) && usable
    }
}

impl Known {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here stops half-way in a way that matters.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the database is to be asked, rather than taken for away.
    fn may_ask(&self) -> bool {
        self.inner().silent_until.is_none_or(|until| until <= Instant::now())
    }

    /// The database did not answer, or did.
    pub(crate) fn note(&self, answered: bool) {
        self.inner().silent_until = (!answered).then(|| Instant::now() + PAUSE);
    }

    /// The books as a transaction left them.
    pub(crate) fn learn(&self, books: Books) {
        let mut inner = self.inner();
        if inner.accounts.len() > MOST {
            inner.accounts.clear();
            inner.books = Books::default();
        }
        let now = Instant::now();
        inner.accounts.extend(books.accounts.keys().map(|id| (id.clone(), now)));
        inner.books.accounts.extend(books.accounts);
        inner.books.keys.extend(books.keys);
    }

    fn see(&self, card: &Card) {
        let mut inner = self.inner();
        if inner.keys.len() > MOST {
            inner.keys.clear();
        }
        inner.keys.insert(card.key.id.clone(), (card.clone(), Instant::now()));
        inner.bound(&card.key);
    }

    /// A key was changed by this process, which shall hold it to that even if the database is away from now on.
    pub(crate) fn change(&self, key: &Key) {
        let mut inner = self.inner();
        if let Some((card, _)) = inner.keys.get_mut(&key.id) {
            card.key = key.clone();
        }
        inner.bound(key);
    }

    /// A key was revoked by this process: nobody gets in with it, even if the database is away from now on.
    pub(crate) fn forget(&self, id: &str) {
        self.inner().keys.remove(id);
    }

    fn card(&self, id: &str) -> Option<Card> {
        let inner = self.inner();
        inner.keys.get(id).filter(|(_, seen)| seen.elapsed() < STALE).map(|(card, _)| card.clone())
    }

    fn wants(&self, account: &str) -> bool {
        self.inner().accounts.get(account).is_none_or(|seen| seen.elapsed() > GLANCE)
    }

    fn see_account(&self, account: Account, card: &Card) {
        let mut books = Books::default();
        books.keys.insert(card.key.id.clone(), (card.key.limits, card.key.used));
        books.accounts.insert(account.id.clone(), account);
        self.learn(books);
    }

    /// Lets a request in, or not, without the database.
    pub(crate) fn hold(&self, step: &Step) -> Result<(), StoreError> {
        let mut inner = self.inner();
        let seen = inner.accounts.get(&step.record.account_id);
        if seen.is_none_or(|seen| seen.elapsed() > STALE) {
            return Err(StoreError::Silent);
        }
        match step.act {
            Act::Close => inner.books.release(&step.record),
            _ => inner.books.hold(&step.record).map_err(|denial: Denial| StoreError::Denied(denial))?,
        }
        Ok(())
    }
}

impl Store {
    /// The key that this text is, if it is one and may be used at `now`.
    pub async fn authenticate(&self, full: &str, now: Timestamp) -> Result<Option<Key>, StoreError> {
        let Some(parts) = Credential::parse(full) else { return Ok(None) };
        let card = match self.look_up(parts.id).await {
            Ok(found) => found,
            // The database is silent: what we saw last counts.
            Err(error) => Some(self.known.card(parts.id).ok_or(error)?),
        };
        Ok(card.filter(|card| card.opens(parts.secret, now)).map(|card| card.key))
    }

    async fn look_up(&self, id: &str) -> Result<Option<Card>, StoreError> {
        if !self.known.may_ask() {
            return Err(StoreError::Silent);
        }
        let asked = timeout(PATIENCE, self.ask(id)).await.unwrap_or(Err(StoreError::Silent));
        self.known.note(asked.is_ok());
        asked
    }

    async fn ask(&self, id: &str) -> Result<Option<Card>, StoreError> {
        let mut sql = Sql::new(&format!(
            "SELECT {}, hash, previous_hash, previous_until FROM api_keys WHERE id = ",
            *keys::SHOWN
        ));
        sql.bind(id.to_owned())?;
        let Some(card) = self.row(sql).await?.as_ref().map(Card::read).transpose()? else { return Ok(None) };
        self.known.see(&card);
        if self.known.wants(&card.key.account_id)
            && let Some(account) = self.account(&card.key.account_id).await?
        {
            self.known.see_account(account, &card);
        }
        Ok(Some(card))
    }
}
