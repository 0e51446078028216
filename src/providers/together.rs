//! Together AI images: one synchronous call for generations and edits alike, base64 inside the JSON answer.
//! <https://docs.together.ai/reference/post-images-generations> (read 2026-11). Its SDKs take a base address.
//!
//! `base64` is asked for, `b64_json` is answered. Together's own checker refuses with a 422, the makers of closed models
//! with the code `content_policy_violation`; an empty purse is a 402. Nothing is said of the bill. Videos are not here:
//! they have a host and a version of their own.

use super::{Adapter, Card, Reach, Site, Turn, shapes};
use crate::fault::{Accepted, Fault, FaultKind};
use crate::job::{Brief, Usage};
use crate::outbound::auth::AuthScheme;
use crate::outbound::call::{Call, Reply};
use serde::Deserialize;
use serde_json::Value;

pub(super) struct Together;

static CARD: Card = Card {
    id: "together",
    name: "Together AI",
    base_url: "https://api.together.xyz/v1",
    reach: Reach::Hosted,
    auth: AuthScheme::Bearer,
    key_env: "TOGETHER_API_KEY",
    // Files are never asked for by link; these are the API's own two names.
    hosts: &[],
    docs: "https://docs.together.ai/reference/post-images-generations",
    catalog: include_str!("../../config/catalog/together.toml"),
};

impl Adapter for Together {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn open(&self, brief: &Brief, site: &Site) -> Result<Turn, Fault> {
        let mut body = brief.input.clone();
        body.insert("model".to_owned(), Value::from(brief.model.as_str()));
        // Links die within the hour and lead to hosts that are not documented.
        body.insert("response_format".to_owned(), Value::from("base64"));
        Ok(Turn::Next(Call::submit(format!("{}/images/generations", site.base_url), Value::Object(body))))
    }

    fn read(&self, _asked: &Call, reply: &Reply, _site: &Site) -> Result<Turn, Fault> {
        let answer: Answer<'_> = reply.json()?;
        let outputs = answer.data.into_iter().flatten().filter_map(|item| item.into_output(&reply.body)).collect();
        Ok(Turn::Done(outputs, Usage::default()))
    }

    fn fault(&self, asked: &Call, reply: &Reply) -> Fault {
        let fault = shapes::fault(asked, reply);
        let (kind, accepted) = match (reply.status, fault.upstream_code.as_deref()) {
            // The maker may have refused what it had made, and nobody says who pays for that.
            (_, Some("content_policy_violation")) => (FaultKind::Moderated, Accepted::Maybe),
            (_, Some("model_not_available")) => (FaultKind::Gone, Accepted::No),
            (_, Some("credit_limit")) => (FaultKind::Auth, Accepted::No),
            (422, _) => (FaultKind::Moderated, fault.accepted),
            _ => (fault.kind, fault.accepted),
        };
        Fault { kind, accepted, ..fault }
    }
}

/// Borrowed from the reply: a picture stays where it arrived.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    data: Option<Vec<shapes::Item<'a>>>,
}
