//! Keys: made, shown once, rotated, revoked at once, scoped.

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
async fn bad_key_requests_name_their_field() {
    let kit = Kit::start().await;
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
