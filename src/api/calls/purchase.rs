//! Buys the pictures of a call that waits for them.

use super::execution::HeldPermits;
use super::payload_retention::RetainedPayload;
use crate::api::state::Api;
use crate::error::Error;
use crate::job::Job;
use crate::pipeline::{Answer, Asker, Partials};

/// Buys the pictures, and retains request and answer where the operator wants that. The body's memory is free again as
/// soon as no provider needs it.
pub(super) async fn buy_images(
    api: &Api,
    job: Job,
    info: Asker,
    partials: Option<Partials>,
    held: HeldPermits,
) -> Result<Answer, Error> {
    let payload = RetainedPayload::of_request(api, &job, &info);
    let answer = api.gateway.image(&job, info, partials).await;
    drop((job, held));
    if let Some(payload) = payload {
        payload.store(api, &answer).await;
    }
    answer
}
