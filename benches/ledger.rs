//! The ledger with twelve months of rows on PostgreSQL: pages, sums, an export, and writing while reading. It starts a
//! server of its own that flushes to disk as a real one does, fills it, measures, prints a table, and removes every trace.
//!
//! `LUMENFALL_BENCH_ROWS` sets another number of rows than ten million, which need some 20 GB of disk and ten minutes.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that cannot work shall say so and stop; it prints a table"
)]

#[expect(dead_code, reason = "the tests use the rest of it")]
#[path = "../tests/kit/postgres.rs"]
mod postgres;

use lumenfall::base::{Timestamp, Usd, id};
use lumenfall::job::{Modality, Mode};
use lumenfall::store::{Cursor, ExportFormat, Filter, GroupBy, Page, Record, Settings, Status, Store};
use sqlx::postgres::PgConnection;
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor, Row};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// What a server with a few gigabytes of memory would be given.
const TUNING: &[&str] = &[
    "shared_buffers=2GB",
    "effective_cache_size=8GB",
    "maintenance_work_mem=512MB",
    "max_wal_size=8GB",
    "wal_level=minimal",
    "max_wal_senders=0",
    "random_page_cost=1.1",
    "jit=off",
];
/// Samples of each page.
const SAMPLES: usize = 200;
/// How long rows are written.
const WRITING: Duration = Duration::from_secs(20);
/// How long each way to write is tried.
const WAY: Duration = Duration::from_secs(5);
/// Callers that write at once.
const WRITERS: usize = 1024;

#[tokio::main]
async fn main() {
    let rows: i64 = std::env::var("LUMENFALL_BENCH_ROWS").ok().map_or(10_000_000, |text| text.parse().unwrap());
    let server = postgres::Server::start(TUNING);
    let settings = Settings {
        url: server.url(),
        max_connections: 10,
        statement_timeout_seconds: 60,
        journal: String::new(),
        journal_max_bytes: 0,
        retention_months: 0,
    };
    let store = Store::open(&settings).await.unwrap();
    let began = Instant::now();
    fill(&store, &settings.url, rows).await;
    println!("{rows} rows over 12 months, filled in {:.0} s", began.elapsed().as_secs_f64());
    println!("\n| question | p50 | p99 | worst |\n|---|---:|---:|---:|");
    pages(&store).await;
    sums(&store).await;
    println!();
    export(&store).await;
    write_while_reading(&store).await;
    store.close().await;
    ways(&settings.url).await;
}

/// Rows as twelve months of use would leave them: 20 accounts with 3 keys each, 40 models, 14 providers, 20,000 users.
async fn fill(store: &Store, url: &str, rows: i64) {
    let now = Timestamp::now();
    let (first, last) = (now.month() - 11, now.month());
    for month in first..=last {
        // As the program does, each time it looks: this month's partition and those of the next two.
        store.requests().maintain(Timestamp::of_month(month), 0).await.unwrap();
    }
    let mut connection = AnyConnection::connect(url).await.unwrap();
    connection.execute("SET synchronous_commit = off").await.unwrap();
    let indexes = "SELECT indexname::text AS name, indexdef::text AS def FROM pg_indexes \
                   WHERE tablename = 'requests' AND indexname <> 'requests_pkey1' AND indexdef NOT LIKE '%UNIQUE%'";
    let indexes: Vec<(String, String)> =
        connection.fetch_all(indexes).await.unwrap().iter().map(|row| (row.get("name"), row.get("def"))).collect();
    for (name, _) in &indexes {
        connection.execute(AssertSqlSafe(format!("DROP INDEX {name}"))).await.unwrap();
    }
    for month in first..=last {
        let from = Timestamp::of_month(month).millis();
        let to = Timestamp::of_month(month + 1).millis().min(now.millis());
        connection.execute(AssertSqlSafe(insert(rows / 12, from, to))).await.unwrap();
    }
    for (_, definition) in &indexes {
        connection.execute(AssertSqlSafe(definition.replace(" ON ONLY ", " ON "))).await.unwrap();
    }
    // The sums, by the statements that the migrations have for rows from before there were any.
    let hours =
        include_str!("../migrations/postgres/0004_rollups.sql").replace("request_hours", "request_hours_before");
    connection.execute(AssertSqlSafe(hours)).await.unwrap();
    let days = include_str!("../migrations/postgres/0008_reading.sql");
    connection.execute(AssertSqlSafe(days[days.find("INSERT INTO").unwrap()..].to_owned())).await.unwrap();
    connection.execute("VACUUM ANALYZE").await.unwrap();
}

