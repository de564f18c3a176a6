//! What a guest still writes of a request after nobody reads it any more.
//!
//! Over a wire a callee may answer without reading, and the caller's writes go on into the sockets' buffers. In process there
//! are no such buffers: the writer would see its stream closed instead of the answer that is on its way. So what is left
//! is taken and thrown away, up to what a kernel would have held.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use network::BodyError;
use tokio::runtime::Handle;

/// As much as a pair of sockets holds by default.
const TAKEN_MAX: usize = 256 << 10;

/// A request's body that is read to its end, or to [`TAKEN_MAX`], even when whoever had it drops it.
pub(crate) struct Leftover {
    body: Option<UnsyncBoxBody<Bytes, BodyError>>,
}

impl Leftover {
    pub(crate) fn new(body: UnsyncBoxBody<Bytes, BodyError>) -> Self {
        Self { body: Some(body) }
    }
}

impl Body for Leftover {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = std::task::ready!(Pin::new(body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Leftover {
    fn drop(&mut self) {
        let Some(mut body) = self.body.take().filter(|body| !body.is_end_stream()) else { return };
        // Often the guest has finished already.
        let first = Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop()));
        let unfinished = matches!(first, Poll::Pending | Poll::Ready(Some(Ok(_))));
        // The task ends with the guest, which has the other end. A shutdown that is not on a runtime needs it no more.
        if unfinished && let Ok(runtime) = Handle::try_current() {
            runtime.spawn(take(body));
        }
    }
}

async fn take(mut body: UnsyncBoxBody<Bytes, BodyError>) {
    let mut taken = 0;
    while taken < TAKEN_MAX {
        let Some(Ok(frame)) = body.frame().await else { return };
        taken += frame.data_ref().map_or(0, Buf::remaining);
    }
}

#[cfg(test)]
mod tests {
    use futures::channel::mpsc;
    use futures::{SinkExt, StreamExt};
    use http_body_util::StreamBody;

    use super::*;

    /// A channel of one place, as the guest's own stream has it.
    fn channel() -> (mpsc::Sender<Bytes>, UnsyncBoxBody<Bytes, BodyError>) {
        let (sender, receiver) = mpsc::channel(0);
        (sender, UnsyncBoxBody::new(StreamBody::new(receiver.map(|data| Ok(Frame::data(data))))))
    }

    #[tokio::test]
    async fn what_nobody_reads_is_taken_up_to_a_bound() {
        let (mut sender, body) = channel();
        drop(Leftover::new(body));
        let piece = Bytes::from_static(&[0; 4096]);
        let mut written = 0;
        while sender.send(piece.clone()).await.is_ok() {
            written += piece.len();
        }
        assert!((TAKEN_MAX..TAKEN_MAX * 2).contains(&written), "{written}");
    }

    #[tokio::test]
    async fn who_reads_sees_the_body_as_it_is() {
        let (mut sender, body) = channel();
        let body = Leftover::new(body);
        let writer = async move { sender.send(Bytes::from_static(b"all")).await };
        let (read, _) = futures::join!(body.collect(), writer);
        assert_eq!(read.unwrap().to_bytes(), "all");
    }
}
