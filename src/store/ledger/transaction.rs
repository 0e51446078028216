//! One transaction of the ledger: rows change, and with them, in the same transaction, what their accounts and keys have
//! spent and hold, and the sums that summaries read.
//!
//! Everything follows from the difference between a row as it was and as it is. So a transaction whose end is not known
//! can be repeated, a journal replayed from its start, and a row corrected, and nothing is counted twice. Locks are taken
//! in one order everywhere (accounts, keys, rows, sums; each by its key), so that replicas never wait in a circle.

use super::limits::{Account, Change, Denial, LimitEvent, Limits, Used};
use super::record::{COLUMNS, Record, Status};
use super::rollup::Rollup;
use crate::base::{Timestamp, Usd, id};
use crate::store::StoreError;
use crate::store::db::connect::Engine;
use crate::store::db::error::is_refusal;
use crate::store::db::sql::{Kind, Sql, rows_of_json};
use crate::store::keys::accounts;
use crate::store::keys::repository as keys;
use crate::store::webhooks::{self, NewDelivery};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::{Any, AnyConnection, Connection, Row, Transaction};
use std::collections::{BTreeMap, BTreeSet};

/// What happens to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Act {
    /// Something is about to be spent: the estimate is reserved, or the request denied. Never overwrites a row.
    Open,
    /// The same, but it was let in already, while the database was away.
    Admitted,
    /// This came of it. Overwrites whatever is there.
    Close,
    /// The caller left before the opening row was durable: nothing was spent. A final row stays.
    Void,
    /// A crash left it running: its estimate may have been spent. A final row stays.
    Interrupt,
}

/// One step of one row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) act: Act,
    pub(crate) record: Record,
}

/// Why a transaction did not happen.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A row was refused and would be again.
    Refused(String),
    /// The database is away, or busy, or full: it may take the same rows later.
    Away(String),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Query(cause) => cause.into(),
            other => Self::Away(other.to_string()),
        }
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        let text = error.to_string();
        if is_refusal(&error) { Self::Refused(text) } else { Self::Away(text) }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(cause) | Failure::Away(cause) => Self::Unwritten(cause),
        }
    }
}

/// What a transaction came to.
pub(crate) struct Posted {
    /// For each step whether it was let in, in their order.
    pub(crate) verdicts: Vec<Result<(), Denial>>,
    /// The accounts and keys as they are now.
    pub(crate) books: Books,
    /// Limits that were crossed.
    pub(crate) events: Vec<LimitEvent>,
}

/// Accounts and keys, locked. Rows may name some that do not exist: those have no limits.
#[derive(Default)]
pub(crate) struct Books {
    pub(crate) accounts: BTreeMap<String, Account>,
    pub(crate) keys: BTreeMap<String, (Limits, Used)>,
}

/// A row with what belongs to the ledger alone.
#[derive(Debug, Clone, Serialize)]
struct Entry {
    #[serde(flatten)]
    record: Record,
    reserved: i64,
    owner: Option<String>,
}

/// Writes these steps, in this order, in one transaction. `owner` is who runs what is opened.
pub(crate) async fn post(
    connection: &mut AnyConnection,
    engine: Engine,
    owner: &str,
    steps: &[Step],
) -> Result<Posted, Failure> {
    if steps.is_empty() {
        return Ok(Posted { verdicts: Vec::new(), books: Books::default(), events: Vec::new() });
    }
    let mut transaction = connection.begin_with(engine.begin_write()).await?;
    let mut posting = Posting {
        books: lock_books(&mut transaction, engine, steps).await?,
        rows: lock_rows(&mut transaction, engine, steps).await?,
        changed: BTreeSet::new(),
        rollup: Rollup::default(),
        events: Vec::new(),
        owner,
    };
    let verdicts = steps.iter().map(|step| posting.take(step)).collect();
    posting.write(&mut transaction, engine).await?;
    transaction.commit().await?;
    Ok(Posted { verdicts, books: posting.books, events: posting.events })
}

/// The key of a row.
type Place = (i64, String);

fn place(record: &Record) -> Place {
    (record.created_at.millis(), record.id.clone())
}

/// A transaction in the making.
struct Posting<'a> {
    books: Books,
    rows: BTreeMap<Place, Entry>,
    changed: BTreeSet<Place>,
    rollup: Rollup,
    events: Vec<LimitEvent>,
    owner: &'a str,
}

