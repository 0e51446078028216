//! The ledger on SQLite and on PostgreSQL: reservations, budgets, sums, the journal, partitions.

use super::{kit, plain};
use futures::future::join_all;
use lumenfall::base::{Timestamp, Usd};
use lumenfall::job::Modality;
use lumenfall::store::{
    Billing, Cursor, Denial, Filter, GroupBy, Key, KeyChange, Limits, NewAccount, NewKey, Page, Record, Settings,
    Status, Store, StoreError,
};
use sqlx::{AnyConnection, Connection, Executor, Row};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

macro_rules! on_both_databases {
    ($($case:ident)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                let directory = tempfile::tempdir().unwrap();
                let url = format!("sqlite://{}/log.db", directory.path().display());
                super::$case(super::Bench::open(url, directory.path()).await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                let directory = tempfile::tempdir().unwrap();
                super::$case(super::Bench::open(crate::kit::postgres::database(), directory.path()).await).await;
            })*
        }
    };
}

on_both_databases! {
    a_prepaid_account_pays_for_what_it_reserved
    a_postpaid_account_stops_at_its_limit
    two_replicas_never_overshoot
    budgets_bound_a_key
    budgets_of_a_day_begin_anew
    rates_bound_a_key
    changed_limits_count_at_once
    changes_and_spending_keep_out_of_each_others_way
    crossed_limits_are_told_once
    sums_are_the_log
    a_correction_moves_money_once
    a_crash_gives_back_what_was_held
    what_is_left_in_a_journal_is_taken_in
    payloads_are_kept_and_purged
    old_months_are_let_go
    everything_can_be_read_in_lots
}

const NOON: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn later(millis: i64) -> Timestamp {
    Timestamp::from_millis(NOON.millis() + millis)
}

const fn usd(micros: i64) -> Usd {
    Usd::from_micros(micros)
}

/// A database of a test's own.
struct Bench {
    store: Store,
    settings: Settings,
}

impl Bench {
    async fn open(url: String, directory: &Path) -> Self {
        let settings = Settings {
            url,
            max_connections: 5,
            statement_timeout_seconds: 10,
            journal: directory.join("journal").display().to_string(),
            journal_max_bytes: 1 << 20,
            retention_months: 0,
        };
        Self { store: Store::open(&settings).await.unwrap(), settings }
    }

    async fn account(&self, id: &str, billing: Billing, credit_limit: Option<Usd>) {
        let webhook_url = Some("https://example.com/hook".to_owned());
        let new = NewAccount { id: Some(id.into()), name: id.into(), billing, credit_limit, webhook_url };
        self.store.accounts().create(new).await.unwrap().unwrap();
    }

    async fn key(&self, account: &str, limits: Limits) -> Key {
        self.store.keys().create(NewKey { account_id: account.into(), limits, ..NewKey::default() }).await.unwrap().0
    }

    /// Balance and what is held.
    async fn money(&self, account: &str) -> (i64, i64) {
        let account = self.store.accounts().find(account).await.unwrap().unwrap();
        (account.balance.micros(), account.reserved.micros())
    }

    async fn spent(&self, key: &Key) -> (i64, i64, i64) {
        let used = self.store.keys().find(&key.id, None).await.unwrap().unwrap().used;
        (used.spent.micros(), used.reserved.micros(), used.running)
    }

    async fn open_row(&self, row: &Record) -> Result<(), StoreError> {
        self.store.writer().open(row.clone()).await
    }

    async fn close_row(&self, row: &Record, cost: i64) {
        self.store.writer().close(paid(row, cost)).await.unwrap();
    }
}

fn paid(row: &Record, cost: i64) -> Record {
    Record { status: Status::Completed, cost: Some(usd(cost)), provider: Some("fal".into()), ..row.clone() }
}

fn row(account: &str, key: &str, estimate: i64, at: Timestamp) -> Record {
    Record {
        account_id: account.into(),
        key_id: key.into(),
        cost_estimate: Some(usd(estimate)),
        duration_ms: Some(10),
        image_count: 1,
        sandbox: true,
        ..plain(at)
    }
}

