//! A client of the OCI distribution protocol: what pulling and pushing need of a registry, and no more than that.
//!
//! Answers are bounded before they are read, credentials go only where a registry's challenge may send them, and a blob whose
//! download breaks off goes on where it stopped.

use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use reqwest::{Client, Response, Url};
use thiserror::Error;

use crate::{Credential, Digest, Reference};

mod challenge;
mod download;
mod upload;

use challenge::Challenge;

/// What OCI asks registries to take at least; larger ones are refused.
pub(crate) const MANIFEST_BYTES_MAX: usize = 4 << 20;
const ANSWER_BYTES_MAX: usize = 1 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const REDIRECTS_MAX: usize = 10;

/// Why a registry did not do what it was asked.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RemoteError {
    /// It has no such thing.
    #[error("not found")]
    NotFound,
    /// It does not let us.
    #[error("{0}")]
    Unauthorized(String),
    /// It does not answer, or not now.
    #[error("{0}")]
    Unavailable(String),
    /// It sends more than it may.
    #[error("it sends {0} bytes, more than the {1} that are allowed")]
    TooLarge(u64, u64),
    /// It sends other bytes than it was asked for.
    #[error("it sent content with digest {found} for {expected}")]
    Digest {
        /// What was asked for.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// This machine's disk.
    #[error("cannot keep what it sends: {0}")]
    Disk(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// Where a registry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `https://registry.example` or `http://127.0.0.1:5000/prefix`.
    pub base: String,
    /// The host as credentials name it.
    pub host: String,
    /// The registry that it stands in for, if it is a mirror.
    pub mirror_of: Option<String>,
    /// Nobody's certificate is asked for, and a registry without TLS is spoken to without.
    pub loose: bool,
}

impl Endpoint {
    /// The registry that an image's name names. Registries on this machine, and those of `insecure`, may have a certificate
    /// that nobody knows, or none at all, as Docker does it.
    pub fn of(registry: &str, insecure: &[String]) -> Self {
        let host = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
        let loose = is_loopback(registry) || insecure.iter().any(|name| name == registry);
        Self { base: format!("https://{host}"), host: registry.to_owned(), mirror_of: None, loose }
    }

    /// A mirror at a URL.
    pub fn mirror(url: &str, registry: &str, insecure: &[String]) -> Option<Self> {
        let parsed = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
        let host = match parsed.port() {
            Some(port) => format!("{}:{port}", parsed.host_str()?),
            None => parsed.host_str()?.to_owned(),
        };
        let loose = is_loopback(&host) || insecure.contains(&host);
        Some(Self { base: url.trim_end_matches('/').to_owned(), host, mirror_of: Some(registry.to_owned()), loose })
    }
}

/// One conversation with a registry about one repository. Tokens live as long as it, so that they never serve a pod without
/// credentials.
pub struct Session {
    client: Client,
    /// The registry turned out to speak no TLS.
    plain: AtomicBool,
    endpoint: Endpoint,
    repository: String,
    credential: Option<Credential>,
    granted: parking_lot::Mutex<Option<HeaderValue>>,
}

/// A request that can be sent again.
struct Ask {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Option<Bytes>,
}

/// A manifest as a registry sends it.
#[derive(Clone, Debug)]
pub struct RemoteManifest {
    /// Its bytes.
    pub bytes: Bytes,
    /// Its digest, of the bytes.
    pub digest: Digest,
    /// What it says it is.
    pub media_type: String,
}

impl Session {
    /// Begins one; nothing is sent.
    ///
    /// # Errors
    /// When this machine has no TLS roots, say.
    pub fn new(endpoint: Endpoint, repository: &str, credential: Option<Credential>) -> Result<Self, RemoteError> {
        Ok(Self {
            client: client(endpoint.loose)?,
            plain: AtomicBool::new(false),
            endpoint,
            repository: repository.to_owned(),
            credential,
            granted: Default::default(),
        })
    }

    fn url(&self, rest: &str) -> Result<Url, RemoteError> {
        let text = format!("{}/v2/{}/{rest}", self.endpoint.base, self.repository);
        let mut url = Url::parse(&text).map_err(|error| RemoteError::Other(format!("{text}: {error}")))?;
        if let Some(registry) = &self.endpoint.mirror_of {
            // A mirror of several registries is told which one is meant, as containerd does.
            url.query_pairs_mut().append_pair("ns", registry);
        }
        Ok(url)
    }

    /// The digest that a tag has now, if the registry says so without sending the manifest.
    pub(crate) async fn head_manifest(&self, reference: &str) -> Result<Option<Digest>, RemoteError> {
        let response = self.send(self.manifest_request(Method::HEAD, reference)?).await?;
        let digest = response.headers().get("docker-content-digest").and_then(|value| value.to_str().ok());
        Ok(digest.and_then(|digest| digest.parse().ok()))
    }

    /// A manifest by tag or digest.
    ///
    /// # Errors
    /// [`RemoteError`], also when its bytes are not those of the digest that was asked for.
    pub async fn manifest(&self, reference: &str) -> Result<RemoteManifest, RemoteError> {
        let response = self.send(self.manifest_request(Method::GET, reference)?).await?;
        let media_type = text_of(response.headers(), header::CONTENT_TYPE).unwrap_or_default();
        let bytes = bounded(response, MANIFEST_BYTES_MAX).await?;
        let digest = Digest::of(&bytes);
        match reference.parse::<Digest>() {
            Ok(expected) if expected != digest => Err(RemoteError::Digest { expected, found: digest }),
            _ => Ok(RemoteManifest { bytes, digest, media_type }),
        }
    }

    fn manifest_request(&self, method: Method, reference: &str) -> Result<Ask, RemoteError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(crate::manifest::ACCEPT));
        Ok(Ask { method, url: self.url(&format!("manifests/{reference}"))?, headers, body: None })
    }

    /// Sends a request, with what the registry's challenge asks for if it asks.
    async fn send(&self, ask: Ask) -> Result<Response, RemoteError> {
        let first = self.once(&ask).await?;
        if first.status() != StatusCode::UNAUTHORIZED {
            return accept(first).await;
        }
        let challenges: Vec<String> = first
            .headers()
            .get_all(header::WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok().map(str::to_owned))
            .collect();
        let granted = self.authorize(&challenges, ask.method != Method::GET && ask.method != Method::HEAD).await?;
        *self.granted.lock() = Some(granted);
        accept(self.once(&ask).await?).await
    }

    async fn once(&self, ask: &Ask) -> Result<Response, RemoteError> {
        // What is uploaded elsewhere than at the registry is signed by its place.
        let own = self.is_own(&ask.url);
        let mut url = ask.url.clone();
        if own && self.plain.load(Ordering::Relaxed) {
            let _ = url.set_scheme("http");
        }
        let encrypted = url.scheme() == "https";
        let mut request = self.client.request(ask.method.clone(), url).headers(ask.headers.clone());
        if let Some(granted) = self.granted.lock().clone().filter(|_| own) {
            request = request.header(header::AUTHORIZATION, granted);
        }
        if let Some(body) = &ask.body {
            request = request.body(body.clone());
        }
        match request.send().await {
            Err(error) if own && encrypted && self.endpoint.loose && error.is_connect() => {
                self.plain.store(true, Ordering::Relaxed);
                Box::pin(self.once(ask)).await
            }
            sent => sent.map_err(|error| broken(&error)),
        }
    }

    /// Whether a place is the registry itself, and may see who we are.
    fn is_own(&self, place: &Url) -> bool {
        Url::parse(&self.endpoint.base).is_ok_and(|base| {
            let same = base.host() == place.host() && base.port() == place.port();
            same && (base.scheme() == place.scheme() || self.endpoint.loose)
        })
    }

    /// What to send along from now on.
    async fn authorize(&self, challenges: &[String], push: bool) -> Result<HeaderValue, RemoteError> {
        let refused = || RemoteError::Unauthorized("authorization failed: no basic auth credentials".to_owned());
        match challenges.iter().find_map(|text| Challenge::parse(text)).ok_or_else(refused)? {
            Challenge::Basic => {
                let credential = self.credential.as_ref().ok_or_else(refused)?;
                challenge::basic(credential).ok_or_else(refused)
            }
            Challenge::Bearer { realm, service, scope } => {
                let action = if push { "pull,push" } else { "pull" };
                let scope = scope.unwrap_or_else(|| format!("repository:{}:{action}", self.repository));
                self.token(&realm, service.as_deref(), &scope).await
            }
        }
    }

    async fn token(&self, realm: &str, service: Option<&str>, scope: &str) -> Result<HeaderValue, RemoteError> {
        let invalid = |why: &str| RemoteError::Other(format!("the registry's token service {realm:?} {why}"));
        let mut url = Url::parse(realm).map_err(|_| invalid("is no URL"))?;
        let plain = self.endpoint.loose || self.endpoint.base.starts_with("http:");
        if url.scheme() != "https" && !(url.scheme() == "http" && plain) {
            return Err(invalid("is not on HTTPS"));
        }
        let identity = self.credential.as_ref().and_then(|credential| credential.identity_token.as_deref());
        let request = if let Some(identity) = identity {
            let form = challenge::refresh_form(service, scope, identity);
            let kind = "application/x-www-form-urlencoded";
            self.client.post(url).header(header::CONTENT_TYPE, kind).body(form)
        } else {
            for (name, value) in service.map(|service| ("service", service)).into_iter().chain([("scope", scope)]) {
                url.query_pairs_mut().append_pair(name, value);
            }
            let request = self.client.get(url);
            match self.credential.as_ref().and_then(challenge::basic) {
                Some(basic) => request.header(header::AUTHORIZATION, basic),
                None => request,
            }
        };
        let response = accept(request.send().await.map_err(|error| broken(&error))?).await?;
        let bytes = bounded(response, ANSWER_BYTES_MAX).await?;
        challenge::token_in(&bytes).ok_or_else(|| invalid("gave no token"))
    }
}

