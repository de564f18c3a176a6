//! Who asks: the seam that credentials are checked behind, and the credentials that are built in.

mod certificate;
mod impersonation;
mod tokens;

use std::sync::Arc;

use api::UserInfo;
use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};

pub use certificate::{ClientCertificate, PeerCertificate};
pub(crate) use impersonation::acting;
pub use tokens::{StaticTokens, TokenFileError};

/// What came with a request to prove who sent it. Nothing here can be put in by the body or by other headers.
#[derive(Clone, Default)]
pub struct Credentials {
    /// The token of `Authorization: Bearer …`.
    pub bearer: Option<String>,
    /// The client certificate that the TLS handshake verified.
    pub certificate: Option<Arc<PeerCertificate>>,
    /// Whom a token must be meant for: one of these, this server when there are none.
    pub audiences: Vec<String>,
}

/// The credentials were meant for this authenticator and are wrong: the answer is 401 whatever others say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected;

/// One way to prove an identity.
///
/// *Guarantee expected*: an answer of `Ok(None)` means "not mine", so that the next one is asked; identities must come
/// out of the credentials alone.
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Who the credentials belong to.
    ///
    /// # Errors
    /// [`Rejected`] when the credentials are of this authenticator's form and wrong.
    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<UserInfo>, Rejected>;
}

/// The token stays out of logs.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bearer = self.bearer.as_ref().map(|_| "…");
        f.debug_struct("Credentials").field("bearer", &bearer).field("certificate", &self.certificate).finish()
    }
}

impl Credentials {
    /// Reads what a network request carries. A verified certificate is only what the listener left in the extensions.
    pub(crate) fn of(headers: &HeaderMap, extensions: &http::Extensions) -> Self {
        Self {
            bearer: bearer(headers),
            certificate: extensions.get::<Arc<PeerCertificate>>().cloned(),
            audiences: Vec::new(),
        }
    }

    /// A token alone, for TokenReview.
    pub fn token(token: impl Into<String>, audiences: Vec<String>) -> Self {
        Self { bearer: Some(token.into()), certificate: None, audiences }
    }
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let Some(text) = headers.get(AUTHORIZATION) else { return web_socket_bearer(headers) };
    let text = text.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned())
}

/// Browsers can put no header on a WebSocket: their token comes as one of the protocols that they offer.
fn web_socket_bearer(headers: &HeaderMap) -> Option<String> {
    const FORM: &str = "base64url.bearer.authorization.k8s.io.";
    let offers = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let token = offers.flat_map(|value| value.split(',')).find_map(|offer| offer.trim().strip_prefix(FORM))?;
    let decoded = BASE64_URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).ok()?;
    String::from_utf8(decoded).ok().filter(|token| !token.is_empty())
}

/// Asks one after the other. Nobody knows the credentials, or there are none: `None`.
pub(crate) async fn authenticate(
    authenticators: &[Arc<dyn Authenticator>],
    credentials: &Credentials,
) -> Result<Option<UserInfo>, Rejected> {
    for authenticator in authenticators {
        if let Some(user) = authenticator.authenticate(credentials).await? {
            return Ok(Some(user));
        }
    }
    // A token that nobody knows is wrong, not absent: anonymous access must not hide a typing error.
    if credentials.bearer.is_some() { Err(Rejected) } else { Ok(None) }
}
