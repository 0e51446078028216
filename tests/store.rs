//! The store, on SQLite and on a real PostgreSQL: every case runs on both, with the same expectations.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod kit;
#[path = "store/ledger.rs"]
mod ledger;

use futures::future::join_all;
use lumenfall::base::{Secret, Timestamp, Usd, id};
use lumenfall::job::{Modality, Mode};
use lumenfall::store::{
    Cursor, Filter, GroupBy, Key, KeyStatus, NewKey, Page, Record, Settings, Status, Store, StoreError,
};
use sqlx::{AnyConnection, Connection, Executor};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

/// A database of a test's own.
struct Bench {
    store: Store,
    settings: Settings,
}

fn settings(url: String, max_connections: u32) -> Settings {
    Settings {
        url,
        max_connections,
        statement_timeout_seconds: 10,
        journal: String::new(),
        journal_max_bytes: 1 << 20,
        retention_months: 0,
    }
}

impl Bench {
    async fn sqlite(directory: &Path) -> Self {
        Self::open(format!("sqlite://{}/made here/and here/log.db", directory.display())).await
    }

    async fn postgres() -> Self {
        Self::open(kit::postgres::database()).await
    }

    async fn open(url: String) -> Self {
        let settings = settings(url, 5);
        Self { store: Store::open(&settings).await.unwrap(), settings }
    }

    fn is_sqlite(&self) -> bool {
        self.settings.url.starts_with("sqlite")
    }

    /// A connection that the store knows nothing of.
    async fn stranger(&self) -> AnyConnection {
        AnyConnection::connect(&self.settings.url.replace(' ', "%20")).await.unwrap()
    }

    async fn write(&self, records: &[Record]) {
        for done in join_all(records.iter().map(|record| self.store.writer().close(record.clone()))).await {
            done.unwrap();
        }
    }

    async fn read(&self, id: &str) -> Option<Record> {
        self.store.requests().find(id, None).await.unwrap()
    }

    async fn ids(&self, filter: &Filter) -> Vec<String> {
        let page = Page { limit: 1000, cursor: Cursor::Start };
        self.store.requests().list(filter, &page).await.unwrap().unwrap().items.into_iter().map(|r| r.id).collect()
    }

    async fn key(&self, new: NewKey) -> (Key, Secret) {
        self.store.keys().create(new).await.unwrap()
    }

    async fn opens(&self, secret: &Secret, now: Timestamp) -> bool {
        self.store.keys().authenticate(secret.expose(), now).await.unwrap().is_some()
    }
}

macro_rules! on_both_databases {
    ($($case:ident)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                let directory = tempfile::tempdir().unwrap();
                // Spawned, so that every future of the store is shown to be `Send`.
                tokio::spawn(super::$case(super::Bench::sqlite(directory.path()).await)).await.unwrap();
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                tokio::spawn(super::$case(super::Bench::postgres().await)).await.unwrap();
            })*
        }
    };
}

// After the macro, which it uses.
#[path = "store/jobs.rs"]
mod jobs;

on_both_databases! {
    a_record_comes_back_as_it_was
    a_final_row_needs_no_opening
    an_opening_never_overwrites_a_final_row
    many_requests_share_few_transactions
    pages_stay_put_while_rows_are_added
    pages_go_both_ways
    cursors_are_rows_of_the_account
    every_filter_narrows
    time_bounds_are_inclusive
    totals_are_exact
    interrupted_rows_are_settled
    a_bad_row_stands_alone
    text_is_made_storable
    what_waits_is_written_on_close
    a_sleeping_caller_does_not_hold_up_the_end
    a_stuck_database_refuses_in_time
    opening_twice_changes_nothing
    a_fresh_database_may_be_opened_by_many
    it_answers_pings
    keys_open_until_they_are_revoked
    expired_keys_do_not_open
    only_the_right_secret_opens
    rotation_has_a_grace
    keys_are_listed_in_pages
    keys_belong_to_accounts
    keys_need_an_account
    configured_keys_are_ensured
    admins_are_noticed
}

const NOON: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn later(millis: i64) -> Timestamp {
    Timestamp::from_millis(NOON.millis() + millis)
}

/// A row with nothing optional in it.
fn plain(created_at: Timestamp) -> Record {
    Record {
        id: id::request(created_at),
        created_at,
        account_id: "default".into(),
        key_id: "key_1".into(),
        endpoint: "/v1/images/generations".into(),
        model: "flux.2-max".into(),
        modality: Modality::Image,
        status: Status::Processing,
        mode: None,
        executed_model: None,
        provider: None,
        cost: None,
        cost_source: None,
        cost_note: None,
        cost_estimate: None,
        cost_uncertain: Usd::ZERO,
        duration_ms: None,
        gateway_ms: None,
        provider_ms: None,
        response_ms: None,
        image_count: 0,
        size: None,
        output_format: None,
        error_code: None,
        error_message: None,
        session_id: None,
        trace_id: None,
        user: None,
        request_size_bytes: 0,
        response_size_bytes: None,
        attempts: "[]".into(),
        timeline: "{}".into(),
        adjustments: "[]".into(),
        sandbox: false,
    }
}

