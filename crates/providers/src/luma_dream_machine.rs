//! Luma's Dream Machine API: Photon pictures and Ray 2 videos, as generations that are polled.
//! <https://docs.lumalabs.ai/docs/api> and the types of its SDK 1.21.0 (read 2026-11). The official SDKs take another base
//! address. It has other keys than the newer Agents API (`luma.rs`), so it is a provider of its own.
//!
//! Pictures to work from are links only, which we cannot promise: the catalog has what needs none. A failure is a text;
//! that a refusal speaks of moderation is not documented. Which failures are billed is not said. A generation can be
//! deleted, which is not known to stop it.

use super::{Adapter, Card, Reach, Site, Turn, shapes};
use crate::fault::{Accepted, Fault, FaultKind};
use crate::job::{Brief, Mode, Output, Source, Usage};
use crate::outbound::auth::AuthScheme;
use crate::outbound::call::{Call, Leg, Reply};
use serde::Deserialize;
use serde_json::Value;

pub(super) struct DreamMachine;

static CARD: Card = Card {
    id: "luma-dream-machine",
    name: "Luma Dream Machine",
    base_url: "https://api.lumalabs.ai/dream-machine/v1",
    reach: Reach::Hosted,
    auth: AuthScheme::Bearer,
    key_env: "LUMAAI_API_KEY",
    hosts: &[],
    docs: "https://docs.lumalabs.ai/docs/api",
    catalog: include_str!("../../../config/catalog/luma-dream-machine.toml"),
};

impl Adapter for DreamMachine {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn open(&self, brief: &Brief, site: &Site) -> Result<Turn, Fault> {
        let mut body = brief.input.clone();
        body.insert("model".to_owned(), Value::from(brief.model.as_str()));
        let kind = match brief.mode {
            Mode::TextToVideo | Mode::ImageToVideo | Mode::VideoToVideo | Mode::VideoExtension => "video",
            Mode::TextToImage | Mode::ImageEdit | Mode::Upscale => "image",
        };
        Ok(Turn::Next(Call::submit(format!("{}/generations/{kind}", site.base_url), Value::Object(body))))
    }

    fn read(&self, asked: &Call, reply: &Reply, site: &Site) -> Result<Turn, Fault> {
        let generation: Generation = reply.json()?;
        match generation.state.as_str() {
            "queued" | "dreaming" if asked.leg == Leg::Submit => {
                Ok(Turn::Wait(Call::poll(format!("{}/generations/{}", site.base_url, generation.id))))
            }
            "queued" | "dreaming" => Ok(Turn::Wait(asked.clone())),
            "completed" => {
                let assets = generation.assets.unwrap_or_default();
                let link = assets.video.or(assets.image).filter(|url| !url.is_empty()).map(Source::Link);
                let outputs = link.into_iter().map(|source| Output { source, revised_prompt: None }).collect();
                Ok(Turn::Done(outputs, Usage::default()))
            }
            "failed" => {
                let reason = generation.failure_reason.unwrap_or_else(|| "the generation failed".to_owned());
                let refused = reason.to_lowercase().contains("moderat");
                let kind = if refused { FaultKind::Moderated } else { FaultKind::Unavailable };
                let code = Some("failed".to_owned());
                Err(Fault::new(kind, reason).accepted(Accepted::Maybe).status(reply.status).code(code))
            }
            other => Err(shapes::unknown_status(other)),
        }
    }
}

#[derive(Deserialize)]
struct Generation {
    id: String,
    state: String,
    assets: Option<Assets>,
    failure_reason: Option<String>,
}

#[derive(Deserialize, Default)]
struct Assets {
    image: Option<String>,
    video: Option<String>,
}
