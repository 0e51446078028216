//! Stored jobs, their leases, and the queue of webhooks, on SQLite and on PostgreSQL.

use super::{Bench, NOON, later};
use lumenfall::base::Timestamp;
use lumenfall::job::Modality;
use lumenfall::store::{
    Cursor, DeliveryAttempt, DeliveryStatus, JobRow, JobSave, JobStatus, NewDelivery, NewKey, Page, StoreError,
};
use sqlx::Executor;

on_both_databases! {
    a_job_comes_back_as_it_was
    jobs_are_leased_once
    a_lost_lease_writes_nothing
    ended_jobs_are_hidden_and_removed
    deliveries_are_retried_and_redelivered
    unknown_words_are_named
}

fn job(id: &str, kind: Modality, created_at: Timestamp) -> JobRow {
    JobRow {
        id: id.into(),
        created_at,
        account_id: "default".into(),
        key_id: "key_1".into(),
        kind,
        status: JobStatus::Queued,
        request: r#"{"prompt":"a fox"}"#.into(),
        state: "{}".into(),
        view: r#"{"n":1}"#.into(),
        deadline_at: later(60_000),
        completed_at: None,
        expires_at: None,
        cancel: false,
    }
}

fn save(id: &str, owner: &str) -> JobSave {
    JobSave {
        id: id.into(),
        owner: owner.into(),
        status: JobStatus::InProgress,
        state: r#"{"round":1}"#.into(),
        view: None,
        ended: None,
        webhook: None,
    }
}

fn delivery(id: &str) -> NewDelivery {
    NewDelivery {
        id: id.into(),
        account_id: "default".into(),
        event: "video.completed".into(),
        url: "https://example.com/hook".into(),
        payload: "{}".into(),
        at: NOON,
    }
}

async fn a_job_comes_back_as_it_was(bench: Bench) {
    let jobs = bench.store.jobs();
    let video = job("req_1", Modality::Video, NOON);
    jobs.insert(&video, "a", later(1000)).await.unwrap();
    jobs.insert(&job("req_2", Modality::Image, later(1)), "a", later(1000)).await.unwrap();
    assert_eq!(jobs.find("req_1", Some("default")).await.unwrap(), Some(video.clone()));
    assert_eq!(jobs.find("req_1", None).await.unwrap(), Some(video.clone()));
    assert_eq!(jobs.find("req_1", Some("other")).await.unwrap(), None);
    assert_eq!(jobs.find("req_\0", None).await.unwrap(), None);
    let page = Page { limit: 9, cursor: Cursor::Start };
    let listed = jobs.list(Modality::Video, Some("default"), &page).await.unwrap().unwrap();
    assert_eq!((listed.items, listed.has_older, listed.has_newer), (vec![video], false, false));
}

async fn jobs_are_leased_once(bench: Bench) {
    let jobs = bench.store.jobs();
    for number in 0..20 {
        jobs.insert(&job(&format!("req_{number}"), Modality::Video, NOON), "gone", later(-1)).await.unwrap();
    }
    let lease = |owner: &'static str| jobs.lease(owner, NOON, later(1000), 15);
    let (one, two) = tokio::join!(lease("a"), lease("b"));
    let (one, two) = (one.unwrap(), two.unwrap());
    // Rows that the other one has locked are skipped, so one round may lease fewer.
    let rest = lease("a").await.unwrap();
    let mut ids: Vec<_> = one.iter().chain(&two).chain(&rest).map(|leased| leased.id.clone()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), one.len() + two.len() + rest.len()), (20, 20));
    assert_eq!(jobs.renew_leases("a", NOON, later(2000)).await.unwrap(), (one.len() + rest.len()) as u64);
    assert_eq!(jobs.renew_leases("b", later(1001), later(2000)).await.unwrap(), 0, "an expired lease stays expired");
    assert_eq!(jobs.release_leases("a").await.unwrap(), (one.len() + rest.len()) as u64);
    assert_eq!(jobs.lease("c", later(1001), later(2000), 99).await.unwrap().len(), 20);
}