/// A row with everything in it.
fn full(created_at: Timestamp) -> Record {
    Record {
        status: Status::Completed,
        mode: Some(Mode::TextToImage),
        executed_model: Some("flux.2-max".into()),
        provider: Some("fal".into()),
        cost: Some(Usd::from_micros(70_001)),
        cost_source: Some("provider".into()),
        cost_note: Some("x-fal-billable-units: 2".into()),
        cost_estimate: Some(Usd::from_micros(70_000)),
        cost_uncertain: Usd::from_micros(3),
        duration_ms: Some(2340),
        gateway_ms: Some(4),
        provider_ms: Some(2300),
        response_ms: Some(36),
        image_count: 2,
        size: Some("1024x1024".into()),
        output_format: Some("webp".into()),
        error_code: Some("UPSTREAM_ERROR".into()),
        error_message: Some("Zażółć gęślą jaźń 🎨 'quoted' \"twice\"".into()),
        session_id: Some("session-1".into()),
        trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736".into()),
        user: Some("user-1".into()),
        request_size_bytes: 1024,
        response_size_bytes: Some(i64::MAX),
        attempts: r#"[{"provider":"fal","cost":0.070001}]"#.into(),
        timeline: r#"{"gateway":4}"#.into(),
        adjustments: r#"[{"param":"size"}]"#.into(),
        sandbox: true,
        ..plain(created_at)
    }
}

async fn a_record_comes_back_as_it_was(bench: Bench) {
    let end = full(NOON);
    let start = Record { id: end.id.clone(), ..plain(NOON) };
    bench.store.writer().open(start.clone()).await.unwrap();
    assert_eq!(bench.read(&end.id).await, Some(start));
    bench.store.writer().close(end.clone()).await.unwrap();
    assert_eq!(bench.read(&end.id).await, Some(end.clone()));
    assert_eq!(bench.store.requests().find(&end.id, Some("default")).await.unwrap(), Some(end.clone()));
    assert_eq!(bench.store.requests().find(&end.id, Some("other")).await.unwrap(), None);
    assert_eq!(bench.read("req_unknown\0").await, None);
}

async fn a_final_row_needs_no_opening(bench: Bench) {
    let record = full(NOON);
    bench.store.writer().close(record.clone()).await.unwrap();
    assert_eq!(bench.read(&record.id).await, Some(record));
}

async fn an_opening_never_overwrites_a_final_row(bench: Bench) {
    let end = full(NOON);
    bench.store.writer().close(end.clone()).await.unwrap();
    bench.store.writer().open(Record { id: end.id.clone(), ..plain(NOON) }).await.unwrap();
    assert_eq!(bench.read(&end.id).await, Some(end));
}

async fn many_requests_share_few_transactions(bench: Bench) {
    let started = Instant::now();
    let calls = (0..2000).map(|n| {
        let writer = bench.store.writer().clone();
        tokio::spawn(async move {
            let end = full(later(n));
            writer.open(Record { id: end.id.clone(), ..plain(end.created_at) }).await?;
            writer.close(end).await
        })
    });
    for call in join_all(calls).await {
        call.unwrap().unwrap();
    }
    let (took, stats) = (started.elapsed(), bench.store.writer().stats());
    assert_eq!((stats.rows, stats.waiting), (4000, 0));
    assert!(stats.transactions < 400, "{} transactions", stats.transactions);
    // A second or so on a quiet machine; one transaction per row would take many times that.
    assert!(took < Duration::from_secs(10), "{took:?}");
    let summary = bench.store.requests().summary(&Filter::default(), None).await.unwrap();
    assert_eq!((summary.count, summary.cost), (2000, Usd::from_micros(2000 * 70_001)));
}

async fn pages_stay_put_while_rows_are_added(bench: Bench) {
    // Three rows per millisecond, so that pages end among equals; old ones, to be found exactly once.
    let old: Vec<_> = (0..200).map(|n| plain(later(n / 3))).collect();
    bench.write(&old).await;
    let (mut seen, mut cursor) = (Vec::new(), Cursor::Start);
    loop {
        let page = Page { limit: 7, cursor };
        let listed = bench.store.requests().list(&Filter::default(), &page).await.unwrap().unwrap();
        // Between any two pages new rows arrive, the last of them in the millisecond of the newest old row.
        bench.write(&[plain(later(500)), plain(later(1000))]).await;
        seen.extend(listed.items.into_iter().map(|record| (record.created_at, record.id)));
        if !listed.has_older {
            break;
        }
        cursor = Cursor::After(seen.last().unwrap().1.clone());
    }
    assert!(seen.windows(2).all(|pair| pair[0] > pair[1]), "strictly falling, so nothing twice");
    let found: BTreeSet<_> = seen.into_iter().map(|(_, id)| id).collect();
    assert_eq!(found, old.into_iter().map(|record| record.id).collect());
}

