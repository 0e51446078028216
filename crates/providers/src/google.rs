//! What Google's two hosts share: the body and the reply of `generateContent`, and the error envelope.
//! <https://ai.google.dev/api/generate-content> (read 2026-11).
//!
//! Pictures are base64 in the parts of an answer; parts marked `thought` are drafts and are skipped. A refusal is a 200:
//! a blocked prompt, or a candidate that stops for a reason instead of drawing. A rate limit says in its body when to
//! come back. What Google says it does not charge for is taken at its word.

use super::{Turn, shapes};
use crate::fault::{Accepted, Fault, FaultKind};
use crate::job::{Brief, Output, Source, Tokens, Usage};
use crate::outbound::call::{Call, Leg, Reply};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Where parameters live; what is in none of these lists stays at the top of the body.
const OF_FILES: [&str; 2] = ["mimeType", "compressionQuality"];
const OF_IMAGES: [&str; 5] = ["aspectRatio", "imageSize", "imageOutputOptions", "personGeneration", "prominentPeople"];
const OF_GENERATION: [&str; 8] = [
    "responseModalities",
    "seed",
    "temperature",
    "topP",
    "topK",
    "candidateCount",
    "thinkingConfig",
    "mediaResolution",
];

/// Why a candidate stops when it is refused.
const REFUSALS: [&str; 9] = [
    "SAFETY",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "RECITATION",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION",
    "MODEL_ARMOR",
];

/// The body of `generateContent`.
pub(super) fn ask(brief: &Brief) -> Value {
    let mut body = brief.input.clone();
    let mut generation = object(body.remove("generationConfig"));
    let mut image = object(generation.remove("imageConfig"));
    let mut file = object(image.remove("imageOutputOptions"));
    shift(&mut body, &OF_FILES, &mut file);
    shift(&mut body, &OF_IMAGES, &mut image);
    shift(&mut body, &OF_GENERATION, &mut generation);
    if !file.is_empty() {
        image.insert("imageOutputOptions".to_owned(), file.into());
    }
    if !image.is_empty() {
        generation.insert("imageConfig".to_owned(), image.into());
    }
    generation.entry("responseModalities").or_insert_with(|| json!(["IMAGE"]));
    let pictures =
        brief.images.iter().map(|image| json!({"inlineData": {"mimeType": image.mime, "data": image.base64()}}));
    let text = body.remove("prompt").map(|prompt| json!({"text": prompt}));
    let parts: Vec<Value> = pictures.chain(text).collect();
    body.insert("contents".to_owned(), json!([{"role": "user", "parts": parts}]));
    body.insert("generationConfig".to_owned(), generation.into());
    body.into()
}

