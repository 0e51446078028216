//! A whole gateway in this process, on a free port, in a directory of its own.

use lumenfall::app::{self, Running};
use lumenfall::config::Config;
use lumenfall::media::{Facts, Limits, inspect};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;
use std::collections::BTreeMap;
use tempfile::TempDir;

/// The admin key of every test gateway.
pub(crate) const KEY: &str = "lmnfl_test_admin.0123456789abcdef0123456789abcdef";

/// A running gateway.
pub(crate) struct Kit {
    pub(crate) running: Running,
    pub(crate) base: String,
    client: reqwest::Client,
    _home: TempDir,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) json: Value,
}

impl Kit {
    /// In sandbox mode, on SQLite.
    pub(crate) async fn start() -> Self {
        Self::with::<&str>(&[]).await
    }

    /// With further settings, as environment variables without their prefix.
    pub(crate) async fn with<T: AsRef<str>>(settings: &[(T, T)]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name).display().to_string();
        let mut environment = BTreeMap::from([
            ("LUMENFALL_SERVER__LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
            ("LUMENFALL_DATABASE__URL".to_owned(), format!("sqlite://{}", at("log.db"))),
            ("LUMENFALL_MEDIA__STORAGE".to_owned(), format!("file://{}", at("media"))),
            ("LUMENFALL_DATABASE__JOURNAL".to_owned(), at("journal")),
            ("LUMENFALL_AUTH__BOOTSTRAP_KEY".to_owned(), KEY.to_owned()),
        ]);
        environment.extend(
            settings.iter().map(|(name, value)| (format!("LUMENFALL_{}", name.as_ref()), value.as_ref().to_owned())),
        );
        let config = Config::load(None, &environment).unwrap();
        let running = app::start(&config).await.unwrap();
        // Only the first of all tests in this process installs it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::ClientBuilder::new().no_proxy().build().unwrap();
        Self { base: format!("http://{}", running.address), running, client, _home: home }
    }

    /// A request with the admin key.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.address(path)).bearer_auth(KEY)
    }

    fn address(&self, path: &str) -> String {
        if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) }
    }

    pub(crate) async fn get(&self, path: &str) -> Got {
        read(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Got {
        read(self.request(Method::POST, path).body(body.to_string()).header("content-type", "application/json")).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Got {
        read(self.request(Method::PATCH, path).body(body.to_string()).header("content-type", "application/json")).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Got {
        read(self.request(Method::DELETE, path)).await
    }

    /// `POST /openai/v1/images/generations`
    pub(crate) async fn generate(&self, body: Value) -> Got {
        self.post("/openai/v1/images/generations", &body).await
    }

    /// A request as it is: no key, no body of ours.
    pub(crate) async fn raw(&self, build: impl FnOnce(&reqwest::Client, &str) -> RequestBuilder) -> Got {
        read(build(&self.client, &self.base)).await
    }

    /// A streamed answer: its status, its media type, and its whole text.
    pub(crate) async fn stream(&self, request: RequestBuilder) -> (u16, String, String) {
        let answer = send(request).await;
        let mime = answer.headers().get("content-type").map_or("", |kind| kind.to_str().unwrap()).to_owned();
        (answer.status().as_u16(), mime, answer.text().await.unwrap())
    }

    /// What a simulator was sent, or which of them were sent that text: every body's pictures and texts.
    pub(crate) async fn received(&self, by: &str, value: &str) -> Vec<Value> {
        let address = format!("http://{}/_control/received", self.running.sandbox.unwrap());
        let address = reqwest::Url::parse_with_params(&address, [(by, value)]).unwrap();
        let all = self.get(address.as_str()).await.json;
        all["received"].as_array().unwrap().clone()
    }

    /// A request's answer as bytes.
    pub(crate) async fn raw_bytes(request: RequestBuilder) -> (u16, reqwest::header::HeaderMap, bytes::Bytes) {
        let answer = send(request).await;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        (status, headers, answer.bytes().await.unwrap())
    }

    /// The bytes and media type behind a link, fetched without a key.
    pub(crate) async fn download(&self, link: &str) -> (Vec<u8>, String) {
        let answer = send(self.client.get(self.address(link))).await;
        assert_eq!(answer.status(), 200, "{link}");
        let mime = answer.headers()["content-type"].to_str().unwrap().to_owned();
        (answer.bytes().await.unwrap().to_vec(), mime)
    }

    /// Tells the simulators what to do wrong.
    pub(crate) async fn control(&self, rule: Value) {
        let address = format!("http://{}/_control", self.running.sandbox.unwrap());
        let got = self.post(&address, &rule).await;
        assert!(got.status < 300, "{got:?}");
    }

    /// A text that needs no key.
    pub(crate) async fn text(&self, path: &str) -> String {
        send(self.client.get(self.address(path))).await.text().await.unwrap()
    }

    /// Sets what the operator says of a route or provider.
    pub(crate) async fn route(&self, route: &str, state: &str) {
        let body = serde_json::json!({"route": route, "state": state});
        let request = self.request(Method::PUT, "/v1/routing").header("content-type", "application/json");
        let got = read(request.body(body.to_string())).await;
        assert_eq!(got.status, 200, "{got:?}");
    }

    /// What the simulators were asked and would have billed.
    pub(crate) async fn bills(&self) -> Value {
        self.get(&format!("http://{}/_control/calls", self.running.sandbox.unwrap())).await.json
    }
}

async fn send(request: RequestBuilder) -> Response {
    let answer = request.send().await;
    answer.unwrap()
}

async fn read(request: RequestBuilder) -> Got {
    let answer = send(request).await;
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let bytes = answer.bytes().await.unwrap();
    let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Got { status, headers, json }
}

impl Got {
    /// A header, as text.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The error's code and parameter.
    pub(crate) fn error(&self) -> (u16, &str, &str) {
        let error = &self.json["error"];
        (self.status, error["code"].as_str().unwrap_or("none"), error["param"].as_str().unwrap_or("none"))
    }
}

/// What a picture really is.
pub(crate) fn picture_facts(bytes: &[u8]) -> Facts {
    inspect(bytes, &Limits::default()).unwrap()
}
