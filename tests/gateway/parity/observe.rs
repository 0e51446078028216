//! Asks for the same thing in three ways, and reads what became of it: from the answer, the row of the request log, the
//! retained payload and the providers' calls.

use super::scenarios::Scenario;
use super::upstream::{Upstream, kind};
use crate::kit::Kit;
use crate::streams::events;
use crate::videos::settled;
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::sleep;

/// How a caller asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Waiting,
    Streamed,
    Background,
}

/// What became of a scenario.
pub(super) struct Observed {
    /// One for each request.
    pub(super) ends: Vec<End>,
    /// Every creating call that the providers saw, sorted.
    pub(super) calls: Vec<String>,
}

/// What became of one request.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct End {
    /// What a scenario spells out.
    pub(super) lines: Vec<String>,
    /// Everything else in which the ways have to agree: `path = value`.
    pub(super) details: Vec<String>,
}

/// Plays a scenario in every way, one after the other, against a gateway of its own.
pub(super) async fn observe_all(scenario: &Scenario, database: Option<&str>) -> Vec<(Way, Observed)> {
    let upstream = Upstream::start(&scenario.upstream).await;
    let kit = gateway(scenario, &upstream.base, database).await;
    let mut seen = Vec::new();
    for way in [Way::Waiting, Way::Streamed, Way::Background] {
        seen.push((way, observe(&kit, &upstream, scenario, way).await));
        // The next way finds the providers as the first one did.
        upstream.rewind();
        for provider in ["openrouter", "together"] {
            kit.route(provider, "draining").await;
            kit.route(provider, "active").await;
        }
    }
    kit.running.stop().await;
    seen
}

async fn observe(kit: &Kit, upstream: &Upstream, scenario: &Scenario, way: Way) -> Observed {
    let mut ends = Vec::new();
    for step in &scenario.steps {
        sleep(Duration::from_millis(step.after_ms)).await;
        let mut together = join_all((0..step.requests).map(|_| request(kit, way, scenario))).await;
        together.sort();
        ends.extend(together);
    }
    Observed { ends, calls: upstream.calls() }
}

async fn gateway(scenario: &Scenario, base: &str, database: Option<&str>) -> Kit {
    let (first, second) = (format!("{base}/openrouter"), format!("{base}/together"));
    let catalog = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/parity/catalog");
    let mut settings = vec![
        ("CATALOG__DIRECTORY", catalog),
        ("PROVIDERS__OPENROUTER__BASE_URL", first.as_str()),
        ("PROVIDERS__OPENROUTER__API_KEYS", scenario.keys),
        ("PROVIDERS__TOGETHER__BASE_URL", second.as_str()),
        ("PROVIDERS__TOGETHER__API_KEY", "k1"),
        ("OUTBOUND__ALLOW_PRIVATE", "true"),
    ];
    settings.extend(database.map(|url| ("DATABASE__URL", url)));
    settings.extend_from_slice(scenario.settings);
    Kit::with(&settings).await
}

async fn request(kit: &Kit, way: Way, scenario: &Scenario) -> End {
    let mut body = scenario.ask.body.clone();
    if way == Way::Streamed {
        body["stream"] = json!(true);
    }
    let mut request = kit.request(Method::POST, scenario.ask.path).header("content-type", "application/json");
    if way == Way::Background {
        request = request.header("prefer", "respond-async");
    }
    let (_, headers, bytes) = Kit::raw_bytes(request.body(body.to_string())).await;
    let text = std::str::from_utf8(&bytes).unwrap();
    let id = headers["x-lumenfall-request-id"].to_str().unwrap().to_owned();
    let answer = if headers["content-type"] == "text/event-stream" {
        whole(&events(text))
    } else {
        let answer: Value = serde_json::from_str(text).unwrap();
        let taken = answer["status"].is_string() && way == Way::Background;
        if taken { settled(kit, &format!("/v1/images/{id}")).await } else { answer }
    };
    let row = kit.get(&format!("/v1/requests/{id}")).await;
    let row = if row.status == 404 { Value::Null } else { row.json };
    let mut end = End { lines: lines(&row, &answer), details: details(&row, &answer) };
    let mut pictures: BTreeMap<String, usize> = BTreeMap::new();
    for picture in list(&answer["data"]) {
        let (bytes, _) = kit.download(picture["url"].as_str().unwrap()).await;
        *pictures.entry(kind(&bytes)).or_default() += 1;
    }
    end.lines.extend(pictures.iter().map(|(kind, count)| format!("pictures {count} {kind}")));
    if scenario.payloads {
        read_payload(kit, &id, &mut end).await;
    }
    end
}

/// The events of a stream as the answer that they make together.
fn whole(events: &[Value]) -> Value {
    let last = events.last().unwrap();
    if last["type"] == "error" {
        return last.clone();
    }
    let finished: Vec<&Value> =
        events.iter().filter(|event| event["type"].as_str().unwrap().ends_with(".completed")).collect();
    let mut whole = last.clone();
    whole["data"] = finished.iter().map(|event| json!({"url": event["url"]})).collect();
    whole
}

