//! The registry: one line for each provider that we imitate.

use super::world::World;
use super::{
    alibaba, bfl, byteplus, fal, fireworks, gemini, ideogram, kling, lists, luma, luma_dream_machine, minimax, openai,
    openrouter, recraft, replicate, runware, runway, stability, together, vertex, xai,
};
use axum::Router;
use std::sync::Arc;

/// A provider's dialect.
pub struct Simulator {
    /// The provider's id: its catalog file, its adapter and the first segment of its paths here.
    pub id: &'static str,
    /// Its API.
    pub(super) router: fn(Arc<World>) -> Router,
}

/// Every provider that we imitate.
pub const SIMULATORS: &[Simulator] = &[
    Simulator { id: alibaba::ID, router: alibaba::router },
    Simulator { id: bfl::ID, router: bfl::router },
    Simulator { id: byteplus::ID, router: byteplus::router },
    Simulator { id: fal::ID, router: |world| fal::router(Arc::clone(&world)).merge(lists::of_fal(&world)) },
    Simulator { id: fireworks::ID, router: fireworks::router },
    Simulator { id: gemini::ID, router: gemini::router },
    Simulator { id: ideogram::ID, router: ideogram::router },
    Simulator { id: kling::ID, router: kling::router },
    Simulator { id: luma::ID, router: luma::router },
    Simulator { id: luma_dream_machine::ID, router: luma_dream_machine::router },
    Simulator { id: minimax::ID, router: minimax::router },
    Simulator { id: openai::ID, router: openai::router },
    Simulator {
        id: openrouter::ID,
        router: |world| openrouter::router(Arc::clone(&world)).merge(lists::of_openrouter(&world)),
    },
    Simulator { id: recraft::ID, router: recraft::router },
    Simulator {
        id: replicate::ID,
        router: |world| replicate::router(Arc::clone(&world)).merge(lists::of_replicate(&world)),
    },
    Simulator { id: runware::ID, router: |world| runware::router(Arc::clone(&world)).merge(lists::of_runware(&world)) },
    Simulator { id: runway::ID, router: runway::router },
    Simulator { id: stability::ID, router: stability::router },
    Simulator { id: together::ID, router: together::router },
    Simulator { id: vertex::ID, router: vertex::router },
    Simulator { id: xai::ID, router: xai::router },
];