async fn pages_go_both_ways(bench: Bench) {
    let rows: Vec<_> = (0..10).map(|n| plain(later(n / 4))).collect();
    bench.write(&rows).await;
    let newest_first = bench.ids(&Filter::default()).await;
    let page = async |limit, cursor| {
        let listed = bench.store.requests().list(&Filter::default(), &Page { limit, cursor }).await.unwrap().unwrap();
        (listed.items.into_iter().map(|r| r.id).collect::<Vec<_>>(), listed.has_newer, listed.has_older)
    };
    let id = |n: usize| newest_first[n].clone();
    assert_eq!(page(4, Cursor::Start).await, (newest_first[..4].to_vec(), false, true));
    assert_eq!(page(4, Cursor::After(id(3))).await, (newest_first[4..8].to_vec(), true, true));
    assert_eq!(page(4, Cursor::After(id(7))).await, (newest_first[8..].to_vec(), true, false));
    assert_eq!(page(4, Cursor::After(id(9))).await, (vec![], true, false));
    assert_eq!(page(4, Cursor::Before(id(8))).await, (newest_first[4..8].to_vec(), true, true));
    assert_eq!(page(4, Cursor::Before(id(4))).await, (newest_first[..4].to_vec(), false, true));
    assert_eq!(page(4, Cursor::Before(id(0))).await, (vec![], false, true));
    assert_eq!(page(10, Cursor::Start).await, (newest_first.clone(), false, false));
}

async fn cursors_are_rows_of_the_account(bench: Bench) {
    let theirs = Record { account_id: "theirs".into(), ..plain(NOON) };
    bench.write(&[theirs.clone(), plain(NOON)]).await;
    let page = |id: &str| Page { limit: 5, cursor: Cursor::After(id.to_owned()) };
    let ours = Filter { account_id: Some("default".into()), ..Filter::default() };
    assert!(bench.store.requests().list(&Filter::default(), &page("req_none")).await.unwrap().is_none());
    assert!(bench.store.requests().list(&ours, &page(&theirs.id)).await.unwrap().is_none());
    assert!(bench.store.requests().list(&Filter::default(), &page(&theirs.id)).await.unwrap().is_some());
}

async fn every_filter_narrows(bench: Bench) {
    let mut wanted = full(later(10));
    wanted.account_id = "acme".into();
    wanted.key_id = "key_2".into();
    wanted.status = Status::UpstreamFailure;
    wanted.model = "seedream-4".into();
    wanted.provider = Some("byteplus".into());
    wanted.modality = Modality::Video;
    wanted.user = Some("user-2".into());
    wanted.session_id = Some("session-2".into());
    wanted.error_code = Some("TIMEOUT".into());
    wanted.cost = Some(Usd::from_micros(90_000));
    bench.write(&[wanted.clone(), full(later(5)), plain(later(6))]).await;
    let some = |text: &str| Some(text.to_owned());
    let every = Filter {
        created_after: Some(later(10)),
        created_before: Some(later(10)),
        key_id: some("key_2"),
        account_id: some("acme"),
        status: some("upstream_failure"),
        model: some("seedream-4"),
        provider: some("byteplus"),
        modality: some("video"),
        user: some("user-2"),
        session_id: some("session-2"),
        error_code: some("TIMEOUT"),
        min_cost: Some(Usd::from_micros(90_000)),
    };
    let none = Filter::default;
    for filter in [
        Filter { created_after: every.created_after, ..none() },
        Filter { key_id: every.key_id.clone(), ..none() },
        Filter { account_id: every.account_id.clone(), ..none() },
        Filter { status: every.status.clone(), ..none() },
        Filter { model: every.model.clone(), ..none() },
        Filter { provider: every.provider.clone(), ..none() },
        Filter { modality: every.modality.clone(), ..none() },
        Filter { user: every.user.clone(), ..none() },
        Filter { session_id: every.session_id.clone(), ..none() },
        Filter { error_code: every.error_code.clone(), ..none() },
        Filter { min_cost: every.min_cost, ..none() },
        every.clone(),
    ] {
        assert_eq!(bench.ids(&filter).await, [wanted.id.clone()], "{filter:?}");
        assert_eq!(bench.store.requests().summary(&filter, None).await.unwrap().count, 1, "{filter:?}");
    }
    assert_eq!(bench.ids(&Filter { created_before: Some(later(9)), ..none() }).await.len(), 2);
    // What looks like SQL is a name like any other.
    assert!(bench.ids(&Filter { model: some("' OR 1=1 --"), user: some("\0"), ..every }).await.is_empty());
    assert_eq!(bench.ids(&none()).await.len(), 3);
}

