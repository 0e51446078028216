//! Stored jobs under stress: replicas that are killed at random, and ten thousand jobs in one process. The short forms run
//! always; `LUMENFALL_STRESS=full` runs what the acceptance lines say and prints the figures.

use super::kit::{Process, free_address, micros};
use super::postgres;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::stream::{self, StreamExt};
use rand::RngExt;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path as FilePath;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

const KEY: &str = "lmnfl_stress.0123456789abcdef0123456789abcdef";

fn full() -> bool {
    std::env::var("LUMENFALL_STRESS").is_ok_and(|value| value == "full")
}

fn settings<'a>(
    listen: &str,
    database: &str,
    media: &FilePath,
    more: impl IntoIterator<Item = (&'a str, String)>,
) -> Vec<(&'a str, String)> {
    let own = [
        ("SERVER__LISTEN", listen.to_owned()),
        ("SERVER__MAX_CONCURRENT", "5000".to_owned()),
        ("DATABASE__URL", database.to_owned()),
        ("MEDIA__STORAGE", format!("file://{}", media.display())),
        ("AUTH__BOOTSTRAP_KEY", KEY.to_owned()),
        ("OUTBOUND__ALLOW_PRIVATE", "true".to_owned()),
        ("WEBHOOKS__ALLOW_PRIVATE", "true".to_owned()),
        ("LOG__LEVEL", "warn".to_owned()),
    ];
    own.into_iter().chain(more).collect()
}

fn client() -> reqwest::Client {
    // Only the first of all tests in this process installs it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::ClientBuilder::new().no_proxy().timeout(Duration::from_mins(1)).build().unwrap()
}

/// `None` when nobody answers: replicas die here.
async fn ask(client: &reqwest::Client, method: Method, url: &str, body: Option<&Value>) -> Option<(u16, Value)> {
    let mut request = client.request(method, url).bearer_auth(KEY);
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body.to_string());
    }
    #[expect(clippy::disallowed_methods, reason = "the tests are the caller")]
    let answer = request.send().await.ok()?;
    let status = answer.status().as_u16();
    Some((status, serde_json::from_slice(&answer.bytes().await.ok()?).unwrap_or_default()))
}

async fn ready(client: &reqwest::Client, address: &str) {
    let patience = Instant::now() + Duration::from_mins(2);
    while ask(client, Method::GET, &format!("http://{address}/readyz"), None).await.is_none_or(|(s, _)| s != 200) {
        assert!(Instant::now() < patience, "{address} does not get ready");
        sleep(Duration::from_millis(100)).await;
    }
}

/// Every video of the gateway, oldest first.
async fn all_videos(client: &reqwest::Client, address: &str) -> Option<Vec<Value>> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let url = format!("http://{address}/v1/videos?limit=100&order=asc{after}");
        let (_, page) = ask(client, Method::GET, &url, None).await.filter(|(status, _)| *status == 200)?;
        all.extend(page["data"].as_array()?.iter().cloned());
        if page["has_more"] == false {
            return Some(all);
        }
        after = format!("&after={}", page["last_id"].as_str()?);
    }
}

type Heard = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

async fn hear(State(heard): State<Heard>, headers: HeaderMap, body: Bytes) -> StatusCode {
    heard.lock().unwrap().push((headers, body));
    StatusCode::NO_CONTENT
}

fn verify(secret: &str, headers: &HeaderMap, body: &[u8]) -> bool {
    let key = base64_simd::STANDARD.decode_to_vec(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let said = |name: &str| headers[name].to_str().unwrap().to_owned();
    let text = format!("{}.{}.{}", said("webhook-id"), said("webhook-timestamp"), String::from_utf8_lossy(body));
    let tag = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key), text.as_bytes());
    said("webhook-signature") == format!("v1,{}", base64_simd::STANDARD.encode_to_string(tag.as_ref()))
}