async fn a_lost_lease_writes_nothing(bench: Bench) {
    let jobs = bench.store.jobs();
    jobs.insert(&job("req_1", Modality::Video, NOON), "a", later(1000)).await.unwrap();
    assert_eq!(jobs.save(&[save("req_1", "a")]).await.unwrap(), [true]);
    assert_eq!(jobs.lease("b", later(1001), later(2000), 9).await.unwrap().len(), 1);
    let end = |owner| JobSave {
        status: JobStatus::Completed,
        view: Some(r#"{"n":2}"#.into()),
        ended: Some((later(5), Some(later(9)))),
        webhook: Some(delivery("msg_1")),
        ..save("req_1", owner)
    };
    let held = jobs.save(&[end("a"), end("b"), save("req_1", "b")]).await.unwrap();
    assert_eq!(held, [false, true, false], "the lease is lost, held, and over");
    let stored = jobs.find("req_1", None).await.unwrap().unwrap();
    let expected = JobRow {
        status: JobStatus::Completed,
        state: r#"{"round":1}"#.into(),
        view: r#"{"n":2}"#.into(),
        completed_at: Some(later(5)),
        expires_at: Some(later(9)),
        ..job("req_1", Modality::Video, NOON)
    };
    assert_eq!(stored, expected);
    let leased = bench.store.webhooks().lease("b", NOON, later(10), 9).await.unwrap();
    assert_eq!(leased.iter().map(|leased| leased.id.as_str()).collect::<Vec<_>>(), ["msg_1"]);
}

async fn ended_jobs_are_hidden_and_removed(bench: Bench) {
    let jobs = bench.store.jobs();
    jobs.insert(&job("req_1", Modality::Image, NOON), "a", later(1000)).await.unwrap();
    assert!(!jobs.delete("req_1", None).await.unwrap(), "it has not ended");
    assert!(!jobs.request_cancel("req_1", Some("other")).await.unwrap());
    assert!(jobs.request_cancel("req_1", Some("default")).await.unwrap());
    assert_eq!(jobs.to_cancel("a").await.unwrap(), ["req_1"]);
    let end = JobSave { status: JobStatus::Cancelled, ended: Some((later(5), None)), ..save("req_1", "a") };
    assert_eq!(jobs.save(&[end]).await.unwrap(), [true]);
    assert_eq!(jobs.to_cancel("a").await.unwrap(), Vec::<String>::new());
    assert!(!jobs.request_cancel("req_1", None).await.unwrap());
    assert!(jobs.delete("req_1", Some("default")).await.unwrap());
    assert_eq!(jobs.find("req_1", None).await.unwrap(), None);
    assert_eq!(jobs.remove_ended(later(5)).await.unwrap(), 0);
    assert_eq!(jobs.remove_ended(later(6)).await.unwrap(), 1);
}

async fn deliveries_are_retried_and_redelivered(bench: Bench) {
    let (jobs, webhooks) = (bench.store.jobs(), bench.store.webhooks());
    jobs.insert(&job("req_1", Modality::Video, NOON), "a", later(1000)).await.unwrap();
    jobs.save(&[JobSave { webhook: Some(delivery("msg_1")), ..save("req_1", "a") }]).await.unwrap();
    let leased = webhooks.lease("a", NOON, later(10), 9).await.unwrap().remove(0);
    assert_eq!((leased.status, leased.attempts), (DeliveryStatus::Pending, 1));
    assert!(webhooks.lease("b", NOON, later(10), 9).await.unwrap().is_empty());
    let failed = |retry_at| DeliveryAttempt { status: Some(500), error: Some("it failed".into()), retry_at };
    let done = DeliveryAttempt { status: Some(204), error: None, retry_at: None };
    webhooks.record_attempt("msg_1", "b", NOON, &done).await.unwrap();
    webhooks.record_attempt("msg_1", "a", NOON, &failed(Some(later(5)))).await.unwrap();
    assert!(webhooks.lease("a", later(4), later(10), 9).await.unwrap().is_empty(), "not due");
    let again = webhooks.lease("a", later(5), later(10), 9).await.unwrap().remove(0);
    assert_eq!((again.attempts, again.last_status, again.last_error.as_deref()), (2, Some(500), Some("it failed")));
    webhooks.record_attempt("msg_1", "a", later(5), &failed(None)).await.unwrap();
    let page = Page { limit: 9, cursor: Cursor::Start };
    let listed = async |status| webhooks.list(Some("default"), Some(status), &page).await.unwrap().unwrap().items.len();
    assert_eq!((listed(DeliveryStatus::Failed).await, listed(DeliveryStatus::Pending).await), (1, 0));
    assert!(webhooks.redeliver("msg_1", Some("other"), later(6)).await.unwrap().is_none());
    let queued = webhooks.redeliver("msg_1", Some("default"), later(6)).await.unwrap().unwrap();
    assert_eq!((queued.status, queued.attempts), (DeliveryStatus::Pending, 0));
    assert_eq!(webhooks.lease("a", later(6), later(10), 9).await.unwrap().len(), 1);
    webhooks.record_attempt("msg_1", "a", later(7), &done).await.unwrap();
    let delivered = webhooks.list(None, Some(DeliveryStatus::Delivered), &page).await.unwrap().unwrap().items.remove(0);
    assert_eq!(
        (delivered.delivered_at, delivered.last_status, delivered.last_error),
        (Some(later(7)), Some(204), None)
    );
    assert_eq!(webhooks.remove_ended(later(1)).await.unwrap(), 1);
}

/// A database of a later version, or one that somebody edited.
async fn unknown_words_are_named(bench: Bench) {
    bench.store.jobs().insert(&job("req_1", Modality::Video, NOON), "a", NOON).await.unwrap();
    bench.key(NewKey { account_id: "default".into(), ..NewKey::default() }).await;
    let mut stranger = bench.stranger().await;
    stranger.execute("UPDATE jobs SET kind = 'hologram'").await.unwrap();
    let error = bench.store.jobs().find("req_1", None).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unknown { what: "modality", value } if value == "hologram"), "{error}");
    stranger.execute("UPDATE api_keys SET allowed_models = 'broken'").await.unwrap();
    let page = Page { limit: 9, cursor: Cursor::Start };
    assert!(bench.store.keys().list(None, None, &page).await.is_err(), "a broken list must not become all models");
}
