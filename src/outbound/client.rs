//! The one HTTP client: sends calls to providers with their key, and downloads result files without one. Sizes, times
//! and addresses are bounded here; nothing is retried here.

use super::Settings;
use super::call::{Call, Content, EVENTS, Leg, Part, Payload, Reply};
use super::events::Events;
use super::google::{Exchange, Tokens};
use super::guard::Guard;
use super::jwt;
use super::{AuthScheme, auth};
use crate::base::{Secret, Timestamp};
use crate::fault::{Accepted, Fault, FaultKind};
use bytes::{Bytes, BytesMut};
use reqwest::{Method, Response, Url, header};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Where a provider's calls may go, and the key that goes with them.
#[derive(Debug, Clone)]
pub struct Destination {
    /// The provider's base address.
    pub base_url: String,
    /// Domains, besides the base address's host, that may see the key; subdomains included.
    pub hosts: &'static [&'static str],
    /// How the key is shown.
    pub auth: AuthScheme,
    /// The key.
    pub key: Secret,
}

impl Destination {
    /// Whether `url` is on the base address's origin or on one of the provider's domains.
    pub fn covers(&self, url: &Url) -> bool {
        let same_origin = Url::parse(&self.base_url).is_ok_and(|base| base.origin() == url.origin());
        let host = url.host_str().unwrap_or_default();
        let listed =
            |domain: &&str| host == *domain || host.strip_suffix(domain).is_some_and(|front| front.ends_with('.'));
        same_origin || (url.scheme() == "https" && self.hosts.iter().any(listed))
    }
}

/// Sees the data of each event of a streamed answer as it arrives. A fault ends the exchange.
pub type Watch<'a> = dyn FnMut(Bytes) -> Result<(), Fault> + Send + 'a;

/// How long an exchange may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Until {
    /// When the first byte of the answer should be there.
    pub first_byte: Instant,
    /// When all of it should be.
    pub whole: Instant,
}

impl From<Instant> for Until {
    fn from(whole: Instant) -> Self {
        Self { first_byte: whole, whole }
    }
}

/// The client. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    guard: Guard,
    settings: Arc<Settings>,
    tokens: Arc<Tokens>,
}

