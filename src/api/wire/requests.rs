//! Filters and rows of the request log.

use super::page::ListQuery;
use crate::base::{Timestamp, Usd};
use crate::error::Error;
use crate::store::{Filter, GroupBy, Record, Status, Summary};
use serde_json::{Value, json};

/// The query parameters of the list, for error messages.
pub(in crate::api) const QUERY_PARAMETERS: &[&str] = &[
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

/// Reads the filters of a query.
pub(in crate::api) fn read_filter(query: &mut ListQuery) -> Result<Filter, Error> {
    let mut timestamp = |name: &str| match query.take(name) {
        None => Ok(None),
        Some(text) => Timestamp::parse(&text).map(Some).ok_or_else(|| {
            Error::invalid(name, format!("'{name}' should be ISO 8601, such as 2026-03-15 or 2026-03-15T14:32:10Z."))
        }),
    };
    let (created_after, created_before) = (timestamp("created_after")?, timestamp("created_before")?);
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

/// A request for the sum over all matches.
pub(in crate::api) struct SummaryQuery {
    pub(in crate::api) group_by: Option<GroupBy>,
}

/// Reads `summary` and `group_by`.
pub(in crate::api) fn read_summary(query: &mut ListQuery) -> Result<Option<SummaryQuery>, Error> {
    let wanted = match query.take("summary").as_deref() {
        None | Some("false" | "0") => false,
        Some("true" | "1") => true,
        Some(_) => return Err(Error::invalid("summary", "'summary' should be true or false.")),
    };
    let group_by = match query.take("group_by").as_deref() {
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
    Ok((wanted || group_by.is_some()).then_some(SummaryQuery { group_by }))
}

/// A row in a list, with the contract's fields and ours.
pub(in crate::api) fn request_json(record: &Record) -> Value {
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

/// A single row, with its attempts, timeline and adjustments.
pub(in crate::api) fn request_details_json(record: &Record) -> Value {
    let stored = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    let mut body = request_json(record);
    body["attempts"] = stored(&record.attempts);
    body["timeline"] = stored(&record.timeline);
    body["adjustments"] = stored(&record.adjustments);
    body
}

/// The sum over all matches.
pub(in crate::api) fn summary_json(summary: &Summary) -> Value {
    let mut body = json!({"count": summary.count, "total_cost": summary.cost, "currency": "usd"});
    if let Some(groups) = &summary.groups {
        let groups =
            groups.iter().map(|group| json!({"key": group.key, "count": group.count, "total_cost": group.cost}));
        body["groups"] = groups.collect();
    }
    body
}
