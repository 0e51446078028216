//! Every path of the API and what surrounds it.

use super::{
    Api, accounts, error, health, images, keys, layers, media, models, payloads, requests, routing, videos, webhooks,
};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::CorsLayer;

impl Api {
    /// Every path.
    pub fn router(&self) -> Router {
        // The OpenAI-compatible routes answer under both prefixes; the native ones under /v1 only.
        let compatible = Router::new()
            .route("/images/generations", post(images::generate))
            .route("/images/edits", post(images::edit))
            .route("/images/variations", post(images::vary))
            .route("/images/{id}", get(videos::images).delete(videos::discard_images))
            .route("/videos", get(videos::list).post(videos::create))
            .route("/videos/edits", post(videos::edit))
            .route("/videos/extensions", post(videos::extend))
            .route("/videos/{id}", get(videos::one).delete(videos::discard))
            .route("/videos/{id}/content", get(videos::content))
            .route("/videos/{id}/remix", post(videos::remix))
            .route("/models", get(models::list))
            .route("/models/{*id}", get(models::one));
        let native = Router::new()
            .route("/routing", get(routing::show).put(routing::change))
            .route("/requests", get(requests::list))
            .route("/requests/{id}", get(requests::one))
            .route("/requests/{id}/payloads", get(payloads::show).delete(payloads::purge))
            .route("/balance", get(accounts::balance))
            .merge(accounts::routes())
            .route("/webhooks/secret", get(webhooks::secret))
            .route("/webhooks/secret/rotate", post(webhooks::rotate))
            .route("/webhooks/deliveries", get(webhooks::deliveries))
            .route("/webhooks/deliveries/{id}/redeliver", post(webhooks::redeliver))
            .route("/keys", get(keys::list).post(keys::create))
            .route("/keys/{id}", get(keys::one).patch(keys::change).delete(keys::revoke))
            .route("/keys/{id}/rotate", post(keys::rotate));
        Router::new()
            .nest("/openai/v1", compatible.clone())
            .nest("/v1", compatible.merge(native))
            .route("/media/{name}", get(media::serve))
            .route("/healthz", get(health::alive))
            .route("/readyz", get(health::ready))
            .route("/metrics", get(health::metrics))
            .fallback(error::no_such_path)
            .method_not_allowed_fallback(error::no_such_method)
            // Our own reader bounds bodies and speaks our envelope.
            .layer(DefaultBodyLimit::disable())
            // From the inside out: a full house is refused before anything is read; a panic becomes an envelope; every
            // answer, that one included, has its id and its line in the log.
            .layer(from_fn_with_state(self.clone(), layers::admit))
            .layer(CatchPanicLayer::custom(error::after_panic))
            .layer(CorsLayer::permissive().expose_headers(layers::exposed()))
            .layer(from_fn(layers::identify))
            .with_state(self.clone())
    }
}
