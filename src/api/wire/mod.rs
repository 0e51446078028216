//! Requests and answers as JSON, to and from the domain types. No I/O.

mod call_parameters;
pub(super) mod events;
pub(super) mod fields;
pub(super) mod images;
pub(super) mod jobs;
pub(super) mod models;
pub(super) mod page;
pub(super) mod requests;
pub(super) mod routing;
pub(super) mod schema;
pub(super) mod videos;
