//! Accounts, credits and limits as callers meet them.

use super::kit::Kit;
use futures::future::join_all;
use reqwest::Method;
use reqwest::header::AUTHORIZATION;
use serde_json::{Value, json};

impl Kit {
    /// An account with a key, paid up; the key's secret.
    pub(super) async fn customer(&self, account: &Value, key: &Value, credit: f64) -> String {
        let id = account["id"].as_str().unwrap();
        assert_eq!(self.post("/v1/accounts", account).await.status, 201);
        if credit > 0.0 {
            let paid =
                self.post(&format!("/v1/accounts/{id}/credits"), &json!({"amount_usd": credit, "note": "x"})).await;
            assert_eq!((paid.status, &paid.json["available_usd"]), (201, &json!(credit)));
        }
        let made = self.post("/v1/keys", key).await;
        assert_eq!(made.status, 201, "{}", made.json);
        made.json["key"].as_str().unwrap().to_owned()
    }

    pub(super) async fn as_customer(
        &self,
        key: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> (u16, Value) {
        // Over the admin key that the kit would send.
        let mut request = self.request(method, path);
        request = request.headers([(AUTHORIZATION, format!("Bearer {key}").parse().unwrap())].into_iter().collect());
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
    }
}

#[tokio::test]
async fn a_prepaid_customer_spends_what_was_paid_in() {
    let kit = Kit::start().await;
    let key = kit.customer(&json!({"id": "acme", "billing": "prepaid"}), &json!({"account": "acme"}), 0.0).await;
    let ask =
        json!({"model": "openai/gpt-image-2", "prompt": "a fox", "quality": "low", "response_format": "b64_json"});
    let generate = async || kit.as_customer(&key, Method::POST, "/v1/images/generations", Some(&ask)).await;
    let (status, refused) = generate().await;
    assert_eq!((status, &refused["error"]["code"]), (402, &json!("INSUFFICIENT_BALANCE")), "{refused}");
    assert_eq!(refused["error"]["type"], "billing_error");
    kit.post("/v1/accounts/acme/credits", &json!({"amount_usd": 0.05})).await;
    let balance = async || {
        let (status, shown) = kit.as_customer(&key, Method::GET, "/v1/balance", None).await;
        assert_eq!((status, &shown["billing_type"], &shown["object"]), (200, &json!("prepaid"), &json!("balance")));
        shown["available"]["amount"].as_f64().unwrap()
    };
    assert!((balance().await - 0.05).abs() < 1e-9);
    let mut spent = 0.0;
    let refused = loop {
        let (status, answer) = generate().await;
        if status != 200 {
            break answer;
        }
        spent += answer["metadata"]["cost"].as_f64().unwrap();
        assert!((balance().await - (0.05 - spent)).abs() < 1e-9, "settled to what it cost");
    };
    assert!(spent > 0.0 && spent <= 0.05, "{spent}");
    assert_eq!(refused["error"]["code"], "INSUFFICIENT_BALANCE");
    // The refusals are in the log, and cost nothing.
    let (_, listed) = kit.as_customer(&key, Method::GET, "/v1/requests?error_code=INSUFFICIENT_BALANCE", None).await;
    assert_eq!(listed["data"].as_array().unwrap().len(), 2);
    assert!(listed["data"].as_array().unwrap().iter().all(|row| row["cost"] == 0.0));
    let billed = kit.bills().await["totals"]["openai"]["billed_usd"].as_str().unwrap().parse::<f64>().unwrap();
    assert!((billed - spent).abs() < 1e-9, "{billed} {spent}");
    kit.running.stop().await;
}

#[tokio::test]
async fn a_video_that_is_not_covered_is_refused_in_writing() {
    let kit = Kit::start().await;
    let key = kit.customer(&json!({"id": "acme", "billing": "prepaid"}), &json!({"account": "acme"}), 0.01).await;
    for (path, ask) in [
        ("/v1/videos", json!({"model": "veo-3.1", "prompt": "a fox", "seconds": 4})),
        (
            "/v1/images/generations",
            json!({"model": "openai/gpt-image-2", "prompt": "a fox", "quality": "high", "background": true}),
        ),
    ] {
        let (status, refused) = kit.as_customer(&key, Method::POST, path, Some(&ask)).await;
        assert_eq!((status, &refused["error"]["code"]), (402, &json!("INSUFFICIENT_BALANCE")), "{path}: {refused}");
    }
    let (_, listed) = kit.as_customer(&key, Method::GET, "/v1/requests?error_code=INSUFFICIENT_BALANCE", None).await;
    let rows = listed["data"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "{listed}");
    assert!(rows.iter().all(|row| row["cost"] == 0.0 && row["status"] == "rejected"), "{listed}");
    assert_eq!(kit.bills().await["calls"], json!([]), "no provider was asked");
    kit.running.stop().await;
}

#[tokio::test]
async fn a_key_keeps_to_its_limits() {
    let kit = Kit::start().await;
    let key = json!({"account": "acme", "rate_limit_rpm": 1000, "max_concurrent": 2, "budget_usd": "1.5"});
    let key = kit.customer(&json!({"id": "acme"}), &key, 0.0).await;
    kit.control(json!({"provider": "openai", "latency_ms": 1500})).await;
    let ask = json!({"model": "openai/gpt-image-2", "prompt": "a fox", "quality": "low"});
    let calls = (0..6).map(|_| kit.as_customer(&key, Method::POST, "/v1/images/generations", Some(&ask)));
    let answers = join_all(calls).await;
    let count = |wanted: u16| answers.iter().filter(|(status, _)| *status == wanted).count();
    assert_eq!((count(200), count(429)), (2, 4), "{answers:?}");
    let listed = kit.get("/v1/keys").await.json;
    let shown = listed["data"].as_array().unwrap().iter().find(|key| key["account_id"] == "acme").unwrap();
    assert_eq!((&shown["budget_usd"], &shown["max_concurrent"]), (&json!(1.5), &json!(2)));
    assert!(shown["spent_usd"].as_f64().unwrap() > 0.0);
    kit.running.stop().await;
}

#[tokio::test]
async fn accounts_are_for_admins_and_mistakes_are_named() {
    let kit = Kit::start().await;
    let key = kit.customer(&json!({"id": "acme"}), &json!({"account": "acme"}), 0.0).await;
    for (method, path) in [
        (Method::GET, "/v1/accounts"),
        (Method::GET, "/v1/accounts/acme"),
        (Method::POST, "/v1/accounts"),
        (Method::PATCH, "/v1/accounts/acme"),
        (Method::POST, "/v1/accounts/acme/credits"),
    ] {
        let (status, _) = kit.as_customer(&key, method.clone(), path, Some(&json!({}))).await;
        assert_eq!(status, 403, "{method} {path}");
    }
    for (path, body, field) in [
        ("/v1/accounts", json!({}), "name"),
        ("/v1/accounts", json!({"id": "a b"}), "id"),
        ("/v1/accounts", json!({"id": "acme"}), "id"),
        ("/v1/accounts", json!({"id": "x", "billing": "cash"}), "billing"),
        ("/v1/accounts", json!({"id": "x", "billing": "prepaid", "credit_limit_usd": 1}), "credit_limit_usd"),
        ("/v1/accounts", json!({"id": "x", "webhook_url": "http://x"}), "webhook_url"),
        ("/v1/accounts/acme/credits", json!({}), "amount_usd"),
        ("/v1/accounts/acme/credits", json!({"amount_usd": "many"}), "amount_usd"),
        ("/v1/accounts/acme/credits", json!({"amount_usd": 1e300}), "amount_usd"),
        ("/v1/keys", json!({"budget_usd": -1}), "budget_usd"),
        ("/v1/keys", json!({"rate_limit_rpm": 0}), "rate_limit_rpm"),
    ] {
        let got = kit.post(path, &body).await;
        assert_eq!((got.status, &got.json["error"]["param"]), (400, &json!(field)), "{path} {body}: {}", got.json);
    }
    assert_eq!(kit.post("/v1/accounts/nobody/credits", &json!({"amount_usd": 1})).await.status, 404);
    let change =
        async |terms: Value| kit.as_customer(super::kit::KEY, Method::PATCH, "/v1/accounts/acme", Some(&terms)).await;
    let (_, changed) = change(json!({"credit_limit_usd": 2.5, "webhook_url": "https://example.com/"})).await;
    assert_eq!((&changed["credit_limit_usd"], &changed["available_usd"]), (&json!(2.5), &json!(2.5)));
    // What is not named stays, what is null is cleared, and one mistake leaves everything as it is.
    for (terms, field) in [
        (json!({"billing": "prepaid"}), "credit_limit_usd"),
        (json!({"credit_limit_usd": null, "name": null}), "name"),
        (json!({"credit_limit_usd": null, "billing": null}), "billing"),
        (json!({"balance_usd": 100}), "balance_usd"),
    ] {
        let (status, refused) = change(terms).await;
        assert_eq!((status, &refused["error"]["param"]), (400, &json!(field)), "{refused}");
    }
    let (_, changed) = change(json!({"webhook_url": null})).await;
    assert_eq!((&changed["webhook_url"], &changed["credit_limit_usd"]), (&Value::Null, &json!(2.5)));
    let (_, changed) = change(json!({"credit_limit_usd": null})).await;
    assert_eq!((&changed["credit_limit_usd"], &changed["available_usd"]), (&Value::Null, &Value::Null));
    let (_, balance) = kit.as_customer(&key, Method::GET, "/v1/balance", None).await;
    assert_eq!((&balance["billing_type"], &balance["available"]["amount"]), (&json!("postpaid"), &Value::Null));
    kit.running.stop().await;
}

#[tokio::test]
async fn the_log_streams_as_csv() {
    let kit = Kit::start().await;
    for user in ["plain", "=1+1", "a,\"b\""] {
        let ask = json!({"model": "mock-image", "prompt": "a fox", "size": "16x16", "user": user});
        assert_eq!(kit.generate(ask).await.status, 200);
    }
    let answer = kit.request(Method::GET, "/v1/requests?format=csv&status=completed").send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/csv; charset=utf-8");
    let text = answer.text().await.unwrap();
    let lines: Vec<&str> = text.trim_end().split("\r\n").collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert!(lines[0].starts_with("id,created_at,account_id,"));
    assert!(lines[2].contains(",'=1+1,") && lines[3].contains(",\"a,\"\"b\"\"\","), "{text}");
    for query in ["format=xml", "format=csv&summary=true", "format=csv&starting_after=req_1"] {
        assert_eq!(kit.get(&format!("/v1/requests?{query}")).await.status, 400, "{query}");
    }
    kit.running.stop().await;
}

#[tokio::test]
async fn payloads_are_kept_where_the_operator_wants_it() {
    let kit = Kit::with(&[("SERVER__PAYLOAD_DAYS", "7")]).await;
    let made = kit.generate(json!({"model": "mock-image", "prompt": "a fox", "size": "16x16"})).await;
    let (id, link) = (made.json["id"].as_str().unwrap(), made.json["data"][0]["url"].as_str().unwrap());
    let path = format!("/v1/requests/{id}/payloads");
    let kept = kit.get(&path).await.json;
    assert_eq!((&kept["request"]["prompt"], &kept["response"][0]["url"]), (&json!("a fox"), &json!(link)));
    let purged = kit.delete(&path).await;
    let expected =
        |already: bool, deleted| json!({"id": id, "purged": true, "already_purged": already, "media_deleted": deleted});
    assert_eq!((purged.status, &purged.json), (200, &expected(false, 1)));
    assert_eq!(kit.delete(&path).await.json, expected(true, 0));
    assert_eq!((kit.get(&path).await.status, kit.get(link).await.status), (404, 404));
    assert_eq!(kit.get(&format!("/v1/requests/{id}")).await.json["status"], "completed");
    assert_eq!(kit.delete("/v1/requests/req_nothing/payloads").await.status, 404);
    kit.running.stop().await;
}
