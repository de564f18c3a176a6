//! Threads for what follows from requests: placing pods and starting them.
//!
//! However many pods are to be started or crash at once, requests to the API and to guests go first, and so do the controllers,
//! which make objects before the node begins with the first of them.

use std::io;

use base::os::{Urgency, set_thread_urgency};
use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};

/// As many as may start pods at once.
const THREADS_MAX: usize = 4;

/// The threads. They end when this is dropped.
pub(crate) struct Background(Option<Runtime>);

impl Background {
    /// Starts them; none where everything else has one thread, which has one time for all (tests let hours of it pass).
    pub fn start() -> io::Result<Self> {
        if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
            return Ok(Self(None));
        }
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let runtime = Builder::new_multi_thread()
            .worker_threads(cores.clamp(2, THREADS_MAX))
            .thread_name("background")
            .on_thread_start(|| set_thread_urgency(Urgency::Background))
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// Runs what is given to it there.
    pub fn handle(&self) -> Handle {
        self.0.as_ref().map_or_else(Handle::current, |runtime| runtime.handle().clone())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Whoever drops this may be a task, which must not wait.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
