//! The log balances with the simulators' bills, on SQLite and on PostgreSQL, and says everything about a request.

use super::kit::{Kit, micros};
use super::postgres;
use futures::future::join_all;
use serde_json::json;

async fn balance(kit: &Kit) {
    let models = ["gpt-image-2", "flux.1-schnell", "flux.1-dev", "flux.2-pro", "flux.2-max", "gpt-image-2.5-flare"];
    let sizes = ["1024x1024", "16:9", "1920x1080", "auto"];
    let calls = (0..48).map(|index| {
        let quality = ["low", "medium", "high"][index % 3];
        let body = json!({"model": models[index % 6], "prompt": format!("fox {index}"), "n": 1 + index % 3,
            "size": sizes[index % 4], "quality": quality, "response_format": "b64_json"});
        kit.generate(body)
    });
    let answers = join_all(calls).await;
    let paid: i64 = answers
        .iter()
        .map(|got| {
            assert_eq!(got.status, 200, "{}", got.json["error"]);
            micros(&got.json["metadata"]["cost"])
        })
        .sum();
    let summary = kit.get("/v1/requests?summary=true&group_by=provider").await.json["summary"].clone();
    assert_eq!(summary["count"], 48);
    assert_eq!(micros(&summary["total_cost"]), paid, "the log and the answers agree");
    let totals = kit.bills().await["totals"].clone();
    let billed: i64 = totals.as_object().unwrap().values().map(|total| micros(&total["billed_usd"])).sum();
    assert_eq!(billed, paid, "the log and the providers agree to the micro-dollar: {totals}");
    for group in summary["groups"].as_array().unwrap() {
        let provider = group["key"].as_str().unwrap();
        assert_eq!(micros(&group["total_cost"]), micros(&totals[provider]["billed_usd"]), "{provider}");
    }
}

#[tokio::test]
async fn the_books_balance_on_sqlite() {
    let kit = Kit::start().await;
    balance(&kit).await;
    kit.running.stop().await;
}

#[tokio::test]
async fn the_books_balance_on_postgres() {
    let url = postgres::database();
    let kit = Kit::with(&[("DATABASE__URL", &url)]).await;
    balance(&kit).await;
    kit.running.stop().await;
}

#[tokio::test]
async fn the_log_can_be_filtered_and_paged() {
    let kit = Kit::start().await;
    for index in 0..7 {
        let user = if index % 2 == 0 { "even" } else { "odd" };
        let got = kit
            .generate(
                json!({"model": "mock-image", "prompt": "a fox", "size": "16x16", "user": user, "session_id": "s1"}),
            )
            .await;
        assert_eq!(got.status, 200);
    }
    kit.generate(json!({"model": "nothing", "prompt": "a fox"})).await;
    let mut seen = Vec::new();
    let mut next = "/v1/requests?limit=3&status=completed".to_owned();
    loop {
        let page = kit.get(&next).await.json;
        assert_eq!(page["object"], "list");
        seen.extend(page["data"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()));
        match page["next_page_url"].as_str() {
            Some(url) => next = url.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen.len(), 7);
    let count = async |query: &str| {
        kit.get(&format!("/v1/requests?summary=true&{query}")).await.json["summary"]["count"].clone()
    };
    assert_eq!(count("user=even").await, 4);
    assert_eq!(count("session_id=s1&model=mock-image&provider=mock").await, 7);
    assert_eq!(count("error_code=MODEL_NOT_FOUND").await, 1);
    assert_eq!(count("created_after=2099-01-01").await, 0);
    assert_eq!(count("min_cost=0.01").await, 0);
    let groups = kit.get("/v1/requests?group_by=user&status=completed").await.json["summary"]["groups"].clone();
    assert_eq!(groups.as_array().unwrap().len(), 2, "{groups}");
    let row = kit.get(&format!("/v1/requests/{}", seen[0])).await.json;
    assert_eq!(row["attempts"][0]["status"], "completed");
    assert!(row["timeline"]["total_ms"].is_number());
    kit.running.stop().await;
}

#[tokio::test]
async fn a_database_that_is_away_means_no_spending_without_a_journal() {
    let url = postgres::database();
    let kit = Kit::with(&[("DATABASE__URL", &url), ("DATABASE__JOURNAL", "")]).await;
    assert_eq!(kit.get("/readyz").await.status, 200);
    let name = url.rsplit('/').next().unwrap();
    postgres::psql(&format!("{}/postgres", postgres::server()), &format!("DROP DATABASE {name} WITH (FORCE)"));
    let got = kit.generate(json!({"model": "gpt-image-2", "prompt": "a fox"})).await;
    assert_eq!(got.error().0, 503, "{}", got.json);
    assert_eq!(kit.get("/readyz").await.status, 503);
    assert_eq!(kit.get("/healthz").await.status, 200);
    assert_eq!(kit.bills().await["totals"], json!({}), "nothing was bought unrecorded");
    kit.running.stop().await;
}
