//! A task: what becomes of it, how it is billed, how it is shown.

use super::super::bill;
use super::super::easel::Motif;
use super::super::identity::fresh_uuid;
use super::error::Refusal;
use super::request::Order;
use crate::base::{Timestamp, Usd};
use crate::catalog::Route;
use crate::catalog::price::Metric;
use crate::media::Format;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What becomes of a request. It is settled when the request is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Pictures or a video.
    Made,
    /// Refused by the inspection.
    Refused,
    /// The model fell over.
    Failed,
    /// Given up while it waited.
    Cancelled,
}

/// One request, whether it is answered at once or polled.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) id: String,
    pub(super) route: Arc<Route>,
    pub(super) order: Order,
    pub(super) fate: Fate,
    pub(super) billed: Usd,
    /// How many polls find it unfinished, and how many there were.
    pub(super) polls: u32,
    pub(super) polled: u32,
    /// How long it takes at least.
    pub(super) latency: Duration,
    born: Instant,
    submitted: Timestamp,
}

impl Task {
    pub(super) fn new(order: Order, route: Arc<Route>, refused: bool) -> Self {
        let fate = match &order.prompt {
            _ if refused => Fate::Refused,
            prompt if prompt.contains("[refuse]") => Fate::Refused,
            prompt if prompt.contains("[fail]") => Fate::Failed,
            _ => Fate::Made,
        };
        // Failures are not billed.
        let billed = if fate == Fate::Made { price(&order, &route) } else { Usd::ZERO };
        Self {
            id: fresh_uuid(),
            route,
            order,
            fate,
            billed,
            polls: 0,
            polled: 0,
            latency: Duration::ZERO,
            born: Instant::now(),
            submitted: Timestamp::now(),
        }
    }

    /// Where it is.
    pub(super) fn status(&self) -> &'static str {
        let elapsed = self.born.elapsed();
        let polled = |beyond: u32| self.polls == 0 || self.polled > beyond;
        let done = polled(self.polls) && elapsed >= self.latency;
        match self.fate {
            Fate::Cancelled => "CANCELED",
            Fate::Made if done => "SUCCEEDED",
            Fate::Refused | Fate::Failed if done => "FAILED",
            _ if polled(self.polls.div_ceil(2)) && elapsed * 4 >= self.latency => "RUNNING",
            _ => "PENDING",
        }
    }

    /// The refusal that it ends with.
    pub(super) fn complaint(&self) -> Option<Refusal> {
        match self.fate {
            Fate::Refused => Some(Refusal::moderated()),
            Fate::Failed => Some(Refusal::failed()),
            Fate::Made | Fate::Cancelled => None,
        }
    }

    /// The name of a result file.
    pub(super) fn file(&self, index: u32) -> String {
        let extension = if self.order.seconds.is_some() { "mp4" } else { "png" };
        format!("{}_{index}.{extension}", self.id)
    }

    pub(super) fn motif(&self, index: u32) -> Motif {
        let prompt = Arc::clone(&self.order.prompt);
        Motif { prompt, index, size: self.order.size, format: Format::Png, black: false }
    }

    /// The answer of the endpoint that waits: `count` pictures below `base`.
    pub(super) fn answer(&self, base: &str, count: u32) -> Value {
        let output = json!({"choices": self.choices(base, count), "finished": true});
        json!({"request_id": fresh_uuid(), "output": output, "usage": self.usage(count)})
    }

    /// The task object, with `count` pictures or one video below `base` when it is done.
    pub(super) fn show(&self, base: &str, messages: bool, count: u32) -> Value {
        let status = self.status();
        let mut output = json!({"task_id": self.id, "task_status": status, "submit_time": clock(self.submitted)});
        if status == "RUNNING" || status == "SUCCEEDED" || status == "FAILED" {
            output["scheduled_time"] = clock(self.submitted).into();
        }
        let mut object = json!({"request_id": fresh_uuid()});
        if let Some(refusal) = self.complaint().filter(|_| status == "FAILED") {
            output["code"] = refusal.code.into();
            output["message"] = refusal.message.into();
        }
        if status == "SUCCEEDED" {
            output["end_time"] = clock(Timestamp::now()).into();
            object["usage"] = self.usage(count);
            if self.order.seconds.is_some() {
                output["orig_prompt"] = (*self.order.prompt).into();
                if count > 0 {
                    output["video_url"] = format!("{base}/{}", self.file(0)).into();
                }
            } else if messages {
                output["finished"] = true.into();
                output["choices"] = self.choices(base, count);
            } else {
                let result =
                    |index| json!({"orig_prompt": &*self.order.prompt, "url": format!("{base}/{}", self.file(index))});
                output["results"] = (0..count).map(result).collect();
                output["task_metrics"] = json!({"TOTAL": count, "SUCCEEDED": count, "FAILED": 0});
            }
        }
        object["output"] = output;
        object
    }

    fn choices(&self, base: &str, count: u32) -> Value {
        let content: Vec<Value> =
            (0..count).map(|index| json!({"image": format!("{base}/{}", self.file(index)), "type": "image"})).collect();
        json!([{"finish_reason": "stop", "message": {"role": "assistant", "content": content}}])
    }

    fn usage(&self, count: u32) -> Value {
        match self.order.seconds {
            Some(seconds) => json!({"duration": seconds, "output_video_duration": seconds, "video_count": 1}),
            None => json!({"width": self.order.size.width, "height": self.order.size.height, "image_count": count}),
        }
    }
}

/// `YYYY-MM-DD HH:MM:SS.mmm` in UTC+8, without saying so.
fn clock(at: Timestamp) -> String {
    at.plus(Duration::from_hours(8)).rfc3339().replace('T', " ").trim_end_matches('Z').to_owned()
}

/// The bill: pictures by the price lines; a video by its seconds at the line of its resolution or size.
fn price(order: &Order, route: &Route) -> Usd {
    let Some(seconds) = order.seconds else {
        return bill::price(&route.price, &order.parameters, order.size, order.count.into());
    };
    let said = |name: &str| order.parameters.get(name).and_then(Value::as_str).unwrap_or("unsaid").to_owned();
    let lines = route.price.lines.iter().filter(|line| {
        line.metric == Metric::Second && line.when.iter().all(|(name, list)| list.contains(&said(name)))
    });
    Usd::from_dollars(lines.map(|line| Decimal::from(seconds) * line.unit_price).sum()).unwrap_or_default()
}
