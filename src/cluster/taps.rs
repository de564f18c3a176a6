//! A container's output as it is written, for those who join it.

use std::sync::Arc;

use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::pipe::{self, Reader, Writer};
use crate::terminal::carriage;

/// What is kept of a line that is not finished: a prompt, for whoever joins after it was written.
const TAIL_BYTES: usize = 4096;

struct Tap {
    stdout: Writer,
    stderr: Writer,
    tty: bool,
}

#[derive(Default)]
struct State {
    tail: Vec<u8>,
    taps: Vec<Tap>,
    ended: bool,
}

/// Everybody who has joined a container.
#[derive(Default)]
pub(crate) struct Taps(Mutex<State>);

impl Taps {
    /// What is written from now on, and the line that is being written.
    pub fn join(&self, tty: bool) -> (Reader, Reader) {
        let ((stdout, out), (stderr, err)) = (pipe::pipe(), pipe::pipe());
        let mut state = self.0.lock();
        if !state.tail.is_empty() {
            stdout.write(&state.tail);
        }
        if state.ended {
            stdout.end();
            stderr.end();
        } else {
            state.taps.push(Tap { stdout, stderr, tty });
        }
        (out, err)
    }

    fn write(&self, stream: node::Stream, bytes: &[u8]) {
        let mut state = self.0.lock();
        match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => state.tail = bytes[end + 1..].to_vec(),
            None => state.tail.extend_from_slice(bytes),
        }
        if state.tail.len() > TAIL_BYTES {
            state.tail.clear();
        }
        state.taps.retain(|tap| !tap.stdout.is_abandoned());
        for tap in &state.taps {
            match (tap.tty, stream) {
                (true, _) => tap.stdout.write(&carriage(bytes)),
                (false, node::Stream::Stdout) => tap.stdout.write(bytes),
                (false, node::Stream::Stderr) => tap.stderr.write(bytes),
            }
        }
    }

    fn room(&self) -> Option<BoxFuture<'static, ()>> {
        self.0.lock().taps.iter().find_map(|tap| tap.stdout.room().or_else(|| tap.stderr.room()))
    }

    /// The container has ended.
    pub fn end(&self) {
        let mut state = self.0.lock();
        state.ended = true;
        for tap in state.taps.drain(..) {
            tap.stdout.end();
            tap.stderr.end();
        }
    }
}

/// A container's output, with those who have joined.
pub(crate) struct Tapped {
    pub inner: Arc<dyn node::Output>,
    pub taps: Arc<Taps>,
}

impl node::Output for Tapped {
    fn write(&self, stream: node::Stream, line: &[u8]) {
        self.inner.write(stream, line);
    }

    fn room(&self) -> Option<BoxFuture<'static, ()>> {
        self.inner.room().or_else(|| self.taps.room())
    }

    fn bytes(&self, stream: node::Stream, bytes: &[u8]) -> bool {
        self.taps.write(stream, bytes);
        self.inner.bytes(stream, bytes)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn who_joins_late_sees_the_prompt() {
        let taps = Taps::default();
        taps.write(node::Stream::Stdout, b"hello\n/ # ");
        let (mut out, mut err) = taps.join(true);
        taps.write(node::Stream::Stderr, b"oh\n");
        taps.end();
        let mut heard = String::new();
        out.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "/ # oh\r\n");
        heard.clear();
        err.read_to_string(&mut heard).await.unwrap();
        assert!(heard.is_empty());
    }
}
