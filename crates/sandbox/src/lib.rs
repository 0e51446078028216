//! The providers, imitated: one simulator for each dialect, all of them on one listener, so that every adapter can be
//! driven end to end without a key and without a cent. `http://HOST/<provider>` stands for that provider's base URL.
//!
//! A simulator shares no code with the adapter that it tests: this crate depends on the core only. What goes wrong on
//! purpose is said over `/_control` ([`steering`]); what every provider was asked, and what it would have billed, is in the
//! [`book`].

mod alibaba;
mod bfl;
mod bill;
mod body;
pub mod book;
mod byteplus;
mod clip;
mod control;
mod easel;
mod fal;
mod files;
mod fireworks;
mod form;
mod gemini;
mod identity;
mod ideogram;
mod kling;
mod line;
mod lists;
mod luma;
mod luma_dream_machine;
mod minimax;
mod mischief;
mod openai;
mod openrouter;
mod queue;
mod received;
mod recraft;
mod replicate;
mod runware;
mod runway;
mod sale;
mod shelf;
mod simulator;
mod stability;
pub mod steering;
mod together;
mod vertex;
mod world;
mod xai;

pub use simulator::{SIMULATORS, Simulator};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use catalog::Catalog;
use line::{Line, Lines};
use lumenfall_core::{base, catalog, job, media};
use std::io;
use std::sync::Arc;
use tokio::net::TcpListener;
use world::World;

/// The largest body that a simulator reads.
const BODY_LIMIT: usize = 64 * 1024 * 1024;

/// All simulators, with the state that they share.
pub struct Sandbox {
    world: Arc<World>,
}

impl Sandbox {
    /// Simulators that serve the catalog's routes.
    pub fn new(catalog: Arc<Catalog>) -> Self {
        Self { world: Arc::new(World::new(catalog)) }
    }

    /// Every simulator under its provider's name, and `/_control`.
    ///
    /// Served by anything but [`Sandbox::serve`], a `reset` shows as a body that breaks off instead of a connection
    /// that closes without an answer.
    pub fn router(&self) -> Router {
        let mut router = control::router(Arc::clone(&self.world));
        for simulator in SIMULATORS {
            router = router.nest(&format!("/{}", simulator.id), (simulator.router)(Arc::clone(&self.world)));
        }
        let look = axum::middleware::from_fn_with_state(Arc::clone(&self.world), received::look);
        router.layer(look).layer(DefaultBodyLimit::max(BODY_LIMIT))
    }

    /// Serves until `shutdown`, then lets running answers finish; hanging ones are cut.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        self.world.settle(listener.local_addr()?);
        let router = self.router().layer(axum::middleware::from_fn(line::sever));
        let service = router.into_make_service_with_connect_info::<Line>();
        let world = self.world;
        axum::serve(Lines::new(listener), service)
            .with_graceful_shutdown(async move {
                shutdown.await;
                world.close();
            })
            .await
    }
}

#[cfg(test)]
mod tests;