/// All conversations share connections; what was granted to one stays with it.
fn client(loose: bool) -> Result<Client, RemoteError> {
    static CLIENTS: [OnceLock<Result<Client, String>>; 2] = [const { OnceLock::new() }; 2];
    let made = CLIENTS[usize::from(loose)].get_or_init(|| {
        // The HTTP client panics without a provider; whoever installed one first wins.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Client::builder()
            .user_agent(concat!("coracle/", env!("CARGO_PKG_VERSION")))
            .tls_danger_accept_invalid_certs(loose)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .pool_max_idle_per_host(2)
            .redirect(reqwest::redirect::Policy::custom(|attempt| {
                let downgrade = attempt.url().scheme() == "http"
                    && attempt.previous().last().is_some_and(|last| last.scheme() == "https");
                if downgrade || attempt.previous().len() > REDIRECTS_MAX {
                    attempt.error("the registry redirects too often, or away from HTTPS")
                } else {
                    attempt.follow()
                }
            }))
            .build()
            .map_err(|error| base::report(&error))
    });
    made.clone().map_err(RemoteError::Other)
}

fn broken(error: &reqwest::Error) -> RemoteError {
    let why = base::report(error);
    if error.is_connect() || error.is_timeout() || error.is_request() {
        RemoteError::Unavailable(why)
    } else {
        RemoteError::Other(why)
    }
}

