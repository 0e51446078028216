//! Keys as they were last seen, for the time when the database is unavailable.
//!
//! While the database answers, it is asked about every key on every request, so a revoked key is refused at once. While it
//! does not, a key that this process saw within the last 15 minutes is accepted. Keys that were not seen have to wait.

use super::credential::{self, Credential};
use super::key::Key;
use crate::base::Timestamp;
use crate::store::db::{FromRow, StoreError, column};
use crate::store::ledger::offline_balances::{CAPACITY, MAX_AGE, OfflineBalances};
use moka::ops::compute::Op;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use sqlx::any::AnyRow;

/// Clones share the keys.
#[derive(Debug, Clone)]
pub(crate) struct OfflineCache {
    keys: Cache<String, CachedKey>,
    pub(crate) balances: OfflineBalances,
}

/// A key with the hashes of its secrets.
#[derive(Debug, Clone)]
pub(crate) struct CachedKey {
    pub(crate) key: Key,
    hash: String,
    /// The secret before the last rotation, and until when it is accepted.
    previous: Option<(String, Timestamp)>,
}

impl CachedKey {
    /// Whether this secret may be used now.
    pub(crate) fn accepts(&self, credential: &Credential<'_>, now: Timestamp) -> bool {
        let offered = credential::hash(credential.secret);
        let current = credential::matches(&offered, &self.hash);
        let in_grace = |(hash, until): &(String, Timestamp)| now < *until && credential::matches(&offered, hash);
        let usable = self.key.revoked_at.is_none() && self.key.expires_at.is_none_or(|end| now < end);
        (current || self.previous.as_ref().is_some_and(in_grace)) && usable
    }
}

impl FromRow for CachedKey {
    fn from_row(row: &AnyRow) -> Result<Self, StoreError> {
        let previous = column::<Option<_>>(row, "previous_hash")?.zip(column(row, "previous_until")?);
        Ok(Self { key: Key::from_row(row)?, hash: column(row, "hash")?, previous })
    }
}

impl OfflineCache {
    pub(crate) fn new(balances: OfflineBalances) -> Self {
        let keys = Cache::builder().max_capacity(CAPACITY).eviction_policy(EvictionPolicy::lru());
        Self { keys: keys.time_to_live(MAX_AGE).build(), balances }
    }

    /// A key was read because somebody used it.
    pub(crate) fn insert(&self, seen: CachedKey) {
        self.balances.update_key(&seen.key.id, seen.key.balance());
        self.keys.insert(seen.key.id.clone(), seen);
    }

    /// This process changed a key. A key that is not cached, or was revoked meanwhile, is not added.
    pub(crate) fn update(&self, changed: CachedKey) {
        let id = changed.key.id.clone();
        self.balances.update_key(&id, changed.key.balance());
        self.keys.entry(id).and_compute_with(|cached| cached.map_or(Op::Nop, |_| Op::Put(changed)));
    }

    /// This process revoked a key: nobody may use it, even if the database is unavailable from now on.
    pub(crate) fn remove(&self, id: &str) {
        self.keys.invalidate(id);
    }

    pub(crate) fn get(&self, id: &str) -> Option<CachedKey> {
        self.keys.get(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ledger::limits::{KeyUsage, Limits};

    fn key(id: &str) -> CachedKey {
        let key = Key {
            id: id.to_owned(),
            account_id: "default".to_owned(),
            name: None,
            last_four: "1234".to_owned(),
            admin: false,
            allowed_models: Vec::new(),
            created_at: Timestamp::from_millis(0),
            expires_at: None,
            revoked_at: None,
            limits: Limits::default(),
            used: KeyUsage::default(),
        };
        CachedKey { key, hash: credential::hash("secret"), previous: None }
    }

    #[test]
    fn a_full_cache_forgets_the_keys_that_were_not_used_for_longest() {
        let cache = OfflineCache::new(OfflineBalances::default());
        let known = |numbers: std::ops::Range<u64>| numbers.filter(|n| cache.get(&n.to_string()).is_some()).count();
        for number in 0..CAPACITY + 100 {
            cache.insert(key(&number.to_string()));
        }
        cache.keys.run_pending_tasks();
        assert_eq!(known(0..100), 0);
        assert_eq!(known(100..CAPACITY + 100), usize::try_from(CAPACITY).unwrap());
    }

    #[test]
    fn a_change_does_not_bring_a_revoked_key_back() {
        let cache = OfflineCache::new(OfflineBalances::default());
        cache.insert(key("a"));
        cache.remove("a");
        cache.update(key("a"));
        assert!(cache.get("a").is_none());
        cache.insert(key("a"));
        let mut changed = key("a");
        changed.key.name = Some("new".to_owned());
        cache.update(changed);
        assert_eq!(cache.get("a").unwrap().key.name.as_deref(), Some("new"));
    }
}
