//! Outgoing `wasi:http` requests: from the guest to [`Outbound`], and errors back.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName};
use http_body::Body;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use network::connection::DEPTH_MAX;
use network::{BodyError, CallError, Connection, HttpRequest, HttpResponse};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::container::Container;
use crate::leftover::Leftover;
use crate::spec::{Outbound, Target};

/// What a guest writes into a body is copied in pieces of this size: its own memory is counted, the copy is not, or roughly.
pub(crate) const BODY_CHUNK_BYTES: usize = 64 << 10;

/// What an instance knows about its outgoing requests.
pub(crate) struct Hooks {
    pub container: Arc<Container>,
    /// The connection of the request that is being answered; a command's own.
    pub connection: Connection,
}

type Answer = Result<(http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

impl WasiHttpHooks for Hooks {
    /// The default's list; the default's implementation makes an allocation for each header.
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        is_hop_by_hop(name)
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK_BYTES
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK_BYTES
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Answer> + Send> {
        let outbound = self.container.spec.outbound.clone();
        let connection = self.connection.onward(self.container.spec.address);
        let request = request.map(|body| {
            let body = UnsyncBoxBody::new(body.map_err(to_body_error));
            if body.is_end_stream() { body } else { UnsyncBoxBody::new(Leftover::new(body)) }
        });
        Box::new(async move {
            let response = send(outbound, request, options, connection).await?;
            let response = response.map(|body| body.map_err(from_body_error).boxed_unsync());
            let nothing_left: Box<dyn Future<Output = Result<(), Error>> + Send> = Box::new(std::future::ready(Ok(())));
            Ok((response, nothing_left))
        })
    }
}

/// Headers that belong to one connection, and those that a guest may not forge.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    const KNOWN: [HeaderName; 6] = [
        header::CONNECTION,
        header::HOST,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    KNOWN.iter().any(|known| known == name)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection" | "http2-settings")
}

async fn send(
    outbound: Option<Arc<dyn Outbound>>,
    request: HttpRequest,
    options: Option<RequestOptions>,
    connection: Connection,
) -> Result<HttpResponse, Error> {
    let target = target(request.uri())?;
    let Some(outbound) = outbound else {
        return Err(Error::InternalError(Some(format!("this container may not send requests (to {})", target.host))));
    };
    if connection.depth > DEPTH_MAX {
        return answer(CallError::LoopDetected);
    }
    let call = outbound.call(target, request, connection);
    let outcome = match head_timeout(options) {
        Some(limit) => tokio::time::timeout(limit, call).await.map_err(|_| Error::ConnectionReadTimeout)?,
        None => call.await,
    };
    match outcome {
        Ok(response) => Ok(response),
        Err(error) => answer(error),
    }
}

/// How long the guest is willing to wait for the response's head.
fn head_timeout(options: Option<RequestOptions>) -> Option<Duration> {
    let options = options?;
    let first_byte = options.first_byte_timeout?;
    Some(first_byte.saturating_add(options.connect_timeout.unwrap_or_default()))
}

fn target(uri: &http::Uri) -> Result<Target, Error> {
    let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
    let https = uri.scheme() == Some(&http::uri::Scheme::HTTPS);
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = authority.port_u16().unwrap_or(if https { 443 } else { 80 });
    Ok(Target { host, port, https })
}

/// What the caller sees of a call that failed: an error where over a wire there would be no response, and the response of
/// the server in front of the callee where there would be one.
fn answer(error: CallError) -> Result<HttpResponse, Error> {
    Err(match error {
        CallError::Refused { .. } => Error::ConnectionRefused,
        CallError::NoEndpoints { .. } => Error::DestinationUnavailable,
        CallError::Broken(_) => Error::ConnectionTerminated,
        CallError::NoSuchHost { host } => {
            Error::DnsError { rcode: Some(format!("NXDOMAIN: no such host: {host}")), info_code: None }
        }
        CallError::Denied(why) => Error::InternalError(Some(why)),
        CallError::Overloaded | CallError::Deadline | CallError::LoopDetected | CallError::Guest(_) => {
            let text = format!("{error}\n");
            let mut response = http::Response::new(network::body::full(Bytes::from(text)));
            *response.status_mut() = error.status();
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain; charset=utf-8"));
            return Ok(response);
        }
    })
}

/// A body's error as `wasi:http` has it.
pub(crate) fn from_body_error(error: BodyError) -> Error {
    match error {
        BodyError::Closed => Error::ConnectionTerminated,
        BodyError::Deadline => Error::ConnectionReadTimeout,
        BodyError::Guest(_) => Error::HttpResponseIncomplete,
        BodyError::Other(text) => Error::InternalError(Some(text)),
    }
}

/// The way back.
pub(crate) fn to_body_error(error: Error) -> BodyError {
    match error {
        Error::ConnectionTerminated => BodyError::Closed,
        Error::ConnectionReadTimeout => BodyError::Deadline,
        Error::HttpResponseIncomplete | Error::HttpProtocolError => {
            BodyError::Guest("the body ended before it was finished".to_owned())
        }
        other => BodyError::Other(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_come_from_the_authority_and_the_scheme() {
        for (uri, host, port, https) in [
            ("http://web/", "web", 80, false),
            ("https://web.default.svc/x", "web.default.svc", 443, true),
            ("http://10.96.0.1:8080/", "10.96.0.1", 8080, false),
            ("http://[fd00::1]:81/", "fd00::1", 81, false),
        ] {
            let found = uri.parse().map_err(|_| Error::HttpRequestUriInvalid).and_then(|uri| target(&uri));
            assert!(found.is_ok_and(|found| found == Target { host: host.to_owned(), port, https }), "{uri}");
        }
    }

    #[test]
    fn a_callee_that_fails_looks_like_one_behind_a_server() {
        for (error, status) in [
            (CallError::Overloaded, 503),
            (CallError::Deadline, 504),
            (CallError::LoopDetected, 508),
            (CallError::Guest("trap".to_owned()), 500),
        ] {
            assert!(answer(error).is_ok_and(|response| response.status() == status), "{status}");
        }
        let denied = answer(CallError::Denied("grant it".to_owned()));
        assert!(matches!(denied, Err(Error::InternalError(Some(why))) if why == "grant it"));
    }
}
