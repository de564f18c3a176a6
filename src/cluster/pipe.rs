//! What a command prints, on its way to whoever reads it: the command never blocks a thread, it waits for room.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, BytesMut};
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::Notify;

/// The writer waits while so much is on its way.
const FULL: usize = 256 * 1024;

#[derive(Default)]
struct State {
    bytes: BytesMut,
    ended: bool,
    /// Nobody reads any more: what is written is forgotten.
    abandoned: bool,
    waker: Option<Waker>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    drained: Notify,
}

/// The end that is written to. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Writer(Arc<Shared>);

/// The end that is read from.
pub(crate) struct Reader(Arc<Shared>);

/// A pipe.
pub(crate) fn pipe() -> (Writer, Reader) {
    let shared = Arc::<Shared>::default();
    (Writer(Arc::clone(&shared)), Reader(shared))
}

impl Writer {
    pub fn write(&self, bytes: &[u8]) {
        let mut state = self.0.state.lock();
        if !state.abandoned {
            state.bytes.extend_from_slice(bytes);
            wake(&mut state);
        }
    }

    /// Whether nobody reads any more.
    pub fn is_abandoned(&self) -> bool {
        self.0.state.lock().abandoned
    }

    /// Nothing comes any more.
    pub fn end(&self) {
        let mut state = self.0.state.lock();
        state.ended = true;
        wake(&mut state);
    }

    /// Nothing while there is room.
    pub fn room(&self) -> Option<BoxFuture<'static, ()>> {
        if !self.is_full() {
            return None;
        }
        let writer = self.clone();
        let waiting = async move {
            loop {
                let drained = writer.0.drained.notified();
                tokio::pin!(drained);
                drained.as_mut().enable();
                if !writer.is_full() {
                    return;
                }
                drained.await;
            }
        };
        Some(waiting.boxed())
    }

    fn is_full(&self) -> bool {
        let state = self.0.state.lock();
        state.bytes.len() >= FULL && !state.abandoned
    }
}

fn wake(state: &mut State) {
    if let Some(waker) = state.waker.take() {
        waker.wake();
    }
}

impl AsyncRead for Reader {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.state.lock();
        if state.bytes.is_empty() {
            if state.ended {
                return Poll::Ready(Ok(()));
            }
            state.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        let count = state.bytes.len().min(out.remaining());
        out.put_slice(&state.bytes[..count]);
        state.bytes.advance(count);
        drop(state);
        self.0.drained.notify_waiters();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.abandoned = true;
        state.bytes.clear();
        drop(state);
        self.0.drained.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn a_full_pipe_makes_the_writer_wait() {
        let (writer, mut reader) = pipe();
        writer.write(&[1; FULL]);
        let room = writer.room().unwrap();
        let mut read = vec![0; FULL];
        let (count, ()) = tokio::join!(reader.read(&mut read), room);
        assert!(count.unwrap() > 0 && writer.room().is_none());
        writer.end();
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).await.unwrap();
        assert!(reader.read(&mut read).now_or_never().is_some_and(|count| count.unwrap() == 0));
        writer.write(&[1; FULL]);
        drop(reader);
        assert!(writer.room().is_none(), "nobody reads: nobody waits");
    }
}
