//! Runware: one address that takes an array of tasks and answers with results and errors side by side. Pictures come
//! with the answer, videos are polled for. <https://runware.ai/docs/platform/errors> (read 2026-11).
//!
//! What went wrong is said by a code, never by the status alone: a 200 may hold nothing but errors, and an empty purse
//! is a 400. Parameters in nested objects have dotted names in the catalog (`inputs.referenceImages`). Its Python SDK
//! (`runware-sdk`) takes `http_base_url`.

use super::{Adapter, Card, Reach, Site, Turn, shapes};
use crate::fault::{Accepted, Fault, FaultKind};
use crate::invoice::{DOLLAR, Invoice};
use crate::job::{Brief, Output, Source, Usage};
use crate::lists::{self, Listed, Listing, Reading};
use crate::outbound::auth::AuthScheme;
use crate::outbound::call::{Call, Leg, Payload, Reply, Verb};
use bytes::Bytes;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Map, Value, json};

pub(super) struct Runware;

static CARD: Card = Card {
    id: "runware",
    name: "Runware",
    base_url: "https://api.runware.ai",
    reach: Reach::Hosted,
    auth: AuthScheme::Bearer,
    key_env: "RUNWARE_API_KEY",
    hosts: &[],
    docs: "https://runware.ai/docs",
    catalog: include_str!("../../../config/catalog/runware.toml"),
};

/// The names of its API; it documents no export.
static INVOICE: Invoice = Invoice {
    time: &["createdAt", "created_at", "date"],
    amount: &["cost"],
    what: &["model", "taskType"],
    id: &["taskUUID"],
    unit: DOLLAR,
    daily: false,
};

impl Adapter for Runware {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn open(&self, brief: &Brief, site: &Site) -> Result<Turn, Fault> {
        let mut task = Map::new();
        for (name, value) in &brief.input {
            place(&mut task, name, value.clone());
        }
        if brief.mode.makes_video() {
            task.extend(fields(json!({"taskType": "videoInference", "deliveryMethod": "async"})));
            place_frames(&mut task);
        } else {
            // A model that draws vectors has a task of its own; its row says so.
            task.entry("taskType").or_insert_with(|| json!("imageInference"));
            task.insert("deliveryMethod".to_owned(), json!("sync"));
            task.entry("outputType").or_insert_with(|| json!("base64Data"));
        }
        task.extend(fields(json!({"taskUUID": brief.id, "model": brief.model, "includeCost": true})));
        Ok(Turn::Next(Call::submit(address(site), json!([task]))))
    }

    fn read(&self, asked: &Call, reply: &Reply, site: &Site) -> Result<Turn, Fault> {
        let answer: Answer<'_> = reply.json()?;
        match pending(asked) {
            Some(task) => answer.follow(asked, reply, &poll(task, site)),
            None => answer.collect(asked, reply),
        }
    }

    /// A task that was taken a moment ago may be in neither list, so an answer without it does not deny it.
    fn look_up(&self, submit: &Call, site: &Site) -> Option<Call> {
        pending(submit).map(|task| poll(task, site))
    }

    fn fault(&self, asked: &Call, reply: &Reply) -> Fault {
        let said = serde_json::from_slice::<Answer<'_>>(&reply.body).ok().and_then(Answer::complaint);
        said.map_or_else(|| shapes::fault(asked, reply), |said| said.into_fault(asked, reply))
    }

    fn listing(&self) -> Option<Listing> {
        Some(Listing { readings: price_readings, lines: listed_prices })
    }

    fn invoice(&self) -> Option<&'static Invoice> {
        Some(&INVOICE)
    }
}

/// `GET https://content.runware.ai/models/{AIR}/pricing`, without a key, read 2026-11.
fn price_readings(site: &Site, endpoints: &[&str]) -> Vec<Reading> {
    let base = lists::base(site, CARD.base_url, "https://content.runware.ai");
    let one = |id: &&str| {
        let call = Call::fetch(format!("{base}/models/{id}/pricing"));
        Reading { call, open: true, about: vec![(*id).to_owned()] }
    };
    endpoints.iter().map(one).collect()
}

fn listed_prices(answer: &Value, about: &[String]) -> Vec<Listed> {
    let prices: Vec<Decimal> =
        lists::rows(answer, "pricingExamples").filter_map(|row| lists::amount(&row["price"])).collect();
    about.iter().map(|id| Listed { id: id.clone(), prices: prices.clone(), ends: None }).collect()
}

fn address(site: &Site) -> String {
    format!("{}/v1", site.base_url)
}

fn fields(value: Value) -> Map<String, Value> {
    if let Value::Object(fields) = value { fields } else { Map::new() }
}