async fn a_prepaid_account_pays_for_what_it_reserved(bench: Bench) {
    bench.account("acme", Billing::Prepaid, None).await;
    assert!(matches!(bench.open_row(&row("acme", "k", 1, NOON)).await, Err(StoreError::Denied(Denial::Balance))));
    // What costs nothing needs nothing.
    bench.open_row(&row("acme", "k", 0, NOON)).await.unwrap();
    let account = bench.store.accounts().credit("acme", usd(100), "first payment").await.unwrap().unwrap();
    assert_eq!(account.available(), Some(usd(100)));
    let first = row("acme", "k", 60, NOON);
    bench.open_row(&first).await.unwrap();
    assert_eq!(bench.money("acme").await, (100, 60));
    let refused = row("acme", "k", 41, NOON);
    assert!(matches!(bench.open_row(&refused).await, Err(StoreError::Denied(Denial::Balance))));
    assert_eq!(bench.store.requests().find(&refused.id, None).await.unwrap(), None, "a denial leaves no row");
    bench.close_row(&first, 55).await;
    assert_eq!(bench.money("acme").await, (45, 0));
    bench.open_row(&row("acme", "k", 45, NOON)).await.unwrap();
    // An unknown estimate needs something left.
    let unpriced = Record { cost_estimate: None, ..row("acme", "k", 0, NOON) };
    assert!(matches!(bench.open_row(&unpriced).await, Err(StoreError::Denied(Denial::Balance))));
    assert!(bench.store.accounts().credit("nobody", usd(1), "").await.unwrap().is_none());
}

async fn a_postpaid_account_stops_at_its_limit(bench: Bench) {
    bench.account("free", Billing::Postpaid, None).await;
    bench.account("bound", Billing::Postpaid, Some(usd(100))).await;
    bench.open_row(&row("free", "k", 1_000_000_000, NOON)).await.unwrap();
    let first = row("bound", "k", 70, NOON);
    bench.open_row(&first).await.unwrap();
    bench.close_row(&first, 70).await;
    assert_eq!(bench.money("bound").await, (-70, 0));
    assert!(bench.open_row(&row("bound", "k", 31, NOON)).await.is_err());
    bench.open_row(&row("bound", "k", 30, NOON)).await.unwrap();
}

async fn two_replicas_never_overshoot(bench: Bench) {
    bench.account("acme", Billing::Prepaid, None).await;
    let key = bench.key("acme", Limits { budget: Some(usd(5_000)), ..Limits::default() }).await;
    bench.store.accounts().credit("acme", usd(10_000), "").await.unwrap();
    let other = Store::open(&bench.settings).await.unwrap();
    let calls = (0..200).map(|number| {
        let writer = if number % 2 == 0 { bench.store.writer().clone() } else { other.writer().clone() };
        let row = row("acme", &key.id, 100, later(number));
        tokio::spawn(async move {
            match writer.open(row.clone()).await {
                Ok(()) => writer.close(paid(&row, 100)).await.map(|()| true),
                Err(StoreError::Denied(_)) => Ok(false),
                Err(error) => Err(error),
            }
        })
    });
    let let_in = join_all(calls).await.into_iter().filter(|call| *call.as_ref().unwrap().as_ref().unwrap()).count();
    assert_eq!(let_in, 50, "the key's budget, to the last request");
    assert_eq!(bench.money("acme").await, (5_000, 0));
    assert_eq!(bench.spent(&key).await, (5_000, 0, 0));
    // The account's balance is the next wall.
    let calls = (0..200).map(|number| {
        let writer = if number % 2 == 0 { bench.store.writer().clone() } else { other.writer().clone() };
        tokio::spawn(async move { writer.open(row("acme", "no key of ours", 100, later(number))).await.is_ok() })
    });
    assert_eq!(join_all(calls).await.into_iter().filter(|call| *call.as_ref().unwrap()).count(), 50);
    assert_eq!(bench.money("acme").await, (5_000, 5_000));
    other.close().await;
}

