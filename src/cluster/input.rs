//! A container's standard input, lent to one at a time of those who join it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio::io::{AsyncWrite, DuplexStream};

/// Bytes that are under way.
const BUFFER: usize = 64 * 1024;

/// The end that is written to, when nobody has it.
#[derive(Clone)]
pub(crate) struct Input {
    home: Arc<Mutex<Option<DuplexStream>>>,
    /// Whether the input is over with the first who had it.
    once: bool,
}

impl Input {
    /// An input, and what the container reads from.
    pub fn new(once: bool) -> (Self, DuplexStream) {
        let (writer, reader) = tokio::io::duplex(BUFFER);
        (Self { home: Arc::new(Mutex::new(Some(writer))), once }, reader)
    }

    /// Nothing when somebody else has it, or it is over.
    pub fn lend(&self) -> Option<Lent> {
        let stream = self.home.lock().take();
        stream.map(|stream| Lent { stream: Some(stream), input: self.clone() })
    }
}

/// The input, in somebody's hands. It goes back when they are done, unless that was all of it.
pub(crate) struct Lent {
    stream: Option<DuplexStream>,
    input: Input,
}

impl Lent {
    fn stream(&mut self) -> io::Result<Pin<&mut DuplexStream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl AsyncWrite for Lent {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.stream() {
            Ok(stream) => stream.poll_write(context, bytes),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.stream() {
            Ok(stream) => stream.poll_flush(context),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.input.once {
            drop(self.stream.take());
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.input.once {
            *self.input.home.lock() = self.stream.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn an_input_is_lent_to_one_at_a_time() {
        let (input, mut reader) = Input::new(false);
        let mut lent = input.lend().unwrap();
        assert!(input.lend().is_none());
        lent.write_all(b"a").await.unwrap();
        lent.shutdown().await.unwrap();
        drop(lent);
        input.lend().unwrap().write_all(b"b").await.unwrap();
        let mut read = [0; 2];
        reader.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"ab");

        let (input, mut reader) = Input::new(true);
        input.lend().unwrap().write_all(b"all").await.unwrap();
        let mut read = String::new();
        reader.read_to_string(&mut read).await.unwrap();
        assert!(read == "all" && input.lend().is_none());
    }
}
