//! What a command prints that the node itself runs: the beginning of it, for a message.

use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::sandbox::{Output, Stream};

/// More says no more to whoever reads the message.
const BYTES_MAX: usize = 10 << 10;

/// Keeps the beginning of both streams, in the order in which they were written.
#[derive(Default)]
pub(crate) struct Captured(Mutex<Vec<u8>>);

impl Captured {
    /// What was printed, without the line break at its end.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock()).trim_end().to_owned()
    }

    fn keep(&self, bytes: &[u8]) {
        let mut kept = self.0.lock();
        let room = BYTES_MAX.saturating_sub(kept.len());
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

impl Output for Captured {
    fn write(&self, _stream: Stream, line: &[u8]) {
        self.keep(line);
        self.keep(b"\n");
    }

    fn room(&self) -> Option<BoxFuture<'static, ()>> {
        None
    }

    fn bytes(&self, _stream: Stream, bytes: &[u8]) -> bool {
        self.keep(bytes);
        true
    }
}
