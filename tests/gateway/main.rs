//! The gateway as a whole: the real program on a free port, against the simulators or scripted providers.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
#![expect(clippy::disallowed_methods, reason = "the tests are the callers, and the receivers")]
#![expect(clippy::print_stdout, reason = "long runs print their figures")]
#![expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "counts and shares in tests")]

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
mod parity;
#[path = "../kit/postgres.rs"]
mod postgres;
mod prices;
mod program;
mod reconcile;
mod routing;
mod shapes;
mod streams;
mod uploads;
mod videos;
mod videos_from_videos;
mod walk;
