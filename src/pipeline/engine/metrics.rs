//! What Prometheus is told of the calls to providers. Labels are routes of the catalog and kinds of faults: a bounded set,
//! and nothing that a caller chooses.

use crate::fault::FaultKind;
use metrics::{counter, histogram};
use std::time::Duration;

/// One creating call: how it ended, and how long it took.
pub(super) fn attempt(route: &str, fault: Option<FaultKind>, took: Duration) {
    let kind = fault.map_or("ok", FaultKind::as_str);
    counter!("lumenfall_attempts_total", "route" => route.to_owned(), "kind" => kind).increment(1);
    histogram!("lumenfall_attempt_seconds", "route" => route.to_owned()).record(took.as_secs_f64());
}
