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
use tokio::time::{Instant, timeout_at};

use super::Asked;
use crate::machine::Outcome;
use crate::pulling::go_duration;

const SERVING: u64 = 1;
const ANSWER_BYTES_MAX: usize = 4 << 10;
/// After how long a server is tried again that did not take the connection.
const RETRY: Duration = Duration::from_secs(1);

/// What HTTP's codes mean as gRPC's, where the server does not speak gRPC.
const OF_HTTP: [(u16, &str); 8] = [
    (400, "Internal"),
    (401, "Unauthenticated"),
    (403, "PermissionDenied"),
    (404, "Unimplemented"),
    (429, "Unavailable"),
    (502, "Unavailable"),
    (503, "Unavailable"),
    (504, "Unavailable"),
];

/// Codes by their number.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

pub(super) async fn probe(asked: &Asked<'_>, action: &GRPCAction, timeout: Duration) -> Outcome {
    let Some(port) = u16::try_from(action.port).ok().filter(|port| *port > 0) else {
        return Outcome::Unknown(format!("invalid port number: {}", action.port));
    };
    let address = SocketAddr::new(asked.pod, port);
    let service = action.service.as_deref().unwrap_or_default();
    let (span, until) = (go_duration(timeout), Instant::now() + timeout);
    // Kubernetes' client waits for a server that is not there yet.
    let Ok(stream) = timeout_at(until, connect(asked, address)).await else {
        let text = address.to_string();
        return Outcome::Failure(format!(
            "timeout: failed to connect service {text:?} within {span}: context deadline exceeded"
        ));
    };
    match timeout_at(until, check(stream, address, service)).await {
        Ok(outcome) => outcome,
        Err(_) => overdue(&span),
    }
}

fn overdue(span: &str) -> Outcome {
    Outcome::Failure(format!("timeout: health rpc did not complete within {span}"))
}

async fn connect(asked: &Asked<'_>, address: SocketAddr) -> network::Stream {
    loop {
        match asked.network.connect(address, asked.pod).await {
            Ok(stream) => return stream,
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    }
}

async fn check(stream: network::Stream, address: SocketAddr, service: &str) -> Outcome {
    let unavailable = |why: String| failed("Unavailable", &format!("connection error: desc = {why:?}"));
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = match builder.handshake(TokioIo::new(stream)).await {
        Ok(made) => made,
        Err(error) => return unavailable(base::report(&error)),
    };
    let request = Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "kube-probe/1.36")
        .body(Full::new(question(service)));
    let request = match request {
        Ok(request) => request,
        Err(error) => return failed("Internal", &error.to_string()),
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
        Err(why) => unavailable(why),
    }
}

/// A call that failed, as gRPC's client for Go words it.
fn failed(code: &str, message: &str) -> Outcome {
    Outcome::Failure(match code {
        "Unimplemented" => {
            format!("error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {message}")
        }
        _ => format!("error: health rpc probe failed: rpc error: code = {code} desc = {message}"),
    })
}

fn judge(status: http::StatusCode, headers: &HeaderMap, trailers: &HeaderMap, body: &[u8]) -> Outcome {
    if let Some(outcome) = not_grpc(status, headers) {
        return outcome;
    }
    let text = |name: &str| {
        let found = trailers.get(name).or_else(|| headers.get(name));
        found.and_then(|value| value.to_str().ok())
    };
    match text("grpc-status") {
        Some("0") => match serving(body) {
            Some(SERVING) => Outcome::Success,
            status => Outcome::Failure(format!("service unhealthy (responded with {:?})", word(status.unwrap_or(0)))),
        },
        Some(code) => {
            let code = code.parse::<usize>().ok().and_then(|code| CODES.get(code)).copied().unwrap_or("Unknown");
            failed(code, &unescaped(text("grpc-message").unwrap_or_default()))
        }
        None => failed("Internal", "server closed the stream without sending trailers"),
    }
}