impl Client {
    /// Builds the client. Fails when TLS cannot be set up.
    pub fn new(settings: Settings, guard: Guard) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .use_preconfigured_tls(tls())
            .dns_resolver(Arc::new(guard))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(Duration::from_secs(settings.connect_timeout_seconds))
            .pool_idle_timeout(Duration::from_mins(1))
            .user_agent(concat!("lumenfall/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { http, guard, settings: Arc::new(settings), tokens: Arc::default() })
    }

    /// Sends one call. The key goes along only to the provider's own hosts. An answer of events is shown to `watch`, one
    /// after the other, and comes back without a body.
    pub async fn send(
        &self,
        call: &Call,
        to: &Destination,
        until: impl Into<Until>,
        watch: &mut Watch<'_>,
    ) -> Result<Reply, Fault> {
        let Until { first_byte, whole: deadline } = until.into();
        let url = self.address(&call.url)?;
        if !to.covers(&url) {
            let host = url.host_str().unwrap_or_default();
            return Err(Fault::new(FaultKind::Malformed, format!("the provider sent us to the foreign host '{host}'")));
        }
        let method = Method::from_bytes(call.verb.as_str().as_bytes()).unwrap_or(Method::GET);
        let mut request = self.http.request(method, url);
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        let key = match to.auth {
            AuthScheme::Google => self.google_token(&to.key, deadline).await?,
            AuthScheme::Jwt => jwt::token(&to.key, Timestamp::now()),
            _ => to.key.clone(),
        };
        if let Some((name, value)) = auth::header(to.auth, &key) {
            request = request.header(name, value);
        }
        request = match &call.payload {
            Payload::Empty => request,
            Payload::Json(body) => request.header(header::CONTENT_TYPE, "application/json").body(body.to_string()),
            Payload::Form(parts) => request.multipart(form(parts)?),
        };
        let exchange = async {
            #[expect(clippy::disallowed_methods, reason = "this is the place that sends")]
            let response = timeout_at(first_byte, request.send()).await;
            let Ok(response) = response else { return Ok(Received::Nothing) };
            let response = response?;
            let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
            if response.status().is_success() && kind.is_some_and(|kind| kind.starts_with(EVENTS)) {
                return follow(response, self.settings.max_reply_bytes, watch).await;
            }
            receive(response, self.settings.max_reply_bytes).await
        };
        match timeout_at(deadline, exchange).await {
            Ok(Ok(Received::Stopped(fault))) => Err(fault),
            Ok(Ok(Received::Whole(status, headers, body))) => Ok(Reply::new(status, headers, body, Timestamp::now())),
            Ok(Ok(Received::TooLarge(limit))) => {
                let text = format!("the provider's answer is larger than {limit} bytes");
                Err(Fault::new(FaultKind::Malformed, text).accepted(maybe(call.leg)))
            }
            Ok(Err(error)) => Err(broken(&error, call.leg)),
            Ok(Ok(Received::Nothing)) | Err(_) => {
                Err(Fault::new(FaultKind::Timeout, "the provider did not answer in time").accepted(maybe(call.leg)))
            }
        }
    }

    /// Downloads a file that a provider or a caller named: without a key, from any public host, within the size cap,
    /// redirects followed by hand and checked again. The guard of this client decides what is public, so callers' links
    /// need a client whose guard has no exceptions.
    pub async fn download(&self, link: &str, deadline: Instant) -> Result<Bytes, Fault> {
        let mut file = self.open(link, deadline).await?;
        let mut body = BytesMut::with_capacity(file.announced);
        while let Some(piece) = file.next().await? {
            body.extend_from_slice(&piece);
        }
        Ok(body.freeze())
    }

    /// Opens such a file, to be read piece by piece: a video is never whole in memory.
    pub async fn open(&self, link: &str, deadline: Instant) -> Result<Download, Fault> {
        let cap = self.settings.max_file_bytes;
        let mut url = self.address(link)?;
        for _ in 0..4 {
            #[expect(clippy::disallowed_methods, reason = "this is the place that sends")]
            let sent = timeout_at(deadline, self.http.get(url.clone()).send()).await;
            let response = sent.map_err(|_| late())?.map_err(|error| broken(&error, Leg::Fetch))?;
            if response.status().is_redirection() {
                let next = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
                let next = next.and_then(|next| url.join(next).ok());
                let next = next.ok_or_else(|| Fault::new(FaultKind::Malformed, "the result link leads nowhere"))?;
                url = self.address(next.as_str())?;
                continue;
            }
            let status = response.status().as_u16();
            if status != 200 {
                let text = format!("the result link answered {status}");
                return Err(Fault::new(FaultKind::Unavailable, text).status(status));
            }
            let announced = usize::try_from(response.content_length().unwrap_or(0)).unwrap_or(usize::MAX);
            let left = cap.checked_sub(announced).map(|_| cap).ok_or_else(|| too_large(cap))?;
            return Ok(Download { response, announced, left, cap, deadline });
        }
        Err(Fault::new(FaultKind::Malformed, "the result link redirects too often"))
    }

    /// Posts a webhook: no key, no redirect followed. Returns the receiver's status.
    pub async fn deliver(
        &self,
        url: &str,
        headers: &[(&str, String)],
        body: String,
        within: Duration,
    ) -> Result<u16, Fault> {
        let url = self.address(url)?;
        let mut request = self.http.post(url).header(header::CONTENT_TYPE, "application/json").body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        #[expect(clippy::disallowed_methods, reason = "this is the place that sends")]
        let sent = timeout_at(Instant::now() + within, request.send()).await;
        match sent {
            Ok(Ok(response)) => Ok(response.status().as_u16()),
            Ok(Err(error)) => Err(broken(&error, Leg::Poll)),
            Err(_) => Err(Fault::new(FaultKind::Timeout, "no answer in time")),
        }
    }

    /// The access token for a Google credential; a service account's key goes to Google's own hosts only.
    async fn google_token(&self, key: &Secret, deadline: Instant) -> Result<Secret, Fault> {
        let exchange = |exchange: Exchange| async move {
            self.guard.check(&exchange.url).map_err(|blocked| Fault::new(FaultKind::Auth, blocked.to_string()))?;
            let host = exchange.url.host_str().unwrap_or_default();
            if !host.ends_with(".googleapis.com") {
                return Err(Fault::new(FaultKind::Auth, format!("the service account's token_uri is on '{host}'")));
            }
            let kind = "application/x-www-form-urlencoded";
            let request = self.http.post(exchange.url).header(header::CONTENT_TYPE, kind).body(exchange.form);
            #[expect(clippy::disallowed_methods, reason = "this is the place that sends")]
            let answer = async { receive(request.send().await?, 1 << 20).await };
            match timeout_at(deadline, answer).await {
                Ok(Ok(Received::Whole(200, _, body))) => Ok(body),
                Ok(Ok(Received::Whole(status, ..))) => {
                    let text = format!("Google refused a token for the service account ({status})");
                    Err(Fault::new(FaultKind::Auth, text).status(status))
                }
                Ok(Ok(Received::Stopped(fault))) => Err(fault),
                Ok(Ok(Received::TooLarge(_))) => Err(Fault::new(FaultKind::Auth, "Google's token answer is too large")),
                Ok(Ok(Received::Nothing)) | Err(_) => {
                    Err(Fault::new(FaultKind::Timeout, "Google did not give a token in time"))
                }
                // No token, no call: nothing was bought.
                Ok(Err(error)) => Err(broken(&error, Leg::Poll)),
            }
        };
        self.tokens.token(key, exchange).await
    }

    fn address(&self, text: &str) -> Result<Url, Fault> {
        let url =
            Url::parse(text).map_err(|_| Fault::new(FaultKind::Malformed, "the provider's link is no address"))?;
        self.guard.check(&url).map_err(|blocked| Fault::new(FaultKind::Malformed, blocked.to_string()))?;
        Ok(url)
    }
}

enum Received {
    Whole(u16, Vec<(String, String)>, Bytes),
    TooLarge(usize),
    /// A watcher has seen enough.
    Stopped(Fault),
    /// Not even the beginning, in the time that it had.
    Nothing,
}

/// A file that is being downloaded.
#[derive(Debug)]
pub struct Download {
    response: Response,
    announced: usize,
    left: usize,
    cap: usize,
    deadline: Instant,
}

impl Download {
    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        let piece = timeout_at(self.deadline, self.response.chunk()).await.map_err(|_| late())?;
        let piece = piece.map_err(|error| broken(&error, Leg::Fetch))?;
        if let Some(piece) = &piece {
            self.left = self.left.checked_sub(piece.len()).ok_or_else(|| too_large(self.cap))?;
        }
        Ok(piece)
    }
}