async fn budgets_bound_a_key(bench: Bench) {
    bench.account("acme", Billing::Postpaid, None).await;
    let limits = Limits { budget_monthly: Some(usd(100)), ..Limits::default() };
    let (hard, soft) =
        (bench.key("acme", limits).await, bench.key("acme", Limits { budget_soft: true, ..limits }).await);
    for key in [&hard, &soft] {
        let first = row("acme", &key.id, 90, NOON);
        bench.open_row(&first).await.unwrap();
        bench.close_row(&first, 90).await;
    }
    let denied = bench.open_row(&row("acme", &hard.id, 11, NOON)).await;
    assert!(matches!(denied, Err(StoreError::Denied(Denial::Budget("monthly")))), "{denied:?}");
    bench.open_row(&row("acme", &soft.id, 11, NOON)).await.unwrap();
    let next_month = Timestamp::of_month(NOON.month() + 1);
    bench.open_row(&row("acme", &hard.id, 100, next_month)).await.unwrap();
}

async fn budgets_of_a_day_begin_anew(bench: Bench) {
    bench.account("acme", Billing::Postpaid, None).await;
    let key = bench.key("acme", Limits { budget_daily: Some(usd(100)), ..Limits::default() }).await;
    let day = 86_400_000;
    let (today, tomorrow) = (row("acme", &key.id, 100, NOON), row("acme", &key.id, 100, later(day)));
    bench.open_row(&today).await.unwrap();
    assert!(bench.open_row(&row("acme", &key.id, 1, later(1))).await.is_err());
    // What is held counts on every day; what was spent, on its own.
    assert!(bench.open_row(&tomorrow).await.is_err());
    bench.close_row(&today, 100).await;
    bench.open_row(&tomorrow).await.unwrap();
    bench.close_row(&tomorrow, 40).await;
    let used = bench.store.keys().find(&key.id, None).await.unwrap().unwrap().used;
    assert_eq!((used.spent.micros(), used.spent_day.micros()), (140, 40));
}

async fn rates_bound_a_key(bench: Bench) {
    bench.account("acme", Billing::Postpaid, None).await;
    let minute = 60_000;
    let limits = Limits { rate_limit_rpm: Some(3), max_concurrent: Some(2), ..Limits::default() };
    let key = bench.key("acme", limits).await;
    let begin = NOON.millis() / minute * minute;
    let at = |millis| Timestamp::from_millis(begin + millis);
    let rows: Vec<_> = (0..3).map(|n| row("acme", &key.id, 1, at(n))).collect();
    bench.open_row(&rows[0]).await.unwrap();
    bench.open_row(&rows[1]).await.unwrap();
    let denied = bench.open_row(&rows[2]).await;
    assert!(matches!(denied, Err(StoreError::Denied(Denial::Concurrency(2)))), "{denied:?}");
    bench.close_row(&rows[0], 1).await;
    bench.open_row(&rows[2]).await.unwrap();
    bench.close_row(&rows[1], 1).await;
    match bench.open_row(&row("acme", &key.id, 1, at(10_000))).await {
        Err(StoreError::Denied(Denial::Rate { limit: 3, wait })) => assert_eq!(wait, Duration::from_secs(50)),
        other => unreachable!("{other:?}"),
    }
    bench.open_row(&row("acme", &key.id, 1, at(minute))).await.unwrap();
}