/// What is to be said of a server that answers, but not in gRPC.
fn not_grpc(status: http::StatusCode, headers: &HeaderMap) -> Option<Outcome> {
    let kind = headers.get(http::header::CONTENT_TYPE).map(|kind| String::from_utf8_lossy(kind.as_bytes()));
    let kind_fault = match kind.as_deref() {
        Some(kind) if kind.starts_with("application/grpc") => None,
        Some(kind) => Some(format!("transport: received unexpected content-type {kind:?}")),
        None => Some("malformed header: missing HTTP content-type".to_owned()),
    };
    let status_fault = (status != http::StatusCode::OK).then(|| {
        let reason = status.canonical_reason().unwrap_or_default();
        format!("unexpected HTTP status code received from server: {} ({reason})", status.as_u16())
    });
    let faults: Vec<String> = [status_fault, kind_fault].into_iter().flatten().collect();
    let code = OF_HTTP.iter().find(|(http, _)| *http == status.as_u16()).map_or("Unknown", |(_, code)| code);
    (!faults.is_empty()).then(|| failed(code, &faults.join("; ")))
}

/// Messages in trailers are percent-encoded.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).filter(|_| *first == b'%').and_then(|two| std::str::from_utf8(two).ok());
        let byte = hex.and_then(|two| u8::from_str_radix(two, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = &tail[if byte.is_some() { 2 } else { 0 }..];
    }
    String::from_utf8_lossy(&bytes).into_owned()
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
        let fields = |rows: &[(&'static str, &'static str)]| {
            HeaderMap::from_iter(rows.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())))
        };
        let grpc = fields(&[("content-type", "application/grpc+proto")]);
        let rows: [(&[u8], &'static str, Result<(), &str>); 7] = [
            (&[0, 0, 0, 0, 2, 8, 1], "0", Ok(())),
            (&[0, 0, 0, 0, 2, 8, 2], "0", Err("service unhealthy (responded with \"NOT_SERVING\")")),
            (&[0, 0, 0, 0, 0], "0", Err("service unhealthy (responded with \"UNKNOWN\")")),
            (&[1, 2], "0", Err("service unhealthy (responded with \"UNKNOWN\")")),
            (
                &[],
                "12",
                Err("error: this server does not implement the grpc health protocol (grpc.health.v1.Health): no % x"),
            ),
            (&[], "5", Err("error: health rpc probe failed: rpc error: code = NotFound desc = no % x")),
            (&[], "99", Err("error: health rpc probe failed: rpc error: code = Unknown desc = no % x")),
        ];
        let judged = |outcome: Outcome, wanted: Result<(), &str>| match (outcome, wanted) {
            (Outcome::Success, Ok(())) => {}
            (Outcome::Failure(why), Err(text)) => assert_eq!(why, text),
            (found, wanted) => panic!("{found:?} {wanted:?}"),
        };
        for (body, code, wanted) in rows {
            let trailers = fields(&[("grpc-status", code), ("grpc-message", "no %25 x")]);
            judged(judge(http::StatusCode::OK, &grpc, &trailers, body), wanted);
        }
        let plain = fields(&[("content-type", "text/plain")]);
        let rows = [
            (
                200,
                &grpc,
                "error: health rpc probe failed: rpc error: code = Internal desc = server closed the stream without sending trailers",
            ),
            (
                200,
                &plain,
                "error: health rpc probe failed: rpc error: code = Unknown desc = transport: received unexpected content-type \"text/plain\"",
            ),
            (
                404,
                &plain,
                "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): unexpected HTTP status code received from server: 404 (Not Found); transport: received unexpected content-type \"text/plain\"",
            ),
        ];
        for (status, headers, wanted) in rows {
            let status = http::StatusCode::from_u16(status).unwrap();
            judged(judge(status, headers, &HeaderMap::new(), &[]), Err(wanted));
        }
    }
}
