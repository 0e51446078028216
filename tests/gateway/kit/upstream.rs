//! A provider that says what a fixture says, in order, and remembers what did not match.

use super::fixture::{Expect, TurnOf, fill, matches};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

/// A scripted provider on a free port.
pub(crate) struct Scripted {
    pub(crate) base: String,
    script: Arc<Script>,
}

struct Script {
    base: String,
    turns: Mutex<VecDeque<TurnOf>>,
    wrong: Mutex<Vec<String>>,
}

impl Scripted {
    pub(crate) async fn start(turns: &[TurnOf]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let turns = Mutex::new(turns.iter().cloned().collect());
        let script = Arc::new(Script { base: base.clone(), turns, wrong: Mutex::default() });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&script));
        tokio::spawn(axum::serve(listener, router).into_future());
        Self { base, script }
    }

    /// Every turn was asked for, in order, as it should be.
    pub(crate) fn assert_spent(&self, name: &str) {
        let wrong = self.script.wrong.lock().unwrap();
        assert!(wrong.is_empty(), "{name}: {wrong:#?}");
        let left = self.script.turns.lock().unwrap().len();
        assert_eq!(left, 0, "{name}: {left} turns were never asked for");
    }
}

impl Script {
    /// The next turn. Files are fetched side by side, so that any of those that come next may be asked for.
    fn next(&self, asked: &str) -> Option<TurnOf> {
        let mut turns = self.turns.lock().unwrap();
        let meant = |turn: &TurnOf| asked.ends_with(turn.expect.url.trim_start_matches("{base}"));
        let at = turns.iter().take_while(|turn| turn.reply.is_file()).position(meant).unwrap_or(0);
        turns.remove(at)
    }
}

async fn answer(
    State(script): State<Arc<Script>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let asked = format!("{method} {}{uri}", script.base);
    let turn = script.next(&asked);
    let Some(turn) = turn else {
        script.wrong.lock().unwrap().push(format!("one call too many: {asked}"));
        return Response::builder().status(StatusCode::GONE).body(Body::empty()).unwrap();
    };
    script.wrong.lock().unwrap().extend(compare(&turn.expect, &script.base, &asked, &headers, &body));
    let mut response = Response::builder().status(turn.reply.status);
    if turn.reply.json.is_some() {
        response = response.header("content-type", "application/json");
    }
    for (name, value) in &turn.reply.headers {
        response = response.header(name, value.as_str().unwrap());
    }
    response.body(Body::from(turn.reply.body(&script.base))).unwrap()
}

fn compare(expect: &Expect, base: &str, asked: &str, headers: &HeaderMap, body: &[u8]) -> Vec<String> {
    let mut wrong = Vec::new();
    let right = format!("{} {}", expect.verb, expect.url.replace("{base}", base));
    if asked != right {
        wrong.push(format!("{asked} instead of {right}"));
    }
    if let Some(json) = &expect.json {
        let got: Value = serde_json::from_slice(body).unwrap_or_default();
        let right = fill(json, base);
        if !matches(&right, &got) {
            wrong.push(format!("{asked}: body {got} instead of {right}"));
        }
    }
    if let Some(form) = &expect.form {
        let body = String::from_utf8_lossy(body);
        let missing = form.iter().filter(|(name, _)| !body.contains(&format!("name=\"{name}\"")));
        wrong.extend(missing.map(|(name, _)| format!("{asked}: the form lacks '{name}'")));
    }
    for (name, value) in &expect.headers {
        let got = headers.get(name).and_then(|value| value.to_str().ok());
        if got != value.as_str() {
            wrong.push(format!("{asked}: header {name} is {got:?} instead of {value}"));
        }
    }
    wrong
}
