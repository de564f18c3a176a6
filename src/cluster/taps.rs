//! A container's output as it is written, for those who join it.

use std::sync::Arc;

use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::pipe::{self, Reader, Writer};
use crate::terminal::carriage;

/// What is kept of a line that is not finished: a prompt, for whoever joins after it was written.
const TAIL_BYTES: usize = 4096;

/// What is kept for the first who joins a container that waits for somebody.
const KEPT_BYTES: usize = 64 * 1024;

struct Tap {
    stdout: Writer,
    stderr: Writer,
    tty: bool,
}

impl Tap {
    fn write(&self, stream: node::Stream, bytes: &[u8]) {
        match (self.tty, stream) {
            (true, _) => self.stdout.write(&carriage(bytes)),
            (false, node::Stream::Stdout) => self.stdout.write(bytes),
            (false, node::Stream::Stderr) => self.stderr.write(bytes),
        }
    }
}

#[derive(Default)]
struct State {
    tail: Vec<u8>,
    /// Everything since the beginning, as long as nobody has joined and it is not too much.
    kept: Option<Vec<(node::Stream, Vec<u8>)>>,
    taps: Vec<Tap>,
    ended: bool,
}

impl State {
    fn keep(&mut self, stream: node::Stream, bytes: &[u8]) {
        let Some(kept) = &mut self.kept else { return };
        let so_far: usize = kept.iter().map(|(_, bytes)| bytes.len()).sum();
        if so_far + bytes.len() > KEPT_BYTES {
            self.kept = None;
            return;
        }
        match kept.last_mut() {
            Some((last, before)) if *last == stream => before.extend_from_slice(bytes),
            _ => kept.push((stream, bytes.to_vec())),
        }
    }
}

/// Everybody who has joined a container.
#[derive(Default)]
pub(crate) struct Taps(Mutex<State>);

impl Taps {
    /// For a container with an input: who started it is about to join. Containers start faster than clients join, and
    /// what such a container says first is for them.
    pub fn expecting() -> Self {
        Self(Mutex::new(State { kept: Some(Vec::new()), ..State::default() }))
    }

    /// What is written from now on, and the line that is being written; everything for the first who was expected.
    pub fn join(&self, tty: bool) -> (Reader, Reader) {
        let ((stdout, out), (stderr, err)) = (pipe::pipe(), pipe::pipe());
        let tap = Tap { stdout, stderr, tty };
        let mut state = self.0.lock();
        match state.kept.take() {
            Some(kept) => kept.iter().for_each(|(stream, bytes)| tap.write(*stream, bytes)),
            None => tap.stdout.write(&state.tail),
        }
        if state.ended {
            tap.stdout.end();
            tap.stderr.end();
        } else {
            state.taps.push(tap);
        }
        (out, err)
    }

    fn write(&self, stream: node::Stream, bytes: &[u8]) {
        let mut state = self.0.lock();
        state.keep(stream, bytes);
        match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => state.tail = bytes[end + 1..].to_vec(),
            None => state.tail.extend_from_slice(bytes),
        }
        if state.tail.len() > TAIL_BYTES {
            state.tail.clear();
        }
        state.taps.retain(|tap| !tap.stdout.is_abandoned());
        for tap in &state.taps {
            tap.write(stream, bytes);
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

    #[tokio::test]
    async fn who_was_expected_hears_everything() {
        let taps = Taps::expecting();
        taps.write(node::Stream::Stdout, b"one\n");
        taps.write(node::Stream::Stderr, b"oh\n");
        let (mut out, mut err) = taps.join(false);
        taps.write(node::Stream::Stdout, b"two\n");
        let (mut second, _) = taps.join(false);
        taps.end();
        let mut heard = [String::new(), String::new(), String::new()];
        out.read_to_string(&mut heard[0]).await.unwrap();
        err.read_to_string(&mut heard[1]).await.unwrap();
        second.read_to_string(&mut heard[2]).await.unwrap();
        assert_eq!(heard, ["one\ntwo\n", "oh\n", ""]);
    }
}
