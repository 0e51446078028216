//! Lumenfall: one gateway in front of every AI image provider, with the OpenAI API as its face.
//!
//! The layers, top to bottom; a module may use what is below it, never what is above (`tests/architecture/` keeps it so):
//!
//! | module | what it is |
//! |---|---|
//! | [`cli`] | the commands of the program |
//! | [`app`], [`config`] | the one place that wires, and what it wires from |
//! | [`api`], [`sandbox`] | the HTTP face; the providers' simulators |
//! | [`pipeline`] | the story of a request: plan, fit, drive, fail over, finish, account |
//! | [`store`], [`outbound`] | the log and the keys; the door to the world |
//! | [`providers`] | translators, one file each; pure; a crate |
//! | [`error`] | what the caller is told |
//! | [`catalog`] | what exists; in the core, as are the rest |
//! | [`job`], [`media`], [`fault`] | nouns of the domain; pictures (their storage is here); what goes wrong |
//! | [`base`], [`telemetry`] | time, ids, money, secrets; the program's log (here) |
//!
//! A request becomes, in this order: `JsonObject` → [`job::Job`] → [`pipeline::Plan`] → [`job::Brief`] →
//! [`outbound::Call`] / [`outbound::Reply`] / [`providers::Turn`] → [`job::Output`] → [`pipeline::OutputFile`] →
//! [`pipeline::Delivery`] → bytes, and one [`store::Record`]. `ARCHITECTURE.md` walks it with file names.

pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod error;
pub mod media;
pub mod outbound;
pub mod pipeline;
pub mod store;
pub mod telemetry;

pub use lumenfall_core::{base, catalog, fault, job};
pub use lumenfall_providers as providers;
pub use lumenfall_sandbox as sandbox;
