//! Bodies that leave room for others.
//!
//! A writer that is always ready and a reader that is always quick would keep a thread to themselves until all is sent: nothing
//! else that the thread serves would hear even that it has work.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;

use super::{Body, BodyError};

/// So much passes at once. It takes some hundredths of a millisecond.
const TURN_BYTES: usize = 64 << 10;

/// The body, in turns with whatever else its thread has to do.
pub fn in_turns(body: Body) -> Body {
    let is_brief = body.size_hint().upper().is_some_and(|most| most <= TURN_BYTES as u64);
    if is_brief { body } else { UnsyncBoxBody::new(InTurns { body, given: 0, rest: None }) }
}

struct InTurns {
    body: Body,
    /// Bytes that passed since the last rest.
    given: usize,
    rest: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// Ends after the thread has looked for what else there is. A task of its own says so: the connection's is woken by whoever
/// makes the body too, as often as there is more of it.
#[allow(clippy::disallowed_methods)]
fn rest() -> impl Future<Output = ()> + Send {
    let turn = tokio::spawn(tokio::task::yield_now());
    async move {
        let _ = turn.await;
    }
}

impl http_body::Body for InTurns {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Some(rest) = &mut this.rest {
            ready!(rest.as_mut().poll(cx));
            this.rest = None;
        }
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        // A wait is no rest: what is waited for may come from another thread before this one has looked at anything else.
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            this.given += frame.data_ref().map_or(0, Buf::remaining);
        }
        if this.given >= TURN_BYTES {
            this.given = 0;
            this.rest = Some(Box::pin(rest()));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::stream;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    #[tokio::test]
    async fn a_long_body_lets_others_in_and_arrives_whole() {
        const FRAMES: usize = 64;
        let frame = || Ok(Frame::data(Bytes::from_static(&[7; 64 << 10])));
        let body = UnsyncBoxBody::new(StreamBody::new(stream::iter((0..FRAMES).map(move |_| frame()))));
        let turns = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&turns);
        let other = async move {
            loop {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        };
        let read = tokio::select! {
            biased;
            read = in_turns(body).collect() => read,
            () = other => unreachable!("it goes on"),
        };
        assert_eq!(read.unwrap_or_else(|error| panic!("{error}")).to_bytes().len(), FRAMES * (64 << 10));
        let turns = turns.load(Ordering::Relaxed);
        assert!(turns >= FRAMES / 2 - 1, "{turns}");
    }
}