fn late() -> Fault {
    Fault::new(FaultKind::Timeout, "the result did not arrive in time")
}

fn too_large(cap: usize) -> Fault {
    Fault::new(FaultKind::Malformed, format!("the result is larger than {cap} bytes"))
}

/// Status and headers as a reply has them.
fn head(response: &Response) -> (u16, Vec<(String, String)>) {
    let text = |value: &header::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let headers = response.headers().iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    (response.status().as_u16(), headers)
}

/// Reads a body of events, at most `cap` bytes of them.
async fn follow(mut response: Response, cap: usize, watch: &mut Watch<'_>) -> Result<Received, reqwest::Error> {
    let (status, headers) = head(&response);
    let (mut events, mut left) = (Events::default(), cap);
    while let Some(chunk) = response.chunk().await? {
        let Some(rest) = left.checked_sub(chunk.len()) else { return Ok(Received::TooLarge(cap)) };
        left = rest;
        for event in events.push(&chunk) {
            if let Err(fault) = watch(event) {
                return Ok(Received::Stopped(fault));
            }
        }
    }
    let last = events.finish().map_or(Ok(()), watch);
    Ok(last.err().map_or(Received::Whole(status, headers, Bytes::new()), Received::Stopped))
}

/// Reads a body up to the cap, into one buffer.
async fn receive(mut response: Response, cap: usize) -> Result<Received, reqwest::Error> {
    let (status, headers) = head(&response);
    let announced = usize::try_from(response.content_length().unwrap_or(0)).unwrap_or(usize::MAX);
    if announced > cap {
        return Ok(Received::TooLarge(cap));
    }
    let mut body = BytesMut::with_capacity(announced);
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > cap {
            return Ok(Received::TooLarge(cap));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Received::Whole(status, headers, body.freeze()))
}

