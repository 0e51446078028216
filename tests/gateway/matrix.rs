//! The failure matrix: every adapter against everything that can go wrong, through the whole gateway. Each cell says
//! what the fault is, whether the provider may have taken the job, and what happens next.
//!
//! `docs/failures.md` is this table; `LUMENFALL_BLESS=1 cargo test --test gateway matrix` writes it anew.

use super::kit::{Fixture, Kit, Said, TurnOf, pointed};
use lumenfall::fault::{FaultKind, Policy, Verdict};
use lumenfall::providers::{ADAPTERS, Reach};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a provider does to a call.
#[derive(Debug, Clone)]
enum Act {
    /// These bytes, then the end of the connection.
    Say(Vec<u8>),
    /// The head of an answer, then nothing.
    Stall,
    /// The end of the connection at once.
    HangUp,
}

fn answer(status: u16, headers: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

fn error(status: u16, headers: &str) -> Act {
    let body = json!({"error": {"message": "boom"}, "detail": "boom", "message": "boom"}).to_string();
    Act::Say(answer(status, headers, "application/json", body.as_bytes()))
}

/// Google and others say in the body when to come back.
fn told_in_body() -> Act {
    let info = json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "77s"});
    let body = json!({"error": {"message": "boom", "details": [info]}, "message": "boom", "retry_after": 77});
    Act::Say(answer(429, "", "application/json", body.to_string().as_bytes()))
}

/// The rows: a name, and what the creating call gets.
fn rows() -> Vec<(&'static str, Act)> {
    let page = b"<html><body>Bad Gateway</body></html>";
    let mut half = answer(200, "", "application/json", &[b' '; 1000]);
    half.truncate(half.len() - 900);
    vec![
        ("400", error(400, "")),
        ("401", error(401, "")),
        ("402", error(402, "")),
        ("403", error(403, "")),
        ("404", error(404, "")),
        ("408", error(408, "")),
        ("409", error(409, "")),
        ("422", error(422, "")),
        ("425", error(425, "")),
        ("429", error(429, "")),
        ("429, in the body", told_in_body()),
        ("429, seconds", error(429, "retry-after: 77\r\n")),
        ("429, date", error(429, "retry-after: Fri, 31 Dec 2100 23:59:59 GMT\r\n")),
        ("500", error(500, "")),
        ("502", error(502, "")),
        ("503", error(503, "")),
        ("503, seconds", error(503, "retry-after: 77\r\n")),
        ("504", error(504, "")),
        ("524", error(524, "")),
        ("hang-up", Act::HangUp),
        ("half a body", Act::Say(half)),
        ("slow body", Act::Stall),
        ("HTML 502", Act::Say(answer(502, "", "text/html", page))),
        ("HTML 200", Act::Say(answer(200, "", "text/html", page))),
        ("truncated JSON", Act::Say(answer(200, "", "application/json", b"{\"data\": ["))),
        ("empty JSON", Act::Say(answer(200, "", "application/json", b"{}"))),
    ]
}

/// A provider that does the next act to each call.
struct Stage {
    base: String,
    acts: Arc<Mutex<VecDeque<Act>>>,
}

impl Stage {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let acts: Arc<Mutex<VecDeque<Act>>> = Arc::default();
        let shared = Arc::clone(&acts);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let act = shared.lock().unwrap().pop_front().unwrap_or(Act::HangUp);
                tokio::spawn(perform(stream, act));
            }
        });
        Self { base, acts }
    }

    fn set(&self, acts: impl IntoIterator<Item = Act>) {
        *self.acts.lock().unwrap() = acts.into_iter().collect();
    }
}