async fn changed_limits_count_at_once(bench: Bench) {
    bench.account("acme", Billing::Postpaid, None).await;
    let key = bench.key("acme", Limits { budget: Some(usd(100)), ..Limits::default() }).await;
    let other = Store::open(&bench.settings).await.unwrap();
    let change = async |terms: &[KeyChange]| bench.store.keys().update(&key.id, None, terms).await.unwrap().unwrap();
    let first = row("acme", &key.id, 100, NOON);
    bench.open_row(&first).await.unwrap();
    bench.close_row(&first, 100).await;
    let small = || row("acme", &key.id, 1, later(1));
    assert!(other.writer().open(small()).await.is_err());
    let raised = change(&[KeyChange::Budget(Some(usd(101)))]).await;
    assert_eq!((raised.limits.budget, raised.used.spent), (Some(usd(101)), usd(100)));
    other.writer().open(small()).await.unwrap();
    assert!(bench.open_row(&small()).await.is_err(), "what runs is held against the new budget too");
    let lifted = change(&[KeyChange::Budget(None), KeyChange::BudgetMonthly(Some(usd(99)))]).await;
    assert_eq!(lifted.limits, Limits { budget_monthly: Some(usd(99)), ..Limits::default() });
    let denied = other.writer().open(small()).await;
    assert!(matches!(denied, Err(StoreError::Denied(Denial::Budget("monthly")))), "{denied:?}");
    change(&[KeyChange::BudgetSoft(true), KeyChange::MaxConcurrent(Some(1))]).await;
    assert!(matches!(other.writer().open(small()).await, Err(StoreError::Denied(Denial::Concurrency(1)))));
    change(&[
        KeyChange::MaxConcurrent(Some(2)),
        KeyChange::RateLimitRpm(Some(9)),
        KeyChange::BudgetDaily(Some(usd(1))),
    ])
    .await;
    other.writer().open(small()).await.unwrap();
    assert_eq!(bench.spent(&key).await, (100, 2, 2), "nothing that was counted is counted anew");
    let card = [
        KeyChange::Name(Some("n\0w".into())),
        KeyChange::AllowedModels(vec!["flux.*".into()]),
        KeyChange::ExpiresAt(Some(later(7))),
    ];
    let named = change(&card).await;
    assert_eq!((named.name.as_deref(), named.expires_at), (Some("n\u{fffd}w"), Some(later(7))));
    assert_eq!((named.allowed_models.clone(), named.limits.rate_limit_rpm), (vec!["flux.*".to_owned()], Some(9)));
    assert_eq!(change(&[]).await, named, "no term, no change");
    let of = |account| bench.store.keys().update(&key.id, Some(account), &[KeyChange::Name(None)]);
    assert!(of("default").await.unwrap().is_none() && of("acme").await.unwrap().is_some());
    assert!(bench.store.keys().update("nobody\0", None, &[]).await.unwrap().is_none());
    bench.store.keys().revoke(&key.id, None, NOON).await.unwrap();
    assert!(of("acme").await.unwrap().is_none(), "a revoked key stays as it was");
    other.close().await;
}

async fn changes_and_spending_keep_out_of_each_others_way(bench: Bench) {
    bench.account("acme", Billing::Postpaid, None).await;
    let key = bench.key("acme", Limits::default()).await;
    let other = Store::open(&bench.settings).await.unwrap();
    let spending = (0..200).map(|number| {
        let writer = if number % 2 == 0 { bench.store.writer().clone() } else { other.writer().clone() };
        let row = row("acme", &key.id, 100, later(number));
        tokio::spawn(async move {
            writer.open(row.clone()).await.unwrap();
            writer.close(paid(&row, 100)).await.unwrap();
        })
    });
    let spending: Vec<_> = spending.collect();
    // Each says another thing, over and over; the last word on each stays.
    for number in 1..=20 {
        let daily = [KeyChange::BudgetDaily(Some(usd(1_000_000 + number)))];
        let monthly = [KeyChange::BudgetMonthly(Some(usd(2_000_000 + number)))];
        let (one, two) = tokio::join!(
            bench.store.keys().update(&key.id, None, &daily),
            other.keys().update(&key.id, None, &monthly)
        );
        assert!(one.unwrap().is_some() && two.unwrap().is_some());
    }
    for spent in join_all(spending).await {
        spent.unwrap();
    }
    let limits = bench.store.keys().find(&key.id, None).await.unwrap().unwrap().limits;
    assert_eq!((limits.budget_daily, limits.budget_monthly), (Some(usd(1_000_020)), Some(usd(2_000_020))));
    assert_eq!(bench.spent(&key).await, (20_000, 0, 0));
    assert_eq!(bench.money("acme").await, (-20_000, 0));
    other.close().await;
}