/// Two replicas on one database, one of them killed again and again.
#[expect(clippy::too_many_lines, reason = "one story: start, kill, wait, balance")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_replicas_lose_no_job_and_buy_none_twice() {
    let (jobs, kills, pause) = if full() { (500, 12, 10_000) } else { (40, 4, 2_500) };
    let home = tempfile::tempdir().unwrap();
    let (database, media) = (postgres::database(), home.path().join("media"));
    let sandbox = free_address();
    let _sandbox = Process::start::<&str>(&["sandbox", "--listen", &sandbox], &[], &home.path().join("sandbox"));
    let providers = ["xai", "replicate", "alibaba", "runware"];
    let models = [
        "xai/grok-imagine-video",
        "replicate/wan-video/wan-2.7-t2v",
        "alibaba/wan2.7-t2v",
        "runware/klingai:kling-video@2.6-pro",
    ];
    let mut more = vec![("SANDBOX__ENABLED", "false".to_owned()), ("JOBS__LEASE_SECONDS", "5".to_owned())];
    let names: Vec<[String; 2]> = providers
        .iter()
        .map(|id| ["BASE_URL", "API_KEY"].map(|what| format!("PROVIDERS__{}__{what}", id.to_uppercase())))
        .collect();
    for (id, [base, key]) in providers.iter().zip(&names) {
        more.push((base, format!("http://{sandbox}/{id}")));
        more.push((key, format!("sandbox-{id}")));
    }
    let addresses = [free_address(), free_address()];
    let start = |index: usize| {
        let settings = settings(&addresses[index], &database, &media, more.clone());
        Process::start(&[], &settings, &home.path().join(format!("replica-{index}")))
    };
    let client = client();
    // One after the other: the first makes the tables.
    let mut replicas = Vec::new();
    for (index, address) in addresses.iter().enumerate() {
        replicas.push(start(index));
        ready(&client, address).await;
    }
    let control = format!("http://{sandbox}/_control");
    let slow = json!({"provider": "*", "latency_ms": if full() { 8_000 } else { 3_000 }});
    ask(&client, Method::POST, &control, Some(&slow)).await.unwrap();
    let heard = Heard::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hook = format!("http://{}/", listener.local_addr().unwrap());
    let router = Router::new().route("/", post(hear)).with_state(Arc::clone(&heard));
    tokio::spawn(axum::serve(listener, router).into_future());

    // Jobs arrive at both while one is killed at random, now and then.
    let span = Duration::from_millis(pause * kills / 2) / jobs;
    let (asking, to, hook) = (client.clone(), addresses.clone(), hook.as_str());
    let arrivals = async {
        let mut taken = 0;
        for number in 0..jobs {
            let prompt = match number % 10 {
                3 => format!("[fail] fox {number}"),
                7 => format!("[refuse] fox {number}"),
                _ => format!("fox {number}"),
            };
            let body = json!({"model": models[number as usize % 4], "prompt": prompt, "webhook_url": hook});
            // A replica that dies with the request leaves it to the list whether the job was taken.
            let url = |address: &str| format!("http://{address}/v1/videos");
            let first = ask(&asking, Method::POST, &url(&to[number as usize % 2]), Some(&body)).await;
            taken += u32::from(first.is_some_and(|(status, _)| status == 202));
            sleep(span).await;
        }
        taken
    };
    let killing = async {
        for _ in 0..kills {
            sleep(Duration::from_millis(pause)).await;
            let index = rand::rng().random_range(0..2);
            replicas[index].kill();
            replicas[index] = start(index);
        }
    };
    let (taken, ()) = tokio::join!(arrivals, killing);
    for address in &addresses {
        ready(&client, address).await;
    }
    let patience = Instant::now() + Duration::from_secs(if full() { 300 } else { 90 });
    let videos = loop {
        let videos = all_videos(&client, &addresses[0]).await.unwrap();
        let open = videos.iter().filter(|one| one["status"] != "completed" && one["status"] != "failed").count();
        if open == 0 {
            break videos;
        }
        assert!(Instant::now() < patience, "{open} of {} jobs do not end", videos.len());
        sleep(Duration::from_millis(500)).await;
    };
    assert!(videos.len() >= taken as usize, "every job that was answered with 202 is there");
    let mut unsure = 0;
    let mut attempts = 0;
    let (mut cost, mut uncertain) = (0, 0);
    for video in &videos {
        let tried = video["metadata"]["attempts"].as_array().unwrap();
        assert!(tried.len() <= 1, "one route, one creating call: {video}");
        attempts += tried.len();
        cost += micros(&video["metadata"]["cost"]);
        uncertain += micros(&video["metadata"]["cost_uncertain"]);
        let interrupted = tried.iter().any(|one| {
            one["error"]["message"].as_str().is_some_and(|text| text.starts_with("the gateway stopped while"))
        });
        if interrupted {
            unsure += 1;
            continue;
        }
        let prompt = video["prompt"].as_str().unwrap();
        let right = if prompt.starts_with('[') { "failed" } else { "completed" };
        assert_eq!(video["status"], right, "{video}");
    }
    let bills = ask(&client, Method::GET, &format!("{control}/calls"), None).await.unwrap().1;
    let totals = bills["totals"].as_object().unwrap();
    let creates: u64 = totals.values().map(|total| total["creates"].as_u64().unwrap()).sum();
    let billed: i64 = totals.values().map(|total| micros(&total["billed_usd"])).sum();
    assert!(creates as usize <= attempts, "{creates} creating calls for {attempts} that were noted");
    assert!(creates as usize + unsure >= attempts, "an intent without a call is one that a kill cut off");
    assert!((cost..=cost + uncertain).contains(&billed), "billed {billed}, booked {cost} and {uncertain} uncertain");
    let log =
        ask(&client, Method::GET, &format!("http://{}/v1/requests?summary=true", addresses[1]), None).await.unwrap().1;
    assert_eq!(micros(&log["summary"]["total_cost"]), cost, "the log and the jobs agree");

    let (_, secret) =
        ask(&client, Method::GET, &format!("http://{}/v1/webhooks/secret", addresses[1]), None).await.unwrap();
    let secret = secret["key"].as_str().unwrap();
    let patience = Instant::now() + Duration::from_secs(90);
    let deliveries = loop {
        let told: HashMap<String, String> = heard
            .lock()
            .unwrap()
            .iter()
            .map(|(headers, body)| {
                assert!(verify(secret, headers, body), "a signature does not verify");
                let event: Value = serde_json::from_slice(body).unwrap();
                (event["data"]["id"].as_str().unwrap().to_owned(), event["type"].as_str().unwrap().to_owned())
            })
            .collect();
        let right = |video: &&Value| {
            told.get(video["id"].as_str().unwrap())
                .is_some_and(|event| *event == format!("video.{}", video["status"].as_str().unwrap()))
        };
        let silent = videos.iter().filter(|video| !right(video)).count();
        if silent == 0 {
            break heard.lock().unwrap().len();
        }
        assert!(Instant::now() < patience, "{silent} webhooks are missing");
        sleep(Duration::from_millis(500)).await;
    };
    if full() {
        let text = format!(
            "{} jobs ({taken} answered), {kills} kills: {creates} creating calls for {attempts} attempts, {unsure} cut off; \
             billed {billed}, booked {cost}, uncertain {uncertain} micro-USD; {deliveries} deliveries\n",
            videos.len()
        );
        report(&text);
    }
}

