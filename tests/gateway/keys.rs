//! Keys: made, shown once, changed, rotated, revoked at once, scoped.

use super::kit::Kit;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

async fn list_models(kit: &Kit, key: &str) -> u16 {
    kit.raw(|client, base| client.get(format!("{base}/v1/models")).bearer_auth(key)).await.status
}

async fn generate(kit: &Kit, key: &str, model: &str) -> super::kit::Got {
    let body = json!({"model": model, "prompt": "a fox", "size": "16x16"}).to_string();
    kit.raw(|client, base| {
        let path = format!("{base}/v1/images/generations");
        client.post(path).bearer_auth(key).header(CONTENT_TYPE, "application/json").body(body)
    })
    .await
}

fn secret(answer: &Value) -> String {
    answer["key"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_key_lives_and_dies() {
    let kit = Kit::start().await;
    let made = kit.post("/v1/keys", &json!({"name": "ci"})).await;
    assert_eq!(made.status, 201);
    let (key, id) = (secret(&made.json), made.json["id"].as_str().unwrap().to_owned());
    assert!(key.starts_with(&format!("lmnfl_{id}.")) && key.ends_with(made.json["last_four"].as_str().unwrap()));
    assert_eq!(list_models(&kit, &key).await, 200);
    let shown = kit.get(&format!("/v1/keys/{id}")).await.json;
    assert_eq!((&shown["key"], &shown["status"]), (&Value::Null, &json!("active")), "never shown again");

    let rotated = kit.post(&format!("/v1/keys/{id}/rotate"), &json!({"grace_seconds": 60})).await.json;
    let second = secret(&rotated);
    assert_eq!((list_models(&kit, &key).await, list_models(&kit, &second).await), (200, 200), "both within the grace");
    let third = secret(&kit.post(&format!("/v1/keys/{id}/rotate"), &json!({})).await.json);
    assert_eq!(
        (list_models(&kit, &second).await, list_models(&kit, &third).await),
        (401, 200),
        "no grace, no old secret"
    );

    assert_eq!(kit.delete(&format!("/v1/keys/{id}")).await.json["status"], "revoked");
    assert_eq!(list_models(&kit, &third).await, 401, "dead at once");
    assert_eq!(kit.delete("/v1/keys/nobody").await.status, 404);
    assert_eq!(kit.get("/v1/keys?status=revoked").await.json["data"][0]["id"], id);
    assert_eq!(kit.get("/v1/keys?status=active").await.json["data"].as_array().unwrap().len(), 1);
    kit.running.stop().await;
}

#[tokio::test]
async fn a_normal_key_manages_nothing_and_sees_its_own_account() {
    let kit = Kit::start().await;
    let key = secret(&kit.post("/v1/keys", &json!({"allowed_models": ["mock-*", "flux.*"]})).await.json);
    assert_eq!(generate(&kit, &key, "mock-image").await.status, 200);
    assert_eq!(generate(&kit, &key, "fal/flux.1-schnell").await.status, 200);
    assert_eq!(generate(&kit, &key, "gpt-image-2").await.error(), (403, "FORBIDDEN", "model"));
    let create = kit
        .raw(|client, base| {
            client.post(format!("{base}/v1/keys")).bearer_auth(&key).header(CONTENT_TYPE, "application/json").body("{}")
        })
        .await;
    assert_eq!(create.error(), (403, "FORBIDDEN", "none"));
    let models = kit.raw(|client, base| client.get(format!("{base}/v1/models")).bearer_auth(&key)).await.json;
    let ids: Vec<&str> = models["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert!(ids.contains(&"flux.2-max") && !ids.contains(&"gpt-image-2"), "{ids:?}");
    kit.running.stop().await;
}

#[tokio::test]
async fn limits_are_raised_lowered_and_lifted() {
    let kit = Kit::start().await;
    let made = kit.post("/v1/keys", &json!({"name": "ci", "budget_usd": 0.02, "rate_limit_rpm": 900})).await.json;
    let (key, path) = (secret(&made), format!("/v1/keys/{}", made["id"].as_str().unwrap()));
    let buy = async || {
        let got = generate(&kit, &key, "openai/gpt-image-2").await;
        (got.status, got.json["error"]["code"].as_str().unwrap_or("none").to_owned())
    };
    let change = async |terms: Value| {
        let changed = kit.patch(&path, &terms).await;
        assert_eq!((changed.status, &changed.json), (200, &kit.get(&path).await.json), "{terms}");
        changed.json
    };
    let (bought, no_more) = ((200, "none".to_owned()), (402, "INSUFFICIENT_BALANCE".to_owned()));
    while buy().await == bought {}
    assert_eq!(buy().await, no_more, "used up");
    let spent = kit.get(&path).await.json["spent_usd"].as_f64().unwrap();
    let raised = change(json!({"budget_usd": "1.5"})).await;
    assert_eq!((&raised["budget_usd"], &raised["spent_usd"]), (&json!(1.5), &json!(spent)));
    assert_eq!((&raised["rate_limit_rpm"], &raised["name"]), (&json!(900), &json!("ci")), "what is not named stays");
    assert_eq!(buy().await, bought, "at once");
    assert!(kit.get(&path).await.json["spent_usd"].as_f64().unwrap() > spent, "counted on from what was spent");
    for budget in ["budget_usd", "budget_daily_usd", "budget_monthly_usd"] {
        change(json!({budget: spent})).await;
        assert_eq!(buy().await, no_more, "{budget}: what was spent before counts");
        assert_eq!(change(json!({budget: null})).await[budget], Value::Null);
        assert_eq!(buy().await, bought, "{budget} is lifted");
    }
    change(json!({"budget_daily_usd": 0, "budget_soft": true})).await;
    assert_eq!(buy().await, bought, "told and not refused");
    assert_eq!(change(json!({"budget_soft": null})).await["budget_soft"], false);
    assert_eq!(buy().await, no_more);

    change(json!({"budget_daily_usd": null, "rate_limit_rpm": 1, "allowed_models": ["openai/*"]})).await;
    // Two of three are in the same minute, at least.
    let refused = [buy().await, buy().await, buy().await];
    assert!(refused.iter().any(|(status, _)| *status == 429), "{refused:?}");
    let terms = json!({"rate_limit_rpm": null, "max_concurrent": 3, "allowed_models": ["mock-*"], "name": "CI"});
    let named = change(terms).await;
    assert_eq!(
        (&named["name"], &named["max_concurrent"], &named["rate_limit_rpm"]),
        (&json!("CI"), &json!(3), &json!(null))
    );
    assert_eq!(buy().await, (403, "FORBIDDEN".to_owned()));
    let end = "2099-01-01T00:00:00.000Z";
    assert_eq!(change(json!({"allowed_models": null, "expires_at": "2099-01-01"})).await["expires_at"], end);
    assert_eq!(buy().await, bought);
    assert_eq!(change(json!({})).await["expires_at"], end);
    assert_eq!(change(json!({"expires_at": null, "name": null})).await["name"], Value::Null);
    kit.running.stop().await;
}

#[tokio::test]
async fn only_admins_change_keys_that_there_are() {
    let kit = Kit::start().await;
    let made = kit.post("/v1/keys", &json!({"budget_usd": 1})).await.json;
    let (key, path) = (secret(&made), format!("/v1/keys/{}", made["id"].as_str().unwrap()));
    let own =
        kit.raw(|client, base| client.patch(format!("{base}{path}")).bearer_auth(&key).body("{\"budget_usd\": 9}"));
    assert_eq!(own.await.error(), (403, "FORBIDDEN", "none"), "not even its own");
    assert_eq!(kit.get(&path).await.json["budget_usd"], json!(1.0));
    assert_eq!(kit.patch("/v1/keys/nobody", &json!({"name": "x"})).await.error().0, 404);
    kit.delete(&path).await;
    assert_eq!(
        kit.patch(&path, &json!({"budget_usd": 2})).await.error().0,
        404,
        "a revoked key has no limits to change"
    );
    kit.running.stop().await;
}

#[tokio::test]
async fn bad_key_requests_name_their_field() {
    let kit = Kit::start().await;
    let made = kit.post("/v1/keys", &json!({"name": "steady", "budget_usd": 3})).await.json;
    let path = format!("/v1/keys/{}", made["id"].as_str().unwrap());
    for (body, param) in [
        (json!({"name": "x".repeat(201)}), "name"),
        (json!({"name": "changed", "budget_usd": "much"}), "budget_usd"),
        (json!({"name": "changed", "budget_daily_usd": -0.01}), "budget_daily_usd"),
        (json!({"name": "changed", "budget_monthly_usd": 1e300}), "budget_monthly_usd"),
        (json!({"name": "changed", "budget_soft": "maybe"}), "budget_soft"),
        (json!({"name": "changed", "rate_limit_rpm": 0}), "rate_limit_rpm"),
        (json!({"name": "changed", "max_concurrent": 1.5}), "max_concurrent"),
        (json!({"name": "changed", "expires_at": "2001-01-01"}), "expires_at"),
        (json!({"name": "changed", "allowed_models": ["[z"]}), "allowed_models"),
        (json!({"name": "changed", "admin": true}), "admin"),
        (json!({"name": "changed", "account": "acme"}), "account"),
        (json!({"name": "changed", "spent_usd": 0}), "spent_usd"),
    ] {
        let got = kit.patch(&path, &body).await;
        assert_eq!(got.error(), (400, "INVALID_REQUEST", param), "{body}: {}", got.json);
    }
    let kept = kit.get(&path).await.json;
    assert_eq!((&kept["name"], &kept["budget_usd"]), (&json!("steady"), &json!(3.0)), "nothing by halves");
    for (body, param) in [
        (json!({"name": 7}), "name"),
        (json!({"account": "nobody"}), "account"),
        (json!({"expires_at": "2001-01-01"}), "expires_at"),
        (json!({"expires_at": "soon"}), "expires_at"),
        (json!({"allowed_models": "all"}), "allowed_models"),
        (json!({"allowed_models": ["[z"]}), "allowed_models"),
        (json!({"admin": "yes"}), "admin"),
        (json!({"colour": "red"}), "colour"),
    ] {
        let got = kit.post("/v1/keys", &body).await;
        assert_eq!(got.error(), (400, "INVALID_REQUEST", param), "{body}: {}", got.json);
    }
    kit.running.stop().await;
}