fn insert(rows: i64, from: i64, to: i64) -> String {
    let step = (to - from) / rows.max(1);
    format!(
        "INSERT INTO requests (id, created_at, account_id, key_id, endpoint, model, modality, status, mode, \
           executed_model, provider, cost, cost_source, cost_estimate, cost_uncertain, duration_ms, gateway_ms, \
           provider_ms, response_ms, image_count, size, output_format, error_code, error_message, session_id, \
           end_user, request_size_bytes, response_size_bytes, attempts, timeline, adjustments, sandbox) \
         SELECT 'req_' || lpad(to_hex(at), 11, '0') || substr(md5(n::text || at::text), 1, 16), at, \
           'account_' || a, 'key_' || (a * 3 + h % 3), '/v1/images/generations', 'model-' || m, \
           CASE WHEN h % 100 < 90 THEN 'image' ELSE 'video' END, \
           CASE WHEN ok THEN 'completed' WHEN h % 7 = 0 THEN 'rejected' ELSE 'upstream_failure' END, 'text-to-image', \
           'provider-' || (m % 14) || '/model-' || m, 'provider-' || (m % 14), \
           CASE WHEN ok THEN 1000 + (h % 90000) ELSE 0 END, 'price_table', 40000, 0, 2000 + h % 9000, 3, \
           1900 + h % 9000, 40, 1, '1024x1024', 'png', \
           CASE WHEN ok THEN NULL WHEN h % 7 = 0 THEN 'CONTENT_POLICY_VIOLATION' ELSE 'ALL_PROVIDERS_EXHAUSTED' END, \
           CASE WHEN ok THEN NULL ELSE 'All providers failed.' END, \
           CASE WHEN h % 10 = 0 THEN 'session-' || (h / 10 % 100000) END, 'user-' || (h % 20000), 240, 1400000, \
           '[{{\"index\":0,\"provider\":\"provider-1\",\"route\":\"provider-1/model-1\",\"status\":\"completed\",\"n\":1,\
             \"started_ms\":3,\"duration_ms\":2300,\"cost\":0.04,\"cost_source\":\"price_table\"}}]', \
           '{{\"gateway_ms\":3,\"provider_ms\":2300,\"response_ms\":40,\"total_ms\":2343}}', '[]', 0 \
         FROM (SELECT n, {from} + n::bigint * {step} AS at, h, h % 20 AS a, h / 20 % 40 AS m, h % 13 > 0 AS ok \
               FROM (SELECT n, abs(hashint8(n + {from})::bigint) AS h FROM generate_series(0, {rows} - 1) AS n) AS s) AS t"
    )
}

/// A filter of some number.
type Make = Box<dyn Fn(usize) -> Filter>;

/// The first page with each filter alone; values that many rows have, few, and none.
async fn pages(store: &Store) {
    let now = Timestamp::now();
    let none = Filter::default;
    let hit = |number: usize, name: String| Some(if number % 10 == 9 { "nothing".to_owned() } else { name });
    let days = move |number: usize| now.minus(Duration::from_hours(24 * (number as u64 * 37 % 365)));
    let kinds: Vec<(&str, Make)> = vec![
        ("no filter", Box::new(move |_| none())),
        ("account_id", Box::new(move |n| Filter { account_id: hit(n, format!("account_{}", n % 20)), ..none() })),
        ("key_id", Box::new(move |n| Filter { key_id: hit(n, format!("key_{}", n % 60)), ..none() })),
        ("model", Box::new(move |n| Filter { model: hit(n, format!("model-{}", n % 40)), ..none() })),
        ("provider", Box::new(move |n| Filter { provider: hit(n, format!("provider-{}", n % 14)), ..none() })),
        (
            "status",
            Box::new(move |n| {
                let statuses = ["completed", "rejected", "upstream_failure", "cancelled", "processing"];
                Filter { status: Some(statuses[n % 5].into()), ..none() }
            }),
        ),
        ("modality", Box::new(move |n| Filter { modality: hit(n, ["image", "video"][n % 2].into()), ..none() })),
        ("user", Box::new(move |n| Filter { user: hit(n, format!("user-{}", n * 97 % 20_000)), ..none() })),
        ("session_id", Box::new(move |n| Filter { session_id: hit(n, format!("session-{}", n * 479)), ..none() })),
        (
            "error_code",
            Box::new(move |n| Filter {
                error_code: hit(n, ["CONTENT_POLICY_VIOLATION", "ALL_PROVIDERS_EXHAUSTED"][n % 2].into()),
                ..none()
            }),
        ),
        (
            "min_cost",
            Box::new(move |n| {
                let micros = [0, 5_000, 50_000, 90_500, 90_990, 200_000][n % 6];
                Filter { min_cost: Some(Usd::from_micros(micros)), ..none() }
            }),
        ),
        ("created_after", Box::new(move |n| Filter { created_after: Some(days(n)), ..none() })),
        ("created_before", Box::new(move |n| Filter { created_before: Some(days(n)), ..none() })),
    ];
    let page = Page { limit: 20, cursor: Cursor::Start };
    for (name, filter) in kinds {
        let mut taken = Vec::new();
        for number in 0..SAMPLES {
            let filter = filter(number);
            let began = Instant::now();
            store.requests().list(&filter, &page).await.unwrap().unwrap();
            taken.push(began.elapsed());
        }
        print_line(&format!("first page, {name}"), taken);
    }
}

