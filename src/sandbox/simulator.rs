//! The registry: one line for each provider that we imitate.

use super::world::World;
use super::{fal, gemini, openai, vertex};
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
    Simulator { id: openai::ID, router: openai::router },
    Simulator { id: fal::ID, router: fal::router },
    Simulator { id: gemini::ID, router: gemini::router },
    Simulator { id: vertex::ID, router: vertex::router },
];