/// An object that the caller gave, or an empty one.
pub(super) fn object(value: Option<Value>) -> Map<String, Value> {
    match value {
        Some(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

/// Moves the parameters of those names.
pub(super) fn shift(from: &mut Map<String, Value>, names: &[&str], into: &mut Map<String, Value>) {
    for name in names {
        into.extend(from.remove(*name).map(|value| ((*name).to_owned(), value)));
    }
}

/// The pictures of an answer, or why there are none.
pub(super) fn read(reply: &Reply) -> Result<Turn, Fault> {
    let answer: Answer<'_> = reply.json()?;
    let usage = Usage { tokens: answer.usage_metadata.as_ref().map(Tokens::from), ..Usage::default() };
    if let Some(fault) = answer.refusal(reply.status) {
        // Tokens are reported of free refusals too.
        return Err(if fault.accepted == Accepted::No { fault } else { fault.usage(usage) });
    }
    let why = answer.candidates.iter().find_map(|candidate| candidate.finish_reason.clone());
    let parts = answer.candidates.into_iter().filter_map(|candidate| candidate.content).flat_map(|told| told.parts);
    let drawn = parts.filter(|part| !part.thought).filter_map(|part| part.inline_data);
    let outputs: Vec<Output> = drawn
        .map(|file| Output { source: Source::Base64(file.data.into_bytes(&reply.body)), revised_prompt: None })
        .collect();
    if outputs.is_empty() && usage.tokens.is_none() {
        let text = format!("Google drew nothing ({})", why.as_deref().unwrap_or("no reason given"));
        return Err(Fault::new(FaultKind::Empty, text).accepted(Accepted::Maybe).status(reply.status).code(why));
    }
    // An answer without a picture that reports its tokens is billed for exactly those.
    Ok(Turn::Done(outputs, usage))
}

/// What an error answer means, on either host.
pub(super) fn fault(asked: &Call, reply: &Reply) -> Fault {
    let fault = shapes::fault(asked, reply);
    let error = serde_json::from_slice::<Problem>(&reply.body).unwrap_or_default().error;
    let reason = error.details.iter().find_map(|detail| detail.reason.as_deref());
    let retry_after = reply.retry_after.or_else(|| error.details.iter().find_map(Detail::delay));
    let code = match (&error.status, reason) {
        (_, Some("API_KEY_INVALID")) => Some("API_KEY_INVALID".to_owned()),
        (Some(status), _) => Some(status.clone()),
        (None, _) => fault.upstream_code.clone(),
    };
    let kind = match (reply.status, code.as_deref().unwrap_or_default()) {
        (400, "API_KEY_INVALID") => FaultKind::Auth,
        // The region or the billing of our project.
        (400, "FAILED_PRECONDITION") => FaultKind::Auth,
        (400, _) if is_policy(&fault.message) => FaultKind::Moderated,
        (429, _) if is_broke(&fault.message) => FaultKind::Auth,
        (499, _) => FaultKind::Unavailable,
        (503, _) if retry_after.is_some() => FaultKind::RateLimited,
        // A vanished job or file is no vanished model.
        (404 | 410, _) if asked.leg != Leg::Submit => FaultKind::Unavailable,
        _ => fault.kind,
    };
    let accepted = if reply.status == 499 && asked.leg == Leg::Submit { Accepted::Maybe } else { fault.accepted };
    Fault { kind, accepted, retry_after, ..fault }.code(code)
}

/// Refusals of Vertex that come as bad requests: their texts name the policy.
pub(super) fn is_policy(message: &str) -> bool {
    ["usage guidelines", "Responsible AI"].iter().any(|words| message.contains(words))
}

/// Of the quota errors, those that waiting does not cure.
fn is_broke(message: &str) -> bool {
    ["credits are depleted", "spending cap"].iter().any(|words| message.contains(words))
}

/// Google's own word on the bill of a refused call.
pub(super) fn charged(message: &str) -> Accepted {
    let free = ["will not be charged", "not been charged"].iter().any(|words| message.contains(words));
    if free { Accepted::No } else { Accepted::Maybe }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    #[serde(borrow, default)]
    candidates: Vec<Candidate<'a>>,
    prompt_feedback: Option<Feedback>,
    usage_metadata: Option<Counted>,
}

impl Answer<'_> {
    /// The refusal in it: a blocked prompt before anything ran, or a candidate that was stopped without a part.
    fn refusal(&self, status: u16) -> Option<Fault> {
        let moderated = |message: String, code: &str| {
            Fault::new(FaultKind::Moderated, message).status(status).code(Some(code.to_owned()))
        };
        if self.candidates.iter().any(Candidate::draws) {
            return None;
        }
        if let Some((reason, told)) =
            self.prompt_feedback.as_ref().and_then(|said| Some((said.reason()?, &said.message)))
        {
            let text = told.clone().unwrap_or_else(|| format!("Google blocked the prompt ({reason})."));
            return Some(moderated(text, reason));
        }
        let refused = |candidate: &&Candidate<'_>| REFUSALS.contains(&candidate.finish_reason.as_deref().unwrap_or(""));
        let candidate = self.candidates.iter().find(refused)?;
        let reason = candidate.finish_reason.as_deref()?;
        let text = candidate.finish_message.clone().unwrap_or_else(|| format!("Google refused the result ({reason})."));
        let accepted = charged(&text);
        Some(moderated(text, reason).accepted(accepted))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate<'a> {
    #[serde(borrow)]
    content: Option<Content<'a>>,
    finish_reason: Option<String>,
    finish_message: Option<String>,
}

impl Candidate<'_> {
    fn draws(&self) -> bool {
        let parts = self.content.iter().flat_map(|content| &content.parts);
        parts.into_iter().any(|part| !part.thought && part.inline_data.is_some())
    }
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow, default)]
    parts: Vec<Part<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part<'a> {
    #[serde(default)]
    thought: bool,
    #[serde(borrow)]
    inline_data: Option<Blob<'a>>,
}

