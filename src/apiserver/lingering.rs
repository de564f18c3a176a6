//! What is left of a request's body when its answer is there.
//!
//! Many clients write all of a request before they read. Were the rest of a body not read, the connection would have to be
//! closed while bytes come, which resets it, and the answer with it: who pushes a large file without rights would hear of a
//! broken connection instead of a 401. So the answer goes out at once, and the rest is read and forgotten, beside it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

/// The largest body that any path takes.
const MOST_BYTES: usize = 1 << 30;
const MOST_TIME: Duration = Duration::from_secs(60);

/// A body whose rest goes to whoever reads on, when it is dropped before its end.
pub(crate) struct Lingering {
    body: Option<Incoming>,
    /// The client sends nothing before it is told to.
    waits: bool,
    rest: UnboundedSender<Incoming>,
}

impl Lingering {
    pub fn new(body: Incoming, headers: &HeaderMap, rest: &UnboundedSender<Incoming>) -> Self {
        Self { body: Some(body), waits: headers.contains_key(header::EXPECT), rest: rest.clone() }
    }
}

impl Body for Lingering {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.waits = false;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !self.waits && !body.is_end_stream()) {
            let _ = self.rest.send(body);
        }
    }
}

/// Reads what is left of bodies, for as long as it is polled.
pub(crate) async fn read_on(mut rests: UnboundedReceiver<Incoming>) {
    let mut reading = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(rest) = rests.recv() => reading.push(read(rest)),
            Some(()) = reading.next() => {}
            else => return std::future::pending().await,
        }
    }
}

async fn read(mut body: Incoming) {
    let mut left = MOST_BYTES;
    let to_the_end = async {
        while let Some(Ok(frame)) = body.frame().await {
            let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
            left = rest;
        }
    };
    let _ = tokio::time::timeout(MOST_TIME, to_the_end).await;
}
