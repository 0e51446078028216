//! Rows of the request log on the wire.

use super::page::ListQuery;
use crate::base::{Timestamp, Usd};
use crate::error::Error;
use crate::store::{Filter, GroupBy, Record, Status, Summary};
use serde_json::{Value, json};

/// What the list can be filtered by, for messages.
pub(in crate::api) const FILTERS: &[&str] = &[
    "created_after",
    "created_before",
    "key_id",
    "account_id",
    "status",
    "model",
    "provider",
    "modality",
    "user",
    "session_id",
    "error_code",
    "min_cost",
    "summary",
    "group_by",
    "format",
];

/// Takes the filters out of a query.
pub(in crate::api) fn read_filter(query: &mut ListQuery) -> Result<Filter, Error> {
    let mut moment = |name: &str| match query.take(name) {
        None => Ok(None),
        Some(text) => Timestamp::parse(&text).map(Some).ok_or_else(|| {
            Error::invalid(name, format!("'{name}' should be ISO 8601, such as 2026-03-15 or 2026-03-15T14:32:10Z."))
        }),
    };
    let (created_after, created_before) = (moment("created_after")?, moment("created_before")?);
    let status = match query.take("status") {
        None => None,
        Some(text) => Some(Status::parse(&text).ok_or_else(|| {
            let known = "completed, pending, processing, upstream_failure, rejected, cancelled";
            Error::invalid("status", format!("'status' should be one of {known}."))
        })?),
    };
    let min_cost =
        match query.take("min_cost") {
            None => None,
            Some(text) => Some(text.parse().ok().and_then(Usd::from_dollars).ok_or_else(|| {
                Error::invalid("min_cost", "'min_cost' should be an amount in dollars, such as 0.05.")
            })?),
        };
    Ok(Filter {
        created_after,
        created_before,
        status: status.map(|status| status.as_str().to_owned()),
        min_cost,
        key_id: query.take("key_id"),
        account_id: query.take("account_id"),
        model: query.take("model"),
        provider: query.take("provider"),
        modality: query.take("modality"),
        user: query.take("user"),
        session_id: query.take("session_id"),
        error_code: query.take("error_code"),
    })
}

/// The sum that a list call asks for besides its page.
pub(in crate::api) struct SummaryAsk {
    /// What to group it by.
    pub(in crate::api) group: Option<GroupBy>,
}

/// Takes `summary` and `group_by`.
pub(in crate::api) fn read_summary(query: &mut ListQuery) -> Result<Option<SummaryAsk>, Error> {
    let wanted = match query.take("summary").as_deref() {
        None | Some("false" | "0") => false,
        Some("true" | "1") => true,
        Some(_) => return Err(Error::invalid("summary", "'summary' should be true or false.")),
    };
    let group = match query.take("group_by").as_deref() {
        None => None,
        Some("day") => Some(GroupBy::Day),
        Some("model") => Some(GroupBy::Model),
        Some("provider") => Some(GroupBy::Provider),
        Some("key") => Some(GroupBy::Key),
        Some("user") => Some(GroupBy::User),
        Some(_) => {
            return Err(Error::invalid("group_by", "'group_by' should be one of day, model, provider, key, user."));
        }
    };
    Ok((wanted || group.is_some()).then_some(SummaryAsk { group }))
}

/// A row in a list, as the contract has it, with what is ours besides.
pub(in crate::api) fn show(record: &Record) -> Value {
    json!({
        "id": record.id,
        "object": "request",
        "created_at": record.created_at.rfc3339(),
        "model": record.model,
        "executed_model": record.executed_model,
        "provider": record.provider,
        "modality": record.modality,
        "mode": record.mode,
        "endpoint": record.endpoint,
        "status": record.status,
        "cost": record.cost,
        "cost_source": record.cost_source,
        "cost_note": record.cost_note,
        "cost_estimate": record.cost_estimate,
        "cost_uncertain": record.cost_uncertain,
        "currency": "usd",
        "duration_ms": record.duration_ms,
        "account_id": record.account_id,
        "key_id": record.key_id,
        "image_count": record.image_count,
        "size": record.size,
        "output_format": record.output_format,
        "error_code": record.error_code,
        "error_message": record.error_message,
        "session_id": record.session_id,
        "trace_id": record.trace_id,
        "user": record.user,
        "request_size_bytes": record.request_size_bytes,
        "response_size_bytes": record.response_size_bytes,
        "sandbox": record.sandbox,
    })
}

/// One row whole: with its attempts, its timeline and what was adjusted.
pub(in crate::api) fn show_whole(record: &Record) -> Value {
    let stored = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    let mut shown = show(record);
    shown["attempts"] = stored(&record.attempts);
    shown["timeline"] = stored(&record.timeline);
    shown["adjustments"] = stored(&record.adjustments);
    shown
}

/// The sum over all matches.
pub(in crate::api) fn show_summary(summary: &Summary) -> Value {
    let mut shown = json!({"count": summary.count, "total_cost": summary.cost, "currency": "usd"});
    if let Some(groups) = &summary.groups {
        let groups =
            groups.iter().map(|group| json!({"key": group.key, "count": group.count, "total_cost": group.cost}));
        shown["groups"] = groups.collect();
    }
    shown
}