/// `inputs.seedImage` becomes a field of the object `inputs`.
fn place(into: &mut Map<String, Value>, name: &str, value: Value) {
    match (name.split_once('.'), value) {
        (Some((outer, inner)), value) => {
            let holder = into.entry(outer).or_insert_with(|| json!({}));
            if let Value::Object(held) = holder {
                place(held, inner, value);
            }
        }
        // What a caller sends as an object joins what the catalog placed there.
        (None, Value::Object(more)) => {
            more.into_iter().for_each(|(inner, value)| place(into, &format!("{name}.{inner}"), value));
        }
        (None, value) => drop(into.insert(name.to_owned(), value)),
    }
}

/// Frames are objects: of two, the first picture opens the video and the second ends it. The older API, whose frames lie
/// at the top, takes them as they are.
fn place_frames(task: &mut Map<String, Value>) {
    let Some(frames) = task.get_mut("inputs").and_then(|inputs| inputs.get_mut("frameImages")) else { return };
    let Some(frames) = frames.as_array_mut().filter(|frames| frames.iter().all(Value::is_string)) else { return };
    let both = frames.len() == 2;
    for (frame, place) in frames.iter_mut().zip(["first", "last"]) {
        *frame = if both { json!({"image": frame, "frame": place}) } else { json!({"image": frame}) };
    }
}

/// The task whose result comes later; none when the answer holds it.
fn pending(asked: &Call) -> Option<&str> {
    let Payload::Json(tasks) = &asked.payload else { return None };
    let task = &tasks[0];
    (task["deliveryMethod"] == "async" || task["taskType"] == "getResponse").then(|| task["taskUUID"].as_str())?
}

fn poll(task: &str, site: &Site) -> Call {
    let payload = Payload::Json(json!([{"taskType": "getResponse", "taskUUID": task}]));
    Call { leg: Leg::Poll, verb: Verb::Post, payload, ..Call::poll(address(site)) }
}

/// Borrowed from the reply: a picture stays where it arrived.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    data: Vec<Item<'a>>,
    #[serde(default)]
    errors: Vec<Complaint>,
    error: Option<Complaint>,
}

impl Answer<'_> {
    fn complaint(self) -> Option<Complaint> {
        self.errors.into_iter().next().or(self.error)
    }

    /// What a task that was waited for has made. Part of it may have failed; that part is not billed.
    fn collect(mut self, asked: &Call, reply: &Reply) -> Result<Turn, Fault> {
        let items = std::mem::take(&mut self.data);
        let usage = Usage { cost: bill(&items), ..Usage::default() };
        let flagged = items.iter().any(|item| item.flagged);
        let outputs: Vec<Output> = items.into_iter().filter_map(|item| item.into_output(&reply.body)).collect();
        match self.complaint() {
            Some(said) if outputs.is_empty() => Err(said.into_fault(asked, reply)),
            None if outputs.is_empty() && flagged => {
                let text = "The content was flagged by the provider's safety check.";
                Err(Fault::new(FaultKind::Moderated, text)
                    .accepted(Accepted::Yes)
                    .status(reply.status)
                    .code(Some("NSFWContent".to_owned())))
            }
            _ => Ok(Turn::Done(outputs, usage)),
        }
    }

    /// How a task is doing that is polled for. Right after its submit it may be in neither list.
    fn follow(mut self, asked: &Call, reply: &Reply, poll: &Call) -> Result<Turn, Fault> {
        let failed = self.data.iter_mut().find_map(|item| item.error.take());
        if let Some(said) = failed.or_else(|| self.errors.pop()) {
            return Err(said.into_fault(asked, reply));
        }
        let odd = |status: &&str| !["processing", "success"].contains(status);
        if let Some(status) = self.data.iter().filter_map(|item| item.status.as_deref()).find(odd) {
            let status: String = status.chars().take(40).collect();
            let text = format!("the task is in the unknown status '{status}'");
            return Err(Fault::new(FaultKind::Malformed, text).accepted(Accepted::Maybe).code(Some(status)));
        }
        let done = |item: &Item<'_>| item.video.is_some() || item.status.as_deref() == Some("success");
        if self.data.is_empty() || !self.data.iter().all(done) {
            Ok(Turn::Wait(poll.clone()))
        } else {
            self.collect(asked, reply)
        }
    }
}