async fn sums(store: &Store) {
    let groups = [
        ("all rows", None),
        ("all rows, by day", Some(GroupBy::Day)),
        ("all rows, by model", Some(GroupBy::Model)),
        ("all rows, by provider", Some(GroupBy::Provider)),
        ("all rows, by key", Some(GroupBy::Key)),
    ];
    for (name, by) in groups {
        let mut taken = Vec::new();
        for _ in 0..20 {
            let began = Instant::now();
            store.requests().summary(&Filter::default(), by).await.unwrap();
            taken.push(began.elapsed());
        }
        print_line(&format!("summary, {name}"), taken);
    }
}

fn print_line(name: &str, mut taken: Vec<Duration>) {
    taken.sort_unstable();
    let at = |share: usize| taken[(taken.len() * share / 100).min(taken.len() - 1)].as_secs_f64() * 1000.0;
    println!("| {name} | {:.1} ms | {:.1} ms | {:.1} ms |", at(50), at(99), at(100));
}

/// A month as CSV, and how far memory grew meanwhile.
async fn export(store: &Store) {
    let month = Timestamp::now().month() - 1;
    let filter = Filter {
        created_after: Some(Timestamp::of_month(month)),
        created_before: Some(Timestamp::from_millis(Timestamp::of_month(month + 1).millis() - 1)),
        ..Filter::default()
    };
    let (began, mut rows, mut bytes, mut last) = (Instant::now(), 0, 0, None);
    let (mut early, mut most) = (0, 0);
    while let Some(records) = store.requests().next_batch(&filter, last.as_ref()).await.unwrap() {
        last = records.last().map(|record| (record.created_at, record.id.clone()));
        rows += records.len();
        bytes += ExportFormat::Csv.rows(&records).len();
        if rows == 20_000 {
            early = resident();
        }
        most = most.max(resident());
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "CSV of a month: {rows} rows, {} MB in {seconds:.1} s ({:.0} rows/s); memory {} MB after 20,000 rows, {} MB at most",
        bytes / 1_000_000,
        f64::from(u32::try_from(rows).unwrap()) / seconds,
        early / 1024,
        most / 1024
    );
}