/// Turns a refusal into its reason.
async fn accept(response: Response) -> Result<Response, RemoteError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let words = bounded(response, ANSWER_BYTES_MAX).await.unwrap_or_default();
    let words = challenge::refusal_in(&words);
    let said = if words.is_empty() { status.to_string() } else { format!("{status}: {words}") };
    Err(match status {
        StatusCode::NOT_FOUND => RemoteError::NotFound,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => RemoteError::Unauthorized(said),
        StatusCode::TOO_MANY_REQUESTS => RemoteError::Unavailable(said),
        status if status.is_server_error() => RemoteError::Unavailable(said),
        _ => RemoteError::Other(format!("it answers {said}")),
    })
}

async fn bounded(response: Response, bytes_max: usize) -> Result<Bytes, RemoteError> {
    let mut bytes = BytesMut::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        bytes.extend_from_slice(&chunk.map_err(|error| broken(&error))?);
        if bytes.len() > bytes_max {
            return Err(RemoteError::TooLarge(bytes.len() as u64, bytes_max as u64));
        }
    }
    Ok(bytes.freeze())
}

fn text_of(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn is_loopback(registry: &str) -> bool {
    let host = match registry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => registry.split_once(':').map_or(registry, |(host, _)| host),
    };
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What a reference asks a registry for: its digest, or its tag.
pub(crate) fn named(image: &Reference) -> String {
    match (&image.digest, &image.tag) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.clone().unwrap_or_else(|| "latest".to_owned()),
    }
}
