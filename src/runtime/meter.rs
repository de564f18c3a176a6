//! What a running guest is asked each time that it sees a new epoch: may you go on?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Instant;

use thiserror::Error;
use wasmtime::{Store, UpdateDeadline};

use crate::clock::{nanos, now_ns, since_origin};
use crate::container::Container;
use crate::guest::Guest;

/// How long a guest may run without waiting before others are let in.
const SLICE_NS: u64 = 2_000_000;
/// Whose slice is over and who did not even have a core for so long was kept from running, by other programs on the machine: that
/// does not count against it.
const RAN_NS: u64 = 500_000;
const NEVER: u64 = u64::MAX;

/// Why a guest that would have gone on was stopped.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum Cut {
    #[error("the deadline passed")]
    Deadline,
    #[error("the container was stopped")]
    Stopped,
    #[error("what its handles hold, such as headers and bodies that were not sent, does not fit")]
    Memory,
}

/// One guest's clock. Shared by the callback, which runs inside the guest, and whoever polls the guest.
#[derive(Debug)]
pub(crate) struct Meter {
    slice_end_ns: AtomicU64,
    /// The thread's CPU time when the slice saw its first epoch; nought before.
    slice_cpu_ns: AtomicU64,
    deadline_ns: AtomicU64,
    yielded: AtomicBool,
    failed: AtomicBool,
}

impl Meter {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            slice_end_ns: AtomicU64::new(NEVER),
            slice_cpu_ns: AtomicU64::new(0),
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
        self.slice_cpu_ns.store(0, Ordering::Relaxed);
    }

    /// Whether the guest has had a core since its slice began, at `cpu_ns` of the thread's CPU time. It begins to know at the
    /// slice's first epoch: most guests see none, and asking costs a system call.
    fn has_run(&self, cpu_ns: u64) -> bool {
        match self.slice_cpu_ns.load(Ordering::Relaxed) {
            0 => {
                self.slice_cpu_ns.store(cpu_ns.max(1), Ordering::Relaxed);
                false
            }
            began => cpu_ns.saturating_sub(began) >= RAN_NS,
        }
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

    fn on_epoch(self: &Arc<Self>, container: &Container, overdrawn: bool) -> wasmtime::Result<UpdateDeadline> {
        if container.has_ended() {
            return Err(wasmtime::Error::new(Cut::Stopped));
        }
        if overdrawn {
            return Err(wasmtime::Error::new(Cut::Memory));
        }
        let now = now_ns();
        if now >= self.deadline_ns.load(Ordering::Relaxed) {
            return Err(wasmtime::Error::new(Cut::Deadline));
        }
        let has_run = base::os::thread_cpu_time().is_none_or(|time| self.has_run(nanos(time)));
        if !has_run || now < self.slice_end_ns.load(Ordering::Relaxed) {
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
    store.epoch_deadline_callback(move |store| meter.on_epoch(&container, store.data().memory.is_overdrawn()));
    store.set_epoch_deadline(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_had_no_core_has_not_run() {
        let meter = Meter::new();
        for (cpu_ns, has_run) in [(7_000_000, false), (7_000_010, false), (7_400_000, false), (7_500_000, true)] {
            assert_eq!(meter.has_run(cpu_ns), has_run, "{cpu_ns}");
        }
        meter.begin_slice(0);
        assert!(!meter.has_run(9_000_000), "a new slice begins at its own first epoch");
    }
}