/// Kilobytes of memory in use.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// Final rows through the writer, one after the other from many callers, while pages are read.
async fn write_while_reading(store: &Store) {
    let stop = Arc::new(AtomicBool::new(false));
    let (written, read) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let reader = tokio::spawn({
        let (store, stop, read) = (store.clone(), Arc::clone(&stop), Arc::clone(&read));
        async move {
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                let filter = Filter { model: Some(format!("model-{}", number % 40)), ..Filter::default() };
                let page = Page { limit: 20, cursor: Cursor::Start };
                store.requests().list(&filter, &page).await.unwrap().unwrap();
                number += 1;
                read.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    });
    let before = store.writer().stats();
    let began = Instant::now();
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| {
            let (store, stop, written) = (store.clone(), Arc::clone(&stop), Arc::clone(&written));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    store.writer().close(row(number)).await.unwrap();
                    written.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    tokio::time::sleep(WRITING).await;
    stop.store(true, Ordering::Relaxed);
    let seconds = began.elapsed().as_secs_f64();
    let count = written.load(Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    reader.await.unwrap();
    let transactions = store.writer().stats().transactions - before.transactions;
    println!(
        "writing while reading: {:.0} rows/s ({} rows a transaction), {:.0} pages/s read meanwhile",
        f64::from(u32::try_from(count).unwrap()) / seconds,
        count / transactions.max(1),
        f64::from(u32::try_from(read.load(Ordering::Relaxed)).unwrap()) / seconds
    );
}

/// The same batches through each way that PostgreSQL has to take many rows at once, one after the other on one connection.
async fn ways(url: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let columns = "SELECT column_name::text, data_type::text FROM information_schema.columns \
                   WHERE table_name = 'requests' ORDER BY ordinal_position";
    let columns: Vec<(String, String)> = sqlx::query_as(columns).fetch_all(&mut connection).await.unwrap();
    let list = |of: &dyn Fn(usize, &str, &str) -> String| {
        let each = columns.iter().enumerate().map(|(at, (name, kind))| of(at, name, kind));
        each.collect::<Vec<_>>().join(", ")
    };
    let names = list(&|_, name, _| name.to_owned());
    let changes = list(&|_, name, _| format!("{name} = excluded.{name}"));
    let upsert = |from: &str| {
        let head = format!("INSERT INTO requests ({names}) SELECT {names} FROM {from} ");
        format!("{head} ON CONFLICT (id, created_at) DO UPDATE SET {changes}")
    };
    let json =
        upsert(&format!("json_to_recordset($1::json) AS given ({})", list(&|_, name, kind| format!("{name} {kind}"))));
    let arrays = list(&|at, _, kind| format!("${}::{kind}[]", at + 1));
    let unnest = upsert(&format!("UNNEST({arrays}) AS given ({names})"));
    let staged = upsert("staged");
    let copy = format!("COPY staged ({names}) FROM STDIN");
    connection.execute("CREATE TEMP TABLE staged (LIKE requests) ON COMMIT DELETE ROWS").await.unwrap();
    println!();
    for way in ["one JSON parameter", "UNNEST of arrays", "COPY, then INSERT"] {
        let (began, mut count) = (Instant::now(), 0);
        while began.elapsed() < WAY {
            let rows = |at| {
                let mut row = serde_json::to_value(row(count + at)).unwrap();
                row["reserved"] = 0.into();
                row
            };
            let rows: Vec<serde_json::Value> = (0..512).map(rows).collect();
            let texts = |name: &str| -> Vec<Option<String>> { rows.iter().map(|row| text(&row[name])).collect() };
            let mut transaction = connection.begin().await.unwrap();
            match way {
                "one JSON parameter" => {
                    let rows = serde_json::to_string(&rows).unwrap();
                    sqlx::query(AssertSqlSafe(json.clone())).bind(rows).execute(&mut *transaction).await.unwrap();
                }
                "UNNEST of arrays" => {
                    let mut query = sqlx::query(AssertSqlSafe(unnest.clone()));
                    for (name, kind) in &columns {
                        let numbers = || rows.iter().map(|row| row[name].as_i64()).collect::<Vec<_>>();
                        query = if kind == "text" { query.bind(texts(name)) } else { query.bind(numbers()) };
                    }
                    query.execute(&mut *transaction).await.unwrap();
                }
                _ => {
                    let mut sink = transaction.copy_in_raw(&copy).await.unwrap();
                    let line = |row: &serde_json::Value| {
                        let field =
                            |value: &serde_json::Value| text(value).map_or("\\N".to_owned(), |text| escape(&text));
                        let fields: Vec<String> = columns.iter().map(|(name, _)| field(&row[name])).collect();
                        fields.join("\t") + "\n"
                    };
                    sink.send(rows.iter().map(line).collect::<String>().into_bytes()).await.unwrap();
                    sink.finish().await.unwrap();
                    sqlx::query(AssertSqlSafe(staged.clone())).execute(&mut *transaction).await.unwrap();
                }
            }
            transaction.commit().await.unwrap();
            count += rows.len();
        }
        let seconds = began.elapsed().as_secs_f64();
        println!("{way}: {:.0} rows/s", f64::from(u32::try_from(count).unwrap()) / seconds);
    }
}

fn text(value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Bool(flag) => Some(u8::from(*flag).to_string()),
        other => Some(other.to_string()),
    }
}

/// As COPY's text format wants it.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n")
}

fn row(number: usize) -> Record {
    let now = Timestamp::now();
    Record {
        id: id::request(now),
        created_at: now,
        account_id: format!("account_{}", number % 20),
        key_id: format!("key_{}", number % 60),
        endpoint: "/v1/images/generations".into(),
        model: format!("model-{}", number % 40),
        modality: Modality::Image,
        status: Status::Completed,
        mode: Some(Mode::TextToImage),
        executed_model: Some("provider-1/model-1".into()),
        provider: Some(format!("provider-{}", number % 14)),
        cost: Some(Usd::from_micros(40_000)),
        cost_source: Some("price_table".into()),
        cost_note: None,
        cost_estimate: Some(Usd::from_micros(40_000)),
        cost_uncertain: Usd::ZERO,
        duration_ms: Some(2343),
        gateway_ms: Some(3),
        provider_ms: Some(2300),
        response_ms: Some(40),
        image_count: 1,
        size: Some("1024x1024".into()),
        output_format: Some("png".into()),
        error_code: None,
        error_message: None,
        session_id: None,
        trace_id: None,
        user: Some(format!("user-{}", number % 200)),
        request_size_bytes: 240,
        response_size_bytes: Some(1_400_000),
        attempts: r#"[{"index":0,"provider":"provider-1","status":"completed","n":1,"cost":0.04}]"#.into(),
        timeline: r#"{"gateway_ms":3,"provider_ms":2300,"response_ms":40,"total_ms":2343}"#.into(),
        adjustments: "[]".into(),
        sandbox: false,
    }
}