async fn crossed_limits_are_told_once(bench: Bench) {
    bench.account("acme", Billing::Postpaid, Some(usd(1_000))).await;
    let key = bench.key("acme", Limits { budget: Some(usd(100)), budget_soft: true, ..Limits::default() }).await;
    for cost in [79, 1, 5, 20, 50] {
        let row = row("acme", &key.id, cost, NOON);
        bench.open_row(&row).await.unwrap();
        bench.close_row(&row, cost).await;
        // The same end told twice, as after a transaction whose answer was lost.
        bench.close_row(&row, cost).await;
    }
    let mut stranger = AnyConnection::connect(&bench.settings.url).await.unwrap();
    let told = stranger.fetch_all("SELECT payload FROM webhook_deliveries ORDER BY created_at, payload").await.unwrap();
    let told: Vec<serde_json::Value> =
        told.iter().map(|row| serde_json::from_str(&row.get::<String, _>("payload")).unwrap()).collect();
    let marks: BTreeSet<_> = told.iter().map(|event| event["data"]["percent"].as_i64().unwrap()).collect();
    assert_eq!((told.len(), marks), (2, BTreeSet::from([80, 100])), "{told:?}");
    assert_eq!(told[0]["data"]["key_id"], key.id.as_str());
}

async fn sums_are_the_log(bench: Bench) {
    let hour = 3_600_000;
    let models = ["a", "b", "c"];
    let statuses = [Status::Completed, Status::Rejected, Status::UpstreamFailure];
    let rows: Vec<_> = (0..300_usize)
        .map(|n| {
            let n64 = i64::try_from(n).unwrap();
            let at = later(n64 * hour / 7);
            Record {
                model: models[n % 3].into(),
                status: statuses[n % 3],
                provider: (n % 4 > 0).then(|| format!("p{}", n % 4)),
                user: (n % 5 > 0).then(|| format!("u{}", n % 5)),
                error_code: (n % 3 > 0).then(|| "TIMEOUT".into()),
                modality: if n % 7 == 0 { Modality::Video } else { Modality::Image },
                cost: (n % 11 > 0).then(|| usd(n64)),
                session_id: Some("everything".into()),
                ..row(if n % 2 == 0 { "one" } else { "two" }, &format!("k{}", n % 6), 5, at)
            }
        })
        .collect();
    for opened in rows.iter().take(50) {
        bench.open_row(&Record { status: Status::Processing, cost: None, ..opened.clone() }).await.unwrap();
    }
    for done in join_all(rows.iter().map(|row| bench.store.writer().close(row.clone()))).await {
        done.unwrap();
    }
    let some = |text: &str| Some(text.to_owned());
    let none = Filter::default;
    let narrowed = [
        none(),
        Filter { model: some("b"), ..none() },
        Filter { provider: some("p2"), ..none() },
        Filter { key_id: some("k5"), ..none() },
        Filter { user: some("u3"), ..none() },
        Filter { status: some("rejected"), ..none() },
        Filter { modality: some("video"), ..none() },
        Filter { error_code: some("TIMEOUT"), ..none() },
        Filter { model: some("nothing"), ..none() },
    ];
    let ranges = [
        (None, None),
        (Some(1), None),
        (Some(hour / 3), Some(20 * hour + 17)),
        (Some(5 * hour), Some(5 * hour + 9)),
        // Over a whole day, hours on both sides of it, and pieces of hours on both sides of those.
        (Some(hour / 3), Some(40 * hour + 17)),
        (None, Some(36 * hour - 1)),
    ];
    for by in [
        None,
        Some(GroupBy::Day),
        Some(GroupBy::Model),
        Some(GroupBy::Provider),
        Some(GroupBy::Key),
        Some(GroupBy::User),
    ] {
        for filter in &narrowed {
            for account in [None, some("two")] {
                for (after, before) in ranges {
                    let asked = Filter {
                        account_id: account.clone(),
                        created_after: after.map(later),
                        created_before: before.map(later),
                        ..filter.clone()
                    };
                    // A session goes past the sums, to the rows.
                    let from_rows = Filter { session_id: some("everything"), ..asked.clone() };
                    let (summed, counted) = (
                        bench.store.requests().summary(&asked, by).await.unwrap(),
                        bench.store.requests().summary(&from_rows, by).await.unwrap(),
                    );
                    assert_eq!(summed, counted, "{by:?} {asked:?}");
                }
            }
        }
    }
}

