//! Webhooks at the end of a job, signed as Standard Webhooks says
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>, read 2026-11).
//!
//! A delivery is leased before it is tried, so another dispatcher repeats it when this one dies: delivered at least once,
//! always with the same `webhook-id`.

use super::state::JobView;
use super::submit::Jobs;
use crate::base::{Secret, Timestamp};
use crate::outbound::{Client, check_webhook};
use crate::store::{Delivery, DeliveryAttempt, JobRow, JobStatus, NewDelivery};
use ring::hmac;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// `[webhooks]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookSettings {
    /// Seconds that a receiver has to answer.
    pub timeout_seconds: u64,
    /// Lets webhooks lead to any address and port, plain http included.
    pub allow_private: bool,
}

/// When a failed delivery is tried again; then it has failed for good.
const RETRIES: [Duration; 3] = [Duration::from_secs(5), Duration::from_secs(15), Duration::from_secs(45)];
/// The interval between looks into the queue.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Deliveries under way at once.
const MAX_CONCURRENT: usize = 64;
/// Added to the time limit of a delivery: the length of its lease.
const LEASE_MARGIN: Duration = Duration::from_secs(10);
/// The time limit for deliveries under way at shutdown.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// The webhook about the end of a job.
pub(super) fn event_of(row: &JobRow, status: JobStatus, view: &JobView, url: &str, at: Timestamp) -> NewDelivery {
    let event = format!("{}.{}", row.kind, status.as_str());
    let mut data = json!({
        "object": format!("{}.generation", row.kind),
        "id": row.id,
        "model": view.model,
        // The public statuses know no cancelled one; the event's name does.
        "status": if status == JobStatus::Completed { "completed" } else { "failed" },
    });
    if let Some((link, made)) = view.outputs.first().filter(|_| status == JobStatus::Completed) {
        data["output"] = json!({"url": link, "content_type": made.content_type, "size_bytes": made.size_bytes});
        if view.outputs.len() > 1 {
            data["outputs"] = view.outputs.iter().map(|(link, _)| json!({"url": link})).collect();
        }
    }
    if let Some((code, message)) = &view.error {
        data["error"] = json!({"code": code, "message": message});
    }
    if let Some(notes) = &view.metadata {
        data["metadata"] = notes.clone();
    }
    let payload = json!({"type": event, "timestamp": at.rfc3339(), "data": data}).to_string();
    NewDelivery {
        id: format!("msg_{}", row.id),
        account_id: row.account_id.clone(),
        event,
        url: url.to_owned(),
        payload,
        at,
    }
}

/// Delivers what is queued.
pub struct WebhookDispatcher {
    pub jobs: Jobs,
    /// Posts; its guard decides where to.
    pub client: Client,
    pub settings: WebhookSettings,
}

impl WebhookDispatcher {
    /// Delivers until `stopped`.
    pub async fn run(self, mut stopped: watch::Receiver<bool>) {
        let dispatcher = Arc::new(self);
        let mut in_flight = JoinSet::new();
        while timeout(POLL_INTERVAL, stopped.changed()).await.is_err() {
            while in_flight.try_join_next().is_some() {}
            let room = u32::try_from(MAX_CONCURRENT.saturating_sub(in_flight.len())).unwrap_or(0);
            if room == 0 {
                continue;
            }
            for delivery in dispatcher.lease(room).await {
                let dispatcher = Arc::clone(&dispatcher);
                in_flight.spawn(async move { dispatcher.deliver(delivery).await });
            }
        }
        let rest = async { while in_flight.join_next().await.is_some() {} };
        // Those that are cut off are delivered again when their lease has run out.
        let _ = timeout(SHUTDOWN_GRACE, rest).await;
    }

    async fn lease(&self, room: u32) -> Vec<Delivery> {
        let now = Timestamp::now();
        let until = now.plus(Duration::from_secs(self.settings.timeout_seconds) + LEASE_MARGIN);
        let leased = self.jobs.store.webhooks().lease(&self.jobs.owner, now, until, room).await;
        leased.unwrap_or_else(|error| {
            tracing::warn!(%error, "webhooks could not be leased; will retry");
            Vec::new()
        })
    }

    async fn deliver(&self, delivery: Delivery) {
        let outcome = self.post(&delivery).await;
        let tries = usize::try_from(delivery.attempts).unwrap_or(usize::MAX);
        let now = Timestamp::now();
        let tried = match outcome {
            Ok(status) if (200..300).contains(&status) => {
                DeliveryAttempt { status: Some(status), error: None, retry_at: None }
            }
            Ok(status) => DeliveryAttempt {
                status: Some(status),
                error: Some(format!("the receiver answered {status}")),
                retry_at: RETRIES.get(tries - 1).map(|pause| now.plus(*pause)),
            },
            Err(error) => DeliveryAttempt {
                status: None,
                error: Some(error),
                retry_at: RETRIES.get(tries - 1).map(|pause| now.plus(*pause)),
            },
        };
        if let Some(error) = &tried.error {
            tracing::info!(webhook.id = %delivery.id, attempt = tries, "webhook not delivered: {error}");
        }
        for _ in 0..3 {
            match self.jobs.store.webhooks().record_attempt(&delivery.id, &self.jobs.owner, now, &tried).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(%error, "the result of a webhook delivery could not be stored; will retry");
                }
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    async fn post(&self, delivery: &Delivery) -> Result<u16, String> {
        if !self.settings.allow_private {
            check_webhook(&delivery.url).map_err(|blocked| blocked.to_string())?;
        }
        let now = Timestamp::now();
        let secrets = self.jobs.store.webhooks().secrets(&delivery.account_id, now).await;
        let secrets = secrets.map_err(|_| "the signing secret could not be read".to_owned())?;
        let (id, seconds) = (&delivery.id, now.seconds());
        let headers = [
            ("webhook-id", id.clone()),
            ("webhook-timestamp", seconds.to_string()),
            ("webhook-signature", sign(&secrets, id, seconds, &delivery.payload)),
        ];
        let limit = Duration::from_secs(self.settings.timeout_seconds);
        self.client
            .deliver(&delivery.url, &headers, delivery.payload.clone(), limit)
            .await
            .map_err(|fault| fault.message)
    }
}

/// A signature for each secret that is valid, separated by spaces.
fn sign(secrets: &[Secret], id: &str, seconds: i64, payload: &str) -> String {
    let text = format!("{id}.{seconds}.{payload}");
    let one = |secret: &Secret| {
        let bytes = secret.expose().strip_prefix("whsec_").unwrap_or_default();
        let key = base64_simd::STANDARD.decode_to_vec(bytes).unwrap_or_default();
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), text.as_bytes());
        format!("v1,{}", base64_simd::STANDARD.encode_to_string(tag.as_ref()))
    };
    secrets.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference libraries.
    #[test]
    fn signs_as_the_specification_says() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signed = sign(
            std::slice::from_ref(&secret),
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            "{\"test\": 2432232314}",
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(sign(&[secret.clone(), secret], "a", 1, "b").split(' ').count(), 2, "both during an overlap");
    }
}