/// Figures are for whoever asked for the full form.
fn report(text: &str) {
    use std::io::Write;
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}

/// A provider of xAI's dialect whose jobs all run until `open` and then end one after the other.
#[derive(Default)]
struct Slow {
    jobs: Mutex<HashMap<String, SlowJob>>,
    /// When the last one was taken: from then on they end.
    opened: Mutex<Option<Instant>>,
    ends: Duration,
    spread: Duration,
    base: Mutex<String>,
}

struct SlowJob {
    born: Instant,
    share: f64,
    polls: u32,
    noticed: Option<(Duration, Duration)>,
}

async fn take(State(slow): State<Arc<Slow>>, body: Bytes) -> Json<Value> {
    drop(body);
    let mut jobs = slow.jobs.lock().unwrap();
    let id = format!("job-{}", jobs.len());
    let share = rand::rng().random_range(0.0..1.0);
    jobs.insert(id.clone(), SlowJob { born: Instant::now(), share, polls: 0, noticed: None });
    Json(json!({"request_id": id}))
}

async fn look(State(slow): State<Arc<Slow>>, Path(id): Path<String>) -> Json<Value> {
    let opened = *slow.opened.lock().unwrap();
    let base = slow.base.lock().unwrap().clone();
    let mut jobs = slow.jobs.lock().unwrap();
    let job = jobs.get_mut(&id).unwrap();
    job.polls += 1;
    let end = opened.map(|opened| (opened + slow.spread.mul_f64(job.share)).max(job.born + slow.ends));
    let Some(end) = end.filter(|end| *end <= Instant::now()) else { return Json(json!({"status": "pending"})) };
    job.noticed.get_or_insert((end - job.born, end.elapsed()));
    Json(json!({"status": "done", "video": {"url": format!("{base}/file.mp4"), "duration": 5}, "model": "m",
        "usage": {"cost_in_usd_ticks": 0}}))
}

