//! Anything else that speaks OpenAI's images API: LocalAI, vLLM, a second gateway. Each deployment has a name of its own in
//! the configuration; the wire is OpenAI's (`openai.rs`). Servers differ in what they default to, so the catalog asks for
//! base64 explicitly. The official OpenAI SDKs are the clients of such servers; see `tests/clients/`.

use super::openai::OpenAi;
use super::{Adapter, Card, Reach, Site, Turn};
use crate::fault::Fault;
use crate::job::{Brief, Event};
use crate::outbound::auth::AuthScheme;
use crate::outbound::call::{Call, Reply};

pub(super) struct OpenAiCompatible;

static CARD: Card = Card {
    id: "openai-compatible",
    name: "OpenAI-compatible server",
    base_url: "",
    reach: Reach::Named,
    auth: AuthScheme::Bearer,
    key_env: "",
    hosts: &[],
    docs: "https://developers.openai.com/api/reference/resources/images",
    catalog: include_str!("../../../config/catalog/openai-compatible.toml"),
};

impl Adapter for OpenAiCompatible {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn open(&self, brief: &Brief, site: &Site) -> Result<Turn, Fault> {
        OpenAi.open(brief, site)
    }

    fn read(&self, asked: &Call, reply: &Reply, site: &Site) -> Result<Turn, Fault> {
        OpenAi.read(asked, reply, site)
    }

    fn event(&self, asked: &Call, event: &Reply) -> Result<Event, Fault> {
        OpenAi.event(asked, event)
    }

    fn fault(&self, asked: &Call, reply: &Reply) -> Fault {
        OpenAi.fault(asked, reply)
    }
}
