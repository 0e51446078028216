//! Videos made of other videos: remixed, edited, and gone on from, be they made here or given.

use super::kit::Kit;
use super::videos::{balance, settled};
use serde_json::json;

#[tokio::test]
async fn a_video_is_made_from_one_that_was_made_here() {
    let kit = Kit::start().await;
    let first = kit.post("/v1/videos", &json!({"model": "veo-3.1-fast", "prompt": "a fox"})).await.json;
    let id = first["id"].as_str().unwrap();
    let ask = json!({"model": "lucy-edit-pro", "prompt": "the same at night"});
    let path = format!("/v1/videos/{id}/remix");
    let early = kit.post(&path, &ask).await;
    assert_eq!(early.status, 400, "{}", early.json);
    settled(&kit, &format!("/v1/videos/{id}")).await;
    let made = async || kit.get("/v1/videos").await.json["data"].as_array().unwrap().len();
    let dry = kit.post(&format!("{path}?dryRun=true"), &ask).await;
    assert_eq!((dry.status, &dry.json["estimated"]), (200, &json!(true)), "{}", dry.json);
    assert_eq!(made().await, 1, "a dry run begins nothing");
    let taken = kit.post(&path, &ask).await;
    assert_eq!((taken.status, &taken.json["remixed_from_video_id"]), (202, &json!(id)), "{}", taken.json);
    let done = settled(&kit, &format!("/v1/videos/{}", taken.json["id"].as_str().unwrap())).await;
    assert_eq!(done["status"], "completed", "{done}");
    // The model of the first one takes no videos.
    let same = kit.post(&path, &json!({"prompt": "again"})).await;
    assert_eq!(same.status, 400, "{}", same.json);
    assert_eq!(made().await, 2);
    balance(&kit).await;
    kit.running.stop().await;
}