async fn time_bounds_are_inclusive(bench: Bench) {
    bench.write(&[plain(later(1)), plain(later(2)), plain(later(3))]).await;
    let between = |after, before| Filter {
        created_after: Some(later(after)),
        created_before: Some(later(before)),
        ..Filter::default()
    };
    assert_eq!(bench.ids(&between(1, 3)).await.len(), 3);
    assert_eq!(bench.ids(&between(2, 2)).await.len(), 1);
    assert_eq!(bench.ids(&between(4, 9)).await.len(), 0);
}

async fn totals_are_exact(bench: Bench) {
    let day = 86_400_000;
    let row = |moment, model: &str, provider: Option<&str>, user: Option<&str>, micros| Record {
        model: model.into(),
        provider: provider.map(Into::into),
        user: user.map(Into::into),
        cost: micros,
        ..plain(moment)
    };
    let usd = |micros| Some(Usd::from_micros(micros));
    bench
        .write(&[
            row(Timestamp::from_millis(day - 1), "a", Some("fal"), None, usd(1)),
            row(Timestamp::from_millis(day), "a", Some("bfl"), Some("u"), usd(40_000_000_000_001)),
            row(Timestamp::from_millis(2 * day - 1), "b", Some("fal"), Some("u"), usd(333_333)),
            row(Timestamp::from_millis(2 * day), "b", None, Some("v"), None),
        ])
        .await;
    let parts = async |by| {
        let summary = bench.store.requests().summary(&Filter::default(), Some(by)).await.unwrap();
        assert_eq!((summary.count, summary.cost.micros()), (4, 40_000_000_333_335));
        let groups = summary.groups.unwrap();
        groups.into_iter().map(|g| (g.key, g.count, g.cost.micros())).collect::<Vec<_>>()
    };
    let text = |rows: &[(&str, i64, i64)]| rows.iter().map(|r| (r.0.to_owned(), r.1, r.2)).collect::<Vec<_>>();
    let days = [("1970-01-03", 1, 0), ("1970-01-02", 2, 40_000_000_333_334), ("1970-01-01", 1, 1)];
    assert_eq!(parts(GroupBy::Day).await, text(&days));
    assert_eq!(parts(GroupBy::Model).await, text(&[("a", 2, 40_000_000_000_002), ("b", 2, 333_333)]));
    let providers = [("bfl", 1, 40_000_000_000_001), ("fal", 2, 333_334), ("", 1, 0)];
    assert_eq!(parts(GroupBy::Provider).await, text(&providers));
    assert_eq!(parts(GroupBy::Key).await, text(&[("key_1", 4, 40_000_000_333_335)]));
    assert_eq!(parts(GroupBy::User).await, text(&[("u", 2, 40_000_000_333_334), ("", 1, 1), ("v", 1, 0)]));
    let nothing = Filter { model: Some("c".into()), ..Filter::default() };
    let empty = bench.store.requests().summary(&nothing, Some(GroupBy::Day)).await.unwrap();
    assert_eq!((empty.count, empty.cost, empty.groups), (0, Usd::ZERO, Some(vec![])));
}

async fn interrupted_rows_are_settled(bench: Bench) {
    let running = Record { cost_estimate: Some(Usd::from_micros(40_000)), ..plain(later(0)) };
    let unpriced = plain(later(1));
    let young = plain(later(10));
    let done = full(later(2));
    for record in [&running, &unpriced, &young] {
        bench.store.writer().open(record.clone()).await.unwrap();
    }
    bench.write(std::slice::from_ref(&done)).await;
    assert_eq!(bench.store.requests().settle_interrupted(later(10)).await.unwrap(), 2);
    assert_eq!(bench.store.requests().settle_interrupted(later(10)).await.unwrap(), 0);
    let settled = bench.read(&running.id).await.unwrap();
    assert_eq!((settled.status, settled.error_code.as_deref()), (Status::Cancelled, Some("INTERRUPTED")));
    assert_eq!((settled.cost, settled.cost_uncertain), (None, Usd::from_micros(40_000)));
    assert_eq!(bench.read(&unpriced.id).await.unwrap().cost_uncertain, Usd::ZERO);
    assert_eq!(bench.read(&young.id).await, Some(young));
    assert_eq!(bench.read(&done.id).await, Some(done));
    // A final row that comes after all is the truth.
    let end = Record { id: running.id.clone(), ..full(running.created_at) };
    bench.store.writer().close(end.clone()).await.unwrap();
    assert_eq!(bench.read(&running.id).await, Some(end));
}

