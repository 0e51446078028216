use super::Client;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

const SCHNELL: &str = "/fal/fal-ai/flux/schnell";

async fn statuses(client: &Client, count: usize) -> Vec<u16> {
    let mut seen = Vec::new();
    for _ in 0..count {
        seen.push(client.post(SCHNELL, json!({"prompt": "a fox"})).await.status.as_u16());
    }
    seen
}

#[tokio::test]
async fn the_newest_rule_wins_counts_down_and_uncovers_the_older() {
    let client = Client::new("Key k");
    client.steer(json!({"provider": "*", "fault": "status", "status": 500})).await;
    client.steer(json!({"provider": "fal", "fault": "status", "times": 2, "probability": 1.0, "retry_after": 7})).await;
    client.steer(json!({"provider": "fal", "model": "fal-ai/flux-2-max", "fault": "gone"})).await;
    client.steer(json!({"provider": "fal", "fault": "hang", "probability": 0.0})).await;
    let first = client.post(SCHNELL, json!({"prompt": "a fox"})).await;
    assert_eq!((first.status.as_u16(), first.header("retry-after")), (503, "7"));
    assert_eq!(first.json()["error_type"], "runner_scheduling_failure");
    assert_eq!(statuses(&client, 3).await, [503, 500, 500]);
    assert_eq!(client.post("/fal/fal-ai/flux-2-max", json!({"prompt": "a fox"})).await.status, 404);
    assert_eq!(client.send("DELETE", "/_control", "").await.json()["cleared"], 3);
    assert_eq!(statuses(&client, 1).await, [200]);
    let totals = client.totals("fal").await;
    assert_eq!((&totals["creates"], &totals["billed_usd"]), (&json!(6), &json!("0.003000")));
    client.send("DELETE", "/_control?calls=true", "").await;
    assert_eq!(client.get("/_control/calls").await.json(), json!({"totals": {}, "calls": []}));
}

#[tokio::test]
async fn says_what_is_wrong_with_a_rule() {
    let client = Client::new("");
    for (rule, told) in [
        (json!({"provider": "fal", "fualt": "hang", "latency": 3}), "fualt, latency"),
        (json!({"fault": "hang"}), "provider"),
        (json!({"provider": "nobody"}), "'nobody' is not simulated"),
        (json!({"provider": "fal", "fault": "explode"}), "explode"),
        (json!({"provider": "fal", "probability": 2}), "probability"),
        (json!({"provider": "fal", "status": 42}), "status"),
        (json!([]), "map"),
    ] {
        let answer = client.post("/_control", rule).await;
        let message = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(answer.status == 400 && message.contains(told), "{message}");
    }
    let rule = json!({"provider": "*", "fault": "wrong_type", "after_accept": true, "times": 3});
    assert_eq!(client.post("/_control", rule.clone()).await.json(), rule);
    assert_eq!(client.get("/_control").await.json()["rules"], json!([rule]));
}

#[tokio::test(start_paused = true)]
async fn an_accepted_job_is_billed_whatever_the_answer() {
    let client = Client::new("Key k");
    client.steer(json!({"provider": "fal", "fault": "status", "after_accept": true, "times": 1})).await;
    assert_eq!(statuses(&client, 1).await, [503]);
    assert_eq!(client.totals("fal").await["billed_usd"], "0.003000");
    let client = client.with_key("Bearer k");
    client.steer(json!({"provider": "openai", "fault": "reset", "after_accept": true})).await;
    let body = json!({"model": "gpt-image-2", "prompt": "abcd", "quality": "low"});
    assert!(!client.post("/openai/images/generations", body).await.whole);
    let book = client.get("/_control/calls").await.json();
    // 196 · $30 + 1 · $5 a million
    assert_eq!(book["totals"]["openai"]["billed_usd"], "0.005885");
    let last = &book["calls"][1];
    assert_eq!(
        [&last["operation"], &last["model"], &last["status"]],
        [&json!("create"), &json!("gpt-image-2"), &json!(0)]
    );
    let sum: f64 = book["calls"].as_array().unwrap().iter().map(|call| dollars(&call["billed_usd"])).sum();
    let totals = dollars(&book["totals"]["openai"]["billed_usd"]) + dollars(&book["totals"]["fal"]["billed_usd"]);
    assert!((sum - totals).abs() < 1e-9, "{book}");
}

fn dollars(text: &Value) -> f64 {
    text.as_str().unwrap().parse().unwrap()
}

const SUBMIT: &str = "POST /fal/fal-ai/flux/schnell HTTP/1.1\r\nhost: h\r\nauthorization: Key k\r\ncontent-length: 16\r\n\r\n{\"prompt\":\"fox\"}";

/// A sandbox on a port, the way to shut it down, and its end.
async fn serve(client: &Client) -> (SocketAddr, oneshot::Sender<()>, tokio::task::JoinHandle<std::io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let sandbox = super::Sandbox { world: std::sync::Arc::clone(&client.sandbox.world) };
    let served = tokio::spawn(sandbox.serve(listener, async move {
        let _ = stopped.await;
    }));
    (address, stop, served)
}

/// Sends the submit and reads until the other side ends it.
fn exchange(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(SUBMIT.replace("host: h", "host: h\r\nconnection: close").as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn reset_closes_without_a_byte() {
    let client = Client::new("");
    let (address, stop, served) = serve(&client).await;
    client.steer(json!({"provider": "fal", "fault": "reset", "times": 1})).await;
    let cut = tokio::task::spawn_blocking(move || exchange(address)).await.unwrap();
    assert_eq!(cut.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    let whole = tokio::task::spawn_blocking(move || exchange(address)).await.unwrap().unwrap();
    assert!(
        whole.starts_with("HTTP/1.1 200 OK\r\n") && whole.contains("http://h/fal/fal-ai/flux/requests/"),
        "{whole}"
    );
    stop.send(()).unwrap();
    served.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn truncate_sends_half() {
    let client = Client::new("Key k");
    let (address, _stop, _served) = serve(&client).await;
    client.steer(json!({"provider": "openai", "fault": "truncate"})).await;
    let got = tokio::task::spawn_blocking(move || {
        let body = r#"{"model": "gpt-image-2", "prompt": "fox", "size": "1024x640", "output_format": "jpeg"}"#;
        let length = body.len();
        let mut stream = TcpStream::connect(address).unwrap();
        let head = "POST /openai/images/generations HTTP/1.1\r\nhost: h\r\nauthorization: Bearer k";
        write!(stream, "{head}\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let got = got.await.unwrap();
    let (head, body) = got.split_once("\r\n\r\n").unwrap();
    let promised = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    assert_eq!(body.len(), promised.parse::<usize>().unwrap() / 2, "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hanging_ends_with_the_client_or_the_sandbox() {
    let client = Client::new("");
    let (address, stop, served) = serve(&client).await;
    let world = &client.sandbox.world;
    client.steer(json!({"provider": "fal", "fault": "hang"})).await;
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(SUBMIT.as_bytes()).unwrap();
    while world.hanging() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    stream.shutdown(Shutdown::Both).unwrap();
    while world.hanging() == 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let waiting = tokio::task::spawn_blocking(move || exchange(address));
    while world.hanging() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    stop.send(()).unwrap();
    served.await.unwrap().unwrap();
    assert!(waiting.await.unwrap().is_err());
}
