//! What every part of the gateway shares. No network, no database, no provider.
//!
//! | module | what it is |
//! |---|---|
//! | [`catalog`] | models, the routes that serve them, prices and sizes |
//! | [`job`] | what is asked of a model, and what came of it |
//! | [`fault`] | what goes wrong at a provider, and what to do then |
//! | [`media`] | pictures and videos: inspection, conversion, drawing |
//! | [`base`] | time, ids, money, secrets |

pub mod base;
pub mod catalog;
pub mod fault;
pub mod job;
pub mod media;