/// The sum of what the items cost; unknown when one does not say.
fn bill(items: &[Item<'_>]) -> Option<Decimal> {
    let costs: Option<Vec<Decimal>> = items.iter().map(|item| item.cost).collect();
    costs.filter(|costs| !costs.is_empty()).map(|costs| costs.iter().sum())
}

#[derive(Deserialize)]
struct Item<'a> {
    status: Option<String>,
    error: Option<Complaint>,
    cost: Option<Decimal>,
    #[serde(rename = "NSFWContent", default)]
    flagged: bool,
    #[serde(rename = "imageBase64Data", borrow)]
    base64: Option<shapes::Text<'a>>,
    #[serde(rename = "imageURL", alias = "imageDataURI")]
    image: Option<String>,
    #[serde(rename = "videoURL")]
    video: Option<String>,
}

impl Item<'_> {
    /// A flagged picture is withheld: whoever asks for the check wants it to count.
    fn into_output(self, body: &Bytes) -> Option<Output> {
        if self.flagged {
            return None;
        }
        let inline = self.base64.map(|text| text.into_source(body));
        let source = inline.or_else(|| self.image.or(self.video).map(Source::Link))?;
        Some(Output { source, revised_prompt: None })
    }
}

#[derive(Deserialize)]
struct Complaint {
    code: Option<String>,
    message: Option<String>,
    /// One name, or several.
    #[serde(default)]
    parameter: Value,
}

impl Complaint {
    /// A failed task is not billed. Of a timeout, and of codes that nobody knows, we are not so sure.
    fn into_fault(self, asked: &Call, reply: &Reply) -> Fault {
        let code = self.code.unwrap_or_default();
        let known = classify(&code, self.parameter.as_str());
        let kind = match known {
            Some(kind) => kind,
            None if reply.ok() => FaultKind::Malformed,
            None => shapes::kind_of(asked, reply),
        };
        let known = known.is_some_and(|kind| kind != FaultKind::Timeout);
        let sure = known || kind == FaultKind::RateLimited || (400..500).contains(&reply.status);
        let message = self.message.unwrap_or_else(|| format!("the provider answered {code}"));
        Fault::new(kind, message)
            .accepted(if sure { Accepted::No } else { Accepted::Maybe })
            .status(reply.status)
            .code(Some(code).filter(|code| !code.is_empty()))
            .retry_after(reply.retry_after)
    }
}

