//! The epoch ticker: a thread of its own that tells running guests that time has passed.
//!
//! It ticks only while guests run. An idle process is not woken a thousand times a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use wasmtime::EngineWeak;

/// Ticks of 1 ms and of 10 ms cost guests the same; finer ones make a slice a slice.
const TICK: Duration = Duration::from_millis(1);
/// So many ticks without a guest and the thread sleeps until one comes. Waking it costs some microseconds, which a busy
/// server should not pay per request.
const IDLE_TICKS: u32 = 50;

#[derive(Default)]
struct Shared {
    running: AtomicUsize,
    asleep: AtomicBool,
    stopping: AtomicBool,
    engines: Mutex<Vec<EngineWeak>>,
}

/// The ticker. Stops when it is dropped.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    pub fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let thread = std::thread::Builder::new().name("epochs".to_owned()).stack_size(64 << 10).spawn({
            let shared = Arc::clone(&shared);
            move || shared.run()
        });
        if let Err(error) = &thread {
            tracing::error!(%error, "cannot start the epoch thread; guests that do not end will not be stopped");
        }
        Self { shared, thread: thread.ok() }
    }

    pub fn add(&self, engine: EngineWeak) {
        self.shared.engines.lock().push(engine);
    }

    /// To be called before a guest is polled.
    pub fn enter(&self) {
        // The order of this store and this load against the thread's makes sure that one of the two sees the other.
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    /// To be called after a guest was polled.
    pub fn leave(&self) {
        self.shared.running.fetch_sub(1, Ordering::Release);
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.wake();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self) {
        let mut idle = 0;
        while !self.stopping.load(Ordering::SeqCst) {
            std::thread::sleep(TICK);
            self.engines.lock().retain(|engine| match engine.upgrade() {
                Some(engine) => {
                    engine.increment_epoch();
                    true
                }
                None => false,
            });
            idle = if self.running.load(Ordering::Acquire) == 0 { idle + 1 } else { 0 };
            if idle >= IDLE_TICKS {
                self.sleep_until_woken();
                idle = 0;
            }
        }
    }

    fn sleep_until_woken(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        while self.running.load(Ordering::SeqCst) == 0 && !self.stopping.load(Ordering::SeqCst) {
            std::thread::park();
        }
        self.asleep.store(false, Ordering::SeqCst);
    }
}
