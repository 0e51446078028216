//! Balances as they were last seen, for admitting requests while the database is unavailable: against the last balance and
//! budgets seen, less what this process has admitted since.

use super::balances::{KeyBalance, LockedBalances, RowBalances};
use super::limits::Account;
use super::transaction::{LedgerEntry, RowEvent};
use crate::store::db::StoreError;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long what was seen may be used.
pub(crate) const MAX_AGE: Duration = Duration::from_mins(15);
/// Accounts, and keys, that are remembered: those seen last.
pub(crate) const CAPACITY: u64 = 10_000;
/// Balances older than this are read again when their account is used.
const REFRESH_AGE: Duration = Duration::from_secs(30);

/// Clones share the balances. Requests change them in place, so that only the database renews their age.
#[derive(Debug, Clone)]
pub(crate) struct OfflineBalances {
    accounts: Cache<String, Arc<SeenAccount>>,
    keys: Cache<String, Arc<Mutex<KeyBalance>>>,
}

#[derive(Debug)]
struct SeenAccount {
    account: Mutex<Account>,
    at: Instant,
}

impl Default for OfflineBalances {
    fn default() -> Self {
        let least_recently_seen = EvictionPolicy::lru;
        let accounts =
            Cache::builder().max_capacity(CAPACITY).eviction_policy(least_recently_seen()).time_to_live(MAX_AGE);
        let keys = Cache::builder().max_capacity(CAPACITY).eviction_policy(least_recently_seen());
        Self { accounts: accounts.build(), keys: keys.build() }
    }
}

impl OfflineBalances {
    /// Replaces balances by what the database has.
    pub(crate) fn insert(&self, balances: LockedBalances) {
        for (id, account) in balances.accounts {
            self.insert_account(id, account);
        }
        for (id, key) in balances.keys {
            self.keys.insert(id, Arc::new(Mutex::new(key)));
        }
    }

    /// Replaces the balances of an account and one of its keys.
    pub(crate) fn refresh(&self, account: Account, key_id: &str, key: KeyBalance) {
        self.keys.insert(key_id.to_owned(), Arc::new(Mutex::new(key)));
        self.insert_account(account.id.clone(), account);
    }

    fn insert_account(&self, id: String, account: Account) {
        self.accounts.insert(id, Arc::new(SeenAccount { account: Mutex::new(account), at: Instant::now() }));
    }

    /// A key was read. Its limits may have changed since the ledger last saw it; its usage is taken over only when it is not
    /// known here, as this process may have admitted more since.
    pub(crate) fn update_key(&self, id: &str, key: KeyBalance) {
        let known = self.keys.get_with_by_ref(id, || Arc::new(Mutex::new(key)));
        lock(&known).limits = key.limits;
    }

    /// Whether the account's balance should be read again.
    pub(crate) fn is_stale(&self, account: &str) -> bool {
        self.accounts.get(account).is_none_or(|seen| seen.at.elapsed() > REFRESH_AGE)
    }

    /// Admits or settles a request without the database.
    pub(crate) fn apply(&self, entry: &LedgerEntry) -> Result<(), StoreError> {
        let record = &entry.record;
        let seen = self.accounts.get(&record.account_id).ok_or(StoreError::Unavailable)?;
        let key = self.keys.get(&record.key_id);
        let (mut account, mut key) = (lock(&seen.account), key.as_deref().map(lock));
        let mut balances = RowBalances { account: Some(&mut account), key: key.as_deref_mut() };
        match entry.event {
            RowEvent::Close => balances.settle(record),
            _ => balances.reserve(record).map_err(StoreError::Denied)?,
        }
        Ok(())
    }
}

/// A panic while a lock is held leaves the balances as good as they were.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
