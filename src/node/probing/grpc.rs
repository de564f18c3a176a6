//! gRPC's health check: one small message there, one back, over HTTP/2 without TLS.
//!
//! ```text
//! request   0 LENGTH(4) 0x0a LENGTH NAME        response  0 LENGTH(4) 0x08 STATUS      status 1: serving
//! ```

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::GRPCAction;

use super::{Asked, refused};
use crate::machine::Outcome;

const SERVING: u64 = 1;
const NOT_IMPLEMENTED: &str = "12";
const ANSWER_BYTES_MAX: usize = 4 << 10;

pub(super) async fn probe(asked: &Asked<'_>, action: &GRPCAction, timeout: Duration) -> Outcome {
    let Some(port) = u16::try_from(action.port).ok().filter(|port| *port > 0) else {
        return Outcome::Unknown(format!("invalid port number: {}", action.port));
    };
    let address = SocketAddr::new(asked.pod, port);
    let service = action.service.as_deref().unwrap_or_default();
    match tokio::time::timeout(timeout, check(asked, address, service)).await {
        Ok(outcome) => outcome,
        Err(_) => Outcome::Failure(format!("timeout: health rpc did not complete within {}s", timeout.as_secs())),
    }
}

async fn check(asked: &Asked<'_>, address: SocketAddr, service: &str) -> Outcome {
    let failed = |why: String| Outcome::Failure(format!("error: health rpc probe failed: {why}"));
    let stream = match asked.network.connect(address, asked.pod).await {
        Ok(stream) => stream,
        Err(network::CallError::Refused { .. }) => {
            return Outcome::Failure(format!(
                "failed to connect service {:?}: {}",
                address.to_string(),
                refused(address)
            ));
        }
        Err(error) => return Outcome::Failure(format!("failed to connect service {:?}: {error}", address.to_string())),
    };
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = match builder.handshake(TokioIo::new(stream)).await {
        Ok(made) => made,
        Err(error) => return failed(base::report(&error)),
    };
    let request = Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "kube-probe/1.36")
        .body(Full::new(question(service)));
    let request = match request {
        Ok(request) => request,
        Err(error) => return failed(error.to_string()),
    };
    let exchange = async {
        let (head, body) = sender.send_request(request).await.map_err(|error| base::report(&error))?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| error.to_string())?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        Ok::<_, String>((head, trailers, body.to_bytes()))
    };
    // The connection does its work while the exchange is waited for, and ends with it.
    let answered = tokio::select! {
        answered = exchange => answered,
        ended = connection => Err(ended.err().map_or_else(|| "the connection was closed".to_owned(), |error| base::report(&error))),
    };
    match answered {
        Ok((head, trailers, body)) => judge(head.status, &head.headers, &trailers, &body),
        Err(why) => failed(why),
    }
}

fn judge(status: http::StatusCode, headers: &HeaderMap, trailers: &HeaderMap, body: &[u8]) -> Outcome {
    let text = |name: &str| {
        let found = trailers.get(name).or_else(|| headers.get(name));
        found.and_then(|value| value.to_str().ok()).map(str::to_owned)
    };
    let code = text("grpc-status");
    match code.as_deref() {
        _ if !status.is_success() => {
            Outcome::Failure(format!("error: health rpc probe failed: unexpected HTTP status code {}", status.as_u16()))
        }
        Some("0") => match serving(body) {
            Some(SERVING) => Outcome::Success,
            status => Outcome::Failure(format!("service unhealthy (responded with {:?})", word(status.unwrap_or(0)))),
        },
        Some(NOT_IMPLEMENTED) => Outcome::Failure(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health)".to_owned(),
        ),
        Some(code) => {
            let message = text("grpc-message").unwrap_or_default();
            Outcome::Failure(format!("error: health rpc probe failed: rpc error: code = {code} desc = {message}"))
        }
        None => Outcome::Failure("error: health rpc probe failed: the answer has no grpc-status".to_owned()),
    }
}

fn word(status: u64) -> &'static str {
    match status {
        SERVING => "SERVING",
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "UNKNOWN",
    }
}

fn question(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        number(&mut message, service.len() as u64);
        message.extend_from_slice(service.as_bytes());
    }
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    framed.extend_from_slice(&message);
    framed.into()
}

fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The status in an answer; an empty message holds the first, which is nought.
fn serving(body: &[u8]) -> Option<u64> {
    let (head, rest) = body.split_at_checked(5)?;
    let length = u32::from_be_bytes(head[1..].try_into().ok()?) as usize;
    let message = rest.get(..length).filter(|_| head[0] == 0)?;
    match message {
        [] => Some(0),
        [0x08, rest @ ..] => {
            let mut value = 0u64;
            for (at, byte) in rest.iter().enumerate().take(10) {
                value |= u64::from(byte & 0x7f).checked_shl(7 * at as u32)?;
                if byte & 0x80 == 0 {
                    return Some(value);
                }
            }
            None
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_their_frames() {
        assert_eq!(&question("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&question("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = question(&"x".repeat(200));
        assert_eq!(long[..8], [0, 0, 0, 0, 203, 0x0a, 0xc8, 1]);
    }

    #[test]
    fn answers_are_judged() {
        let trailers =
            |code: &'static str| HeaderMap::from_iter([("grpc-status".parse().unwrap(), code.parse().unwrap())]);
        let ok = http::StatusCode::OK;
        let rows: [(&[u8], &str, Result<(), &str>); 6] = [
            (&[0, 0, 0, 0, 2, 8, 1], "0", Ok(())),
            (&[0, 0, 0, 0, 2, 8, 2], "0", Err("responded with \"NOT_SERVING\"")),
            (&[0, 0, 0, 0, 0], "0", Err("responded with \"UNKNOWN\"")),
            (&[1, 2], "0", Err("responded with \"UNKNOWN\"")),
            (&[], "12", Err("does not implement the grpc health protocol")),
            (&[], "5", Err("code = 5")),
        ];
        for (body, code, wanted) in rows {
            let found = judge(ok, &HeaderMap::new(), &trailers(code), body);
            match (found, wanted) {
                (Outcome::Success, Ok(())) => {}
                (Outcome::Failure(why), Err(part)) => assert!(why.contains(part), "{why}"),
                (found, wanted) => panic!("{found:?} {wanted:?}"),
            }
        }
        assert!(matches!(
            judge(http::StatusCode::NOT_FOUND, &HeaderMap::new(), &trailers("0"), &[]),
            Outcome::Failure(_)
        ));
    }
}