#[derive(Deserialize)]
struct Blob<'a> {
    #[serde(borrow)]
    data: shapes::Text<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Feedback {
    block_reason: Option<String>,
    #[serde(rename = "blockReasonMessage")]
    message: Option<String>,
}

impl Feedback {
    fn reason(&self) -> Option<&str> {
        self.block_reason.as_deref().filter(|reason| *reason != "BLOCK_REASON_UNSPECIFIED")
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Counted {
    prompt_token_count: u64,
    tool_use_prompt_token_count: u64,
    candidates_token_count: u64,
    thoughts_token_count: u64,
    prompt_tokens_details: Vec<Share>,
    candidates_tokens_details: Option<Vec<Share>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Share {
    #[serde(default)]
    modality: String,
    #[serde(default)]
    token_count: u64,
}

impl From<&Counted> for Tokens {
    /// The details need not add up to the counts: what is not said to be image is text, thoughts included. Without
    /// details, what came out is image.
    fn from(counted: &Counted) -> Self {
        let images = |shares: &[Share]| {
            shares.iter().filter(|share| share.modality == "IMAGE").map(|share| share.token_count).sum::<u64>()
        };
        let image_in = images(&counted.prompt_tokens_details);
        let image_out = counted.candidates_tokens_details.as_deref().map_or(counted.candidates_token_count, images);
        Self {
            text_in: counted.prompt_token_count.saturating_sub(image_in) + counted.tool_use_prompt_token_count,
            image_in,
            text_out: counted.candidates_token_count.saturating_sub(image_out) + counted.thoughts_token_count,
            image_out,
            ..Self::default()
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Problem {
    error: Status,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    status: Option<String>,
    details: Vec<Detail>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    reason: Option<String>,
    retry_delay: Option<String>,
}

impl Detail {
    /// `"34.4s"`
    fn delay(&self) -> Option<Duration> {
        Duration::try_from_secs_f64(self.retry_delay.as_deref()?.strip_suffix('s')?.parse().ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use bytes::Bytes;

    fn reply(status: u16, body: &str) -> Reply {
        Reply::new(status, Vec::new(), Bytes::copy_from_slice(body.as_bytes()), Timestamp::from_millis(0))
    }

    #[test]
    fn a_picture_is_a_slice_of_the_reply_unless_it_was_escaped() {
        let part = r#"{"candidates": [{"content": {"parts": [
            {"thought": true, "inlineData": {"data": "draft"}}, {"inlineData": {"data": "iVBORw0KGgo="}},
            {"inlineData": {"data": "iVBORw0KGgo\u003d"}}]}, "finishReason": "STOP"}]}"#;
        let reply = reply(200, part);
        let Turn::Done(outputs, _) = read(&reply).unwrap() else { panic!("done at once") };
        let [Source::Base64(plain), Source::Base64(escaped)] = [&outputs[0].source, &outputs[1].source] else {
            panic!("base64")
        };
        assert!(reply.body.as_ptr_range().contains(&plain.as_ptr()), "no copy");
        assert_eq!((outputs.len(), plain), (2, escaped));
    }

    /// The counts of a recorded answer of gemini-3-pro-image at 4K (ding113/claude-code-hub issue 663).
    #[test]
    fn what_the_details_leave_out_is_text() {
        let counted: Counted = serde_json::from_str(
            r#"{"promptTokenCount": 326, "candidatesTokenCount": 2340, "totalTokenCount": 3003, "thoughtsTokenCount": 337,
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 326}],
                "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 2000}]}"#,
        )
        .unwrap();
        let tokens = Tokens::from(&counted);
        assert_eq!((tokens.text_in, tokens.image_in, tokens.text_out, tokens.image_out), (326, 0, 677, 2000));
    }

    #[test]
    fn every_disguise_of_a_fault() {
        let asked = Call::submit("https://google/v1beta/models/m:generateContent".into(), Value::Null);
        let told = |status: u16, code: &str, message: &str, detail: &str| {
            let body = format!(
                r#"{{"error":{{"code":{status},"message":"{message}","status":"{code}","details":[{detail}]}}}}"#
            );
            fault(&asked, &reply(status, &body))
        };
        let retry = r#"{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.4s"}"#;
        let limited = told(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota", retry);
        assert_eq!((limited.kind, limited.retry_after), (FaultKind::RateLimited, Some(Duration::from_millis(34_400))));
        assert_eq!(told(503, "UNAVAILABLE", "overloaded", retry).kind, FaultKind::RateLimited);
        for (status, code, message, kind, accepted) in [
            (400, "FAILED_PRECONDITION", "User location is not supported", FaultKind::Auth, Accepted::No),
            (400, "INVALID_ARGUMENT", "violates Vertex AI's usage guidelines", FaultKind::Moderated, Accepted::No),
            (400, "INVALID_ARGUMENT", "aspect_ratio must be one of", FaultKind::BadRequest, Accepted::No),
            (401, "UNAUTHENTICATED", "invalid credentials", FaultKind::Auth, Accepted::No),
            (429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted.", FaultKind::Auth, Accepted::No),
            (499, "CANCELLED", "cancelled", FaultKind::Unavailable, Accepted::Maybe),
            (500, "INTERNAL", "internal", FaultKind::Unavailable, Accepted::Maybe),
            (503, "UNAVAILABLE", "overloaded", FaultKind::Unavailable, Accepted::No),
            (504, "DEADLINE_EXCEEDED", "late", FaultKind::Timeout, Accepted::Maybe),
        ] {
            let fault = told(status, code, message, "");
            assert_eq!((fault.kind, fault.accepted), (kind, accepted), "{status} {message}");
            assert_eq!(fault.upstream_code.as_deref(), Some(code));
        }
    }

    #[test]
    fn refusals_are_answers_with_200() {
        let refused = |body: &str| read(&reply(200, body)).unwrap_err();
        let blocked = refused(
            r#"{"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 4}}"#,
        );
        assert_eq!((blocked.kind, blocked.accepted), (FaultKind::Moderated, Accepted::No));
        let stopped = refused(r#"{"candidates": [{"content": {}, "finishReason": "IMAGE_SAFETY"}]}"#);
        assert_eq!((stopped.kind, stopped.accepted), (FaultKind::Moderated, Accepted::Maybe));
        let free = refused(
            r#"{"candidates": [{"finishReason": "IMAGE_PROHIBITED_CONTENT", "finishMessage": "No. You will not be charged for this request."}]}"#,
        );
        assert_eq!((free.kind, free.accepted), (FaultKind::Moderated, Accepted::No));
        let nothing = refused(r#"{"candidates": [{"finishReason": "NO_IMAGE"}]}"#);
        assert_eq!((nothing.kind, nothing.upstream_code.as_deref()), (FaultKind::Empty, Some("NO_IMAGE")));
        let talked = reply(
            200,
            r#"{"candidates": [{"content": {"parts": [{"text": "I would rather not."}]}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 6, "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 6}]}}"#,
        );
        let Turn::Done(outputs, usage) = read(&talked).unwrap() else { panic!("done at once") };
        assert_eq!((outputs.len(), usage.tokens.map(|tokens| tokens.text_out)), (0, Some(6)));
    }
}