async fn a_bad_row_stands_alone(bench: Bench) {
    let rows = (0..300).map(|n| Record { image_count: if n % 100 == 50 { -1 } else { 1 }, ..full(later(n)) });
    let writes = rows.map(|row| async { (row.image_count, bench.store.writer().close(row).await) });
    for (count, done) in join_all(writes).await {
        match done {
            Ok(()) => assert_eq!(count, 1),
            Err(error) => assert!(count == -1 && matches!(error, StoreError::Unwritten(_)), "{error}"),
        }
    }
    assert_eq!(bench.store.requests().summary(&Filter::default(), None).await.unwrap().count, 297);
    assert!(bench.store.writer().open(Record { image_count: -1, ..plain(NOON) }).await.is_err());
}

async fn text_is_made_storable(bench: Bench) {
    let mut record = full(NOON);
    record.user = Some("a\0b".into());
    record.model = "é".repeat(5000);
    record.error_message = Some("🎨".repeat(3000));
    record.attempts = format!("[\"{}\"]", "x".repeat(300_000));
    bench.write(std::slice::from_ref(&record)).await;
    let stored = bench.read(&record.id).await.unwrap();
    assert_eq!(stored.user.as_deref(), Some("a\u{fffd}b"));
    assert_eq!(stored.model, "é".repeat(256));
    assert_eq!(stored.error_message.unwrap(), "🎨".repeat(2000));
    assert_eq!(stored.attempts, r#"[{"left_out":1}]"#);
    // A filter finds what it wrote, however it was made storable.
    let same = Filter { user: record.user, model: Some(record.model), ..Filter::default() };
    assert_eq!(bench.ids(&same).await, [record.id]);
}

async fn what_waits_is_written_on_close(bench: Bench) {
    let writer = bench.store.writer().clone();
    let rows: Vec<_> = (0..1500).map(|n| full(later(n))).collect();
    let mut pending: Vec<_> = rows.iter().map(|row| Box::pin(writer.close(row.clone()))).collect();
    // Polled once, each row is queued. Unconstrained, because the runtime would stop us after a hundred.
    tokio::task::unconstrained(async {
        for write in &mut pending {
            assert!(futures::poll!(write.as_mut()).is_pending());
        }
    })
    .await;
    bench.store.close().await;
    for done in join_all(pending).await {
        done.unwrap();
    }
    assert!(matches!(writer.open(plain(NOON)).await, Err(StoreError::Closed)));
    assert!(matches!(writer.close(plain(NOON)).await, Err(StoreError::Closed)));
    let again = Store::open(&bench.settings).await.unwrap();
    assert_eq!(again.requests().summary(&Filter::default(), None).await.unwrap().count, 1500);
}

async fn a_sleeping_caller_does_not_hold_up_the_end(bench: Bench) {
    let writer = bench.store.writer().clone();
    let mut pending: Vec<_> = (0..500).map(|n| Box::pin(writer.close(full(later(n))))).collect();
    // Constrained, so that some hold a place in the queue and have not used it.
    for write in &mut pending {
        assert!(futures::poll!(write.as_mut()).is_pending());
    }
    let started = Instant::now();
    bench.store.close().await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let done = join_all(pending).await;
    let again = Store::open(&bench.settings).await.unwrap();
    let written = again.requests().summary(&Filter::default(), None).await.unwrap().count;
    assert_eq!(done.iter().filter(|done| done.is_ok()).count(), usize::try_from(written).unwrap());
}

async fn a_stuck_database_refuses_in_time(bench: Bench) {
    let mut stranger = bench.stranger().await;
    let lock =
        if bench.is_sqlite() { "BEGIN EXCLUSIVE" } else { "BEGIN; LOCK TABLE requests IN ACCESS EXCLUSIVE MODE" };
    stranger.execute(lock).await.unwrap();
    let (refused, late) = (plain(NOON), full(later(1)));
    let started = Instant::now();
    let closing = tokio::spawn({
        let (writer, late) = (bench.store.writer().clone(), late.clone());
        async move { writer.close(late).await }
    });
    let answer = bench.store.writer().open(refused.clone()).await;
    assert!(matches!(answer, Err(StoreError::Unavailable)), "{answer:?}");
    assert!(started.elapsed() < Duration::from_millis(2500), "{:?}", started.elapsed());
    stranger.execute("ROLLBACK").await.unwrap();
    // The final row waited, and got through. The refused one left nothing that looks like money.
    closing.await.unwrap().unwrap();
    assert_eq!(bench.read(&late.id).await, Some(late));
    bench.store.writer().close(full(later(2))).await.unwrap();
    if let Some(row) = bench.read(&refused.id).await {
        assert_eq!((row.status, row.error_code.as_deref()), (Status::Cancelled, Some("NOT_STARTED")));
    }
}

async fn opening_twice_changes_nothing(bench: Bench) {
    bench.write(&[full(NOON)]).await;
    let (one, other) = tokio::join!(Store::open(&bench.settings), Store::open(&bench.settings));
    for store in [one.unwrap(), other.unwrap()] {
        assert!(store.requests().summary(&Filter::default(), None).await.unwrap().count >= 1);
        store.writer().close(full(NOON)).await.unwrap();
        store.close().await;
    }
    assert_eq!(bench.ids(&Filter::default()).await.len(), 3);
}

async fn a_fresh_database_may_be_opened_by_many(bench: Bench) {
    let url = match bench.settings.url.strip_suffix("log.db") {
        Some(place) => format!("{place}another.db"),
        None => kit::postgres::database(),
    };
    let settings = settings(url, 2);
    let starts = (0..6).map(|_| {
        let settings = settings.clone();
        tokio::spawn(async move { Store::open(&settings).await })
    });
    for start in join_all(starts).await {
        start.unwrap().unwrap().writer().close(full(NOON)).await.unwrap();
    }
}

async fn it_answers_pings(bench: Bench) {
    bench.store.ping().await.unwrap();
    let handle = bench.store.clone();
    bench.store.close().await;
    assert!(handle.ping().await.is_err());
}

fn ours(name: &str) -> NewKey {
    NewKey { account_id: "default".into(), name: Some(name.into()), ..NewKey::default() }
}

async fn keys_open_until_they_are_revoked(bench: Bench) {
    let new = NewKey { admin: true, allowed_models: vec!["flux.*".into(), "mock-image".into()], ..ours("build") };
    let (key, secret) = bench.key(new).await;
    assert_eq!((key.id.len(), key.name.as_deref(), key.admin), (27, Some("build"), true));
    assert!(secret.expose().starts_with(&format!("lmnfl_{}.", key.id)) && secret.expose().ends_with(&key.last_four));
    let now = Timestamp::now();
    assert_eq!(bench.store.keys().authenticate(secret.expose(), now).await.unwrap(), Some(key.clone()));
    assert_eq!(bench.store.keys().find(&key.id, None).await.unwrap(), Some(key.clone()));
    assert!(bench.store.keys().revoke(&key.id, None, now).await.unwrap());
    assert!(!bench.opens(&secret, now).await);
    assert!(bench.store.keys().revoke(&key.id, None, now.plus(Duration::from_secs(9))).await.unwrap());
    assert_eq!(bench.store.keys().find(&key.id, None).await.unwrap().unwrap().revoked_at, Some(now));
    assert!(bench.store.keys().rotate(&key.id, None, Duration::ZERO, now).await.unwrap().is_none());
    assert!(!bench.store.keys().revoke("nobody", None, now).await.unwrap());
}

async fn expired_keys_do_not_open(bench: Bench) {
    let (_, secret) = bench.key(NewKey { expires_at: Some(NOON), ..ours("short") }).await;
    assert!(bench.opens(&secret, later(-1)).await);
    assert!(!bench.opens(&secret, NOON).await);
}

async fn only_the_right_secret_opens(bench: Bench) {
    let (key, secret) = bench.key(ours("a")).await;
    let (other, _) = bench.key(ours("b")).await;
    let own = secret.expose().split_once('.').unwrap().1.to_owned();
    for wrong in [
        format!("lmnfl_{}.{}", other.id, own),
        format!("lmnfl_{}.{}", key.id, &own[1..]),
        format!("lmnfl_{}.{}x", key.id, own),
        format!("lmnfl_nobody.{own}"),
        format!("lmnfl_{}.", key.id),
        format!("{}.{}", key.id, own),
        format!("lmnfl_{}.{}\0", key.id, own),
        String::new(),
        "x".repeat(100_000),
    ] {
        assert!(!bench.opens(&Secret::new(wrong), NOON).await);
    }
    assert!(bench.opens(&secret, NOON).await);
}

async fn rotation_has_a_grace(bench: Bench) {
    let (key, first) = bench.key(ours("turning")).await;
    let grace = Duration::from_mins(1);
    let (shown, second) = bench.store.keys().rotate(&key.id, Some("default"), grace, NOON).await.unwrap().unwrap();
    assert!(shown.id == key.id && second.expose().ends_with(&shown.last_four) && first != second);
    assert!(bench.opens(&first, later(59_999)).await && bench.opens(&second, later(59_999)).await);
    assert!(!bench.opens(&first, later(60_000)).await && bench.opens(&second, later(60_000)).await);
    // Without grace: at once. And the one before is gone, whatever its grace was.
    let (_, third) = bench.store.keys().rotate(&key.id, None, Duration::ZERO, later(1)).await.unwrap().unwrap();
    assert!(!bench.opens(&first, later(1)).await && !bench.opens(&second, later(1)).await);
    assert!(bench.opens(&third, later(1)).await);
    assert!(bench.store.keys().rotate("nobody", None, grace, NOON).await.unwrap().is_none());
    bench.store.keys().revoke(&key.id, None, NOON).await.unwrap();
    assert!(!bench.opens(&third, later(1)).await);
}

async fn keys_are_listed_in_pages(bench: Bench) {
    let mut made = Vec::new();
    for n in 0..5 {
        made.push(bench.key(ours(&n.to_string())).await.0);
    }
    made.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
    bench.store.keys().revoke(&made[1].id, None, NOON).await.unwrap();
    let list = async |status, limit, cursor| {
        let listed = bench.store.keys().list(Some("default"), status, &Page { limit, cursor }).await.unwrap().unwrap();
        (listed.items.into_iter().map(|key| key.id).collect::<Vec<_>>(), listed.has_newer, listed.has_older)
    };
    let ids = |places: &[usize]| places.iter().map(|n| made[*n].id.clone()).collect::<Vec<_>>();
    assert_eq!(list(None, 2, Cursor::Start).await, (ids(&[0, 1]), false, true));
    assert_eq!(list(None, 3, Cursor::After(made[1].id.clone())).await, (ids(&[2, 3, 4]), true, false));
    assert_eq!(list(None, 1, Cursor::Before(made[2].id.clone())).await, (ids(&[1]), true, true));
    assert_eq!(list(Some(KeyStatus::Active), 9, Cursor::Start).await, (ids(&[0, 2, 3, 4]), false, false));
    assert_eq!(list(Some(KeyStatus::Revoked), 9, Cursor::Start).await, (ids(&[1]), false, false));
    let nowhere = Page { limit: 9, cursor: Cursor::After("nobody".into()) };
    assert!(bench.store.keys().list(None, None, &nowhere).await.unwrap().is_none());
}

async fn keys_belong_to_accounts(bench: Bench) {
    let mut stranger = bench.stranger().await;
    stranger.execute("INSERT INTO accounts (id, name, created_at) VALUES ('acme', 'Acme', 0)").await.unwrap();
    let (key, secret) = bench.key(NewKey { account_id: "acme".into(), ..ours("theirs") }).await;
    assert_eq!(bench.store.keys().authenticate(secret.expose(), NOON).await.unwrap().unwrap().account_id, "acme");
    assert!(bench.store.keys().find(&key.id, Some("default")).await.unwrap().is_none());
    assert!(!bench.store.keys().revoke(&key.id, Some("default"), NOON).await.unwrap());
    assert!(bench.store.keys().rotate(&key.id, Some("default"), Duration::ZERO, NOON).await.unwrap().is_none());
    let all = Page { limit: 9, cursor: Cursor::Start };
    assert!(bench.store.keys().list(Some("default"), None, &all).await.unwrap().unwrap().items.is_empty());
    let after = Page { limit: 9, cursor: Cursor::After(key.id.clone()) };
    assert!(bench.store.keys().list(Some("default"), None, &after).await.unwrap().is_none());
    assert!(bench.store.keys().revoke(&key.id, Some("acme"), NOON).await.unwrap());
}

async fn keys_need_an_account(bench: Bench) {
    let error = bench.store.keys().create(NewKey { account_id: "nobody".into(), ..ours("x") }).await.unwrap_err();
    assert!(matches!(error, StoreError::UnknownAccount(_)));
    assert_eq!(error.to_string(), "there is no account \"nobody\"");
}

async fn configured_keys_are_ensured(bench: Bench) {
    let admin = NewKey { admin: true, ..ours("bootstrap") };
    let first = Secret::new("lmnfl_boot_key.first-secret-1234");
    let key = bench.store.keys().ensure(&first, admin.clone()).await.unwrap();
    assert_eq!((key.id.as_str(), key.last_four.as_str(), key.admin), ("boot_key", "1234", true));
    assert_eq!(bench.store.keys().ensure(&first, admin.clone()).await.unwrap(), key);
    assert!(bench.opens(&first, NOON).await);
    let second = Secret::new("lmnfl_boot_key.second-secret-5678");
    assert_eq!(bench.store.keys().ensure(&second, admin.clone()).await.unwrap().last_four, "5678");
    assert!(!bench.opens(&first, NOON).await && bench.opens(&second, NOON).await);
    // Many replicas start together.
    let starts = (0..8).map(|_| bench.store.keys().ensure(&second, admin.clone()));
    assert!(join_all(starts).await.into_iter().all(|done| done.is_ok()));
    bench.store.keys().revoke("boot_key", None, NOON).await.unwrap();
    assert_eq!(bench.store.keys().ensure(&second, admin.clone()).await.unwrap().revoked_at, Some(NOON));
    let error = bench.store.keys().ensure(&Secret::new("hunter2"), admin).await.unwrap_err().to_string();
    assert!(error.contains("lmnfl_<id>.<secret>") && !error.contains("hunter2"), "{error}");
}

async fn admins_are_noticed(bench: Bench) {
    assert!(!bench.store.keys().has_admin().await.unwrap());
    bench.key(ours("plain")).await;
    let past = Some(Timestamp::from_millis(1));
    bench.key(NewKey { admin: true, expires_at: past, ..ours("past") }).await;
    assert!(!bench.store.keys().has_admin().await.unwrap());
    let (key, _) = bench.key(NewKey { admin: true, ..ours("admin") }).await;
    assert!(bench.store.keys().has_admin().await.unwrap());
    bench.store.keys().revoke(&key.id, None, NOON).await.unwrap();
    assert!(!bench.store.keys().has_admin().await.unwrap());
}

/// What an operator reads when the database cannot be opened.
async fn refusal(url: &str) -> String {
    let settings = settings(url.to_owned(), 2);
    assert!(!format!("{settings:?}").contains("hunter2"));
    match Store::open(&settings).await {
        Ok(_) => panic!("{url} opened"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn an_unreachable_server_is_named_without_its_password() {
    let said = refusal("postgres://me:hunter2@127.0.0.1:1/log").await;
    assert!(said.contains("postgres://me@127.0.0.1:1/log") && said.contains("refused"), "{said}");
    assert!(said.contains("LUMENFALL_DATABASE__URL") && !said.contains("hunter2"), "{said}");
    let said = refusal(&format!("{}/nowhere", kit::postgres::server())).await;
    assert!(said.contains("nowhere") && said.contains("does not exist"), "{said}");
    let said = refusal("mysql://me:hunter2@db/log").await;
    assert!(said.contains("sqlite://") && !said.contains("hunter2"), "{said}");
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_named() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("file"), "no database").unwrap();
    for place in ["file/log.db", "", "file"] {
        let place = directory.path().join(place).display().to_string();
        let said = refusal(&format!("sqlite://{place}")).await;
        assert!(said.contains(&place) && said.contains("writable"), "{said}");
    }
    let said = refusal("sqlite:///proc/lumenfall/log.db").await;
    assert!(said.contains("/proc/lumenfall cannot be made"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_up_is_called_again() {
    let bench = Bench::postgres().await;
    for n in 0..3 {
        let record = full(later(n));
        bench.store.writer().open(Record { id: record.id.clone(), ..plain(later(n)) }).await.unwrap();
        let all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        kit::postgres::psql(&bench.settings.url, all);
        bench.store.writer().close(record.clone()).await.unwrap();
        assert_eq!(bench.read(&record.id).await, Some(record));
    }
}

/// A wire to the server that can be cut.
async fn wire(server: String, mut whole: watch::Receiver<bool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            if *whole.borrow_and_update() {
                let (server, mut whole) = (server.clone(), whole.clone());
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(server).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = whole.wait_for(|whole| !whole) => {}
                    }
                });
            }
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_costs_no_final_row() {
    let (cut, whole) = watch::channel(true);
    let url = kit::postgres::database();
    let (server, database) = url.trim_start_matches("postgres://postgres@").split_once('/').unwrap();
    let port = wire(server.to_owned(), whole).await;
    let bench = Bench::open(format!("postgres://postgres@127.0.0.1:{port}/{database}")).await;
    let ends: Vec<_> = (0..50).map(|n| full(later(n))).collect();
    for end in &ends {
        bench.store.writer().open(Record { id: end.id.clone(), ..plain(end.created_at) }).await.unwrap();
    }
    cut.send_replace(false);
    let started = Instant::now();
    let closing = ends.iter().map(|end| {
        let (writer, end) = (bench.store.writer().clone(), end.clone());
        tokio::spawn(async move { writer.close(end).await })
    });
    let closing: Vec<_> = closing.collect();
    // Nothing new is let in, and its caller learns so in time.
    let refused = plain(NOON);
    assert!(bench.store.writer().open(refused.clone()).await.is_err());
    assert!(started.elapsed() < Duration::from_millis(2500), "{:?}", started.elapsed());
    cut.send_replace(true);
    for done in join_all(closing).await {
        done.unwrap().unwrap();
    }
    for end in ends {
        assert_eq!(bench.read(&end.id).await, Some(end));
    }
    assert_eq!(bench.read(&refused.id).await, None);
}