async fn a_correction_moves_money_once(bench: Bench) {
    bench.account("acme", Billing::Postpaid, None).await;
    let key = bench.key("acme", Limits::default()).await;
    let row = row("acme", &key.id, 100, NOON);
    bench.open_row(&row).await.unwrap();
    bench.open_row(&row).await.unwrap();
    assert_eq!((bench.money("acme").await, bench.spent(&key).await), ((0, 100), (0, 100, 1)));
    bench.close_row(&row, 70).await;
    bench.close_row(&row, 70).await;
    bench.close_row(&row, 80).await;
    // A late opening is no opening.
    bench.open_row(&row).await.unwrap();
    assert_eq!((bench.money("acme").await, bench.spent(&key).await), ((-80, 0), (80, 0, 0)));
    let summary = bench.store.requests().summary(&Filter::default(), None).await.unwrap();
    assert_eq!((summary.count, summary.cost), (1, usd(80)));
}

async fn a_crash_gives_back_what_was_held(bench: Bench) {
    bench.account("acme", Billing::Postpaid, None).await;
    let key = bench.key("acme", Limits::default()).await;
    let row = row("acme", &key.id, 100, NOON);
    bench.open_row(&row).await.unwrap();
    assert_eq!(bench.store.requests().settle_interrupted(later(1)).await.unwrap(), 1);
    assert_eq!((bench.money("acme").await, bench.spent(&key).await), ((0, 0), (0, 0, 0)));
    // Its end comes after all: that is the truth.
    bench.close_row(&row, 90).await;
    assert_eq!((bench.money("acme").await, bench.spent(&key).await), ((-90, 0), (90, 0, 0)));
}

/// A file as a process leaves it that was killed while the database was away: rows, a damaged line, a torn one.
async fn what_is_left_in_a_journal_is_taken_in(bench: Bench) {
    bench.account("acme", Billing::Postpaid, None).await;
    let rows: Vec<_> = (0..1200).map(|n| row("acme", "k", 10, later(n))).collect();
    let line = |act: &str, record: &Record| {
        let json = format!("{{\"act\":\"{act}\",\"record\":{}}}", serde_json::to_string(record).unwrap());
        let check = <sha2::Sha256 as sha2::Digest>::digest(&json);
        let check = format!("{:016x}", u64::from_be_bytes(check[..8].try_into().unwrap()));
        format!("{check} {json}\n")
    };
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        text.push_str(&line("Admitted", row));
        if number % 3 > 0 {
            text.push_str(&line("Close", &paid(row, 10)));
        }
    }
    let torn = line("Admitted", &row("acme", "k", 10, later(5000)));
    let damaged = line("Admitted", &row("acme", "k", 10, later(6000))).replace("acme", "acne");
    let text = format!("{damaged}{text}{}", &torn[..torn.len() / 2]);
    let directory = Path::new(&bench.settings.journal);
    std::fs::write(directory.join("gone.journal"), &text).unwrap();
    let store = Store::open(&bench.settings).await.unwrap();
    let of = async |status: &str| {
        let filter = Filter { status: Some(status.into()), ..Filter::default() };
        store.requests().summary(&filter, None).await.unwrap().count
    };
    assert_eq!((of("completed").await, of("cancelled").await, of("processing").await), (800, 400, 0));
    assert_eq!(bench.money("acme").await, (-8000, 0));
    assert!(!directory.join("gone.journal").exists());
    // The same file again, as when the machine stopped before it was removed: nothing is counted twice.
    std::fs::write(directory.join("gone.journal"), &text).unwrap();
    Store::open(&bench.settings).await.unwrap().close().await;
    assert_eq!(bench.money("acme").await, (-8000, 0));
    assert_eq!(store.requests().summary(&Filter::default(), None).await.unwrap().count, 1200);
    // The files of the living are not touched.
    assert_eq!(std::fs::read_dir(directory).unwrap().count(), 2);
    store.close().await;
    assert_eq!(std::fs::read_dir(directory).unwrap().count(), 1, "an orderly end leaves nothing");
}