/// A broken exchange. Without a connection nothing was bought; after one, nobody knows.
fn broken(error: &reqwest::Error, leg: Leg) -> Fault {
    if error.is_connect() {
        return Fault::new(FaultKind::Unavailable, "the provider cannot be reached");
    }
    let text = if error.is_timeout() { "the provider did not answer in time" } else { "the connection broke" };
    let kind = if error.is_timeout() { FaultKind::Timeout } else { FaultKind::Unavailable };
    Fault::new(kind, text).accepted(maybe(leg))
}

/// Only a submit can buy.
const fn maybe(leg: Leg) -> Accepted {
    match leg {
        Leg::Submit => Accepted::Maybe,
        Leg::Poll | Leg::Fetch | Leg::Cancel => Accepted::No,
    }
}

/// A body in slices of its buffer: one of megabytes in a single piece would be copied whole on its way into TLS.
fn in_pieces(mut bytes: Bytes) -> reqwest::Body {
    let pieces = std::iter::from_fn(move || {
        let piece = bytes.split_to(bytes.len().min(64 * 1024));
        (!piece.is_empty()).then_some(Ok::<Bytes, Infallible>(piece))
    });
    reqwest::Body::wrap_stream(futures::stream::iter(pieces))
}

fn form(parts: &[Part]) -> Result<reqwest::multipart::Form, Fault> {
    parts.iter().try_fold(reqwest::multipart::Form::new(), |form, part| match &part.content {
        Content::Text(text) => Ok(form.text(part.name.clone(), text.clone())),
        Content::File { name, mime, bytes } => {
            let length = bytes.len() as u64;
            let file = reqwest::multipart::Part::stream_with_length(in_pieces(bytes.clone()), length)
                .file_name(name.clone())
                .mime_str(mime)
                .map_err(|_| Fault::new(FaultKind::BadRequest, format!("'{mime}' is not a media type")))?;
            Ok(form.part(part.name.clone(), file))
        }
    })
}

/// TLS with the machine's certificates and, for machines without any, Mozilla's.
fn tls() -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    #[expect(clippy::expect_used, reason = "the default versions are always among those that ring offers")]
    let builder = builder.expect("ring offers the default protocol versions");
    builder.with_root_certificates(roots).with_no_client_auth()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_goes_only_to_the_providers_own_hosts() {
        let to = Destination {
            base_url: "https://queue.fal.run".into(),
            hosts: &["fal.run"],
            auth: AuthScheme::Word("Key"),
            key: Secret::new("k"),
        };
        let covers = |address: &str| to.covers(&Url::parse(address).unwrap());
        assert!(covers("https://queue.fal.run/fal-ai/flux/requests/1"));
        assert!(covers("https://eu.fal.run/fal-ai/flux"));
        assert!(!covers("https://v3.fal.media/files/1.png"), "result files need no key");
        assert!(!covers("https://fal.run.evil.example/"));
        assert!(!covers("https://evilfal.run/"));
        assert!(!covers("http://eu.fal.run/"));
    }
}
