//! What a running guest is asked each time that it sees a new epoch: may you go on?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Instant;

use thiserror::Error;
use wasmtime::{Store, UpdateDeadline};

use crate::clock::{now_ns, since_origin};
use crate::container::Container;
use crate::guest::Guest;

/// How long a guest may run without waiting before others are let in.
const SLICE_NS: u64 = 2_000_000;
const NEVER: u64 = u64::MAX;

/// Why a guest that would have gone on was stopped.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum Cut {
    #[error("the deadline passed")]
    Deadline,
    #[error("the container was stopped")]
    Stopped,
}

/// One guest's clock. Shared by the callback, which runs inside the guest, and whoever polls the guest.
#[derive(Debug)]
pub(crate) struct Meter {
    slice_end_ns: AtomicU64,
    deadline_ns: AtomicU64,
    yielded: AtomicBool,
    failed: AtomicBool,
}

impl Meter {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            slice_end_ns: AtomicU64::new(NEVER),
            deadline_ns: AtomicU64::new(NEVER),
            yielded: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        })
    }

    /// A new request or run: its deadline, and a clean record.
    pub fn start(&self, deadline: Option<Instant>) {
        self.deadline_ns.store(deadline.map_or(NEVER, since_origin), Ordering::Relaxed);
        self.failed.store(false, Ordering::Relaxed);
        self.yielded.store(false, Ordering::Relaxed);
    }

    pub fn begin_slice(&self, now_ns: u64) {
        self.slice_end_ns.store(now_ns.saturating_add(SLICE_NS), Ordering::Relaxed);
    }

    /// Whether the guest is pending because its slice was over, and not because it waits.
    pub fn take_yielded(&self) -> bool {
        self.yielded.swap(false, Ordering::Relaxed)
    }

    /// The same, without taking it back.
    pub fn has_yielded(&self) -> bool {
        self.yielded.load(Ordering::Relaxed)
    }

    /// To be set before a failed guest's store goes: whoever reads the response's body has to know that its end is no end.
    pub fn set_failed(&self) {
        self.failed.store(true, Ordering::Release);
    }
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    fn on_epoch(self: &Arc<Self>, container: &Container) -> wasmtime::Result<UpdateDeadline> {
        if container.has_ended() {
            return Err(wasmtime::Error::new(Cut::Stopped));
        }
        let now = now_ns();
        if now >= self.deadline_ns.load(Ordering::Relaxed) {
            return Err(wasmtime::Error::new(Cut::Deadline));
        }
        if now < self.slice_end_ns.load(Ordering::Relaxed) {
            return Ok(UpdateDeadline::Continue(1));
        }
        let meter = Arc::clone(self);
        let mut left = false;
        // Pending once and without a waker: whoever polls sees `yielded` and decides where and when the guest goes on.
        Ok(UpdateDeadline::YieldCustom(
            1,
            Box::pin(std::future::poll_fn(move |_| {
                if left {
                    return Poll::Ready(());
                }
                left = true;
                meter.yielded.store(true, Ordering::Relaxed);
                Poll::Pending
            })),
        ))
    }
}

/// Makes a store ask on every epoch.
pub(crate) fn attach(store: &mut Store<Guest>, meter: &Arc<Meter>, container: &Arc<Container>) {
    let (meter, container) = (Arc::clone(meter), Arc::clone(container));
    store.epoch_deadline_callback(move |_| meter.on_epoch(&container));
    store.set_epoch_deadline(1);
}
