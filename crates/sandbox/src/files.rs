//! Result files behind links: what each shows. A file is public and is drawn when it is fetched.

use super::book::{Entry, Operation};
use super::easel::Motif;
use super::mischief;
use super::shelf::Shelf;
use super::world::World;
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

/// What a link leads to.
#[derive(Debug, Clone)]
struct Item {
    motif: Motif,
    /// The media type that it is announced with, whatever is in it.
    mime: &'static str,
    /// Whether it breaks off half-way.
    broken: bool,
}

/// The files of one provider.
#[derive(Default)]
pub(super) struct Files(Shelf<Item>);

impl Files {
    /// Puts a file there.
    pub(super) fn put(&self, name: &str, motif: Motif, mime: &'static str, broken: bool) {
        self.0.add(name.to_owned(), Item { motif, mime, broken });
    }

    /// The answer to who fetches it.
    pub(super) async fn fetch(&self, world: &World, provider: &'static str, name: &str) -> Response {
        let found = self.0.find(name);
        let drawn = match &found {
            Some(item) => world.easel.draw(&item.motif).await,
            None => None,
        };
        let response = match (found, drawn) {
            (Some(item), Some(file)) if item.broken => mischief::truncate(item.mime, &file),
            (Some(item), Some(file)) => ([(header::CONTENT_TYPE, item.mime)], Body::from(file)).into_response(),
            _ => (StatusCode::NOT_FOUND, "404 page not found").into_response(),
        };
        world.book.write(Entry::new(provider, Operation::File, response.status().as_u16()));
        response
    }
}
