//! Alibaba Cloud Model Studio (`DashScope`, international): newer picture models answer at once, older ones and videos
//! are tasks that are polled. <https://www.alibabacloud.com/help/en/model-studio/> (read 2026-11). The official SDKs
//! take another base address.
//!
//! Which of the endpoints serves a model is a fact of the catalog (`defaults.endpoint`, no parameter of callers).
//! Success is read from the body: HTTP 200 can carry an error, a task can carry one for each picture. Failures are not
//! billed. `UNKNOWN` is the end of a task, not a stage of it. A task's address is not returned but built from its id.

use super::{Adapter, Card, Reach, Site, Turn, shapes};
use crate::fault::{Accepted, Fault, FaultKind};
use crate::job::{Brief, Mode, Output, Source, Usage};
use crate::outbound::auth::AuthScheme;
use crate::outbound::call::{Call, Leg, Reply, Verb};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Map, Value, json};

pub(super) struct Alibaba;

static CARD: Card = Card {
    id: "alibaba",
    name: "Alibaba Cloud Model Studio",
    base_url: "https://dashscope-intl.aliyuncs.com/api/v1",
    reach: Reach::Hosted,
    auth: AuthScheme::Bearer,
    key_env: "DASHSCOPE_API_KEY",
    // Results lie in object stores of changing regions (`….oss-accelerate.aliyuncs.com`, `….oss-ap-southeast-1.…`).
    hosts: &[],
    docs: "https://www.alibabacloud.com/help/en/model-studio/qwen-image-api",
    catalog: include_str!("../../../config/catalog/alibaba.toml"),
};

/// The endpoint that answers at once; every other one makes tasks.
const AT_ONCE: &str = "multimodal-generation/generation";

/// What stands beside the prompt in `input` of the endpoints without messages; the rest are `parameters`.
const INPUTS: [&str; 8] = [
    "prompt",
    "negative_prompt",
    "images",
    "img_url",
    "first_frame_url",
    "last_frame_url",
    "audio_url",
    "reference_urls",
];

impl Adapter for Alibaba {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn open(&self, brief: &Brief, site: &Site) -> Result<Turn, Fault> {
        let mut parameters = brief.input.clone();
        let named = parameters.remove("endpoint");
        let endpoint = match (named.as_ref().and_then(Value::as_str), brief.mode) {
            (Some(endpoint), _) => endpoint,
            (None, Mode::TextToVideo | Mode::ImageToVideo | Mode::VideoToVideo | Mode::VideoExtension) => {
                "video-generation/video-synthesis"
            }
            (None, Mode::TextToImage | Mode::ImageEdit | Mode::Upscale) => AT_ONCE,
        };
        let takes_messages = endpoint.ends_with("/generation");
        let input =
            if takes_messages { write_message(&mut parameters) } else { write_input(&mut parameters, &brief.model) };
        let body = json!({"model": brief.model, "input": input, "parameters": parameters});
        let mut call = Call::submit(format!("{}/services/aigc/{endpoint}", site.base_url), body);
        if endpoint != AT_ONCE {
            call.headers.push(("X-DashScope-Async".to_owned(), "enable".to_owned()));
        }
        Ok(Turn::Next(call))
    }

    fn read(&self, asked: &Call, reply: &Reply, site: &Site) -> Result<Turn, Fault> {
        let answer: Answer = reply.json()?;
        if let Some(code) = answer.code.filter(|code| !code.is_empty()) {
            let kind = meaning(&code).unwrap_or(FaultKind::Unavailable);
            return Err(complain(kind, answer.message, code, reply));
        }
        let result = answer.output.unwrap_or_default();
        match result.task_status.as_deref() {
            None | Some("SUCCEEDED") => read_result(result, answer.usage.and_then(|usage| usage.duration), reply),
            Some("PENDING" | "RUNNING" | "SUSPENDED") if asked.leg == Leg::Submit => {
                let id = result.task_id.ok_or_else(|| {
                    Fault::new(FaultKind::Malformed, "a task without an id").accepted(Accepted::Maybe)
                })?;
                Ok(Turn::Wait(Call::poll(format!("{}/tasks/{id}", site.base_url))))
            }
            Some("PENDING" | "RUNNING" | "SUSPENDED") => Ok(Turn::Wait(asked.clone())),
            Some(status @ ("FAILED" | "CANCELED" | "UNKNOWN")) => Err(read_failure(status, &result, reply)),
            Some(other) => Err(shapes::unknown_status(other)),
        }
    }

