//! A connection on the pod network: two halves, each a direction of its own.
//!
//! Dropping the writer finishes its direction (the reader sees the end); dropping the reader makes the other side's writes
//! fail. That is what a socket that is closed looks like from afar.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::listener::InFlight;
use crate::pipe::{Broken, Payer, Pipe};

/// One end of a connection.
pub struct Stream {
    reader: ReadHalf,
    writer: WriteHalf,
    local: SocketAddr,
    peer: SocketAddr,
}

/// Where bytes come from.
pub struct ReadHalf {
    pipe: Arc<Pipe>,
    _counted: Option<Arc<InFlight>>,
}

/// Where bytes go.
pub struct WriteHalf {
    pipe: Arc<Pipe>,
    _counted: Option<Arc<InFlight>>,
}

impl Stream {
    /// Two ends of one connection: what is written into one is read from the other. `left` and `right` are the addresses
    /// of the first and the second.
    pub fn pair(left: SocketAddr, right: SocketAddr) -> (Self, Self) {
        Self::counted_pair(left, right, None)
    }

    /// The second end is counted as a call for as long as it lives.
    pub(crate) fn counted_pair(left: SocketAddr, right: SocketAddr, call: Option<InFlight>) -> (Self, Self) {
        let (there, back) = (Arc::<Pipe>::default(), Arc::<Pipe>::default());
        let counted = call.map(Arc::new);
        let end = |read: &Arc<Pipe>, write: &Arc<Pipe>, counted: Option<Arc<InFlight>>, local, peer| Self {
            reader: ReadHalf { pipe: Arc::clone(read), _counted: counted.clone() },
            writer: WriteHalf { pipe: Arc::clone(write), _counted: counted },
            local,
            peer,
        };
        (end(&back, &there, None, left, right), end(&there, &back, counted, right, left))
    }

    /// This end's address.
    pub fn local_address(&self) -> SocketAddr {
        self.local
    }

    /// The other end's address.
    pub fn peer_address(&self) -> SocketAddr {
        self.peer
    }

    /// What closes its directions, whoever has the halves.
    pub fn ends(&self) -> Ends {
        Ends { read: Arc::clone(&self.reader.pipe), write: Arc::clone(&self.writer.pipe) }
    }

    /// Both halves, to be used apart.
    pub fn into_split(self) -> (ReadHalf, WriteHalf) {
        (self.reader, self.writer)
    }

    /// Breaks the connection: both sides fail from here on.
    pub fn reset(self) {
        self.reader.pipe.reset();
        self.writer.pipe.reset();
    }
}

/// Closes the directions of a connection from this end.
pub struct Ends {
    read: Arc<Pipe>,
    write: Arc<Pipe>,
}

impl Ends {
    /// Nothing more will be written from here.
    pub fn finish_writing(&self) {
        self.write.finish();
    }

    /// Nothing more will be read here.
    pub fn stop_reading(&self) {
        self.read.stop();
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("local", &self.local).field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl ReadHalf {
    /// The next bytes, at most `most`. Nothing means that the other side has finished.
    pub fn poll_bytes(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<Result<Bytes, Broken>> {
        self.pipe.poll_read(cx, most)
    }

    /// Whether there is something to read: bytes, the end or a failure.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.pipe.poll_readable(cx)
    }
}

impl Drop for ReadHalf {
    fn drop(&mut self) {
        self.pipe.abandon();
    }
}

impl WriteHalf {
    /// Lets somebody answer for the memory of what this half has under way.
    pub fn pay_by(&mut self, payer: Arc<dyn Payer>) {
        self.pipe.pay_by(payer);
    }

    /// Waits until something may be written, and says how much.
    pub fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Broken>> {
        self.pipe.poll_room(cx)
    }

    /// How much may be written now.
    ///
    /// # Errors
    /// When nothing may be written any more.
    pub fn room(&self) -> Result<usize, Broken> {
        self.pipe.room()
    }

    /// Puts all of it under way. Who writes more than there is room for overdraws the queue by so much.
    ///
    /// # Errors
    /// When nothing may be written any more, or nobody can pay for it.
    pub fn write_bytes(&mut self, bytes: Bytes) -> Result<(), Broken> {
        self.pipe.write(bytes)
    }

    /// Says that nothing more will come.
    pub fn finish(&mut self) {
        self.pipe.finish();
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        self.pipe.finish();
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let bytes = ready!(self.poll_bytes(cx, buf.remaining()))?;
        buf.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let room = ready!(self.poll_room(cx))?;
        let part = buf.get(..room).unwrap_or(buf);
        self.write_bytes(Bytes::copy_from_slice(part))?;
        Poll::Ready(Ok(part.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.finish();
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(cx)
    }
}
