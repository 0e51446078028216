//! A client for the tests of the simulators that take forms: the real catalog file, a router, and the book.

use crate::Sandbox;
use crate::catalog::load;
use crate::media::{Format, Size, draw};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;
use tower::ServiceExt;

/// A sandbox with one provider's catalog, and a key for it.
pub(crate) struct Probe {
    router: Router,
    key: (&'static str, String),
}

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) whole: bool,
}

impl Answer {
    /// The body as JSON; `null` when it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What a part of a form holds.
pub(crate) enum Part<'a> {
    Text(&'a str),
    File(Bytes),
}

/// A drawn picture as a part.
pub(crate) fn picture(format: Format, width: u32, height: u32) -> Part<'static> {
    Part::File(draw("a probe", Size::new(width, height), format).unwrap())
}

impl Probe {
    /// With the catalog file of `provider` and this key header.
    pub(crate) fn new(provider: &str, catalog: &str, header: &'static str, key: &str) -> Self {
        let models = include_str!("../../../../config/catalog/models.toml");
        let catalog = load([("models", models), (provider, catalog)]).unwrap();
        Self { router: Sandbox::new(Arc::new(catalog)).router(), key: (header, key.to_owned()) }
    }

    /// The same sandbox with another key.
    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self { router: self.router.clone(), key: (self.key.0, key.to_owned()) }
    }

    async fn send(&self, method: &str, path: &str, kind: &str, body: Bytes) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "sandbox.test");
        request = request.header("content-type", kind);
        if !self.key.1.is_empty() {
            request = request.header(self.key.0, &self.key.1);
        }
        let response = self.router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let read = to_bytes(response.into_body(), usize::MAX).await;
        Answer { status, headers, whole: read.is_ok(), body: read.unwrap_or_default() }
    }

    /// GET.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path.strip_prefix("http://sandbox.test").unwrap_or(path), "text/plain", Bytes::new()).await
    }

    /// POST of a JSON body.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, "application/json", body.to_string().into()).await
    }

    /// POST of a form.
    pub(crate) async fn form(&self, path: &str, parts: &[(&str, Part<'_>)]) -> Answer {
        let mut body = Vec::new();
        for (name, part) in parts {
            let (head, content) = match part {
                Part::Text(text) => (String::new(), text.as_bytes()),
                Part::File(bytes) => ("; filename=\"a\"\r\ncontent-type: image/png".to_owned(), &bytes[..]),
            };
            let head = format!("--line\r\ncontent-disposition: form-data; name=\"{name}\"{head}\r\n\r\n");
            body.extend([head.as_bytes(), content, b"\r\n"].concat());
        }
        body.extend(b"--line--\r\n");
        self.send("POST", path, "multipart/form-data; boundary=line", body.into()).await
    }

    /// Sets a rule that acts once.
    pub(crate) async fn steer_once(&self, mut rule: Value) {
        rule["times"] = json!(1);
        assert_eq!(self.post("/_control", &rule).await.status, 201, "{rule}");
    }

    /// What a provider has billed so far.
    pub(crate) async fn billed(&self, provider: &str) -> Value {
        self.get("/_control/calls").await.json()["totals"][provider]["billed_usd"].clone()
    }
}
