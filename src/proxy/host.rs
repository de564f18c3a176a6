//! Which host a request is for.

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderValue, Request};
use thiserror::Error;

/// Why the host of a request cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HostError {
    /// HTTP/1.1 asks for one.
    #[error("the request has no Host header")]
    Missing,
    /// Two could mean different things to whoever stands behind.
    #[error("the request has more than one Host header")]
    Several,
    /// It is no host.
    #[error("the Host header is not a host name with an optional port")]
    Malformed,
}

/// Makes sure that the request has exactly one `Host` header and that it says what the request target says.
pub(crate) fn settle<B>(request: &mut Request<B>) -> Result<(), HostError> {
    let authority = request.uri().authority().cloned();
    if let Some(authority) = authority {
        // Absolute form and HTTP/2: the target wins over the header.
        let host = without_user(&authority);
        let same = single(request)?.is_some_and(|header| header.as_bytes() == host.as_bytes());
        if !same {
            let value = HeaderValue::from_str(host).map_err(|_| HostError::Malformed)?;
            request.headers_mut().insert(HOST, value);
        }
        return Ok(());
    }
    match single(request)? {
        Some(_) => Ok(()),
        None if request.version() <= http::Version::HTTP_10 => Ok(()),
        None => Err(HostError::Missing),
    }
}

fn single<B>(request: &Request<B>) -> Result<Option<&HeaderValue>, HostError> {
    let mut all = request.headers().get_all(HOST).iter();
    let first = all.next();
    if all.next().is_some() { Err(HostError::Several) } else { Ok(first) }
}

fn without_user(authority: &Authority) -> &str {
    let text = authority.as_str();
    text.rsplit_once('@').map_or(text, |(_, host)| host)
}

/// The host of a settled request, without its port; empty when an old client named none.
pub fn name<B>(request: &Request<B>) -> Result<&str, HostError> {
    let Some(value) = request.headers().get(HOST) else { return Ok("") };
    let text = value.to_str().map_err(|_| HostError::Malformed)?;
    let host = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or(HostError::Malformed)?.0,
        None => match text.split_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            Some(_) => return Err(HostError::Malformed),
            None => text,
        },
    };
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':');
    if host.bytes().all(is_fit) { Ok(host) } else { Err(HostError::Malformed) }
}