async fn payloads_are_kept_and_purged(bench: Bench) {
    let new = |id: &str, expires_at| lumenfall::store::NewPayload {
        request_id: id.into(),
        account_id: "acme".into(),
        payload: r#"{"request":{"prompt":"a fox"}}"#.into(),
        media: vec!["a.png".into()],
        expires_at,
    };
    bench.store.payloads().insert(new("req_1", later(10))).await.unwrap();
    bench.store.payloads().insert(new("req_2", later(20))).await.unwrap();
    let kept = async |id: &str, account, at| bench.store.payloads().find(id, account, at).await.unwrap();
    assert!(kept("req_1", Some("acme"), NOON).await.unwrap().contains("a fox"));
    assert_eq!((kept("req_1", Some("other"), NOON).await, kept("req_1", None, later(10)).await), (None, None));
    assert!(bench.store.payloads().purge("req_1", Some("other")).await.unwrap().already);
    let purged = bench.store.payloads().purge("req_1", Some("acme")).await.unwrap();
    assert_eq!((purged.already, purged.media), (false, vec!["a.png".to_owned()]));
    assert!(bench.store.payloads().purge("req_1", Some("acme")).await.unwrap().already);
    assert_eq!(kept("req_1", None, NOON).await, None);
    assert_eq!(bench.store.payloads().remove_expired(later(15)).await.unwrap(), 1);
    assert!(kept("req_2", None, NOON).await.is_some());
}

async fn old_months_are_let_go(bench: Bench) {
    let now = Timestamp::of_month(700).plus(Duration::from_secs(100));
    let months = [690, 697, 698, 699, 700];
    for month in months {
        bench.close_row(&row("default", "k", 1, Timestamp::of_month(month).plus(Duration::from_secs(5))), 7).await;
        // Each round finds a home for the oldest month that has none.
        bench.store.requests().maintain(now, 0).await.unwrap();
    }
    let all = Filter::default();
    let page = Page { limit: 100, cursor: Cursor::Start };
    let left = async || bench.store.requests().list(&all, &page).await.unwrap().unwrap().items.len();
    assert_eq!(left().await, months.len());
    bench.store.requests().maintain(now, 2).await.unwrap();
    bench.store.requests().maintain(now, 2).await.unwrap();
    assert_eq!(left().await, 3, "this month and the two before it");
    let summary = bench.store.requests().summary(&all, None).await.unwrap();
    assert_eq!((summary.count, summary.cost), (5, usd(35)), "the sums stay");
    assert_eq!(bench.money("default").await.0, -35);
}

async fn everything_can_be_read_in_lots(bench: Bench) {
    // Many in one millisecond, so that lots end among equals.
    let rows: Vec<_> = (0..2500).map(|n| row("default", "k", 1, later(n / 700))).collect();
    for done in join_all(rows.iter().map(|row| bench.store.writer().close(paid(row, 1)))).await {
        done.unwrap();
    }
    let (mut seen, mut last) = (Vec::new(), None);
    while let Some(records) = bench.store.requests().next_batch(&Filter::default(), last.as_ref()).await.unwrap() {
        last = records.last().map(|record| (record.created_at, record.id.clone()));
        seen.extend(records.into_iter().map(|record| (record.created_at, record.id)));
    }
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "strictly rising, so nothing twice");
    assert_eq!(seen.len(), rows.len());
}