/// What a row says, in words: how it ended and what it cost, then its attempts and its adjustments.
fn lines(row: &Value, answer: &Value) -> Vec<String> {
    if answer["estimated"] == true {
        let (cost, logged) = (&answer["total_cost_micros"], if row.is_null() { "" } else { " and a row" });
        return vec![format!("estimated {cost} micros{logged}")];
    }
    let code = row["error_code"].as_str().map(|code| format!(" {code}")).unwrap_or_default();
    let mut lines = vec![format!("{}{code}{}", word(&row["status"]), cost(row))];
    lines.extend(list(&row["attempts"]).iter().map(attempt));
    let mut adjustments: Vec<String> = list(&row["adjustments"]).iter().map(adjustment).collect();
    adjustments.sort();
    lines.extend(adjustments);
    lines
}

fn cost(of: &Value) -> String {
    let known = if of["cost"].is_null() { String::new() } else { format!(" cost={}", of["cost"]) };
    let source = of["cost_source"].as_str().map(|source| format!(" {source}")).unwrap_or_default();
    let uncertain = of["cost_uncertain"].as_f64().filter(|amount| *amount > 0.0);
    format!("{known}{source}{}", uncertain.map(|amount| format!(" uncertain={amount}")).unwrap_or_default())
}

fn attempt(attempt: &Value) -> String {
    let error = &attempt["error"];
    let (kind, accepted) = (word(&error["kind"]), word(&error["accepted"]));
    let why = if error.is_null() { String::new() } else { format!(" {kind} accepted={accepted}") };
    let (route, n, status) = (word(&attempt["route"]), &attempt["n"], word(&attempt["status"]));
    format!("{route} n={n} {status}{why}{}", cost(attempt))
}

fn adjustment(told: &Value) -> String {
    format!("adjustment {}: {} -> {}", word(&told["param"]), told["requested"], told["used"])
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("none")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The fields of a row that do not depend on the way or on the moment.
const OF_ROW: [&str; 16] = [
    "model",
    "executed_model",
    "provider",
    "modality",
    "mode",
    "endpoint",
    "status",
    "cost",
    "cost_source",
    "cost_note",
    "cost_estimate",
    "cost_uncertain",
    "image_count",
    "size",
    "output_format",
    "error_code",
];
/// Those of an answer's `metadata`.
const OF_METADATA: [&str; 8] =
    ["model", "executed_model", "provider", "provider_name", "cost", "cost_source", "cost_note", "cost_uncertain"];
/// Those of an attempt.
const OF_ATTEMPT: [&str; 8] = ["index", "provider", "route", "status", "n", "cost", "cost_source", "cost_uncertain"];
/// Those of an attempt's error.
const OF_ERROR: [&str; 4] = ["kind", "accepted", "upstream_status", "upstream_code"];

fn details(row: &Value, answer: &Value) -> Vec<String> {
    let mut seen = json!({"row": pick(row, &OF_ROW)});
    seen["row"]["attempts"] = attempts(&row["attempts"]);
    seen["row"]["adjustments"] = sorted(&row["adjustments"]);
    seen["answer"] = match &answer["error"] {
        Value::Null if answer["estimated"] == true => answer.clone(),
        Value::Null => {
            let metadata = &answer["metadata"];
            let mut told = pick(metadata, &OF_METADATA);
            told["attempts"] = attempts(&metadata["attempts"]);
            told["adjustments"] = sorted(&metadata["adjustments"]);
            json!({"size": answer["size"], "output_format": answer["output_format"], "metadata": told})
        }
        error => json!({"code": error["code"]}),
    };
    let mut details = Vec::new();
    flatten("", &seen, &mut details);
    details
}

fn attempts(trail: &Value) -> Value {
    let one = |attempt: &Value| {
        let mut seen = pick(attempt, &OF_ATTEMPT);
        seen["error"] = pick(&attempt["error"], &OF_ERROR);
        seen
    };
    list(trail).iter().map(one).collect()
}

fn pick(from: &Value, names: &[&str]) -> Value {
    let picked = names.iter().map(|name| ((*name).to_owned(), from[*name].clone()));
    Value::Object(picked.collect::<Map<String, Value>>())
}

fn sorted(adjustments: &Value) -> Value {
    let mut all = list(adjustments).to_vec();
    all.sort_by_key(Value::to_string);
    Value::Array(all)
}

fn flatten(path: &str, value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| flatten(&format!("{path}.{name}"), value, into));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| flatten(&format!("{path}[{index}]"), item, into));
        }
        other => into.push(format!("{} = {other}", path.trim_start_matches('.'))),
    }
}

/// What is retained of a request, and how many files go with it when it is purged.
async fn read_payload(kit: &Kit, id: &str, end: &mut End) {
    let path = format!("/v1/requests/{id}/payloads");
    let kept = kit.get(&path).await;
    if kept.status != 200 {
        end.lines.push(format!("payload {}", kept.error().1));
        return;
    }
    let mut payload = kept.json;
    // The one parameter in which the ways differ.
    payload["request"].as_object_mut().unwrap().remove("stream");
    let urls = payload["response"].as_array_mut().into_iter().flatten().filter_map(|one| one.get_mut("url"));
    // Every file has a name of its own.
    let links = urls.map(|url| *url = json!("a link")).count();
    let refused = payload["response"]["error"]["code"].as_str().map(|code| format!(" {code}")).unwrap_or_default();
    flatten("payload", &payload, &mut end.details);
    let purged = kit.delete(&path).await.json;
    end.lines.push(format!("payload links={links}{refused} purged={}", purged["media_deleted"]));
}
