//! One transaction of the ledger: rows change, and with them, in the same transaction, the balances of their accounts and
//! keys, and the sums that summaries read.
//!
//! Everything follows from the difference between a row as it was and as it is. So a transaction whose end is not known
//! can be repeated, a journal replayed from its start, and a row corrected, and nothing is counted twice. Locks are taken
//! in one order everywhere (accounts, keys, rows, sums; each by its key), so that replicas never wait in a circle.

use super::balances::LockedBalances;
use super::limits::LimitEvent;
use super::record::Record;
use super::rollup::Rollup;
use super::row::{LedgerRow, RowKey, lock_rows, row_key, upsert};
use crate::base::{Timestamp, id};
use crate::store::db::StoreError;
use crate::store::db::connect::Engine;
use crate::store::db::error::{Denial, is_refusal};
use crate::store::webhooks::{self, NewDelivery};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::{Any, AnyConnection, Connection, Transaction};
use std::collections::{BTreeMap, BTreeSet};

/// What happens to a row. The journal has the names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RowEvent {
    /// Something is about to be spent: the estimate is reserved, or the request denied. Never overwrites a row.
    Open,
    /// The same, but the request was admitted before, while the database was unavailable.
    Admitted,
    /// The request has ended. Overwrites whatever is there.
    Close,
    /// The caller left before the opening row was durable: nothing was spent. A final row stays.
    Void,
    /// A crash left the request running: its estimate may have been spent. A final row stays.
    Interrupt,
}

/// One event of one row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LedgerEntry {
    #[serde(rename = "act")]
    pub(crate) event: RowEvent,
    pub(crate) record: Record,
}

/// Why a transaction was not committed.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// The database refused a row and would refuse it again.
    Refused(String),
    /// The database is unavailable, busy or full: it may take the same rows later.
    Unavailable(String),
}

impl From<StoreError> for WriteError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Query(cause) => cause.into(),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<sqlx::Error> for WriteError {
    fn from(error: sqlx::Error) -> Self {
        let text = error.to_string();
        if is_refusal(&error) { Self::Refused(text) } else { Self::Unavailable(text) }
    }
}

impl From<WriteError> for StoreError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Refused(cause) | WriteError::Unavailable(cause) => Self::Unwritten(cause),
        }
    }
}

/// The result of a transaction.
#[derive(Default)]
pub(crate) struct Committed {
    /// For each entry whether it was admitted, in their order.
    pub(crate) admissions: Vec<Result<(), Denial>>,
    /// The accounts and keys as they are now.
    pub(crate) balances: LockedBalances,
    /// Limits that were reached.
    pub(crate) events: Vec<LimitEvent>,
}

/// Writes these entries, in this order, in one transaction. `owner` is the process that runs what is opened. Boxed, because
/// several futures contain this one and each would compile it anew.
pub(crate) fn commit<'a>(
    connection: &'a mut AnyConnection,
    engine: Engine,
    owner: &'a str,
    entries: &'a [LedgerEntry],
) -> BoxFuture<'a, Result<Committed, WriteError>> {
    async move {
        if entries.is_empty() {
            return Ok(Committed::default());
        }
        let records: Vec<&Record> = entries.iter().map(|entry| &entry.record).collect();
        let mut transaction = connection.begin_with(engine.begin_write()).await?;
        let mut ledger = LedgerTransaction {
            balances: LockedBalances::lock(&mut transaction, engine, &records).await?,
            rows: lock_rows(&mut transaction, engine, &records).await?,
            changed: BTreeSet::new(),
            rollup: Rollup::default(),
            events: Vec::new(),
            owner,
        };
        let admissions = entries.iter().map(|entry| ledger.apply(entry)).collect();
        ledger.write(&mut transaction, engine).await?;
        transaction.commit().await?;
        Ok(Committed { admissions, balances: ledger.balances, events: ledger.events })
    }
    .boxed()
}

/// A transaction before its commit.
struct LedgerTransaction<'a> {
    balances: LockedBalances,
    rows: BTreeMap<RowKey, LedgerRow>,
    changed: BTreeSet<RowKey>,
    rollup: Rollup,
    events: Vec<LimitEvent>,
    owner: &'a str,
}

impl LedgerTransaction<'_> {
    fn apply(&mut self, entry: &LedgerEntry) -> Result<(), Denial> {
        let record = &entry.record;
        let old = self.rows.get(&row_key(record));
        let is_open = old.is_some_and(LedgerRow::is_open);
        let new = match (entry.event, old) {
            (RowEvent::Open | RowEvent::Admitted, Some(_)) => return Ok(()),
            (RowEvent::Open, None) => {
                self.balances.of(record).admit(record)?;
                LedgerRow::running(record.clone(), Some(self.owner.to_owned()))
            }
            (RowEvent::Admitted, None) => LedgerRow::running(record.clone(), Some(self.owner.to_owned())),
            (RowEvent::Close, _) => LedgerRow::ended(record.clone()),
            (RowEvent::Void, Some(old)) if is_open => LedgerRow::not_started(old.record.clone()),
            (RowEvent::Interrupt, Some(old)) if is_open => LedgerRow::interrupted(old.record.clone()),
            (RowEvent::Void | RowEvent::Interrupt, _) => return Ok(()),
        };
        self.change(new);
        Ok(())
    }

    fn change(&mut self, new: LedgerRow) {
        let key = row_key(&new.record);
        let old = self.rows.get(&key);
        self.events.extend(self.balances.of(&new.record).apply_delta(old, &new));
        self.rollup.apply_delta(old.map(|old| &old.record), &new.record);
        self.changed.insert(key.clone());
        self.rows.insert(key, new);
    }

    async fn write(&self, transaction: &mut Transaction<'_, Any>, engine: Engine) -> Result<(), WriteError> {
        let changed: Vec<&LedgerRow> = self.changed.iter().filter_map(|key| self.rows.get(key)).collect();
        if changed.is_empty() {
            return Ok(());
        }
        let mut statements = vec![upsert(engine, &changed)?];
        statements.extend(self.balances.write(engine)?);
        statements.extend(self.rollup.write(engine)?);
        statements.extend(self.events.iter().filter_map(|event| {
            let url = self.balances.accounts.get(&event.account_id)?.webhook_url.clone()?;
            Some(webhooks::insert(&limit_reached(event, url)))
        }));
        for sql in statements {
            sql.query().execute(&mut **transaction).await?;
        }
        Ok(())
    }
}

/// The webhook of a reached limit. Queued in the same transaction, so there is one for each time a limit is reached.
fn limit_reached(event: &LimitEvent, url: String) -> NewDelivery {
    let at = Timestamp::now();
    NewDelivery {
        id: format!("msg_{}", id::fresh(at)),
        account_id: event.account_id.clone(),
        event: "limit.reached".to_owned(),
        url,
        payload: json!({"type": "limit.reached", "data": event}).to_string(),
        at,
    }
}
