//! The public shapes, and their way to and from the nouns of the domain.

mod basics;
pub(super) mod events;
pub(super) mod fields;
pub(super) mod images;
pub(super) mod models;
pub(super) mod page;
pub(super) mod requests;
pub(super) mod routing;
pub(super) mod schema;
pub(super) mod videos;
