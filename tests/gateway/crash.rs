//! The program is killed at random moments under load, again and again; after each start the books are balanced against
//! the simulators' bills and against what callers were told.
//!
//! `LUMENFALL_KILLS=200` runs as many trials as the design asks for; by default it is a handful.

use super::postgres;
use rand::RngExt;
use reqwest::Client;
use serde_json::{Value, json};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

const KEY: &str = "lmnfl_test.0123456789abcdef0123456789abcdef";
/// Callers at once.
const CALLERS: usize = 6;

fn trials() -> usize {
    std::env::var("LUMENFALL_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(6)
}

/// Dollars as whole micros.
#[expect(clippy::cast_possible_truncation, reason = "small amounts")]
fn micros(amount: &Value) -> i64 {
    let dollars = amount.as_f64().or_else(|| amount.as_str()?.parse().ok()).unwrap_or_default();
    (dollars * 1_000_000.0).round() as i64
}

/// A process, killed when dropped.
struct Process(Child);

impl Process {
    fn kill(&mut self) {
        // SIGKILL: nothing in it gets to say goodbye.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

struct World {
    home: tempfile::TempDir,
    gateway: String,
    simulators: String,
    database: String,
    client: Client,
    _simulators: Process,
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lumenfall"));
    command.args(arguments).env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

impl World {
    async fn new(database: Option<String>) -> Self {
        let home = tempfile::tempdir().unwrap();
        let (gateway, simulators) = (free_address(), free_address());
        let process = Process(program(&["sandbox", "--listen", &simulators]).spawn().unwrap());
        let database = database.unwrap_or_else(|| format!("sqlite://{}/log.db", home.path().display()));
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::ClientBuilder::new().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
        let world = Self { home, gateway, simulators, database, client, _simulators: process };
        timeout(Duration::from_secs(20), async {
            while world.client.get(format!("http://{}/_control/calls", world.simulators)).send().await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await
        .unwrap();
        world
    }

    fn start(&self) -> Process {
        let base = format!("http://{}/openai", self.simulators);
        let settings = [
            ("SERVER__LISTEN", self.gateway.as_str()),
            ("DATABASE__URL", &self.database),
            ("AUTH__BOOTSTRAP_KEY", KEY),
            ("PROVIDERS__OPENAI__BASE_URL", &base),
            ("PROVIDERS__OPENAI__API_KEY", "sandbox-openai"),
            ("OUTBOUND__ALLOW_PRIVATE", "true"),
            ("SANDBOX__ENABLED", "false"),
        ];
        let mut command = program(&[]);
        command.current_dir(self.home.path());
        command.envs(settings.map(|(name, value)| (format!("LUMENFALL_{name}"), value)));
        Process(command.spawn().unwrap())
    }

    async fn ready(&self) {
        let ready = async {
            loop {
                let answer = self.client.get(format!("http://{}/readyz", self.gateway)).send().await;
                if answer.is_ok_and(|answer| answer.status().is_success()) {
                    return;
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_mins(1), ready).await.unwrap();
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.client.get(format!("http://{}{path}", self.gateway)).bearer_auth(KEY).send().await.unwrap();
        read(answer).await.unwrap()
    }

    async fn summary(&self, query: &str) -> (i64, i64) {
        let summary = self.get(&format!("/v1/requests?limit=1&summary=true&{query}")).await["summary"].clone();
        (summary["count"].as_i64().unwrap(), micros(&summary["total_cost"]))
    }

    /// How many generations the simulator billed, and how much.
    async fn bills(&self) -> (i64, i64) {
        let calls = self.client.get(format!("http://{}/_control/calls", self.simulators)).send().await.unwrap();
        let calls = read(calls).await.unwrap();
        let total = &calls["totals"]["openai"];
        (total["creates"].as_i64().unwrap_or_default(), micros(&total["billed_usd"]))
    }
}

async fn read(answer: reqwest::Response) -> Option<Value> {
    serde_json::from_slice(&answer.bytes().await.ok()?).ok()
}

/// Asks until the gateway is gone; what it was answered, as (id, cost).
async fn call(client: Client, gateway: String) -> Vec<(String, i64)> {
    let body =
        json!({"model": "openai/gpt-image-2", "prompt": "a fox", "quality": "low", "response_format": "b64_json"});
    let mut answered = Vec::new();
    loop {
        let url = format!("http://{gateway}/v1/images/generations");
        let Ok(answer) = client
            .post(url)
            .bearer_auth(KEY)
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
            .await
        else {
            return answered;
        };
        // An answer that broke off is none.
        let Some(answer) = read(answer).await else { return answered };
        assert!(answer["error"].is_null(), "{answer}");
        answered.push((answer["id"].as_str().unwrap().to_owned(), micros(&answer["metadata"]["cost"])));
    }
}

async fn survive(database: Option<String>) {
    let world = Arc::new(World::new(database).await);
    let (mut told, mut interrupted) = (0, 0);
    let mut gateway = world.start();
    world.ready().await;
    for trial in 0..trials() {
        let callers: Vec<_> =
            (0..CALLERS).map(|_| tokio::spawn(call(world.client.clone(), world.gateway.clone()))).collect();
        sleep(Duration::from_millis(rand::rng().random_range(1..900))).await;
        gateway.kill();
        let mut answers = Vec::new();
        for caller in callers {
            answers.extend(caller.await.unwrap());
        }
        gateway = world.start();
        world.ready().await;

        for (id, cost) in &answers {
            let row = world.get(&format!("/v1/requests/{id}")).await;
            assert_eq!((row["status"].as_str(), micros(&row["cost"])), (Some("completed"), *cost), "{trial}: {row}");
        }
        told += answers.len();
        let (billed, bill) = world.bills().await;
        let (rows, _) = world.summary("").await;
        let (completed, cost) = world.summary("status=completed").await;
        let (lost, _) = world.summary("error_code=INTERRUPTED").await;
        interrupted = lost;
        assert_eq!(world.summary("status=processing").await.0, 0, "{trial}");
        assert_eq!(rows, completed + lost, "{trial}: every row has come to its end");
        assert!(completed <= billed && billed <= completed + lost, "{trial}: {completed} {billed} {lost}");
        let price = if completed > 0 { cost / completed } else { bill / billed.max(1) };
        assert!(cost <= bill && bill <= cost + lost * price, "{trial}: {cost} {bill} {lost}");
        // Sums, rows, balance: three ways to count the same money.
        assert_eq!(world.summary("status=completed&min_cost=0").await, (completed, cost), "{trial}");
        let account = world.get("/v1/accounts/default").await;
        assert_eq!((micros(&account["balance_usd"]), micros(&account["reserved_usd"])), (-cost, 0), "{trial}");
    }
    let (billed, _) = world.bills().await;
    println!("{} kills: {billed} generations billed, {told} answers checked, {interrupted} interrupted", trials());
    assert!(told > 0, "some callers were answered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn kills_lose_and_double_nothing_on_sqlite() {
    survive(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn kills_lose_and_double_nothing_on_postgres() {
    survive(Some(postgres::database())).await;
}