    fn fault(&self, asked: &Call, reply: &Reply) -> Fault {
        let fault = shapes::fault(asked, reply);
        let told: Option<Answer> = serde_json::from_slice(&reply.body).ok();
        let code = told.and_then(|answer| answer.code).filter(|code| !code.is_empty()).or(fault.upstream_code);
        let kind = match code.as_deref().and_then(meaning) {
            Some(kind) => kind,
            None => fault.kind,
        };
        let accepted = if code.is_some() { Accepted::No } else { fault.accepted };
        Fault { kind, accepted, upstream_code: code, ..fault }
    }

    /// Stops a task that still waits; a running one goes on.
    fn cancel(&self, asked: &Call, _site: &Site) -> Option<Call> {
        (asked.leg == Leg::Poll).then(|| Call::cancel(Verb::Post, format!("{}/cancel", asked.url)))
    }
}

/// The one message of newer models: pictures first, then the text.
fn write_message(parameters: &mut Map<String, Value>) -> Value {
    let images = match parameters.remove("images") {
        Some(Value::Array(images)) => images,
        _ => Vec::new(),
    };
    let text = parameters.remove("prompt").map(|prompt| json!({"text": prompt}));
    let content: Vec<Value> = images.into_iter().map(|image| json!({"image": image})).chain(text).collect();
    json!({"messages": [{"role": "user", "content": content}]})
}

/// The input of older models and of videos. From Wan 2.7 on, pictures are `media` that say what they are for: references
/// for a model that wants them (`r2v`), else frames.
fn write_input(parameters: &mut Map<String, Value>, model: &str) -> Value {
    let given = INPUTS.iter().filter_map(|name| Some(((*name).to_owned(), parameters.remove(*name)?)));
    let mut input: Map<String, Value> = given.collect();
    if let Some(Value::Array(media)) = parameters.remove("media") {
        let kind = if model.contains("-r2v") { "reference_image" } else { "first_frame" };
        let frame = |url: Value| if url.is_string() { json!({"type": kind, "url": url}) } else { url };
        input.insert("media".to_owned(), media.into_iter().map(frame).collect());
    }
    Value::Object(input)
}

/// Pictures come as items of several choices or of one, or as results; a video as one address.
fn read_result(result: Work, seconds: Option<Decimal>, reply: &Reply) -> Result<Turn, Fault> {
    let rewritten = result.actual_prompt;
    let spoken = result.choices.into_iter().flat_map(|choice| choice.message.content).filter_map(|part| part.image);
    let links = spoken.chain(result.video_url).map(|url| (url, rewritten.clone()));
    let mut failed = None;
    let mut outputs: Vec<Output> = links.map(make_output).collect();
    for item in result.results {
        match (item.url, item.code) {
            (Some(url), _) => outputs.push(make_output((url, item.actual_prompt))),
            (None, Some(code)) => failed = failed.or(Some((code, item.message))),
            (None, None) => {}
        }
    }
    match failed.filter(|_| outputs.is_empty()) {
        Some((code, message)) => Err(complain(settled(&code), message, code, reply)),
        None => Ok(Turn::Done(outputs, Usage { units: seconds, ..Usage::default() })),
    }
}

fn make_output((url, revised_prompt): (String, Option<String>)) -> Output {
    Output { source: Source::Link(url), revised_prompt }
}

fn read_failure(status: &str, result: &Work, reply: &Reply) -> Fault {
    let code = result.code.clone().unwrap_or_else(|| status.to_owned());
    let message = result.message.clone().unwrap_or_else(|| format!("the task ended as '{status}'"));
    // The provider has lost the task: nobody knows whether it ran.
    let accepted = if status == "UNKNOWN" { Accepted::Maybe } else { Accepted::No };
    complain(settled(&code), message, code, reply).accepted(accepted)
}

fn complain(kind: FaultKind, message: String, code: String, reply: &Reply) -> Fault {
    Fault::new(kind, message).status(reply.status).code(Some(code))
}

/// What a code means as the outcome of a task, where no limit is passing and no time is left.
fn settled(code: &str) -> FaultKind {
    match meaning(code) {
        None | Some(FaultKind::RateLimited | FaultKind::Timeout) => FaultKind::Unavailable,
        Some(kind) => kind,
    }
}

/// What a code says, whatever the status.
fn meaning(code: &str) -> Option<FaultKind> {
    match code.split('.').next().unwrap_or(code) {
        head if head.starts_with("DataInspection") => Some(FaultKind::Moderated),
        "InvalidParameter" | "BadRequest" | "InvalidURL" => Some(FaultKind::BadRequest),
        "InvalidApiKey" | "Arrearage" | "AccessDenied" => Some(FaultKind::Auth),
        "Model" if code.starts_with("Model.AccessDenied") => Some(FaultKind::Auth),
        "ModelNotFound" | "UnsupportedOperation" => Some(FaultKind::Gone),
        "Throttling" | "AllocationQuota" | "LimitRequests" => Some(FaultKind::RateLimited),
        "InternalError" if code.ends_with("Timeout") => Some(FaultKind::Timeout),
        "InternalError" | "ServiceUnavailable" => Some(FaultKind::Unavailable),
        _ => None,
    }
}

