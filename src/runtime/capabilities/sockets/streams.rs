//! A connection's two directions as the guest's streams.

use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;
use network::{Broken, ReadHalf, WriteHalf};
use wasmtime_wasi::async_trait;
use world::io::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

/// The most that one read gives.
const READ_BYTES: usize = network::pipe::PIPE_BYTES;

/// Where bytes come from.
pub(super) struct Incoming {
    half: ReadHalf,
    failed: bool,
}

/// Where bytes go.
pub(super) struct Outgoing {
    half: WriteHalf,
    failed: bool,
}

/// A failure is told once, then the stream is closed.
fn failure(failed: &mut bool, broken: Broken) -> StreamError {
    if std::mem::replace(failed, true) || broken == Broken::Finished {
        return StreamError::Closed;
    }
    StreamError::LastOperationFailed(io::Error::from(broken).into())
}

impl Incoming {
    pub fn new(half: ReadHalf) -> Self {
        Self { half, failed: false }
    }

    /// The half itself.
    pub fn into_half(self) -> ReadHalf {
        self.half
    }
}

impl Outgoing {
    pub fn new(half: WriteHalf) -> Self {
        Self { half, failed: false }
    }

    /// The half itself.
    pub fn into_half(self) -> WriteHalf {
        self.half
    }
}

#[async_trait]
impl Pollable for Incoming {
    async fn ready(&mut self) {
        std::future::poll_fn(|cx| self.half.poll_readable(cx)).await;
    }
}

#[async_trait]
impl InputStream for Incoming {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if size == 0 {
            return Ok(Bytes::new());
        }
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match self.half.poll_bytes(&mut cx, size.min(READ_BYTES)) {
            Poll::Pending => Ok(Bytes::new()),
            Poll::Ready(Ok(bytes)) if bytes.is_empty() => Err(StreamError::Closed),
            Poll::Ready(Ok(bytes)) => Ok(bytes),
            Poll::Ready(Err(broken)) => Err(failure(&mut self.failed, broken)),
        }
    }
}

#[async_trait]
impl Pollable for Outgoing {
    async fn ready(&mut self) {
        let _ = std::future::poll_fn(|cx| self.half.poll_room(cx)).await;
    }
}

#[async_trait]
impl OutputStream for Outgoing {
    fn check_write(&mut self) -> StreamResult<usize> {
        self.half.room().map_err(|broken| failure(&mut self.failed, broken))
    }

    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let room = self.half.room().map_err(|broken| failure(&mut self.failed, broken))?;
        if bytes.len() > room {
            return Err(StreamError::Trap(wasmtime::Error::msg("more was written than there is room for")));
        }
        self.half.write_bytes(bytes).map_err(|broken| failure(&mut self.failed, broken))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }
}
