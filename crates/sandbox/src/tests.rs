//! The simulators against the providers' documentation: each dialect, the steering, and the book.

mod fal;
mod openai;
mod queues;
mod steering;

use super::Sandbox;
use crate::catalog::load;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;
use serde_json::Value;
use std::sync::Arc;
use tower::ServiceExt;

const MODELS: &str = r#"
    [[model]]
    id = "gpt-image-2"
    name = "GPT Image 2"
    maker = "openai"
    [[model]]
    id = "gpt-image-2.5-flare"
    name = "GPT Image 2.5 Flare"
    maker = "openai"
    [[model]]
    id = "flux.2-max"
    name = "FLUX.2 [max]"
    maker = "black-forest-labs"
    [[model]]
    id = "flux.1-schnell"
    name = "FLUX.1 [schnell]"
    maker = "black-forest-labs"
"#;

const OPENAI: &str = r#"
    source = "the documentation"
    [[route]]
    model = "gpt-image-2"
    upstream = "gpt-image-2"
    confidence = "documented"
    modes = ["text-to-image"]
    size = { rule = "pixels", multiple = 16, max_side = 3840, min_area = 655360, max_area = 8294400, max_ratio = 3.0, auto = true }
    default_size = "1024x1024"
    formats = ["png", "jpeg", "webp"]
    default_format = "png"
    max_n = 10
    [[route]]
    model = "gpt-image-2.5-flare"
    upstream = "gpt-image-2.5-flare"
    confidence = "documented"
    modes = ["text-to-image"]
    size = { rule = "list", sizes = ["1024x1024", "1536x1024"], auto = true, field = "size" }
    formats = ["png", "jpeg", "webp"]
    max_n = 10
    [[route]]
    model = "gpt-image-2"
    upstream = "gpt-image-1"
    confidence = "documented"
    modes = ["text-to-image"]
    size = { rule = "none" }
    retires = "2026-10-23"
"#;

const FAL: &str = r#"
    source = "the documentation"
    [[route]]
    model = "flux.1-schnell"
    upstream = "fal-ai/flux/schnell"
    confidence = "documented"
    modes = ["text-to-image"]
    size = { rule = "pixels", min_side = 64, max_side = 14142, max_area = 4194304, multiple = 16, field = "image_size", form = "object" }
    default_size = "1024x768"
    formats = ["jpeg", "png"]
    default_format = "jpeg"
    max_n = 4
    price = { source = "fal.ai", date = "2026-11-01", lines = [{ metric = "megapixel", unit_price = "0.003" }] }
    [[route]]
    model = "flux.2-max"
    upstream = "fal-ai/flux-2-max"
    confidence = "documented"
    modes = ["text-to-image"]
    size = { rule = "pixels", min_side = 64, max_side = 14142, max_area = 4194304, multiple = 16, field = "image_size", form = "object" }
    default_size = "1024x768"
    formats = ["jpeg", "png"]
    default_format = "jpeg"
    [route.price]
    source = "fal.ai"
    date = "2026-11-01"
    lines = [{ metric = "megapixel", up_to = 1, unit_price = "0.07" }, { metric = "megapixel", beyond = 1, unit_price = "0.03" }]
"#;

/// An answer, read to its end.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    /// Empty when it broke off.
    body: Bytes,
    whole: bool,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A sandbox and a key.
struct Client {
    router: Router,
    sandbox: Arc<Sandbox>,
    authorization: String,
}

impl Client {
    fn new(authorization: &str) -> Self {
        let catalog = load([("models", MODELS), ("openai", OPENAI), ("fal", FAL)]).unwrap();
        let sandbox = Arc::new(Sandbox::new(Arc::new(catalog)));
        Self { router: sandbox.router(), sandbox, authorization: authorization.to_owned() }
    }

    fn with_key(&self, authorization: &str) -> Self {
        let (router, sandbox) = (self.router.clone(), Arc::clone(&self.sandbox));
        Self { router, sandbox, authorization: authorization.to_owned() }
    }

    async fn send(&self, method: &str, path: &str, body: impl Into<Body>) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "sandbox.test");
        if !self.authorization.is_empty() {
            request = request.header("authorization", &self.authorization);
        }
        let response = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let read = to_bytes(response.into_body(), usize::MAX).await;
        Answer { status, headers, whole: read.is_ok(), body: read.unwrap_or_default() }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, Body::empty()).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, body.to_string()).await
    }

    async fn steer(&self, rule: Value) {
        let answer = self.post("/_control", rule).await;
        assert_eq!(answer.status, 201, "{:?}", answer.body);
    }

    /// What the book says of a provider in total.
    async fn totals(&self, provider: &str) -> Value {
        self.get("/_control/calls").await.json()["totals"][provider].clone()
    }
}

/// Format and size of an image file, read by a library that is not ours.
fn look(file: &[u8]) -> (image::ImageFormat, (u32, u32)) {
    let format = image::guess_format(file).unwrap();
    let picture = image::load_from_memory(file).unwrap();
    (format, (picture.width(), picture.height()))
}