impl Posting<'_> {
    fn take(&mut self, step: &Step) -> Result<(), Denial> {
        let old = self.rows.get(&place(&step.record));
        let is_open = old.is_some_and(|old| old.record.status.is_open());
        let new = match (step.act, old) {
            (Act::Open | Act::Admitted, Some(_)) => return Ok(()),
            (Act::Open, None) => {
                self.books.admit(&step.record)?;
                self.running(&step.record)
            }
            (Act::Admitted, None) => self.running(&step.record),
            (Act::Close, _) => over(step.record.clone()),
            (Act::Void, Some(old)) if is_open => over(not_started(old.record.clone())),
            (Act::Interrupt, Some(old)) if is_open => over(interrupted(old.record.clone())),
            (Act::Void | Act::Interrupt, _) => return Ok(()),
        };
        self.change(new);
        Ok(())
    }

    fn running(&self, record: &Record) -> Entry {
        let reserved = record.cost_estimate.map_or(0, Usd::micros);
        Entry { record: record.clone(), reserved, owner: Some(self.owner.to_owned()) }
    }

    fn change(&mut self, new: Entry) {
        let place = place(&new.record);
        let old = self.rows.get(&place);
        self.events.extend(self.books.shift(old, &new));
        self.rollup.shift(old.map(|old| &old.record), &new.record);
        self.changed.insert(place.clone());
        self.rows.insert(place, new);
    }

    async fn write(&self, transaction: &mut Transaction<'_, Any>, engine: Engine) -> Result<(), Failure> {
        let changed: Vec<&Entry> = self.changed.iter().filter_map(|place| self.rows.get(place)).collect();
        if changed.is_empty() {
            return Ok(());
        }
        upsert(engine, &changed)?.query().execute(&mut **transaction).await?;
        if let Some(sql) = accounts::write_back(engine, &self.books)? {
            sql.query().execute(&mut **transaction).await?;
        }
        if let Some(sql) = keys::write_back(engine, &self.books)? {
            sql.query().execute(&mut **transaction).await?;
        }
        for sql in self.rollup.write(engine)? {
            sql.query().execute(&mut **transaction).await?;
        }
        for event in &self.events {
            if let Some(url) =
                self.books.accounts.get(&event.account_id).and_then(|account| account.webhook_url.clone())
            {
                webhooks::insert(&notice(event, url))?.query().execute(&mut **transaction).await?;
            }
        }
        Ok(())
    }
}

