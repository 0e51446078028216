//! The operator's own catalog files: read at the start, read again on a change, rejected whole when wrong.

use super::kit::Kit;
use serde_json::{Value, json};
use std::time::Duration;

const CHEAP: &str = r#"
    [[route]]
    model = "flux.1-schnell"
    upstream = "fal-ai/flux/schnell"
    price = { source = "our contract", date = "2026-11-20", lines = [{ metric = "image", unit_price = "0.0001" }] }
"#;

const MINE: &str = r#"
    [[model]]
    id = "house-style"
    name = "House style"
    maker = "us"
"#;

const MY_ROUTE: &str = r#"
    [[route]]
    model = "house-style"
    upstream = "fal-ai/flux/dev"
    modes = ["text-to-image"]
    size = { rule = "none" }
    confidence = "documented"
"#;

/// Asks until the answer is as wished; files are looked at every second.
async fn until(kit: &Kit, path: &str, wish: impl Fn(u16, &Value) -> bool) -> Value {
    let mut last = Value::Null;
    for _ in 0..200 {
        let got = kit.get(path).await;
        if wish(got.status, &got.json) {
            return got.json;
        }
        last = got.json;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{path} stays {last}");
}

fn price_at_fal(model: &Value) -> Value {
    let routes = model["providers"].as_array().unwrap();
    routes.iter().find(|route| route["provider"] == "fal").unwrap()["starting_price"].clone()
}

#[tokio::test]
async fn files_of_the_operator_are_laid_over_and_read_again() {
    let home = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(home.path().join(name), text).unwrap();
    write("fal.toml", CHEAP);
    let kit = Kit::with(&[("CATALOG__DIRECTORY", home.path().to_str().unwrap())]).await;
    assert_eq!(price_at_fal(&kit.get("/v1/models/flux.1-schnell").await.json), json!(0.0001), "read at the start");
    assert_eq!(kit.get("/v1/models/house-style").await.status, 404);

    write("models.toml", MINE);
    write("fal.toml", MY_ROUTE);
    let mine = until(&kit, "/v1/models/house-style", |status, json| {
        status == 200 && json["providers"].as_array().is_some_and(|routes| !routes.is_empty())
    })
    .await;
    assert_eq!((&mine["name"], &mine["model_status"]), (&json!("House style"), &json!("active")));
    let got = kit.get("/v1/models/flux.1-schnell").await.json;
    assert_ne!(price_at_fal(&got), json!(0.0001), "what the file no longer says is as it was");
    let got = kit.generate(json!({"model": "house-style", "prompt": "a fox"})).await;
    assert_eq!((got.status, &got.json["metadata"]["executed_model"]), (200, &json!("fal/fal-ai/flux/dev")));

    // One good file and one bad one: neither counts, and what was read before stays.
    write("models.toml", &format!("{MINE}status = \"disabled\"\n"));
    write("fal.toml", &format!("{MY_ROUTE}prize = 3\n"));
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mine = kit.get("/v1/models/house-style").await.json;
    assert_eq!(mine["model_status"], "active", "rejected as a whole");

    write("fal.toml", MY_ROUTE);
    until(&kit, "/v1/models/house-style", |_, json| json["model_status"] == "disabled").await;
    let got = kit.generate(json!({"model": "house-style", "prompt": "a fox"})).await;
    assert_eq!(got.error(), (404, "MODEL_DISABLED", "model"));
    kit.running.stop().await;
}
