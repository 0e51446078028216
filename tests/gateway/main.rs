//! The gateway as a whole: the real program on a free port, against the simulators or scripted providers.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod accounts;
mod adapters;
mod books;
mod chaos;
mod crash;
mod edits;
mod errors;
mod failover;
mod idempotency;
mod images;
mod jobs;
mod keys;
mod kit;
mod lists;
mod matrix;
mod models;
mod outage;
mod overrides;
#[path = "../kit/postgres.rs"]
mod postgres;
mod prices;
mod program;
mod routing;
mod shapes;
mod streams;
mod uploads;
mod videos;
mod walk;