/// The news of a crossed limit, for the queue of webhooks: in the same transaction, so it is told once for each crossing.
fn notice(event: &LimitEvent, url: String) -> NewDelivery {
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

impl Books {
    /// Whether that request may begin.
    pub(crate) fn admit(&mut self, record: &Record) -> Result<(), Denial> {
        if let Some(account) = self.accounts.get(&record.account_id) {
            account.admits(record.cost_estimate)?;
        }
        match self.keys.get_mut(&record.key_id) {
            Some((limits, used)) => used.admit(limits, record.cost_estimate, record.created_at),
            None => Ok(()),
        }
    }

    /// Lets a request in without the database: what it needs is held here until the database is back.
    pub(crate) fn hold(&mut self, record: &Record) -> Result<(), Denial> {
        self.admit(record)?;
        let entry =
            Entry { record: record.clone(), reserved: record.cost_estimate.map_or(0, Usd::micros), owner: None };
        self.shift(None, &entry);
        Ok(())
    }

    /// The counterpart of [`Books::hold`]: the request is over.
    pub(crate) fn release(&mut self, record: &Record) {
        // A row that was never opened (refused before anything was spent) held nothing.
        let held = record.cost_estimate.is_some() || record.status != Status::Rejected;
        let opened = Entry {
            record: Record { status: Status::Processing, cost: None, ..record.clone() },
            reserved: record.cost_estimate.map_or(0, Usd::micros),
            owner: None,
        };
        self.shift(held.then_some(&opened), &over(record.clone()));
    }

    fn shift(&mut self, old: Option<&Entry>, new: &Entry) -> Vec<LimitEvent> {
        let cost = |entry: &Entry| entry.record.cost.map_or(0, Usd::micros);
        let running = |entry: &Entry| i64::from(entry.record.status.is_open());
        let difference = |of: &dyn Fn(&Entry) -> i64| of(new) - old.map_or(0, of);
        let change = Change {
            cost: Usd::from_micros(difference(&cost)),
            reserved: Usd::from_micros(difference(&|entry| entry.reserved)),
            running: difference(&running),
        };
        let mut events = Vec::new();
        if let Some(account) = self.accounts.get_mut(&new.record.account_id) {
            events.extend(account.shift(change));
        }
        if let Some((limits, used)) = self.keys.get_mut(&new.record.key_id) {
            events.extend(used.shift(limits, change, &new.record));
        }
        events
    }
}

/// A row whose request has ended: nothing is held for it and nobody runs it.
fn over(record: Record) -> Entry {
    Entry { record, reserved: 0, owner: None }
}

fn not_started(record: Record) -> Record {
    Record {
        status: Status::Cancelled,
        cost: Some(Usd::ZERO),
        error_code: Some("NOT_STARTED".to_owned()),
        error_message: Some("The caller left before the request was begun. Nothing was spent.".to_owned()),
        ..record
    }
}

fn interrupted(record: Record) -> Record {
    let text = "The gateway stopped while this request was running. Its estimate may have been spent.";
    Record {
        status: Status::Cancelled,
        error_code: Some("INTERRUPTED".to_owned()),
        error_message: Some(text.to_owned()),
        cost_uncertain: record.cost_estimate.unwrap_or(record.cost_uncertain),
        ..record
    }
}

async fn lock_books(transaction: &mut Transaction<'_, Any>, engine: Engine, steps: &[Step]) -> Result<Books, Failure> {
    let of = |name: fn(&Record) -> &String| steps.iter().map(|step| name(&step.record).as_str()).collect();
    let accounts: BTreeSet<&str> = of(|record| &record.account_id);
    let keys: BTreeSet<&str> = of(|record| &record.key_id);
    let mut books = Books::default();
    let mut sql = Sql::new(&format!("SELECT {} FROM accounts WHERE id IN ", accounts::SHOWN));
    sql.list(accounts)?.push(" ORDER BY id").push(engine.for_update());
    for row in sql.query().fetch_all(&mut **transaction).await? {
        let account = accounts::read(&row)?;
        books.accounts.insert(account.id.clone(), account);
    }
    let mut sql = Sql::new(&format!("SELECT id, {} FROM api_keys WHERE id IN ", keys::BOUNDS));
    sql.list(keys)?.push(" ORDER BY id").push(engine.for_update());
    for row in sql.query().fetch_all(&mut **transaction).await? {
        books.keys.insert(row.try_get("id")?, keys::read_bounds(&row)?);
    }
    Ok(books)
}

async fn lock_rows(
    transaction: &mut Transaction<'_, Any>,
    engine: Engine,
    steps: &[Step],
) -> Result<BTreeMap<Place, Entry>, Failure> {
    let ids: BTreeSet<&str> = steps.iter().map(|step| step.record.id.as_str()).collect();
    let moments = || steps.iter().map(|step| step.record.created_at.millis());
    let columns: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
    let mut sql = Sql::new(&format!("SELECT {}, reserved, owner FROM requests WHERE ", columns.join(", ")));
    // The moments tell PostgreSQL which partitions to look into.
    sql.push("created_at >= ").bind(moments().min().unwrap_or_default())?;
    sql.push(" AND created_at <= ").bind(moments().max().unwrap_or_default())?;
    sql.push(" AND id IN ").list(ids)?.push(" ORDER BY id").push(engine.for_update());
    let mut rows = BTreeMap::new();
    for row in sql.query().fetch_all(&mut **transaction).await? {
        let record = Record::read(&row)?;
        let entry = Entry { reserved: row.try_get("reserved")?, owner: row.try_get("owner")?, record };
        rows.insert(place(&entry.record), entry);
    }
    Ok(rows)
}

fn upsert(engine: Engine, rows: &[&Entry]) -> Result<Sql, StoreError> {
    let columns: Vec<(&str, Kind)> =
        COLUMNS.into_iter().chain([("reserved", Kind::Number), ("owner", Kind::Text)]).collect();
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let mut sql = Sql::new(&format!("INSERT INTO requests ({}) ", names.join(", ")));
    rows_of_json(engine, &columns, &rows, &mut sql)?;
    // The first two are the key.
    let changes: Vec<String> = names[2..].iter().map(|name| format!("{name} = excluded.{name}")).collect();
    sql.push(" ON CONFLICT (id, created_at) DO UPDATE SET ").push(&changes.join(", "));
    Ok(sql)
}
