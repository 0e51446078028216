//! The program is killed at random moments under load, again and again; after each start the books are balanced against
//! the simulators' bills and against what callers were told.
//!
//! `LUMENFALL_KILLS=200` runs as many trials as the design asks for; by default it is a handful.

use super::kit::{Process, free_address, micros};
use super::postgres;
use rand::RngExt;
use reqwest::Client;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

const KEY: &str = "lmnfl_test.0123456789abcdef0123456789abcdef";
/// Callers at once.
const CALLERS: usize = 6;

fn trials() -> usize {
    std::env::var("LUMENFALL_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(6)
}

struct World {
    home: tempfile::TempDir,
    gateway: String,
    simulators: String,
    database: String,
    client: Client,
    _simulators: Process,
}

impl World {
    async fn new(database: Option<String>) -> Self {
        let home = tempfile::tempdir().unwrap();
        let (gateway, simulators) = (free_address(), free_address());
        let process = Process::start::<&str>(&["sandbox", "--listen", &simulators], &[], home.path());
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
        let base = |provider: &str| format!("http://{}/{provider}", self.simulators);
        let settings = [
            ("SERVER__LISTEN", self.gateway.clone()),
            ("DATABASE__URL", self.database.clone()),
            ("AUTH__BOOTSTRAP_KEY", KEY.to_owned()),
            ("PROVIDERS__OPENAI__BASE_URL", base("openai")),
            ("PROVIDERS__OPENAI__API_KEY", "sandbox-openai".to_owned()),
            ("PROVIDERS__RUNWARE__BASE_URL", base("runware")),
            ("PROVIDERS__RUNWARE__API_KEY", "sandbox-runware".to_owned()),
            ("OUTBOUND__ALLOW_PRIVATE", "true".to_owned()),
            ("SANDBOX__ENABLED", "false".to_owned()),
        ];
        Process::start(&[], &settings, self.home.path())
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

    /// How many generations a simulator billed, and how much.
    async fn bills(&self, provider: &str) -> (i64, i64) {
        let calls = self.client.get(format!("http://{}/_control/calls", self.simulators)).send().await.unwrap();
        let calls = read(calls).await.unwrap();
        let total = &calls["totals"][provider];
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
        let (billed, bill) = world.bills("openai").await;
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
    let (billed, _) = world.bills("openai").await;
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

/// Whoever goes on finds the job that was bought, instead of buying another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_ticket_was_lost_is_found_by_our_id() {
    let world = World::new(None).await;
    let mut gateway = world.start();
    world.ready().await;
    let hang = json!({"provider": "runware", "fault": "hang", "after_accept": true, "times": 1});
    let control = format!("http://{}/_control", world.simulators);
    post(&world.client, &control, &hang).await;
    let ask = json!({"model": "runware/klingai:kling-video@2.6-pro", "prompt": "a fox"});
    let taken = post(&world.client, &format!("http://{}/v1/videos", world.gateway), &ask).await;
    let id = taken["id"].as_str().unwrap().to_owned();
    timeout(Duration::from_secs(20), async {
        while world.bills("runware").await.0 == 0 {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    gateway.kill();
    let _gateway = world.start();
    world.ready().await;
    let done = timeout(Duration::from_mins(2), async {
        loop {
            let video = world.get(&format!("/v1/videos/{id}")).await;
            if !["queued", "in_progress"].contains(&video["status"].as_str().unwrap()) {
                return video;
            }
            sleep(Duration::from_millis(200)).await;
        }
    });
    let done = done.await.unwrap();
    assert_eq!(done["status"], "completed", "{done}");
    let (created, bill) = world.bills("runware").await;
    assert_eq!((created, bill > 0), (1, true));
    let row = world.get(&format!("/v1/requests/{id}")).await;
    assert_eq!((micros(&row["cost"]), row["attempts"].as_array().unwrap().len()), (bill, 1), "{row}");
}

async fn post(client: &Client, url: &str, body: &Value) -> Value {
    let request = client.post(url).bearer_auth(KEY).header("content-type", "application/json").body(body.to_string());
    read(request.send().await.unwrap()).await.unwrap_or_default()
}
