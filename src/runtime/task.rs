//! A guest as something to poll: in place on the caller's thread, or on the bulk threads.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use async_task::FallibleTask;
use base::os::thread_cpu_time;
use futures::future::BoxFuture;

use crate::clock::{nanos, now_ns};
use crate::container::Container;
use crate::failure::Failure;
use crate::meter::Meter;

/// How a guest ended.
pub(crate) type Verdict = Result<(), Failure>;

/// What one poll of a guest came to.
pub(crate) enum Slice {
    Done(Verdict),
    /// It waits for the host, which will wake it.
    Waiting,
    /// It has used its slice and could go on. Nobody will wake it: whoever polls decides.
    Yielded,
}

/// One guest between its first poll and its end. Dropping it drops the instance, wherever the guest is in its code.
pub(crate) struct GuestRun {
    future: BoxFuture<'static, Verdict>,
    meter: Arc<Meter>,
    container: Arc<Container>,
    deadline: Option<Instant>,
    /// Its first slice is over, one way or another.
    known: bool,
    /// The deadline's timer and the container's end, made when the guest waits for the first time.
    stop: Option<BoxFuture<'static, Failure>>,
}

impl GuestRun {
    pub fn new(
        future: BoxFuture<'static, Verdict>,
        meter: Arc<Meter>,
        container: Arc<Container>,
        deadline: Option<Instant>,
    ) -> Self {
        Self { future, meter, container, deadline, known: false, stop: None }
    }

    /// Lets the guest run until it ends, waits, or has used its slice, on a data thread or elsewhere.
    pub fn poll_slice(&mut self, cx: &mut Context<'_>, is_inline: bool) -> Slice {
        let container = Arc::clone(&self.container);
        container.ticker.enter();
        let began = now_ns();
        self.meter.begin_slice(began);
        let on_core = container.demand.is_much(began).then(thread_cpu_time).flatten();
        // A panic must not leave the ticker running for ever.
        let _leave = OnDrop(|| {
            container.ticker.leave();
            let now = now_ns();
            let spent = now.saturating_sub(began);
            container.cpu.charge(spent, now);
            let on_core = on_core.and_then(|began| thread_cpu_time()?.checked_sub(began)).map(nanos);
            container.demand.spent(on_core.unwrap_or(spent).min(spent), now, is_inline);
        });
        let polled = self.future.as_mut().poll(cx);
        let yielded = self.meter.take_yielded();
        self.learn(yielded);
        if let Poll::Ready(verdict) = polled {
            return Slice::Done(verdict);
        }
        if yielded {
            return Slice::Yielded;
        }
        match self.poll_stop(cx) {
            Poll::Ready(failure) => Slice::Done(Err(failure)),
            Poll::Pending => Slice::Waiting,
        }
    }

    fn learn(&mut self, yielded: bool) {
        if !std::mem::replace(&mut self.known, true) {
            if yielded { self.container.habit.was_long() } else { self.container.habit.was_brief() }
        }
    }

    /// Whether the guest has to stop although it does not run.
    fn poll_stop(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        let stop = self.stop.get_or_insert_with(|| {
            let cancelled = self.container.cancel.clone().cancelled_owned();
            let deadline = self.deadline;
            Box::pin(async move {
                let Some(deadline) = deadline else {
                    cancelled.await;
                    return Failure::Stopped;
                };
                tokio::select! {
                    () = cancelled => Failure::Stopped,
                    () = tokio::time::sleep_until(deadline.into()) => Failure::Deadline,
                }
            })
        });
        let failure = std::task::ready!(stop.as_mut().poll(cx));
        self.meter.set_failed();
        self.container.families.failed(failure.reason());
        Poll::Ready(failure)
    }

    /// Moves the guest to the bulk threads. Dropping the handle drops the guest.
    pub fn hand_over(self) -> FallibleTask<Verdict> {
        let group = Arc::clone(&self.container.group);
        group.spawn(BulkRun { run: self, held_back: None })
    }
}

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// A guest on the bulk threads: it queues anew after each slice, and pays its container's debts.
struct BulkRun {
    run: GuestRun,
    held_back: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Future for BulkRun {
    type Output = Verdict;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Verdict> {
        loop {
            if let Some(sleep) = &mut self.held_back {
                if sleep.as_mut().poll(cx).is_pending() {
                    return self.run.poll_stop(cx).map(Err);
                }
                self.held_back = None;
            }
            let cpu = &self.run.container.cpu;
            if let Some(debt) = cpu.debt(now_ns()) {
                cpu.held_back(debt);
                self.held_back = Some(Box::pin(tokio::time::sleep(debt)));
                continue;
            }
            return match self.run.poll_slice(cx, false) {
                Slice::Done(verdict) => Poll::Ready(verdict),
                Slice::Waiting => Poll::Pending,
                Slice::Yielded => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            };
        }
    }
}

/// Where a guest is.
pub(crate) enum Stage {
    /// On the thread that polls this.
    Inline(GuestRun),
    /// On the bulk threads.
    Moved(FallibleTask<Verdict>),
    /// Nowhere any more.
    Ended(Verdict),
}

impl Stage {
    /// Where a guest begins: in place, unless its container's guests are known to take long, or are too many for others.
    pub fn begin(run: GuestRun) -> Self {
        let heavy = run.container.habit.is_heavy() || run.container.demand.dominates(now_ns());
        let mut stage = Self::Inline(run);
        if heavy {
            stage.hand_over();
        }
        stage
    }

    /// Takes the guest as far as it goes now.
    pub fn advance(&mut self, cx: &mut Context<'_>) {
        if let Self::Inline(run) = self {
            match run.poll_slice(cx, true) {
                Slice::Done(verdict) => *self = Self::Ended(verdict),
                Slice::Waiting => {}
                Slice::Yielded => self.hand_over(),
            }
        }
        if let Self::Moved(task) = self
            && let Poll::Ready(verdict) = Pin::new(task).poll(cx)
        {
            let lost = || Err(Failure::Trap("the host failed while it ran the component".to_owned()));
            *self = Self::Ended(verdict.unwrap_or_else(lost));
        }
    }

    fn hand_over(&mut self) {
        *self = match std::mem::replace(self, Self::Ended(Ok(()))) {
            Self::Inline(run) => {
                run.container.families.moved.inc();
                Self::Moved(run.hand_over())
            }
            other => other,
        };
    }

    /// Lets the guest come to its end without anybody who waits for it: its deadline still holds.
    pub fn detach(&mut self) {
        self.hand_over();
        if let Self::Moved(task) = std::mem::replace(self, Self::Ended(Ok(()))) {
            task.detach();
        }
    }
}

/// Waits until the container may run, at most until `deadline`. Returns whether it may.
pub(crate) async fn pay_debt(container: &Container, deadline: Option<Instant>) -> bool {
    while let Some(debt) = container.cpu.debt(now_ns()) {
        let began = now_ns();
        let paid = Instant::now() + debt;
        let until = deadline.map_or(paid, |deadline| paid.min(deadline));
        tokio::time::sleep_until(until.into()).await;
        container.cpu.held_back(std::time::Duration::from_nanos(now_ns().saturating_sub(began)));
        if until < paid {
            return false;
        }
    }
    true
}
