//! The data threads: ingress connections and the HTTP components that they lead to run here.
//!
//! Each thread has a tokio runtime of its own that never moves a task elsewhere, so that a request stays on one thread
//! from the socket to the component's response. What must not wait behind a request does not belong here.

use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::FutureExt;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;

/// A fixed number of threads. Cheap to clone; they end with [`DataThreads::stop`].
#[derive(Clone)]
pub struct DataThreads {
    inner: Arc<Inner>,
}

struct Inner {
    threads: Vec<Thread>,
    stop: CancellationToken,
    joins: Mutex<Vec<JoinHandle<()>>>,
}

struct Thread {
    handle: Handle,
    /// Starts a future that cannot leave the thread. Bounded by what callers hold open: each item is one connection.
    local: mpsc::UnboundedSender<LocalStart>,
    load: Arc<AtomicUsize>,
}

type LocalStart = Box<dyn FnOnce() + Send>;

impl DataThreads {
    /// Starts as many threads.
    pub fn start(count: NonZeroUsize) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let (mut threads, mut joins) = (Vec::new(), Vec::new());
        for index in 0..count.get() {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let (local, inbox) = mpsc::unbounded_channel();
            threads.push(Thread { handle: runtime.handle().clone(), local, load: Arc::default() });
            let stop = stop.clone();
            let body = move || {
                LocalSet::new().block_on(&runtime, serve_inbox(inbox, stop));
                runtime.shutdown_background();
            };
            joins.push(std::thread::Builder::new().name(format!("data-{index}")).spawn(body)?);
        }
        Ok(Self { inner: Arc::new(Inner { threads, stop, joins: Mutex::new(joins) }) })
    }

    /// One thread a core.
    pub fn per_core() -> io::Result<Self> {
        Self::start(std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.inner.threads.len()
    }

    /// How long they have been at work, all of them together.
    pub fn busy(&self) -> Duration {
        self.inner.threads.iter().map(|thread| thread.handle.metrics().worker_total_busy_duration(0)).sum()
    }

    /// How many futures live on a thread.
    pub fn load(&self, thread: usize) -> usize {
        self.inner.threads[thread % self.count()].load.load(Ordering::Relaxed)
    }

    /// The thread with the fewest futures.
    pub fn least_loaded(&self) -> usize {
        (0..self.count()).min_by_key(|index| self.load(*index)).unwrap_or(0)
    }

    /// Runs a future on one thread (`thread` is taken modulo their count). It may be one that cannot leave its thread,
    /// which is why it is made there.
    pub fn spawn_on<F, M>(&self, thread: usize, make: M)
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future<Output = ()> + 'static,
    {
        let thread = &self.inner.threads[thread % self.count()];
        let loaded = Loaded::new(&thread.load);
        let start = Box::new(move || {
            tokio::task::spawn_local(make().map(move |()| drop(loaded)));
        });
        // It fails only when the threads have stopped, and then nothing is to be run any more.
        let _ = thread.local.send(start);
    }

    /// Runs a future on the least loaded thread.
    pub fn spawn<F, M>(&self, make: M)
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future<Output = ()> + 'static,
    {
        self.spawn_on(self.least_loaded(), make);
    }

    /// Runs a future that could move, but will not: cheaper to wake than one of [`DataThreads::spawn_on`].
    #[allow(clippy::disallowed_methods)]
    pub fn spawn_send_on<F>(&self, thread: usize, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let thread = &self.inner.threads[thread % self.count()];
        let loaded = Loaded::new(&thread.load);
        thread.handle.spawn(future.map(move |()| drop(loaded)));
    }

    /// Accepts connections until `until`, and gives each to `serve` on the least loaded thread. The listener is closed
    /// when this returns.
    #[allow(clippy::disallowed_methods)]
    pub async fn accept<F, S>(&self, listener: std::net::TcpListener, until: CancellationToken, serve: S)
    where
        S: Fn(TcpStream, std::net::SocketAddr) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let (done, ended) = tokio::sync::oneshot::channel::<()>();
        let (this, serve) = (self.clone(), Arc::new(serve));
        // The accept loop itself lives on a data thread: the control threads may be busy when a client knocks.
        // It is not counted as load.
        self.inner.threads[0].handle.spawn(async move {
            this.accept_here(listener, until, serve).await;
            drop(done);
        });
        let _ = ended.await;
    }

    async fn accept_here<F, S>(&self, listener: std::net::TcpListener, until: CancellationToken, serve: Arc<S>)
    where
        S: Fn(TcpStream, std::net::SocketAddr) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = match listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener)) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "cannot watch the listening socket"),
        };
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = until.cancelled() => return,
            };
            match accepted {
                Ok((stream, peer)) => self.hand_over(stream, peer, &serve),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    // Out of descriptors, most likely: those in flight have to end first.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn hand_over<F, S>(&self, stream: TcpStream, peer: std::net::SocketAddr, serve: &Arc<S>)
    where
        S: Fn(TcpStream, std::net::SocketAddr) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        // Small responses must not wait for the client's acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        let thread = self.least_loaded();
        if thread == 0 {
            return self.spawn_send_on(0, serve(stream, peer));
        }
        let Ok(stream) = stream.into_std() else { return };
        let serve = Arc::clone(serve);
        self.spawn_send_on(thread, async move {
            // The socket is watched by the reactor of the thread that serves it.
            match TcpStream::from_std(stream) {
                Ok(stream) => serve(stream, peer).await,
                Err(error) => tracing::warn!(%error, "cannot watch a connection"),
            }
        });
    }

    /// Ends the threads, and drops what still runs on them.
    pub async fn stop(&self) {
        self.inner.stop.cancel();
        let joins = std::mem::take(&mut *self.inner.joins.lock());
        let joined = tokio::task::spawn_blocking(move || {
            for join in joins {
                let _ = join.join();
            }
        });
        let _ = joined.await;
    }
}

async fn serve_inbox(mut inbox: mpsc::UnboundedReceiver<LocalStart>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            start = inbox.recv() => match start {
                Some(start) => start(),
                None => return,
            },
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Counts a future for as long as it lives.
struct Loaded(Arc<AtomicUsize>);

impl Loaded {
    fn new(load: &Arc<AtomicUsize>) -> Self {
        load.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(load))
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
