//! Every path of the API, and the middleware around them.

use super::calls::{images, videos};
use super::native::{accounts, keys, payloads, requests, routing, webhooks};
use super::state::Api;
use super::{error, health, jobs, media, middleware, models};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::CorsLayer;

impl Api {
    /// The whole API as a service.
    pub fn router(&self) -> Router {
        Router::new()
            .nest("/openai/v1", compatible_routes())
            .nest("/v1", compatible_routes().merge(native_routes()))
            .route("/media/{name}", get(media::serve))
            .route("/healthz", get(health::liveness))
            .route("/readyz", get(health::readiness))
            .route("/metrics", get(health::metrics))
            .fallback(error::path_not_found)
            .method_not_allowed_fallback(error::method_not_allowed)
            // Our own readers limit bodies, and answer with our error envelope.
            .layer(DefaultBodyLimit::disable())
            // Each layer wraps those above it: the concurrency limit refuses a request before anything of it is read, a
            // panic becomes an error envelope, and every answer, that one included, has an id and a log line.
            .layer(from_fn_with_state(self.clone(), middleware::limit_concurrency))
            .layer(CatchPanicLayer::custom(error::after_panic))
            .layer(CorsLayer::permissive().expose_headers(middleware::exposed_headers()))
            .layer(from_fn(middleware::log_request))
            .with_state(self.clone())
    }
}

/// The OpenAI-compatible paths, served under both prefixes.
fn compatible_routes() -> Router<Api> {
    Router::new()
        .route("/images/generations", post(images::generate))
        .route("/images/edits", post(images::edit))
        .route("/images/variations", post(images::create_variation))
        .route("/images/{id}", get(jobs::images::retrieve).delete(jobs::images::delete))
        .route("/videos", get(jobs::videos::list).post(videos::create))
        .route("/videos/edits", post(videos::edit))
        .route("/videos/extensions", post(videos::extend))
        .route("/videos/{id}", get(jobs::videos::retrieve).delete(jobs::videos::delete))
        .route("/videos/{id}/content", get(jobs::videos::content))
        .route("/videos/{id}/remix", post(videos::remix))
        .route("/models", get(models::list))
        .route("/models/{*id}", get(models::retrieve))
}

/// The gateway's own paths, under `/v1` only.
fn native_routes() -> Router<Api> {
    Router::new()
        .route("/routing", get(routing::retrieve).put(routing::update))
        .route("/requests", get(requests::list))
        .route("/requests/{id}", get(requests::retrieve))
        .route("/requests/{id}/payloads", get(payloads::retrieve).delete(payloads::delete))
        .route("/balance", get(accounts::balance))
        .route("/accounts", get(accounts::list).post(accounts::create))
        .route("/accounts/{id}", get(accounts::retrieve).patch(accounts::update))
        .route("/accounts/{id}/credits", post(accounts::credit))
        .route("/keys", get(keys::list).post(keys::create))
        .route("/keys/{id}", get(keys::retrieve).patch(keys::update).delete(keys::revoke))
        .route("/keys/{id}/rotate", post(keys::rotate))
        .route("/webhooks/secret", get(webhooks::secret))
        .route("/webhooks/secret/rotate", post(webhooks::rotate))
        .route("/webhooks/deliveries", get(webhooks::deliveries))
        .route("/webhooks/deliveries/{id}/redeliver", post(webhooks::redeliver))
}