/// A server that is stopped while requests come and go. They are let in against the balance last seen, no more than it
/// covers, and everything is there when the server is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_costs_no_row_and_no_money() {
    let (server, directory) = (kit::postgres::Server::start(kit::postgres::HASTY), tempfile::tempdir().unwrap());
    let bench = Bench::open(server.url(), directory.path()).await;
    bench.account("acme", Billing::Prepaid, None).await;
    bench.store.accounts().credit("acme", usd(1_000), "").await.unwrap();
    let new = NewKey { account_id: "acme".into(), ..NewKey::default() };
    let (key, secret) = bench.store.keys().create(new.clone()).await.unwrap();
    let (_, unseen) = bench.store.keys().create(new).await.unwrap();
    let opens = async |secret: &lumenfall::base::Secret| {
        bench.store.keys().authenticate(secret.expose(), NOON).await.map(|key| key.is_some())
    };
    assert!(opens(&secret).await.unwrap());
    let (early, running) = (row("acme", &key.id, 100, later(1)), row("acme", &key.id, 100, later(2)));
    bench.open_row(&early).await.unwrap();
    bench.open_row(&running).await.unwrap();
    bench.close_row(&early, 100).await;
    server.stop();
    assert!(opens(&secret).await.unwrap(), "a key that was seen is good");
    assert!(opens(&unseen).await.is_err(), "one that was not has to wait");
    assert!(!opens(&lumenfall::base::Secret::new(format!("{}x", secret.expose()))).await.unwrap());
    bench.close_row(&running, 90).await;
    let mut let_in = Vec::new();
    for number in 0..12 {
        let row = row("acme", &key.id, 90, later(10 + number));
        match bench.open_row(&row).await {
            Ok(()) => let_in.push(row),
            Err(error) => assert!(matches!(error, StoreError::Denied(Denial::Balance)), "{error}"),
        }
    }
    assert_eq!(let_in.len(), 9, "1000 less 100 less 90 cover nine of 90");
    for row in &let_in[..5] {
        bench.close_row(row, 80).await;
    }
    assert!(bench.store.writer().stats().journaled > 0);
    bench.store.ping().await.unwrap();
    server.start_again();
    let back = async {
        while bench.store.accounts().find("acme").await.ok().flatten().is_none_or(|account| account.balance != usd(410))
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), back).await.unwrap();
    assert_eq!(bench.money("acme").await, (410, 360));
    assert_eq!(bench.spent(&key).await, (590, 360, 4));
    assert_eq!(bench.store.requests().summary(&Filter::default(), None).await.unwrap().count, 11);
    // The secret that was turned away while nobody could be asked is good again.
    assert!(opens(&unseen).await.unwrap());
    bench.store.keys().revoke(&key.id, None, NOON).await.unwrap();
    assert!(!opens(&secret).await.unwrap(), "revoked, and dead at once");
}

/// The database goes away right after a budget was lowered: what this process knows is the new budget.
#[tokio::test(flavor = "multi_thread")]
async fn a_lowered_budget_holds_while_the_server_is_away() {
    let (server, directory) = (kit::postgres::Server::start(kit::postgres::HASTY), tempfile::tempdir().unwrap());
    let bench = Bench::open(server.url(), directory.path()).await;
    let other_directory = tempfile::tempdir().unwrap();
    let other = Bench::open(server.url(), other_directory.path()).await;
    bench.account("acme", Billing::Postpaid, None).await;
    let limits = Limits { budget: Some(usd(1_000)), ..Limits::default() };
    let new = NewKey { account_id: "acme".into(), limits, ..NewKey::default() };
    let (key, secret) = bench.store.keys().create(new).await.unwrap();
    for replica in [&bench, &other] {
        assert!(replica.store.keys().authenticate(secret.expose(), NOON).await.unwrap().is_some());
        let row = row("acme", &key.id, 50, NOON);
        replica.open_row(&row).await.unwrap();
        replica.close_row(&row, 50).await;
    }
    bench.store.keys().update(&key.id, None, &[KeyChange::Budget(Some(usd(200)))]).await.unwrap().unwrap();
    // The other replica has heard of it by the next call with that key.
    assert!(other.store.keys().authenticate(secret.expose(), NOON).await.unwrap().is_some());
    server.stop();
    for replica in [&bench, &other] {
        let shown = replica.store.keys().authenticate(secret.expose(), NOON).await.unwrap().unwrap();
        assert_eq!(shown.limits.budget, Some(usd(200)));
        let denied = replica.open_row(&row("acme", &key.id, 151, later(1))).await;
        assert!(matches!(denied, Err(StoreError::Denied(Denial::Budget("total")))), "{denied:?}");
        replica.open_row(&row("acme", &key.id, 100, later(2))).await.unwrap();
    }
}
