//! A pipe between two coroutines.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};

const FULL: usize = 64 * 1024;

#[derive(Default)]
struct Shared {
    bytes: RefCell<VecDeque<u8>>,
    written_up: Cell<bool>,
    nobody_reads: Cell<bool>,
    wakers: RefCell<Vec<Waker>>,
}

impl Shared {
    fn wake(&self) {
        for waker in self.wakers.take() {
            waker.wake();
        }
    }
}

/// The end that is read from.
pub struct PipeReader(Rc<Shared>);

/// The end that is written to.
pub struct PipeWriter(Rc<Shared>);

/// A pipe.
pub fn pipe() -> (PipeReader, PipeWriter) {
    let shared = Rc::<Shared>::default();
    (PipeReader(Rc::clone(&shared)), PipeWriter(shared))
}

impl PipeReader {
    pub async fn read(&self, into: &mut [u8]) -> usize {
        poll_fn(|context| {
            let mut bytes = self.0.bytes.borrow_mut();
            if bytes.is_empty() {
                if self.0.written_up.get() {
                    return Poll::Ready(0);
                }
                self.0.wakers.borrow_mut().push(context.waker().clone());
                return Poll::Pending;
            }
            let count = bytes.len().min(into.len());
            for (slot, byte) in into.iter_mut().zip(bytes.drain(..count)) {
                *slot = byte;
            }
            self.0.wake();
            Poll::Ready(count)
        })
        .await
    }
}

impl PipeWriter {
    pub async fn write(&self, mut rest: &[u8]) -> io::Result<()> {
        poll_fn(|context| {
            loop {
                if self.0.nobody_reads.get() {
                    return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
                }
                if rest.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                let mut bytes = self.0.bytes.borrow_mut();
                let count = FULL.saturating_sub(bytes.len()).min(rest.len());
                if count == 0 {
                    self.0.wakers.borrow_mut().push(context.waker().clone());
                    return Poll::Pending;
                }
                let (now, later) = rest.split_at(count);
                bytes.extend(now);
                rest = later;
                self.0.wake();
            }
        })
        .await
    }
}

impl Drop for PipeReader {
    fn drop(&mut self) {
        self.0.nobody_reads.set(true);
        self.0.wake();
    }
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        self.0.written_up.set(true);
        self.0.wake();
    }
}
