//! SPDY/3.1, as far as Kubernetes' streams need it: its frames and headers, a connection that was upgraded to it, and the
//! answer that upgrades one.

pub(crate) mod frames;
pub(crate) mod headers;

use api::Status;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, HeaderName, UPGRADE};
use http::{HeaderValue, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;

use crate::reply::Reply;
use crate::server::Call;
use frames::Frame;

#[cfg(test)]
pub(crate) use headers::dictionary as spdy_dictionary;

const PROTOCOL: &str = "SPDY/3.1";
const VERSION: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpdyError {
    #[error("a frame has another SPDY version than 3, or more bytes than are taken")]
    Frame,
    #[error("the headers of a stream cannot be read")]
    Headers,
    #[error("too many streams are open")]
    TooMany,
    #[error("the client left")]
    Gone,
}

/// Whether the client wants to speak SPDY on this connection.
pub(super) fn is_asked_for(call: &Call) -> bool {
    call.headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(PROTOCOL.as_bytes()))
}

/// The first of the client's protocols that is known here.
pub(super) fn negotiate(call: &Call, known: &[&'static str]) -> Result<&'static str, Status> {
    let asked: Vec<&str> = call
        .headers
        .get_all(VERSION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim))
        .collect();
    let found = asked.iter().find_map(|asked| known.iter().find(|known| **known == *asked));
    found.copied().ok_or_else(|| {
        let message = format!(
            "unable to upgrade: unable to negotiate protocol: client supports {asked:?}, server accepts {known:?}"
        );
        Status::new(403, "Forbidden", message)
    })
}

/// Upgrades the connection and hands it to `serve`, until the server stops.
#[allow(clippy::disallowed_methods)]
pub(super) fn upgrade<F>(
    mut call: Call,
    protocol: &'static str,
    serve: impl FnOnce(Wire) -> F + Send + 'static,
) -> Result<Reply, Status>
where
    F: Future<Output = ()> + Send,
{
    let client = call.extensions.remove::<OnUpgrade>();
    let client = client.ok_or_else(|| Status::bad_request("this connection cannot be upgraded"))?;
    let ending = call.ending.clone();
    // The task's owner is the connection: it ends with it.
    tokio::spawn(async move {
        let carry = async {
            match client.await {
                Ok(stream) => serve(Wire::new(stream)).await,
                Err(error) => tracing::debug!(%error, "a connection could not be upgraded"),
            }
        };
        tokio::select! {
            () = carry => {}
            () = ending.cancelled() => {}
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    for (name, value) in [(CONNECTION, "Upgrade"), (UPGRADE, PROTOCOL), (VERSION, protocol)] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Ok(Reply::ready(response))
}

type Connection = TokioIo<hyper::upgrade::Upgraded>;

/// A connection that speaks SPDY, once it was upgraded.
pub(super) struct Wire {
    pub incoming: Incoming,
    pub outgoing: Outgoing,
}

impl Wire {
    fn new(stream: hyper::upgrade::Upgraded) -> Self {
        let (reader, writer) = tokio::io::split(TokioIo::new(stream));
        Self { incoming: Incoming { reader, bytes: BytesMut::new() }, outgoing: Outgoing(writer) }
    }
}

/// What comes from the client.
pub(super) struct Incoming {
    reader: ReadHalf<Connection>,
    bytes: BytesMut,
}

impl Incoming {
    /// More bytes; nothing when there are no more.
    pub async fn bytes(&mut self) -> Option<&mut BytesMut> {
        let read = self.reader.read_buf(&mut self.bytes).await;
        matches!(read, Ok(1..)).then_some(&mut self.bytes)
    }

    /// The next frame; nothing when there is no more, or nonsense.
    pub async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = frames::next(&mut self.bytes).ok()? {
                return Some(frame);
            }
            self.bytes().await?;
        }
    }
}

/// What goes to the client.
pub(super) struct Outgoing(WriteHalf<Connection>);

impl Outgoing {
    /// Sends frames until there are no more, or the client is gone.
    pub async fn send(mut self, mut frames: mpsc::Receiver<Bytes>) {
        while let Some(frame) = frames.recv().await {
            if self.0.write_all(&frame).await.is_err() || self.0.flush().await.is_err() {
                return;
            }
        }
        let _ = self.0.shutdown().await;
    }
}