/// The family of a code, grouped as the official SDK does (1.8.0, `errors.py`). A model that the route names and
/// Runware does not know is gone.
fn classify(code: &str, about: Option<&str>) -> Option<FaultKind> {
    let has = |words: &[&str]| words.iter().any(|word| code.contains(word));
    let starts = |words: &[&str]| words.iter().any(|word| code.starts_with(word));
    Some(if has(&["Credits", "Quota", "quota", "Balance", "paymentRequired"]) {
        FaultKind::Auth
    } else if has(&["RateLimit", "rateLimit"]) {
        FaultKind::RateLimited
    } else if has(&["olicyViolation", "ContentDetected", "promptBlocked", "imageBlocked", "moderationFailed"])
        || code == "invalidProviderContent"
    {
        FaultKind::Moderated
    } else if has(&["ApiKey", "uthentication", "nauthorized", "forbidden", "ermission", "Suspended", "Credentials"])
        || starts(&["auth", "token", "accountDisabled", "organizationDisabled", "workspaceDisabled"])
    {
        FaultKind::Auth
    } else if has(&["imeout"]) {
        FaultKind::Timeout
    } else if code == "modelDisabled" || (about == Some("model") && starts(&["invalid", "unsupported", "unknown"])) {
        FaultKind::Gone
    } else if about == Some("taskUUID") {
        // The id is ours, the request is not at fault: the same order may be running for somebody else.
        FaultKind::Unavailable
    } else if starts(&["provider", "inference", "processing", "task", "download", "upload", "noAvailable", "model"])
        || has(&["erverError", "Unavailable", "unknownError", "standardError"])
    {
        FaultKind::Unavailable
    } else if starts(&["invalid", "missing", "unsupported", "conflict", "duplicate", "value", "array", "max"])
        || has(&["unknownParameter", "incompatible", "mismatch", "unknownProviderSettings"])
    {
        FaultKind::BadRequest
    } else {
        return None;
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use crate::job::Mode;

    fn brief(mode: Mode) -> Brief {
        let input =
            fields(json!({"positivePrompt": "a fox", "inputs.frameImages": ["data:x"], "inputs": {"audio": "a"}}));
        let model = "google:3@2".to_owned();
        Brief {
            id: "6f1c1f0e-8f1d-4b52-9c37-0d1d3c1f7a11".to_owned(),
            model,
            mode,
            n: 1,
            format: None,
            input,
            images: Vec::new(),
            mask: None,
        }
    }

    fn site() -> Site {
        Site { base_url: "https://api.runware.ai".to_owned() }
    }

    fn read(asked: &Call, body: &Value) -> Result<Turn, Fault> {
        let body = Bytes::from(body.to_string());
        Runware.read(asked, &Reply::new(200, Vec::new(), body, Timestamp::from_millis(0)), &site())
    }

    #[test]
    fn a_video_is_polled_for_by_its_task() {
        let Ok(Turn::Next(submit)) = Runware.open(&brief(Mode::ImageToVideo), &site()) else { panic!("no call") };
        let Payload::Json(tasks) = &submit.payload else { panic!("no JSON") };
        let task = &tasks[0];
        assert_eq!(task["inputs"], json!({"frameImages": [{"image": "data:x"}], "audio": "a"}));
        let id = task["taskUUID"].as_str().unwrap();
        assert_eq!((id.len(), &id[14..15]), (36, "4"));
        let Ok(Turn::Wait(poll)) = read(&submit, &json!({"data": [{"taskType": "videoInference", "taskUUID": id}]}))
        else {
            panic!("not waiting")
        };
        assert_eq!(poll.payload, Payload::Json(json!([{"taskType": "getResponse", "taskUUID": id}])));
        assert_eq!((poll.leg, poll.verb, poll.url.as_str()), (Leg::Poll, Verb::Post, "https://api.runware.ai/v1"));
        for waiting in [json!({"data": []}), json!({"data": [{"status": "processing", "progress": 40}]})] {
            assert_eq!(read(&poll, &waiting).unwrap(), Turn::Wait(poll.clone()));
        }
        let link = "https://vm.runware.ai/video/a.mp4";
        let Ok(Turn::Done(outputs, usage)) =
            read(&poll, &json!({"data": [{"status": "success", "videoURL": link, "cost": 0.8}]}))
        else {
            panic!("not done")
        };
        assert_eq!(outputs[0].source, Source::Link(link.to_owned()));
        assert_eq!(usage.cost, Some(Decimal::new(8, 1)));
        let failed = json!({"data": [{"status": "error", "error": {"code": "providerError", "message": "down"}}]});
        let fault = read(&poll, &failed).unwrap_err();
        assert_eq!((fault.kind, fault.accepted), (FaultKind::Unavailable, Accepted::No));
        let fault = read(&poll, &json!({"data": [{"status": "paused"}]})).unwrap_err();
        assert_eq!((fault.kind, fault.upstream_code.as_deref()), (FaultKind::Malformed, Some("paused")));
    }

    #[test]
    fn two_frames_have_places() {
        let mut brief = brief(Mode::ImageToVideo);
        brief.input.insert("inputs.frameImages".to_owned(), json!(["data:x", "data:y"]));
        let Ok(Turn::Next(submit)) = Runware.open(&brief, &site()) else { panic!("no call") };
        let Payload::Json(tasks) = &submit.payload else { panic!("no JSON") };
        let frames = json!([{"image": "data:x", "frame": "first"}, {"image": "data:y", "frame": "last"}]);
        assert_eq!(tasks[0]["inputs"]["frameImages"], frames);
    }

    #[test]
    fn a_row_may_name_its_task() {
        let mut brief = brief(Mode::TextToImage);
        brief.input.insert("taskType".to_owned(), json!("vectorize"));
        let Ok(Turn::Next(submit)) = Runware.open(&brief, &site()) else { panic!("no call") };
        let Payload::Json(tasks) = &submit.payload else { panic!("no JSON") };
        assert_eq!((&tasks[0]["taskType"], &tasks[0]["deliveryMethod"]), (&json!("vectorize"), &json!("sync")));
    }

    #[test]
    fn codes_have_families() {
        for (code, kind) in [
            ("invalidApiKey", FaultKind::Auth),
            ("thirdPartyInsufficientCredits", FaultKind::Auth),
            ("inferenceRateLimitExceeded", FaultKind::RateLimited),
            ("providerContentPolicyViolation", FaultKind::Moderated),
            ("nsfwContentDetected", FaultKind::Moderated),
            ("timeoutProvider", FaultKind::Timeout),
            ("noAvailableServer", FaultKind::Unavailable),
            ("modelUnavailable", FaultKind::Unavailable),
            ("modelDisabled", FaultKind::Gone),
            ("invalidPositivePrompt", FaultKind::BadRequest),
            ("unknownParameter", FaultKind::BadRequest),
        ] {
            assert_eq!(classify(code, None), Some(kind), "{code}");
        }
        assert_eq!(classify("invalidModel", Some("model")), Some(FaultKind::Gone));
        assert_eq!(classify("somethingNew", None), None);
    }
}
