//! What stands in for signals: the host asks the container to stop, which is `TERM`.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use wstd::runtime::AsyncPollable;

#[allow(unsafe_code, missing_docs, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({
        path: ["../../wit/deps/io.wit", "../../wit/lifecycle.wit"],
        inline: "
            package coracle:toolbox;
            world toolbox { import coracle:lifecycle/stop@0.1.0; }
        ",
        with: { "wasi:io/poll@0.2.0": wasip2::io::poll },
        generate_all,
    });
}

/// The name that a trap for it has.
pub const NAME: &str = "TERM";
/// 128 + SIGTERM
pub const TERMINATED: i32 = 143;

thread_local! {
    static CAME: Cell<bool> = const { Cell::new(false) };
    /// Somebody wants to answer it.
    static TRAPPED: Cell<bool> = const { Cell::new(false) };
    static WAKERS: RefCell<Vec<Waker>> = const { RefCell::new(Vec::new()) };
}

/// Begins to hear.
pub fn listen() {
    wstd::runtime::spawn(async {
        let asked = AsyncPollable::new(bindings::coracle::lifecycle::stop::subscribe());
        asked.wait_for().await;
        CAME.set(true);
        WAKERS.take().into_iter().for_each(Waker::wake);
    })
    .detach();
}

/// A script answers it; nothing ends by itself any more.
pub fn trap() {
    TRAPPED.set(true);
}

/// Whether it has come since somebody asked last.
pub fn take() -> bool {
    CAME.replace(false)
}

/// Whether it has come; otherwise whoever asks is woken when it does.
pub fn wake(context: &mut Context<'_>) -> bool {
    if !CAME.get() {
        WAKERS.with_borrow_mut(|wakers| wakers.push(context.waker().clone()));
    }
    CAME.get()
}

/// What `work` ends with, or the code of what is ended by the signal.
pub async fn unless_terminated(work: impl Future<Output = i32>) -> i32 {
    let mut work = std::pin::pin!(work);
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Pending if wake(context) => Poll::Ready(TERMINATED),
        other => other,
    })
    .await
}

/// The same, unless a script answers it.
pub async fn unless_untrapped(work: impl Future<Output = i32>) -> i32 {
    let mut work = std::pin::pin!(work);
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Pending if wake(context) && !TRAPPED.get() => Poll::Ready(TERMINATED),
        other => other,
    })
    .await
}
