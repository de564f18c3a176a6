//! One direction of a connection: a bounded queue of bytes between a writer and a reader.
//!
//! Large writes are passed on as they are, without a copy; small ones are gathered, so that the queue's own cost stays in
//! proportion to what is in it, however the writer cuts its bytes.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use thiserror::Error;

/// Bytes under way in one direction.
pub const PIPE_BYTES: usize = 64 * 1024;
/// Writes below this are gathered.
const SMALL: usize = 2 * 1024;

/// Who answers for the memory of what is under way, for as long as nobody has read it.
pub trait Payer: Send + Sync + 'static {
    /// Takes so many bytes more; `false` when there is no room for them.
    fn take(&self, bytes: usize) -> bool;
    /// Gives so many back.
    fn give(&self, bytes: usize);
}

/// Why a direction came to an end other than by being finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Broken {
    /// The other side is gone, or threw the connection away.
    #[error("the connection was reset by the other side")]
    Reset,
    /// This side has finished writing before.
    #[error("this side of the connection was closed")]
    Finished,
    /// Whoever pays for the bytes has no room for more.
    #[error("the memory limit leaves no room for bytes under way")]
    NoMemory,
}

impl From<Broken> for io::Error {
    fn from(broken: Broken) -> Self {
        let kind = match broken {
            Broken::Reset => io::ErrorKind::ConnectionReset,
            Broken::Finished => io::ErrorKind::BrokenPipe,
            Broken::NoMemory => io::ErrorKind::OutOfMemory,
        };
        Self::new(kind, broken)
    }
}

#[derive(Default)]
pub(crate) struct Pipe {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    whole: VecDeque<Bytes>,
    /// Small writes that came after `whole`.
    gathered: BytesMut,
    buffered: usize,
    finished: bool,
    /// The reader is gone.
    abandoned: bool,
    reset: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    payer: Option<Arc<dyn Payer>>,
}

impl State {
    fn forget(&mut self) {
        self.whole.clear();
        self.gathered = BytesMut::new();
        self.paid_back(self.buffered);
        self.buffered = 0;
    }

    fn paid_back(&self, bytes: usize) {
        if let Some(payer) = self.payer.as_ref().filter(|_| bytes > 0) {
            payer.give(bytes);
        }
    }

    fn take(&mut self, most: usize) -> Bytes {
        let mut front = match self.whole.pop_front() {
            Some(front) => front,
            None => self.gathered.split().freeze(),
        };
        if front.len() > most {
            let rest = front.split_off(most);
            self.whole.push_front(rest);
        }
        self.buffered -= front.len();
        self.paid_back(front.len());
        front
    }

    /// Both sides have to look again.
    fn wake(&mut self) -> [Option<Waker>; 2] {
        [self.reader.take(), self.writer.take()]
    }
}

fn wake(wakers: [Option<Waker>; 2]) {
    wakers.into_iter().flatten().for_each(Waker::wake);
}

fn remember(slot: &mut Option<Waker>, cx: &Context<'_>) {
    if !slot.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
        *slot = Some(cx.waker().clone());
    }
}

impl Pipe {
    pub(crate) fn pay_by(&self, payer: Arc<dyn Payer>) {
        let mut state = self.state.lock();
        // What is under way already stays with whoever sent it for nothing.
        if state.buffered == 0 {
            state.payer = Some(payer);
        }
    }

    /// What is here, at most `most`; nothing means that the writer has finished.
    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, most: usize) -> Poll<Result<Bytes, Broken>> {
        let mut state = self.state.lock();
        if state.reset {
            return Poll::Ready(Err(Broken::Reset));
        }
        if state.buffered == 0 {
            if state.finished {
                return Poll::Ready(Ok(Bytes::new()));
            }
            remember(&mut state.reader, cx);
            return Poll::Pending;
        }
        let taken = state.take(most);
        let writer = state.writer.take();
        drop(state);
        wake([writer, None]);
        Poll::Ready(Ok(taken))
    }

    /// Whether a read would say something.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.reset || state.finished || state.buffered > 0 {
            return Poll::Ready(());
        }
        remember(&mut state.reader, cx);
        Poll::Pending
    }

    /// How much may be written: above zero, or why nothing may.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Result<usize, Broken>> {
        let mut state = self.state.lock();
        match writable(&state) {
            Err(broken) => Poll::Ready(Err(broken)),
            Ok(0) => {
                remember(&mut state.writer, cx);
                Poll::Pending
            }
            Ok(room) => Poll::Ready(Ok(room)),
        }
    }

    /// How much may be written now, be it nothing.
    pub(crate) fn room(&self) -> Result<usize, Broken> {
        writable(&self.state.lock())
    }

    /// Puts all of `bytes` under way; callers have looked for room.
    pub(crate) fn write(&self, bytes: Bytes) -> Result<(), Broken> {
        let mut state = self.state.lock();
        writable(&state)?;
        if bytes.is_empty() {
            return Ok(());
        }
        if state.payer.as_ref().is_some_and(|payer| !payer.take(bytes.len())) {
            return Err(Broken::NoMemory);
        }
        state.buffered += bytes.len();
        if bytes.len() < SMALL {
            state.gathered.extend_from_slice(&bytes);
        } else {
            if !state.gathered.is_empty() {
                let gathered = state.gathered.split().freeze();
                state.whole.push_back(gathered);
            }
            state.whole.push_back(bytes);
        }
        let reader = state.reader.take();
        drop(state);
        wake([reader, None]);
        Ok(())
    }

    /// Nothing more will be written.
    pub(crate) fn finish(&self) {
        let mut state = self.state.lock();
        state.finished = true;
        let wakers = state.wake();
        drop(state);
        wake(wakers);
    }

    /// Nothing more will be read.
    pub(crate) fn abandon(&self) {
        let mut state = self.state.lock();
        state.abandoned = true;
        state.forget();
        let wakers = state.wake();
        drop(state);
        wake(wakers);
    }

    /// Nothing more will be read, and who reads all the same finds the end.
    pub(crate) fn stop(&self) {
        self.abandon();
        self.finish();
    }

    /// Both sides fail from here on.
    pub(crate) fn reset(&self) {
        let mut state = self.state.lock();
        // What came to its end stays ended.
        state.reset = !(state.finished && state.buffered == 0);
        state.abandoned = true;
        state.forget();
        let wakers = state.wake();
        drop(state);
        wake(wakers);
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.state.get_mut().forget();
    }
}

fn writable(state: &State) -> Result<usize, Broken> {
    if state.finished {
        Err(Broken::Finished)
    } else if state.reset || state.abandoned {
        Err(Broken::Reset)
    } else {
        Ok(PIPE_BYTES.saturating_sub(state.buffered))
    }
}
