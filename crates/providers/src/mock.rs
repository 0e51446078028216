//! The provider inside: draws a pattern for the prompt. Free, always there, no network; for trying the gateway out.

use super::{Adapter, Card, Reach, Site, Turn};
use crate::fault::{Fault, FaultKind};
use crate::job::{Brief, Output, Source, Usage};
use crate::media::draw::draw;
use crate::media::{Format, Size};
use crate::outbound::auth::AuthScheme;
use crate::outbound::call::{Call, Reply};

pub(super) struct Mock;

static CARD: Card = Card {
    id: "mock",
    name: "Lumenfall Mock",
    base_url: "",
    reach: Reach::Inside,
    auth: AuthScheme::None,
    key_env: "",
    hosts: &[],
    docs: "",
    catalog: include_str!("../../../config/catalog/mock.toml"),
};

impl Adapter for Mock {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn open(&self, brief: &Brief, _site: &Site) -> Result<Turn, Fault> {
        let text = |name: &str| brief.input.get(name).and_then(|value| value.as_str());
        let prompt = text("prompt").unwrap_or_default();
        if prompt.contains("[refuse]") {
            return Err(Fault::new(FaultKind::Moderated, "The mock refuses prompts that contain [refuse]."));
        }
        if prompt.contains("[fail]") {
            return Err(Fault::new(FaultKind::Unavailable, "The mock fails on prompts that contain [fail]."));
        }
        let size = text("size").and_then(Size::parse).unwrap_or(Size::new(1024, 1024));
        let format = brief.format.unwrap_or(Format::Png);
        let one = |index: u32| {
            let title = if index == 0 { prompt.to_owned() } else { format!("{prompt} #{}", index + 1) };
            let bytes = draw(&title, size, format).map_err(|flaw| Fault::new(FaultKind::Empty, flaw.to_string()))?;
            Ok(Output { source: Source::Bytes(bytes), revised_prompt: None })
        };
        Ok(Turn::Done((0..brief.n).map(one).collect::<Result<_, Fault>>()?, Usage::default()))
    }

    fn read(&self, _asked: &Call, _reply: &Reply, _site: &Site) -> Result<Turn, Fault> {
        Err(Fault::new(FaultKind::Malformed, "the mock makes no calls"))
    }
}
