//! Standard output and standard error, cut into lines.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use world::io::{OutputStream, Pollable, StreamResult};

use crate::spec::{Output, Stream};

/// A longer line is passed on in pieces.
const LINE_BYTES_MAX: usize = 16 << 10;
/// How much a guest may write at once.
pub(crate) const WRITE_BYTES_MAX: usize = 64 << 10;

/// What was written to one stream of one instance since the last line break. The rest of a line goes out when the
/// instance ends.
pub(crate) struct Lines {
    stream: Stream,
    sink: Arc<dyn Output>,
    partial: Mutex<Vec<u8>>,
}

impl Lines {
    pub fn new(stream: Stream, sink: Arc<dyn Output>) -> Arc<Self> {
        Arc::new(Self { stream, sink, partial: Mutex::default() })
    }

    /// `None` while the log takes more at once.
    pub fn room(&self) -> Option<BoxFuture<'static, ()>> {
        self.sink.room()
    }

    pub fn write(&self, mut bytes: &[u8]) {
        if self.sink.bytes(self.stream, bytes) {
            return;
        }
        let mut partial = self.partial.lock();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            if partial.is_empty() {
                self.pass_on(line);
            } else {
                partial.extend_from_slice(line);
                self.pass_on(&partial);
                partial.clear();
            }
            bytes = &rest[1..];
        }
        partial.extend_from_slice(bytes);
        if partial.len() >= LINE_BYTES_MAX {
            self.pass_on(&partial);
            partial.clear();
        }
    }

    fn pass_on(&self, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            self.sink.write(self.stream, line);
        }
        for piece in line.chunks(LINE_BYTES_MAX) {
            self.sink.write(self.stream, piece);
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let partial = std::mem::take(self.partial.get_mut());
        if !partial.is_empty() {
            self.pass_on(&partial);
        }
    }
}

/// The guest's handle to [`Lines`].
pub(crate) struct LineStream {
    lines: Arc<Lines>,
    waiting: Option<BoxFuture<'static, ()>>,
    /// The guest waited for room and may write once without asking again: a stream that is ready must not turn out full.
    granted: bool,
}

impl LineStream {
    pub fn new(lines: Arc<Lines>) -> Self {
        Self { lines, waiting: None, granted: false }
    }
}

#[async_trait::async_trait]
impl Pollable for LineStream {
    async fn ready(&mut self) {
        if self.waiting.is_none() && !self.granted {
            self.waiting = self.lines.room();
        }
        if let Some(waiting) = &mut self.waiting {
            waiting.await;
            self.waiting = None;
            self.granted = true;
        }
    }
}

#[async_trait::async_trait]
impl OutputStream for LineStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.granted = false;
        self.lines.write(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        if self.waiting.is_none() && !self.granted {
            self.waiting = self.lines.room();
        }
        Ok(if self.waiting.is_some() { 0 } else { WRITE_BYTES_MAX })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Kept(Mutex<Vec<String>>);

    impl Output for Kept {
        fn write(&self, _stream: Stream, line: &[u8]) {
            self.0.lock().push(String::from_utf8_lossy(line).into_owned());
        }
    }

    #[test]
    fn writes_become_lines_wherever_they_are_cut() {
        let kept = Arc::new(Kept::default());
        let sink: Arc<dyn Output> = kept.clone();
        let lines = Lines::new(Stream::Stdout, sink);
        for bytes in ["one\ntw", "o\r\n", "\nthr", "ee"] {
            lines.write(bytes.as_bytes());
        }
        drop(lines);
        assert_eq!(*kept.0.lock(), ["one", "two", "", "three"]);
    }

    #[test]
    fn a_line_without_end_is_passed_on_in_pieces() {
        let kept = Arc::new(Kept::default());
        let sink: Arc<dyn Output> = kept.clone();
        let lines = Lines::new(Stream::Stderr, sink);
        lines.write(&[b'x'; 40_000]);
        lines.write(b"end\n");
        let sizes: Vec<usize> = kept.0.lock().iter().map(String::len).collect();
        assert_eq!(sizes, [16_384, 16_384, 7_232, 3]);
    }
}
