//! Translators between us and the providers: pure functions, no network, no key, no clock. The whole contract.

mod alibaba;
pub mod auth;
mod bfl;
mod byteplus;
pub mod call;
mod card;
mod fal;
mod fireworks;
mod gemini;
mod google;
mod ideogram;
pub mod invoice;
mod kling;
pub mod lists;
mod luma;
mod luma_dream_machine;
mod minimax;
mod mock;
mod openai;
mod openai_compatible;
mod openrouter;
mod recraft;
mod replicate;
mod runware;
mod runway;
mod shapes;
mod stability;
mod together;
mod vertex;
mod xai;

pub use card::{Card, Reach};

use call::{Call, Reply};
use fault::Fault;
use invoice::Invoice;
use job::{Brief, Event, Output, Usage};
use lists::Listing;
#[cfg(test)]
use lumenfall_core::catalog;
use lumenfall_core::{base, fault, job, media};

/// The types of a call, by the path that the adapters use.
mod outbound {
    pub(super) use crate::{auth, call};
}

/// Where one deployment's calls go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// The base address, without a slash at its end.
    pub base_url: String,
}

/// What follows an exchange.
#[derive(Debug, Clone, PartialEq)]
pub enum Turn {
    /// Finished.
    Done(Vec<Output>, Usage),
    /// Make this call at once.
    Next(Call),
    /// Make this call after a pause.
    Wait(Call),
}

/// One provider's dialect.
pub trait Adapter: Send + Sync + 'static {
    /// What is fixed about it.
    fn card(&self) -> &'static Card;

    /// The first turn for a brief: the creating call, or the result itself when no call is needed.
    fn open(&self, brief: &Brief, site: &Site) -> Result<Turn, Fault>;

    /// What a reply with a 2xx status means.
    fn read(&self, asked: &Call, reply: &Reply, site: &Site) -> Result<Turn, Fault>;

    /// What an event of a streamed answer means, `event` being its data as if it were a reply of its own. Only a call that
    /// asks for a stream gets one.
    fn event(&self, asked: &Call, event: &Reply) -> Result<Event, Fault> {
        let _ = (asked, event);
        Ok(Event::default())
    }

    /// What any other reply means. Override for odd error bodies.
    fn fault(&self, asked: &Call, reply: &Reply) -> Fault {
        shapes::fault(asked, reply)
    }

    /// The poll for the job of a creating call that was not answered, where the provider knows jobs by an id of ours. That
    /// it is answered with a success means that the job is there.
    fn look_up(&self, submit: &Call, site: &Site) -> Option<Call> {
        let _ = (submit, site);
        None
    }

    /// The provider's id of the job that a poll asks after. Override where the poll hides it.
    fn job(&self, poll: &Call) -> Option<String> {
        shapes::job(poll)
    }

    /// The call that stops the job which `asked` was about, where the provider has one.
    fn cancel(&self, asked: &Call, site: &Site) -> Option<Call> {
        let _ = (asked, site);
        None
    }

    /// The list of models that the provider publishes.
    fn listing(&self) -> Option<Listing> {
        None
    }

    /// The file in which the provider tells what it billed, where its form is known.
    fn invoice(&self) -> Option<&'static Invoice> {
        None
    }
}

/// Every provider.
pub static ADAPTERS: &[&dyn Adapter] = &[
    &alibaba::Alibaba,
    &bfl::Bfl,
    &byteplus::BytePlus,
    &fal::Fal,
    &fireworks::Fireworks,
    &gemini::Gemini,
    &ideogram::Ideogram,
    &kling::Kling,
    &luma::Luma,
    &luma_dream_machine::DreamMachine,
    &minimax::MiniMax,
    &mock::Mock,
    &openai::OpenAi,
    &openai_compatible::OpenAiCompatible,
    &openrouter::OpenRouter,
    &recraft::Recraft,
    &replicate::Replicate,
    &runware::Runware,
    &runway::Runway,
    &stability::Stability,
    &together::Together,
    &vertex::Vertex,
    &xai::Xai,
];

/// The adapter of that id.
pub fn find(id: &str) -> Option<&'static dyn Adapter> {
    ADAPTERS.iter().copied().find(|adapter| adapter.card().id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_sound() {
        let mut ids: Vec<&str> = ADAPTERS.iter().map(|adapter| adapter.card().id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), ADAPTERS.len(), "ids are unique");
        for card in ADAPTERS.iter().map(|adapter| adapter.card()) {
            assert!(card.id.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", card.id);
            assert_eq!(card.base_url.starts_with("https://"), card.reach == Reach::Hosted, "{}", card.id);
            assert!(!card.base_url.ends_with('/'), "{}", card.id);
            assert!(card.base_url.is_empty() || !card.key_env.is_empty(), "{}", card.id);
            let catalog = crate::catalog::load([(card.id, card.catalog)]);
            let only_models = catalog.err().unwrap_or_default();
            let elsewhere = |text: &str| text.contains("no file defines") || text.contains("is not in the catalog");
            assert!(only_models.iter().all(|problem| elsewhere(&problem.message)), "{only_models:?}");
        }
    }
}