#[derive(Deserialize)]
struct Answer {
    code: Option<String>,
    #[serde(default)]
    message: String,
    output: Option<Work>,
    usage: Option<Counted>,
}

#[derive(Deserialize)]
struct Counted {
    /// Seconds of video.
    duration: Option<Decimal>,
}

/// What was made, or how far it is.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Work {
    task_id: Option<String>,
    task_status: Option<String>,
    code: Option<String>,
    message: Option<String>,
    choices: Vec<Choice>,
    results: Vec<Item>,
    video_url: Option<String>,
    actual_prompt: Option<String>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    image: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Item {
    url: Option<String>,
    actual_prompt: Option<String>,
    code: Option<String>,
    message: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use crate::outbound::call::Payload;
    use bytes::Bytes;

    const TASK: &str = "https://ds/api/v1/tasks/t-1";

    fn site() -> Site {
        Site { base_url: "https://ds/api/v1".to_owned() }
    }

    fn reply(body: &Value) -> Reply {
        Reply::new(200, Vec::new(), Bytes::from(body.to_string()), Timestamp::from_millis(0))
    }

    fn film(input: &Value) -> Call {
        let brief = Brief {
            id: "6f1c1f0e-8f1d-4b52-9c37-0d1d3c1f7a11".to_owned(),
            model: "wan".to_owned(),
            mode: Mode::ImageToVideo,
            n: 1,
            format: None,
            input: input.as_object().unwrap().clone(),
            images: Vec::new(),
            mask: None,
        };
        let Ok(Turn::Next(call)) = Alibaba.open(&brief, &site()) else { panic!("no call") };
        call
    }

    #[test]
    fn a_video_is_a_task_with_its_picture_in_place() {
        let call = film(&json!({"prompt": "a fox", "img_url": "data:x", "resolution": "720P", "duration": 5}));
        assert_eq!(call.url, "https://ds/api/v1/services/aigc/video-generation/video-synthesis");
        let body = json!({"model": "wan", "input": {"prompt": "a fox", "img_url": "data:x"},
            "parameters": {"resolution": "720P", "duration": 5}});
        assert_eq!(call.payload, Payload::Json(body));
        let newer = film(&json!({"prompt": "a fox", "media": ["data:x"]}));
        let input = json!({"prompt": "a fox", "media": [{"type": "first_frame", "url": "data:x"}]});
        assert_eq!(newer.payload, Payload::Json(json!({"model": "wan", "input": input, "parameters": {}})));

        let ticket = reply(&json!({"output": {"task_status": "PENDING", "task_id": "t-1"}, "request_id": "r"}));
        let Ok(Turn::Wait(poll)) = Alibaba.read(&call, &ticket, &site()) else { panic!("no task") };
        assert_eq!(poll.url, TASK);
        assert_eq!(Alibaba.cancel(&poll, &site()).unwrap().url, format!("{TASK}/cancel"));
        let done = reply(&json!({"output": {"task_status": "SUCCEEDED", "video_url": "https://x/a.mp4",
            "orig_prompt": "a fox", "actual_prompt": "a red fox"}, "usage": {"duration": 5, "video_count": 1}}));
        let Ok(Turn::Done(outputs, usage)) = Alibaba.read(&poll, &done, &site()) else { panic!("not done") };
        assert_eq!(outputs, [make_output(("https://x/a.mp4".to_owned(), Some("a red fox".to_owned())))]);
        assert_eq!(usage.units, Some(Decimal::from(5)));
    }

    #[test]
    fn codes_say_what_went_wrong() {
        for (code, kind) in [
            ("DataInspectionFailed", FaultKind::Moderated),
            ("InvalidParameter.DataInspection", FaultKind::BadRequest),
            ("Model.AccessDenied", FaultKind::Auth),
            ("AccessDenied.Unpurchased", FaultKind::Auth),
            ("Throttling.AllocationQuota", FaultKind::RateLimited),
            ("AllocationQuota.Exceeded", FaultKind::RateLimited),
            ("InternalError.Timeout", FaultKind::Timeout),
            ("InternalError.Algo", FaultKind::Unavailable),
        ] {
            assert_eq!(meaning(code), Some(kind), "{code}");
        }
        assert_eq!(settled("InternalError.Timeout"), FaultKind::Unavailable, "as the end of a task");
    }
}