/// Reads one request whole, then acts.
async fn perform(mut stream: TcpStream, act: Act) {
    let mut seen = Vec::new();
    let mut buffer = vec![0; 65_536];
    loop {
        let text = String::from_utf8_lossy(&seen).into_owned();
        if let Some(end) = text.find("\r\n\r\n") {
            let length = text[..end]
                .lines()
                .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
            if seen.len() >= end + 4 + length.unwrap_or(0) {
                break;
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => seen.extend_from_slice(&buffer[..count]),
        }
    }
    match act {
        Act::Say(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
        Act::Stall => {
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n")
                .await;
            tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        }
        Act::HangUp => {}
    }
}

/// A conversation as acts, each turn as `change` leaves it; empty when it changes none.
fn spoiled(turns: &[TurnOf], base: &str, change: impl Fn(&mut Said, usize) -> bool) -> Vec<Act> {
    let mut changed = false;
    let mut acts = Vec::new();
    for (index, turn) in turns.iter().enumerate() {
        let mut said = turn.reply.clone();
        let spoiled = change(&mut said, index);
        changed |= spoiled;
        let mut headers = String::new();
        for (name, value) in &said.headers {
            write!(headers, "{name}: {}\r\n", value.as_str().unwrap()).unwrap();
        }
        let kind = if said.picture.is_some() { "image/png" } else { "application/json" };
        let act = Act::Say(answer(said.status, &headers, kind, &said.body(base)));
        // Reads are repeated: what is spoiled stays so.
        acts.extend(std::iter::repeat_n(act, if spoiled { 5 } else { 1 }));
        if spoiled && said.picture.is_none() && turn.reply.picture.is_some() {
            break;
        }
    }
    if changed { acts } else { Vec::new() }
}

/// Every text of a document through `change`; whether any changed.
fn change_texts(value: &mut Value, change: &impl Fn(&str) -> Option<String>) -> bool {
    match value {
        Value::String(text) => change(text).map(|new| *text = new).is_some(),
        Value::Array(items) => items.iter_mut().fold(false, |changed, item| change_texts(item, change) | changed),
        Value::Object(fields) => {
            fields.values_mut().fold(false, |changed, field| change_texts(field, change) | changed)
        }
        _ => false,
    }
}

fn spoil_link(said: &mut Said, status: u16, location: Option<&str>, text: &str) -> bool {
    if said.picture.take().is_none() {
        return false;
    }
    said.status = status;
    said.text = Some(text.to_owned());
    said.headers.extend(location.map(|location| ("location".to_owned(), json!(location))));
    true
}

fn spoil_base64(said: &mut Said) -> bool {
    let garbage =
        |text: &str| (text.starts_with("{b64:") || text.starts_with("{uri:")).then(|| "!!! no base64 !!!".to_owned());
    said.json.as_mut().is_some_and(|json| change_texts(json, &garbage))
}

fn shrink(said: &mut Said) -> bool {
    let small = |spec: &str| format!("{}:8x8", spec.split(':').next().unwrap());
    if let Some(spec) = said.picture.take() {
        said.picture = Some(small(&spec));
        return true;
    }
    let inline = |text: &str| {
        let kind = ["{b64:", "{uri:"].into_iter().find(|kind| text.starts_with(kind))?;
        Some(format!("{kind}{}}}", small(text.strip_prefix(kind)?.strip_suffix('}')?)))
    };
    said.json.as_mut().is_some_and(|json| change_texts(json, &inline))
}

/// A job in a state that nobody knows.
fn estrange(said: &mut Said, index: usize) -> bool {
    let Some(json) = said.json.as_mut().filter(|_| index > 0) else { return false };
    for pointer in ["/status", "/state", "/data/status", "/data/task_status", "/output/task_status", "/task_status"] {
        if let Some(status) = json.pointer_mut(pointer).filter(|status| status.is_string()) {
            *status = json!("SLEEPING");
            return true;
        }
    }
    false
}

async fn cell(kit: &Kit, request: &Value) -> String {
    let got = kit.post("/v1/images/generations", request).await;
    let row = &kit.get("/v1/requests?limit=1").await.json["data"][0];
    let whole = kit.get(&format!("/v1/requests/{}", row["id"].as_str().unwrap())).await.json;
    if got.status == 200 {
        let told = got.json["metadata"]["adjustments"].as_array().unwrap().iter().any(|told| told["param"] == "size");
        let told = if told { "told as an adjustment" } else { "its real size told" };
        assert_eq!(got.json["size"], "8x8", "{request}: {}", got.json["metadata"]);
        return format!("delivered, {told}");
    }
    let error = &whole["attempts"][0]["error"];
    assert!(got.status != 401 && got.status != 500, "{}", got.json);
    let kind: FaultKind = serde_json::from_value(error["kind"].clone()).unwrap_or_else(|_| panic!("{whole}"));
    let next = match kind.verdict(Policy::default()) {
        Verdict::Stop => "stop",
        Verdict::WaitThenRetry => "wait",
        Verdict::TryNext => "next",
    };
    // Whatever may have been bought is in the books.
    let accepted = error["accepted"].as_str().unwrap();
    let booked = whole["cost_uncertain"].as_f64().unwrap() > 0.0
        || whole["cost"].as_f64() != Some(0.0)
        || whole["cost_estimate"].is_null();
    assert!(accepted == "no" || booked, "{request}: {whole}");
    format!("{} / {accepted} / {next}", kind.as_str())
}

#[tokio::test]
async fn every_adapter_meets_every_failure() {
    let fixtures = Fixture::all();
    let mut table: Vec<(String, Vec<String>)> = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for card in ADAPTERS.iter().map(|adapter| adapter.card()).filter(|card| card.reach != Reach::Inside) {
        let find = |case: &str| {
            let name = format!("{}/{case}", card.id);
            fixtures.iter().find(|fixture| fixture.name == name).unwrap_or_else(|| panic!("{name} is missing"))
        };
        names.push(card.id);
        let cells = column(card.id, find("generate"), find("empty_result")).await;
        for (index, (row, cell)) in cells.into_iter().enumerate() {
            check(card.id, &row, &cell);
            if table.len() <= index {
                table.push((row, Vec::new()));
            }
            table[index].1.push(cell);
        }
    }
    compare_with_docs(&render(&names, &table));
}

/// All cells of one adapter.
async fn column(id: &str, fixture: &Fixture, empty: &Fixture) -> Vec<(String, String)> {
    let stage = Stage::open().await;
    let start = async |base: &str| {
        let mut settings = pointed(id, base);
        settings.push(("ROUTING__DEADLINE_SECONDS".to_owned(), "2".to_owned()));
        Kit::with(&settings).await
    };
    let kit = start(&stage.base).await;
    let mut cells = Vec::new();
    for (name, act) in rows() {
        stage.set([act]);
        // Every cell meets the provider afresh: no breaker, no rate limit, no refused key.
        kit.route(id, "active").await;
        cells.push((name.to_owned(), cell(&kit, &fixture.request).await));
    }
    let turns = &fixture.turns;
    let last = empty.turns.len() - 1;
    let away = Some("https://10.0.0.1/a.png");
    let spoils = [
        ("expired result link", spoiled(turns, &stage.base, |said, _| spoil_link(said, 404, None, "gone")), "inline"),
        ("result redirects away", spoiled(turns, &stage.base, |said, _| spoil_link(said, 302, away, "")), "inline"),
        ("result is no picture", spoiled(turns, &stage.base, |said, _| spoil_link(said, 200, None, "hello")), "inline"),
        ("base64 garbage", spoiled(turns, &stage.base, |said, _| spoil_base64(said)), "by link"),
        ("wrong pixel size", spoiled(turns, &stage.base, |said, _| shrink(said)), "no picture"),
        ("unknown job status", spoiled(turns, &stage.base, estrange), "no job"),
        ("empty result", spoiled(&empty.turns, &stage.base, |_, index| index == last), "none"),
    ];
    for (name, acts, otherwise) in spoils {
        let text = if acts.is_empty() {
            otherwise.to_owned()
        } else {
            stage.set(acts);
            kit.route(id, "active").await;
            cell(&kit, if name == "empty result" { &empty.request } else { &fixture.request }).await
        };
        cells.push((name.to_owned(), text));
    }
    kit.running.stop().await;
    let kit = start("http://127.0.0.1:1").await;
    cells.push(("connection refused".to_owned(), cell(&kit, &fixture.request).await));
    kit.running.stop().await;
    cells
}

/// What must hold for every adapter, whatever its dialect.
fn check(id: &str, row: &str, cell: &str) {
    let parts: Vec<&str> = cell.split(" / ").collect();
    let [kind, accepted, _] = parts[..] else { return };
    let right = match row {
        "400" => kind == "bad_request" && accepted == "no",
        // Some say a refusal with it.
        "422" => (kind == "bad_request" || kind == "moderated") && accepted == "no",
        "401" | "402" | "403" => kind == "auth" && accepted == "no",
        "404" => kind == "gone" && accepted == "no",
        "429" | "429, seconds" | "429, date" | "503, seconds" => kind == "rate_limited" && accepted == "no",
        "500" | "502" | "504" | "524" | "hang-up" | "half a body" | "slow body" | "truncated JSON" => {
            accepted == "maybe"
        }
        "connection refused" => kind == "unavailable" && accepted == "no",
        "expired result link" | "result redirects away" | "result is no picture" | "base64 garbage" => {
            accepted == "yes"
        }
        "unknown job status" => kind == "malformed" && accepted != "no",
        _ => true,
    };
    assert!(right, "{id}, {row}: {cell}");
}

fn render(names: &[&str], table: &[(String, Vec<String>)]) -> String {
    let mut text = String::from(
        "# What happens when a provider fails\n\nEvery adapter against every failure of its creating call, through the whole gateway. A cell reads: kind of fault /\n\
         whether the provider may have taken the job / what happens next (`stop`, `wait` and ask again, `next` route).\n\
         `inline`: this provider's pictures come inside its answer, there is no link to fail; `by link`: the other way round;\n\
         `no job`: it answers at once.\n\n\
         Written by `LUMENFALL_BLESS=1 cargo test --test gateway matrix`, and checked by the same test without the variable.\n\n",
    );
    writeln!(text, "| failure | {} |", names.join(" | ")).unwrap();
    writeln!(text, "|---|{}", "---|".repeat(names.len())).unwrap();
    for (row, cells) in table {
        writeln!(text, "| {row} | {} |", cells.join(" | ")).unwrap();
    }
    text
}

fn compare_with_docs(text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/failures.md");
    if std::env::var_os("LUMENFALL_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == text, "docs/failures.md is not current:\n{text}");
}