/// A video of 5 seconds, as small as one can be.
async fn file() -> Vec<u8> {
    let boxed = |name: &[u8; 4], content: &[u8]| {
        [&u32::try_from(content.len() + 8).unwrap().to_be_bytes(), name.as_slice(), content].concat()
    };
    let mut mvhd = vec![0; 100];
    mvhd[12..16].copy_from_slice(&1000u32.to_be_bytes());
    mvhd[16..20].copy_from_slice(&5000u32.to_be_bytes());
    [boxed(b"ftyp", b"isom\0\0\0\0"), boxed(b"moov", &boxed(b"mvhd", &mvhd))].concat()
}

/// Ten thousand jobs that run at the same time: how much memory, how soon each end is noticed, how many polls.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_jobs_wait_in_little_memory() {
    let (count, ends) = if full() { (10_000, 60) } else { (200, 4) };
    let slow = Arc::new(Slow { ends: Duration::from_secs(ends), spread: Duration::from_secs(ends), ..Slow::default() });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    slow.base.lock().unwrap().clone_from(&base);
    let router = Router::new()
        .route("/videos/generations", post(take))
        .route("/videos/{id}", get(look))
        .route("/file.mp4", get(file))
        .with_state(Arc::clone(&slow));
    tokio::spawn(axum::serve(listener, router).into_future());
    let home = tempfile::tempdir().unwrap();
    let address = free_address();
    let more = [("PROVIDERS__XAI__BASE_URL", base), ("PROVIDERS__XAI__API_KEY", "k".to_owned())];
    let settings = settings(&address, &postgres::database(), &home.path().join("media"), more);
    let gateway = Process::start(&[], &settings, home.path());
    let client = client();
    ready(&client, &address).await;
    let begun = Instant::now();
    let asking = stream::iter(0..count).for_each_concurrent(48, |number| {
        let (client, address) = (&client, &address);
        async move {
            let body = json!({"model": "xai/grok-imagine-video", "prompt": format!("fox {number}")});
            let got = ask(client, Method::POST, &format!("http://{address}/v1/videos"), Some(&body)).await.unwrap();
            assert_eq!(got.0, 202, "{}", got.1);
        }
    });
    asking.await;
    let submitting = begun.elapsed();
    let patience = Instant::now() + Duration::from_secs(120 + ends * 6);
    while slow.jobs.lock().unwrap().len() < count {
        assert!(Instant::now() < patience, "not all were submitted");
        sleep(Duration::from_millis(50)).await;
    }
    *slow.opened.lock().unwrap() = Some(Instant::now());
    while slow.jobs.lock().unwrap().values().any(|job| job.noticed.is_none()) {
        assert!(Instant::now() < patience, "not every end was noticed");
        sleep(Duration::from_millis(200)).await;
    }
    let peak = gateway.peak_mb();
    let jobs = slow.jobs.lock().unwrap();
    assert_eq!(jobs.len(), count, "none was submitted twice");
    let mut shares: Vec<f64> = Vec::new();
    let (mut polls, mut sdk) = (0.0, 0.0);
    for job in jobs.values() {
        let (lasted, late) = job.noticed.unwrap();
        let allowed = Duration::from_millis(250).max(lasted.mul_f64(0.05));
        shares.push(late.as_secs_f64() / allowed.as_secs_f64());
        polls += f64::from(job.polls);
        // The OpenAI SDK's `create_and_poll` asks once a second.
        sdk += lasted.as_secs_f64();
    }
    shares.sort_by(f64::total_cmp);
    let median = shares[shares.len() / 2];
    let figures = format!(
        "{count} jobs in flight (submitted within {:.0} s): peak {peak} MB; noticed after {:.0} % of what is allowed at the \
         median, {:.0} % at the 95th percentile; {:.1} polls a job where one a second makes {:.1}\n",
        submitting.as_secs_f64(),
        median * 100.0,
        shares[shares.len() * 95 / 100] * 100.0,
        polls / shares.len() as f64,
        sdk / shares.len() as f64,
    );
    if full() {
        report(&figures);
        assert!(median <= 1.0, "{figures}");
        assert!(polls < sdk, "{figures}");
    }
    assert!(peak < 250, "{figures}");
}
