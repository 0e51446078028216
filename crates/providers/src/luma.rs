//! Luma's Agents API: Uni-1 pictures and Ray 3.2 videos, as generations that are polled.
//! <https://docs.agents.lumalabs.ai/> and the types of its SDK 0.5.0 (read 2026-11). The official SDKs take another base
//! address. The older Dream Machine API, with keys of its own, is in `luma_dream_machine.rs`.
//!
//! Pictures are sent inside the body; what concerns videos only is nested under `video`. A refused job is a success
//! that failed, with `failure_code`; so may be a rate limit. Which failures are billed is not said. Links last an hour,
//! and asking again gives new ones. Nothing can be cancelled.

use super::{Adapter, Card, Reach, Site, Turn, shapes};
use crate::fault::{Accepted, Fault, FaultKind};
use crate::job::{Brief, Input, Mode, Output, Source, Usage};
use crate::outbound::auth::AuthScheme;
use crate::outbound::call::{Call, Leg, Reply};
use serde::Deserialize;
use serde_json::{Map, Value, json};

pub(super) struct Luma;

static CARD: Card = Card {
    id: "luma",
    name: "Luma",
    base_url: "https://agents.lumalabs.ai/v1",
    reach: Reach::Hosted,
    auth: AuthScheme::Bearer,
    key_env: "LUMA_AGENTS_API_KEY",
    hosts: &[],
    docs: "https://docs.agents.lumalabs.ai/",
    catalog: include_str!("../../../config/catalog/luma.toml"),
};

/// The parameters that stand under `video`.
const OF_VIDEOS: [&str; 5] = ["resolution", "duration", "loop", "hdr", "exr_export"];

impl Adapter for Luma {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn open(&self, brief: &Brief, site: &Site) -> Result<Turn, Fault> {
        let mut body = brief.input.clone();
        body.insert("model".to_owned(), Value::from(brief.model.as_str()));
        let kind = match brief.mode {
            Mode::TextToImage | Mode::Upscale => "image",
            Mode::ImageEdit => {
                let mut images = brief.images.iter().map(media);
                body.extend(images.next().map(|source| ("source".to_owned(), source)));
                let others: Vec<Value> = images.collect();
                body.extend((!others.is_empty()).then(|| ("image_ref".to_owned(), Value::Array(others))));
                "image_edit"
            }
            Mode::TextToVideo | Mode::ImageToVideo | Mode::VideoToVideo | Mode::VideoExtension => {
                nest_video(&mut body, &brief.images);
                "video"
            }
        };
        body.insert("type".to_owned(), Value::from(kind));
        Ok(Turn::Next(Call::submit(format!("{}/generations", site.base_url), Value::Object(body))))
    }

    fn read(&self, asked: &Call, reply: &Reply, site: &Site) -> Result<Turn, Fault> {
        let generation: Generation = reply.json()?;
        match generation.state.as_str() {
            "queued" | "processing" if asked.leg == Leg::Submit => {
                Ok(Turn::Wait(Call::poll(format!("{}/generations/{}", site.base_url, generation.id))))
            }
            "queued" | "processing" => Ok(Turn::Wait(asked.clone())),
            "completed" => {
                let made = generation.output.unwrap_or_default().into_iter();
                let outputs = made.map(|made| Output { source: Source::Link(made.url), revised_prompt: None });
                Ok(Turn::Done(outputs.collect(), Usage::default()))
            }
            "failed" => {
                let code = generation.failure_code.unwrap_or_else(|| "failed".to_owned());
                let message = generation.failure_reason.unwrap_or_else(|| format!("the generation failed: {code}"));
                let (kind, accepted) = meaning(&code);
                Err(Fault::new(kind, message).accepted(accepted).status(reply.status).code(Some(code)))
            }
            other => Err(shapes::unknown_status(other)),
        }
    }
}

fn media(image: &Input) -> Value {
    json!({"data": image.base64(), "media_type": image.mime})
}

/// Moves what concerns videos to its place. A first picture is where the video starts, a second where it ends.
fn nest_video(body: &mut Map<String, Value>, images: &[Input]) {
    let named = OF_VIDEOS.iter().filter_map(|name| Some(((*name).to_owned(), body.remove(*name)?)));
    let mut video: Map<String, Value> = named.collect();
    let frames = ["start_frame", "end_frame"].iter().zip(images);
    video.extend(frames.map(|(name, image)| ((*name).to_owned(), media(image))));
    body.insert("video".to_owned(), Value::Object(video));
}

/// What a failure code means, and whether the work may have been done by then.
fn meaning(code: &str) -> (FaultKind, Accepted) {
    match code {
        "content_moderated" => (FaultKind::Moderated, Accepted::Maybe),
        "budget_exhausted" => (FaultKind::Auth, Accepted::No),
        "rate_limited" => (FaultKind::RateLimited, Accepted::No),
        "image_too_large" | "unsupported_format" | "corrupt_input" | "invalid_request" => {
            (FaultKind::BadRequest, Accepted::No)
        }
        _ => (FaultKind::Unavailable, Accepted::Maybe),
    }
}

#[derive(Deserialize)]
struct Generation {
    id: String,
    state: String,
    output: Option<Vec<Made>>,
    failure_code: Option<String>,
    failure_reason: Option<String>,
}

#[derive(Deserialize)]
struct Made {
    url: String,
}
